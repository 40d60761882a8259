//! Dead letters as they lie in their topic, with what has become of them.

use std::collections::BTreeMap;

use super::Kafka;
use crate::common::broker::BrokerError;
use crate::common::model::{ClusterName, RunId};
use crate::common::scan::scan;
use crate::common::topics;
use crate::common::wire::{self, DeadLetter, DeadRecord, WireError};

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

/// All letters of a cluster, the oldest first, and what is wrong with records that cannot be read. None where the topic does
/// not exist yet.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub fn read(client: Kafka<'_>, cluster: &ClusterName) -> Result<(Vec<Letter>, Vec<String>), BrokerError> {
    let topic = topics::dead(cluster);
    let mut gathered = Gathered::default();
    let mut unreadable = Vec::new();
    scan(client, &topic, |_, record| {
        let decoded = record.value.as_deref().map(wire::decode_dead);
        if let Some(Err(error)) = gathered.take(record.offset, decoded) {
            unreadable.push(format!("{topic}, offset {}: {error}", record.offset));
        }
    })?;
    Ok((gathered.letters.into_values().collect(), unreadable))
}

#[derive(Debug, Default)]
struct Gathered {
    letters: BTreeMap<i64, Letter>,
}

impl Gathered {
    /// Takes a record of the topic, in the order of offsets; gives back what cannot be read.
    fn take(
        &mut self,
        offset: i64,
        record: Option<Result<DeadRecord, WireError>>,
    ) -> Option<Result<(), WireError>> {
        match record? {
            Ok(DeadRecord::Letter(letter)) => {
                self.letters.insert(offset, Letter { offset, letter: *letter, replayed: false });
            }
            Ok(DeadRecord::Replayed(mark)) => {
                if let Some(letter) = self.letters.get_mut(&mark.letter_offset) {
                    letter.replayed = true;
                }
            }
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(()))
    }
}
