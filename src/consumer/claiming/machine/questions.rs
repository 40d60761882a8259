//! What the thread asks for the metrics and duties that it shows. Nothing here changes anything.

use super::{Call, Claimer, Counts};
use crate::consumer::claiming::partition::Partition;

impl Claimer {
    /// What is still to be done of what a step has tried: a call whose part is not owed any more has not failed for good.
    pub fn owes(&self, call: Call) -> bool {
        self.holder.is_some()
            && match call {
                Call::Load => !self.positions.unknown().is_empty(),
                Call::ReadAgain => self.again.has_failed(),
                Call::Claim => !self.postponed.is_empty(),
                Call::Commit => self.pending.is_some() || !self.rejections.is_empty(),
                Call::Letter => !self.unread.is_empty(),
            }
    }

    /// A partition of which something is due and nothing can be claimed: more waits in it, too far apart, than can be
    /// written down beside its offset.
    pub fn crowded(&self) -> Option<i32> {
        self.crowded
    }

    /// A partition in which so many messages wait for their instant that what lies behind them is not read.
    pub fn full_of_waiting(&self) -> Option<i32> {
        let mut partitions = self.partitions.iter();
        partitions.find(|(_, held)| held.is_full_of_waiting()).map(|(partition, _)| *partition)
    }

    /// Messages that wait for their instant.
    pub fn waiting(&self) -> usize {
        self.partitions.values().map(Partition::waiting).sum()
    }

    /// Messages of a partition that no consumer has claimed, where its log ends at `end`.
    pub fn unclaimed(&self, partition: i32, end: i64) -> i64 {
        self.partitions.get(&partition).map_or(0, |held| held.unclaimed(end))
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}
