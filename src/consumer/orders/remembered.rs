//! Which orders are remembered: the newest, up to a bound. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::common::model::RunId;

/// The runs that are to end, as far as they are remembered.
#[derive(Debug)]
pub struct Remembered {
    limit: usize,
    /// Counts the orders; the newest has the highest number.
    count: u64,
    runs: HashMap<RunId, u64>,
    by_age: BTreeMap<u64, RunId>,
}

impl Remembered {
    /// Creates a memory of so many runs.
    pub fn new(limit: usize) -> Self {
        Self { limit, count: 0, runs: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// Takes an order. An order that comes again counts as new. The oldest is forgotten where there are too many.
    pub fn take(&mut self, run: RunId) {
        self.count += 1;
        if let Some(before) = self.runs.insert(run, self.count) {
            self.by_age.remove(&before);
        }
        self.by_age.insert(self.count, run);
        if self.runs.len() > self.limit
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.runs.remove(&oldest);
        }
    }

    /// Whether a run is to end.
    pub fn has(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    #[test]
    fn the_newest_orders_are_remembered_and_one_that_comes_again_is_new() {
        let check = |orders: &[u128], remembered: &[u128]| {
            let mut memory = Remembered::new(2);
            orders.iter().for_each(|order| memory.take(run(*order)));
            let has: Vec<u128> = (0..9).filter(|number| memory.has(run(*number))).collect();
            assert_eq!(has, remembered, "{orders:?}");
            assert_eq!(memory.runs.len(), memory.by_age.len(), "{orders:?}");
        };
        check(&[], &[]);
        check(&[1], &[1]);
        check(&[1, 1, 1], &[1]);
        check(&[1, 2, 3], &[2, 3]);
        check(&[1, 2, 1, 3], &[1, 3]);
    }
}
