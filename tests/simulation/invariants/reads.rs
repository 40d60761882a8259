//! From where the next leader reads `cron-runs`: every attempt under way has an event from there on.

use std::collections::{BTreeMap, BTreeSet};

use kafka_cron::common::model::{AttemptRef, Event};

/// What is said of attempts under way, and where.
#[derive(Debug, Default)]
pub struct Reads {
    /// The last sign of each in each partition.
    signs: BTreeMap<AttemptRef, BTreeMap<i32, i64>>,
    over: BTreeSet<AttemptRef>,
    committed: BTreeMap<i32, i64>,
}

impl Reads {
    /// An event stands at an offset of a partition.
    pub fn event(&mut self, event: &Event, at: (i32, i64)) {
        match event {
            Event::Claimed { attempt, .. } => self.sign(*attempt, at),
            Event::Alive { running, .. } => {
                running.iter().for_each(|running| self.sign(running.attempt, at));
            }
            Event::Finished { attempt, .. } | Event::Lost { attempt, .. } => {
                self.signs.remove(attempt);
                self.over.insert(*attempt);
            }
            _ => {}
        }
    }

    fn sign(&mut self, attempt: AttemptRef, (partition, offset): (i32, i64)) {
        if !self.over.contains(&attempt) {
            self.signs.entry(attempt).or_default().insert(partition, offset);
        }
    }

    /// The partitions are to be read from these offsets, which were committed together; says what the next leader will not
    /// know.
    pub fn committed(&mut self, offsets: BTreeMap<i32, i64>) -> Option<String> {
        if self.committed == offsets {
            return None;
        }
        self.committed = offsets;
        let is_read =
            |(partition, sign): (&i32, &i64)| self.committed.get(partition).is_none_or(|from| sign >= from);
        let unknown = self.signs.iter().find(|(_, signs)| !signs.iter().any(is_read));
        unknown.map(|(attempt, signs)| {
            let from = &self.committed;
            format!("cron-runs is to be read from {from:?}, and {attempt:?} is under way, of which nothing is said from there on: {signs:?}")
        })
    }
}
