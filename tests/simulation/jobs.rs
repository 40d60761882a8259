//! The job file that the simulated producers have: due every few seconds in the first minutes of a run, and never again
//! before the next day, so that all of it comes to an end.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::words::{JobName, Limits, RetryPolicy};
use kafka_cron::producer::in_force::JobsInForce;
use kafka_cron::producer::job::{CatchUp, CatchUpPolicy, Job, Overlap};
use kafka_cron::producer::schedule::Schedule;
use kafka_cron::producer::window::Window;

use crate::world::{BEGIN, cluster};

/// Name, schedule (a run begins at eight), which of the past is caught up, retries.
const JOBS: [(&str, &str, CatchUpPolicy, u32); 4] = [
    ("all", "*/5 0-3 8 * * *", CatchUpPolicy::All, 1),
    ("last", "*/10 0-3 8 * * *", CatchUpPolicy::Last, 2),
    ("none", "*/15 0-3 8 * * *", CatchUpPolicy::None, 0),
    ("secondly", "* 1 8 * * *", CatchUpPolicy::Last, 0),
];

/// When runs begin.
pub fn begin() -> DateTime<Utc> {
    DateTime::from_timestamp(BEGIN, 0).unwrap()
}

/// From here on nothing is due for a day.
pub fn end() -> DateTime<Utc> {
    begin() + TimeDelta::minutes(4)
}

/// The jobs.
pub fn file() -> JobsInForce {
    let job = |(name, words, policy, retries): (&str, &str, CatchUpPolicy, u32)| Job {
        name: JobName::new(name).unwrap(),
        cluster: cluster(),
        schedule: Arc::new(Schedule::parse(words, chrono_tz::Tz::UTC).unwrap()),
        jitter: Duration::ZERO,
        command: "true".to_owned(),
        environment: Arc::default(),
        cwd: None,
        user: None,
        limits: Limits { timeout_ms: None, grace_ms: 0, deadline_ms: None },
        retry: RetryPolicy { retries, backoff_ms: 500, backoff_max_ms: 4_000 },
        overlap: Overlap::Allow,
        window: Window::default(),
        catch_up: CatchUp { policy, ..CatchUp::default() },
    };
    JobsInForce { jobs: JOBS.map(|row| Arc::new(job(row))).to_vec(), revision: Arc::from("r") }
}
