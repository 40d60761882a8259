//! Records for the tests of this room: of cluster `c`, by consumer `one`, with a lease of a minute.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::common::model::{
    Attempt, AttemptRef, ClusterName, Event, JobName, Outcome, Place, Run, RunId, Then,
};

/// The instant of a second.
pub fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

/// The cluster.
pub fn cluster() -> ClusterName {
    ClusterName::new("c").unwrap()
}

/// The run of a job's tick.
pub fn run_of(job: &str, due: i64) -> RunId {
    RunId::of(&job_of(job), at(due))
}

/// A job.
pub fn job_of(job: &str) -> JobName {
    JobName::new(job).unwrap()
}

/// A place in the cluster's topic.
pub fn place() -> Place {
    Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 0 }
}

/// A first attempt.
pub fn message(job: &str, due: i64) -> Attempt {
    let mut run = Run::sample(run_of(job, due), job_of(job), cluster());
    run.scheduled_at = at(due);
    Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: None }
}

/// An attempt is claimed.
pub fn claimed(job: &str, due: i64, attempt: u32) -> Event {
    Event::Claimed {
        attempt: AttemptRef { run: run_of(job, due), attempt },
        job: job_of(job),
        place: place(),
        consumer: "one".to_owned(),
        lease_ms: 60_000,
        at: at(due),
    }
}

/// An attempt has ended, after two seconds.
pub fn finished(job: &str, due: i64, attempt: u32, outcome: Outcome, then: Then) -> Event {
    Event::Finished {
        attempt: AttemptRef { run: run_of(job, due), attempt },
        job: job_of(job),
        cluster: cluster(),
        scheduled_at: at(due),
        consumer: "one".to_owned(),
        outcome,
        then,
        started_at: at(due),
        ended_at: at(due + 2),
        output_bytes: 0,
        output_tail: String::new(),
    }
}

/// The first attempt is lost.
pub fn lost(job: &str, due: i64, then: Then) -> Event {
    Event::Lost {
        attempt: AttemptRef { run: run_of(job, due), attempt: 1 },
        job: Some(job_of(job)),
        cluster: cluster(),
        scheduled_at: Some(at(due)),
        consumer: "one".to_owned(),
        place: place(),
        then,
        at: at(due),
    }
}

/// A tick waits for the one of the epoch.
pub fn queued(job: &str, due: i64) -> Event {
    let blocked_by = run_of(job, 0);
    Event::Queued { job: job_of(job), cluster: cluster(), scheduled_at: at(due), blocked_by, at: at(due) }
}

/// A tick is skipped for the one of the epoch.
pub fn skipped(job: &str, due: i64) -> Event {
    let blocked_by = run_of(job, 0);
    Event::Skipped { job: job_of(job), cluster: cluster(), scheduled_at: at(due), blocked_by, at: at(due) }
}
