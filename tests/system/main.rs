//! The real programs on real Kafka: what the README promises, seen from outside.
//!
//! - `ticks`: what is published and who runs it.
//! - `retries`: failing, coming back, being given up, being put back.
//! - `claims`: consumers that are frozen, cut off or killed while they have work.
//! - `endings`: how programs and commands end.
//! - `outages`: Kafka away.
//! - `loads`: a lot of output, a deaf log, a long backlog.

#[cfg(test)] // it is, and this tells the lints
#[expect(dead_code, reason = "each test binary takes its own part")]
#[path = "../support/mod.rs"]
mod support;

mod claims;
mod endings;
mod loads;
mod outages;
mod retries;
mod ticks;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use support::programs::Entry;

/// Starts of each attempt, as the ledger counts them.
fn starts(ledger: &[Entry]) -> BTreeMap<(String, u32), usize> {
    let mut starts = BTreeMap::new();
    for entry in ledger {
        *starts.entry((entry.run.clone(), entry.attempt)).or_default() += 1;
    }
    starts
}

/// Fails where an attempt was started more than once.
fn assert_none_twice(ledger: &[Entry]) {
    let twice: Vec<_> = starts(ledger).into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(twice.is_empty(), "started more than once: {twice:?}\n{ledger:#?}");
}

/// The instants at which a job's first attempts were due, in order.
fn ticks(ledger: &[Entry], job: &str) -> Vec<DateTime<Utc>> {
    let first = |entry: &&Entry| entry.job == job && entry.attempt == 1;
    let mut ticks: Vec<DateTime<Utc>> =
        ledger.iter().filter(first).map(|entry| entry.scheduled_at.parse().unwrap()).collect();
    ticks.sort();
    ticks
}

/// Fails unless a job's ticks are all the multiples of `seconds` between the first and the last, each once.
fn assert_every(ledger: &[Entry], job: &str, seconds: i64) {
    let ticks = ticks(ledger, job);
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else { panic!("{job} never ran") };
    let expected: Vec<i64> =
        (first.timestamp()..=last.timestamp()).filter(|second| second % seconds == 0).collect();
    let found: Vec<i64> = ticks.iter().map(DateTime::timestamp).collect();
    assert_eq!(found, expected, "{job}");
}
