//! Dead letters as they lie in their topic, with what has become of them. The topic keeps letters for ever, so none is kept
//! here: the topic is read once for what was put back, and again, a fetch at a time, for the letters themselves.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::Kafka;
use crate::common::broker::{BrokerError, FetchedRecord};
use crate::common::model::{ClusterName, RunId};
use crate::common::scan::Scan;
use crate::common::topics;
use crate::common::wire::{self, DeadLetter, DeadRecord, Replayed};

/// Where a letter lies in its topic: partition and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LetterPlace(pub i32, pub i64);

/// Producers create the topic with one partition, and then the offset says it all.
impl fmt::Display for LetterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(0, offset) => write!(f, "offset {offset}"),
            Self(partition, offset) => write!(f, "partition {partition} offset {offset}"),
        }
    }
}

/// A letter and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its place in the dead-letter topic.
    pub place: LetterPlace,
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
    /// Letters that have been put back.
    replayed: Replays,
}

/// Which letters have been put back. A letter about a run is known by its offset and the run, whichever partition the mark lies
/// in: earlier programs wrote marks by their keys.
#[derive(Debug, Default)]
struct Replays {
    of_runs: HashSet<(i64, RunId)>,
    others: HashSet<LetterPlace>,
}

impl Replays {
    fn take(&mut self, partition: i32, mark: &Replayed) {
        match mark.attempt {
            Some(attempt) => drop(self.of_runs.insert((mark.letter_offset, attempt.run))),
            None => drop(self.others.insert(LetterPlace(partition, mark.letter_offset))),
        }
    }

    fn has(&self, place: LetterPlace, run: Option<RunId>) -> bool {
        match run {
            Some(run) => self.of_runs.contains(&(place.1, run)),
            None => self.others.contains(&place),
        }
    }
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
        let mut replayed = Replays::default();
        let mut first = scan.clone();
        loop {
            let records = first.read_some(client, &ends)?;
            if records.is_empty() {
                return Ok(Self { topic, scan, ends, replayed });
            }
            for (partition, record) in &records {
                mark(record).iter().for_each(|mark| replayed.take(*partition, mark));
            }
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
        for (partition, FetchedRecord { offset, value, .. }) in records {
            match value.as_deref().map(wire::decode_dead) {
                Some(Ok(DeadRecord::Letter(letter))) => {
                    let place = LetterPlace(partition, offset);
                    let run = letter.attempt.as_ref().map(|attempt| attempt.run.id);
                    let replayed = self.replayed.has(place, run);
                    part.letters.push(Letter { place, letter: *letter, replayed });
                }
                Some(Err(error)) => {
                    part.unreadable.push(format!("{}/{partition}, offset {offset}: {error}", self.topic));
                }
                Some(Ok(DeadRecord::Replayed(_))) | None => {}
            }
        }
        Ok(Some(part))
    }
}

/// The mark of a letter that was put back. Letters are much larger than these marks, and need not be decoded to see that
/// they are none: the quotation marks of a text within them stand behind backslashes.
pub(in crate::cronctl) fn mark(record: &FetchedRecord) -> Option<Replayed> {
    let value = record.value.as_deref()?;
    let is_likely = str::from_utf8(value).is_ok_and(|text| text.contains("\"letter_offset\""));
    match is_likely.then(|| wire::decode_dead(value)) {
        Some(Ok(DeadRecord::Replayed(mark))) => Some(mark),
        _ => None,
    }
}
