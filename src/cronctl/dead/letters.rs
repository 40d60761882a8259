//! Dead letters as they lie in their topic, with what has become of them. The topic keeps letters for ever, so none is kept
//! here: the topic is read once for what was put back, and again, a fetch at a time, for the letters themselves.

use std::collections::{BTreeMap, HashSet};

use super::Kafka;
use crate::common::broker::{BrokerError, FetchedRecord};
use crate::common::model::{ClusterName, RunId};
use crate::common::scan::Scan;
use crate::common::topics;
use crate::common::wire::{self, DeadLetter, DeadRecord};

/// A letter and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its offset in the dead-letter topic.
    pub offset: i64,
    /// What it says.
    pub letter: DeadLetter,
    /// Whether it has been put back.
    pub replayed: bool,
}

impl Letter {
    /// The run that it is about, where the message was an attempt.
    pub fn run(&self) -> Option<RunId> {
        self.letter.attempt.as_ref().map(|attempt| attempt.run.id)
    }
}

/// The letters of a cluster, to be read part by part.
#[derive(Debug)]
pub struct Letters {
    topic: String,
    scan: Scan,
    /// Where the topic ended when reading began: what is written meanwhile is left out.
    ends: BTreeMap<i32, i64>,
    /// Letters that have been put back, by their offsets.
    replayed: HashSet<i64>,
}

/// Letters of one fetch, the oldest first.
#[derive(Debug, Default)]
pub struct Part {
    /// Those that can be read.
    pub letters: Vec<Letter>,
    /// What is wrong with records that cannot be read.
    pub unreadable: Vec<String>,
}

impl Letters {
    /// Reads which letters of a cluster have been put back. There are none where the topic does not exist yet.
    ///
    /// # Errors
    /// When Kafka refuses or does not answer.
    pub fn of(client: Kafka<'_>, cluster: &ClusterName) -> Result<Self, BrokerError> {
        let topic = topics::dead(cluster);
        let scan = Scan::new(&topic);
        let ends = scan.ends(client)?;
        let mut replayed = HashSet::new();
        let mut first = scan.clone();
        loop {
            let records = first.read_some(client, &ends)?;
            if records.is_empty() {
                return Ok(Self { topic, scan, ends, replayed });
            }
            replayed.extend(records.iter().filter_map(mark));
        }
    }

    /// The next letters; `None` when all have been read.
    ///
    /// # Errors
    /// When Kafka refuses or does not answer.
    pub fn next(&mut self, client: Kafka<'_>) -> Result<Option<Part>, BrokerError> {
        let records = self.scan.read_some(client, &self.ends)?;
        if records.is_empty() {
            return Ok(None);
        }
        let mut part = Part::default();
        for FetchedRecord { offset, value, .. } in records {
            match value.as_deref().map(wire::decode_dead) {
                Some(Ok(DeadRecord::Letter(letter))) => {
                    let replayed = self.replayed.contains(&offset);
                    part.letters.push(Letter { offset, letter: *letter, replayed });
                }
                Some(Err(error)) => part.unreadable.push(format!("{}, offset {offset}: {error}", self.topic)),
                Some(Ok(DeadRecord::Replayed(_))) | None => {}
            }
        }
        Ok(Some(part))
    }
}

/// The letter that a record says was put back. Letters are much larger than these marks, and need not be decoded to see that
/// they are none: the quotation marks of a text within them stand behind backslashes.
pub(in crate::cronctl) fn mark(record: &FetchedRecord) -> Option<i64> {
    let value = record.value.as_deref()?;
    let is_likely = str::from_utf8(value).is_ok_and(|text| text.contains("\"letter_offset\""));
    match is_likely.then(|| wire::decode_dead(value)) {
        Some(Ok(DeadRecord::Replayed(mark))) => Some(mark.letter_offset),
        _ => None,
    }
}
