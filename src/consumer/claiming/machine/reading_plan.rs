//! What is to be read: the number of the newest plan, and which of its partitions have room for more.

use std::collections::BTreeMap;

use super::Effect;

/// The newest plan.
#[derive(Debug, Default)]
pub(super) struct ReadingPlan {
    number: u64,
    /// Whether each partition is read on. One whose position is lost is left out: only the next plan reads it again.
    open: BTreeMap<i32, bool>,
}

impl ReadingPlan {
    /// Replaces the plan: these partitions are read from these offsets, and nothing else is.
    pub(super) fn replace(&mut self, offsets: Vec<(i32, i64)>) -> Effect {
        self.number += 1;
        self.open = offsets.iter().map(|(partition, _)| (*partition, true)).collect();
        Effect::Read { plan: self.number, offsets }
    }

    /// Whether this is the number of the newest plan.
    pub(super) fn is(&self, number: u64) -> bool {
        self.number == number
    }

    /// The partition's position is lost: it is not read on.
    pub(super) fn lose(&mut self, partition: i32) {
        self.open.remove(&partition);
    }

    /// Pauses the partitions that are full, and goes on with those that are not any more.
    pub(super) fn pause_where(&mut self, is_full: impl Fn(i32) -> bool, effects: &mut Vec<Effect>) {
        for (partition, open) in &mut self.open {
            let is_open = !is_full(*partition);
            if std::mem::replace(open, is_open) != is_open {
                effects.push(Effect::Open { partition: *partition, is_open });
            }
        }
    }
}
