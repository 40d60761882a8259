//! What is asserted about the ledger.

use std::collections::BTreeMap;

use crate::support::programs::Entry;
use chrono::{DateTime, Utc};

/// Starts of each attempt, as the ledger counts them.
pub fn starts(ledger: &[Entry]) -> BTreeMap<(String, u32), usize> {
    let mut starts = BTreeMap::new();
    for entry in ledger {
        *starts.entry((entry.run.clone(), entry.attempt)).or_default() += 1;
    }
    starts
}

/// Fails where an attempt was started more than once.
pub fn assert_none_twice(ledger: &[Entry]) {
    let twice: Vec<_> = starts(ledger).into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "started more than once: {twice:?}\n{ledger:#?}");
}

/// The instants at which a job's first attempts were due, in order.
pub fn ticks(ledger: &[Entry], job: &str) -> Vec<DateTime<Utc>> {
    let first = |entry: &&Entry| entry.job == job && entry.attempt == 1;
    let mut ticks: Vec<DateTime<Utc>> =
        ledger.iter().filter(first).map(|entry| entry.scheduled_at.parse().unwrap()).collect();
    ticks.sort();
    ticks
}

/// Fails unless a job's ticks are all the multiples of `seconds` between the first and the last, each once.
pub fn assert_every(ledger: &[Entry], job: &str, seconds: i64) {
    let ticks = ticks(ledger, job);
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else { panic!("{job} never ran") };
    let expected: Vec<i64> =
        (first.timestamp()..=last.timestamp()).filter(|second| second % seconds == 0).collect();
    let found: Vec<i64> = ticks.iter().map(DateTime::timestamp).collect();
    assert_eq!(found, expected, "{job}");
}
