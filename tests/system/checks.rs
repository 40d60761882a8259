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

/// A job's ticks as they are and as they should be: the multiples of `seconds` from the first to the last, each once.
fn found_and_expected(ledger: &[Entry], job: &str, seconds: i64) -> (Vec<i64>, Vec<i64>) {
    let found: Vec<i64> = ticks(ledger, job).iter().map(DateTime::timestamp).collect();
    let (first, last) = (found.first().copied().unwrap_or(0), found.last().copied().unwrap_or(-1));
    (found, (first..=last).filter(|second| second % seconds == 0).collect())
}

/// Whether `count` ticks of a job or more are there and none between them is missing: those of two partitions may
/// overtake each other.
pub fn complete(ledger: &[Entry], job: &str, seconds: i64, count: usize) -> bool {
    let (found, expected) = found_and_expected(ledger, job, seconds);
    found.len() >= count && found == expected
}
