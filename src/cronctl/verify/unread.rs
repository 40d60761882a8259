//! What consumers say was deleted before they claimed it (`deleted_unread`): how many messages of each topic.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::common::model::Place;

/// How many messages were deleted unread, by topic. The events name offsets and no runs, so they account for as many ticks
/// without a trace as they name offsets, and for no more.
#[derive(Debug, Default)]
pub struct Unread {
    /// By topic, its id and partition: first offset, and first that is left. As said, so that some may be said twice.
    ranges: BTreeMap<(String, Uuid, i32), Vec<(i64, i64)>>,
    /// How many have been taken, by topic.
    taken: BTreeMap<String, i64>,
}

impl Unread {
    /// Takes what an event says: the offsets from the place up to, not including, `next_offset` were deleted.
    pub fn add(&mut self, place: &Place, next_offset: i64) {
        let of = (place.topic.clone(), place.topic_id, place.partition);
        let (range, known) = ((place.offset, next_offset), self.ranges.entry(of).or_default());
        if !known.contains(&range) {
            known.push(range);
        }
    }

    /// Takes one of the messages of a topic that were deleted unread; `false` when none is left.
    pub fn take(&mut self, topic: &str) -> bool {
        let of = self.ranges.iter().filter(|((name, ..), _)| name == topic);
        let count: i64 = of.map(|(_, ranges)| count(ranges)).sum();
        let taken = self.taken.entry(topic.to_owned()).or_default();
        if *taken >= count {
            return false;
        }
        *taken += 1;
        true
    }
}

/// How many offsets lie in ranges that may overlap.
fn count(ranges: &[(i64, i64)]) -> i64 {
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable();
    let (mut end, mut count) = (i64::MIN, 0);
    for (from, to) in ranges {
        count += (to - from.max(end)).max(0);
        end = end.max(to);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_accounts_for_one_tick() {
        let check = |ranges: &[(i64, i64)], expected: i64| assert_eq!(count(ranges), expected, "{ranges:?}");
        check(&[], 0);
        check(&[(0, 3)], 3);
        check(&[(0, 3), (0, 3)], 3);
        check(&[(2, 6), (0, 3), (8, 9)], 7);
        check(&[(0, 9), (2, 3), (4, 4)], 9);
    }
}
