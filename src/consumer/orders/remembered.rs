//! Which orders are remembered: the newest, up to a bound. Pure.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::common::model::{Order, RunId};

/// The runs that are to end, as far as they are remembered.
#[derive(Debug)]
pub struct Remembered {
    limit: usize,
    /// Counts the orders; the newest has the highest number.
    count: u64,
    /// The number of each run's newest order, and when the newest was written.
    runs: HashMap<RunId, (u64, DateTime<Utc>)>,
    by_age: BTreeMap<u64, RunId>,
}

impl Remembered {
    /// Creates a memory of so many runs.
    pub fn new(limit: usize) -> Self {
        Self { limit, count: 0, runs: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// Takes an order that was written at an instant. An order that comes again counts as new. The oldest is forgotten where
    /// there are too many.
    pub fn take(&mut self, run: RunId, at: DateTime<Utc>) {
        self.count += 1;
        let known = self.runs.entry(run).or_insert((self.count, at));
        self.by_age.remove(&known.0);
        *known = (self.count, known.1.max(at));
        self.by_age.insert(self.count, run);
        if self.runs.len() > self.limit
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.runs.remove(&oldest);
        }
    }

    /// Whether an attempt of a run that was published at an instant is to end.
    pub fn has(&self, run: RunId, published_at: DateTime<Utc>) -> bool {
        self.runs.get(&run).is_some_and(|(_, at)| Order::is_about(*at, published_at))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    #[test]
    fn the_newest_orders_are_remembered_and_one_that_comes_again_is_new() {
        let check = |orders: &[u128], remembered: &[u128]| {
            let (mut memory, at) = (Remembered::new(2), DateTime::UNIX_EPOCH);
            orders.iter().for_each(|order| memory.take(run(*order), at));
            let has: Vec<u128> = (0..9).filter(|number| memory.has(run(*number), at)).collect();
            assert_eq!(has, remembered, "{orders:?}");
            assert_eq!(memory.runs.len(), memory.by_age.len(), "{orders:?}");
        };
        check(&[], &[]);
        check(&[1], &[1]);
        check(&[1, 1, 1], &[1]);
        check(&[1, 2, 3], &[2, 3]);
        check(&[1, 2, 1, 3], &[1, 3]);
    }

    #[test]
    fn an_order_is_not_about_an_attempt_that_was_published_long_after_it() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let mut memory = Remembered::new(2);
        memory.take(run(1), at(1_000));
        // One of before, that arrives late.
        memory.take(run(1), at(990));
        let check = |published: i64, expected: bool| {
            assert_eq!(memory.has(run(1), at(published)), expected, "{published}");
        };
        check(0, true);
        check(1_000, true);
        check(1_119, true);
        check(1_120, false);
    }
}
