//! What is asserted about the ledger, about the topics by way of `cronctl`, and about who leads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::support::programs::{Entry, Environment, PATIENCE, Program, World};
use crate::support::wait_until;

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

/// The instants of a job's runs of which an attempt was started, whichever: the first may have died with its consumer
/// between claim and start.
pub fn started(ledger: &[Entry], job: &str) -> BTreeSet<DateTime<Utc>> {
    ledger.iter().filter(|e| e.job == job).map(|e| e.scheduled_at.parse().unwrap()).collect()
}

/// What `cronctl verify` says about a period: its exit code and its report.
pub fn verify(world: &World, jobs: &Path, since: DateTime<Utc>, until: DateTime<Utc>) -> (i32, Value) {
    verify_with(world, jobs, since, until, &[])
}

/// As [`verify`], with more in its environment.
pub fn verify_with(
    world: &World,
    jobs: &Path,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    environment: &Environment,
) -> (i32, Value) {
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (jobs, clusters) = (jobs.display().to_string(), format!("{},{}", world.a, world.b));
    let (since, until) = (instant(since), instant(until));
    let args = ["verify", &jobs, "--clusters", &clusters, "--since", &since, "--until", &until, "--json"];
    let (code, out, err) = world.cronctl_with(&args, environment);
    (code, serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}{err}")))
}

/// Whether a producer leads.
pub fn leads(producer: &Program) -> bool {
    producer.metric("cron_leader", &[]) == 1.0
}

/// Waits until it does, and returns how long that took.
pub fn await_leader(producer: &Program) -> Duration {
    let began = Instant::now();
    wait_until("it leads", PATIENCE, || leads(producer).then_some(()));
    began.elapsed()
}

/// Waits until it could lead, or does.
pub fn await_ready(program: &Program) {
    wait_until("it is ready", PATIENCE, || {
        program.get("/readyz").is_some_and(|(code, _)| code == 200).then_some(())
    });
}
