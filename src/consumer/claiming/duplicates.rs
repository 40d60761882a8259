//! Duplicates: a record whose attempt stands earlier in the same partition, not too far back.
//!
//! The rule is a function of the log alone, so every owner of the partition decides alike: the next owner
//! reads the records before its first unclaimed offset again and feeds them in.

use std::collections::{HashMap, VecDeque};

use crate::common::model::AttemptRef;

/// The records of the last `span` offsets of one partition.
#[derive(Debug)]
pub struct Duplicates {
    span: i64,
    latest: HashMap<AttemptRef, i64>,
    in_order: VecDeque<(i64, AttemptRef)>,
}

impl Duplicates {
    /// An empty window over the last `span` offsets.
    pub fn new(span: i64) -> Self {
        Self { span, latest: HashMap::new(), in_order: VecDeque::new() }
    }

    /// Takes the next record and says whether it is a copy: whether the same attempt stands at one of the `span`
    /// offsets before it. Offsets must grow; one that does not is the same record read again and is not judged anew.
    pub fn is_copy(&mut self, offset: i64, attempt: AttemptRef) -> bool {
        self.forget_before(offset - self.span);
        if self.in_order.back().is_some_and(|(last, _)| *last >= offset) {
            return false;
        }
        self.in_order.push_back((offset, attempt));
        self.latest.insert(attempt, offset).is_some()
    }

    fn forget_before(&mut self, first: i64) {
        while let Some((offset, attempt)) = self.in_order.front().copied() {
            if offset >= first {
                break;
            }
            self.in_order.pop_front();
            // A later copy keeps the attempt known.
            if self.latest.get(&attempt) == Some(&offset) {
                self.latest.remove(&attempt);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::RunId;
    use uuid::Uuid;

    /// Feeds `(offset, run, attempt, copy?)`.
    fn check(span: i64, rows: &[(i64, u128, u32, bool)]) {
        let mut window = Duplicates::new(span);
        for (offset, run, attempt, copy) in rows {
            let attempt = AttemptRef { run: RunId(Uuid::from_u128(*run)), attempt: *attempt };
            assert_eq!(window.is_copy(*offset, attempt), *copy, "offset {offset}");
        }
        assert!(window.in_order.len() <= usize::try_from(span).unwrap() + 1);
    }

    #[test]
    fn a_copy_within_the_span_is_known() {
        check(10, &[(0, 1, 1, false), (1, 1, 1, true), (5, 1, 1, true)]);
        check(10, &[(0, 1, 1, false), (10, 1, 1, true)]);
        check(10, &[(0, 1, 1, false), (11, 1, 1, false)]);
    }

    #[test]
    fn another_attempt_of_the_run_is_no_copy() {
        check(10, &[(0, 1, 1, false), (1, 1, 2, false), (2, 2, 1, false), (3, 1, 2, true)]);
    }

    #[test]
    fn a_copy_of_a_copy_is_one_as_long_as_the_chain_holds() {
        check(10, &[(0, 1, 1, false), (8, 1, 1, true), (16, 1, 1, true), (27, 1, 1, false)]);
    }

    #[test]
    fn the_decision_is_the_same_wherever_reading_began() {
        // Any start at least `span` before the first offset that is judged gives the same answers there.
        let log: Vec<(i64, u128)> = (0..200).map(|i| (i, u128::try_from(i * 7 % 23).unwrap())).collect();
        let judge = |from: i64| -> Vec<bool> {
            let mut window = Duplicates::new(20);
            let read = log.iter().filter(|(offset, _)| *offset >= from);
            read.filter_map(|(offset, run)| {
                let attempt = AttemptRef { run: RunId(Uuid::from_u128(*run)), attempt: 1 };
                let copy = window.is_copy(*offset, attempt);
                (*offset >= 100).then_some(copy)
            })
            .collect()
        };
        for from in 0..=80 {
            assert_eq!(judge(from), judge(0), "from {from}");
        }
    }
}
