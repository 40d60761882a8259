//! How far each partition of `cron-runs` has been read, and who leads it. Pure.

use std::collections::BTreeMap;

use crate::common::broker::NodeId;

/// How far one partition of `cron-runs` has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Where reading began; what lies below has not been read.
    pub began: i64,
    /// Where reading goes on.
    pub next: i64,
    /// Who leads it.
    pub leader: Option<NodeId>,
}

/// How far all partitions of `cron-runs` have been read.
#[derive(Debug, Default)]
pub struct Ends {
    partitions: BTreeMap<i32, End>,
}

impl Ends {
    /// The partitions by number.
    pub fn partitions(&self) -> &BTreeMap<i32, End> {
        &self.partitions
    }

    /// Whether no partition is followed yet.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Where reading goes on in a partition; `None` where it is not followed.
    pub fn next(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).map(|end| end.next)
    }

    /// Follows a partition from an offset on.
    pub fn follow(&mut self, partition: i32, begin: i64) {
        self.partitions.insert(partition, End { began: begin, next: begin, leader: None });
    }

    /// Notes that all below `next` has been read.
    pub fn read_to(&mut self, partition: i32, next: i64) {
        if let Some(end) = self.partitions.get_mut(&partition) {
            end.next = next;
        }
    }

    /// Goes on at a later offset: what lies between is gone.
    pub fn skip_to(&mut self, partition: i32, next: i64) {
        if let Some(end) = self.partitions.get_mut(&partition) {
            (end.began, end.next) = (next, next);
        }
    }

    /// Follows another log from these offsets on, and no partition that it does not have.
    pub fn restart(&mut self, begins: &BTreeMap<i32, i64>) {
        let before = std::mem::take(&mut self.partitions);
        for (partition, begin) in begins {
            self.follow(*partition, *begin);
            self.led_by(*partition, before.get(partition).and_then(|end| end.leader));
        }
    }

    /// Notes who leads a partition.
    pub fn led_by(&mut self, partition: i32, leader: Option<NodeId>) {
        if let Some(end) = self.partitions.get_mut(&partition) {
            end.leader = leader;
        }
    }

    /// Whether all below these offsets has been read.
    pub fn has_read(&self, targets: &BTreeMap<i32, i64>) -> bool {
        targets.iter().all(|(partition, target)| self.next(*partition).is_some_and(|next| next >= *target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions 0 and 1, led by node 7 and read from offset 3 on.
    fn ends() -> Ends {
        let mut ends = Ends::default();
        for partition in 0..2 {
            ends.follow(partition, 3);
            ends.led_by(partition, Some(7));
        }
        ends
    }

    fn check(ends: &Ends, expected: &[(i32, i64, i64, Option<NodeId>)]) {
        let found: Vec<_> = ends.partitions().iter().map(|(p, e)| (*p, e.began, e.next, e.leader)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_partition_is_read_on_from_where_it_was_read_to() {
        let mut ends = ends();
        ends.read_to(0, 8);
        ends.read_to(5, 8);
        check(&ends, &[(0, 3, 8, Some(7)), (1, 3, 3, Some(7))]);
        ends.skip_to(1, 9);
        check(&ends, &[(0, 3, 8, Some(7)), (1, 9, 9, Some(7))]);
        assert_eq!((ends.next(0), ends.next(5)), (Some(8), None));
    }

    #[test]
    fn targets_are_read_where_each_of_their_partitions_was_read_so_far() {
        let check = |targets: &[(i32, i64)], expected: bool| {
            assert_eq!(ends().has_read(&targets.iter().copied().collect()), expected, "{targets:?}");
        };
        check(&[], true);
        check(&[(0, 3), (1, 2)], true);
        check(&[(0, 3), (1, 4)], false);
        check(&[(5, 0)], false);
    }

    #[test]
    fn another_log_is_read_from_its_own_offsets_and_partitions_on() {
        let mut ends = ends();
        ends.read_to(0, 8);
        ends.restart(&BTreeMap::from([(0, 0), (2, 1)]));
        check(&ends, &[(0, 0, 0, Some(7)), (2, 1, 1, None)]);
    }
}
