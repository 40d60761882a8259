//! A run and its attempts: what a tick asks for, and what changes each time it is tried.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AttemptRef, ClusterName, JobName, Resources, RunId};

/// What never changes over a run's life, however often it is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// UUIDv5 of job and scheduled instant.
    pub id: RunId,
    /// The job that the run belongs to.
    pub job: JobName,
    /// The cluster whose consumers may run it.
    pub cluster: ClusterName,
    /// The instant that the schedule named (after the job's jitter).
    pub scheduled_at: DateTime<Utc>,
    /// Handed verbatim to the shell's `-c`.
    pub command: String,
    /// The `NAME=value` lines of the job file that stand above the job; `SHELL` and `PATH` among them count.
    #[serde(default)]
    pub environment: Arc<BTreeMap<String, String>>,
    /// Working directory; the consumer's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The user to run as; the consumer's own when absent. Another one needs root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How long an attempt may take, how it is ended, and when it is too late for one.
    pub limits: Limits,
    /// What an attempt may use of its host. Absent where the job asks for nothing.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// How often and when a failed attempt is tried again.
    pub retry: RetryPolicy,
    /// Which job file made the run: the first 12 hexadecimal digits of a hash of its content.
    pub revision: String,
}

impl Run {
    /// Creates a run for tests: `true`, with no limit and no retry, due at the epoch.
    #[cfg(any(test, feature = "testing"))]
    pub fn sample(id: RunId, job: JobName, cluster: ClusterName) -> Self {
        Self {
            id,
            job,
            cluster,
            scheduled_at: DateTime::UNIX_EPOCH,
            command: "true".to_owned(),
            environment: Arc::default(),
            cwd: None,
            user: None,
            limits: Limits { timeout_ms: None, grace_ms: 0, deadline_ms: None },
            resources: Resources::default(),
            retry: RetryPolicy { retries: 0, backoff_ms: 0, backoff_max_ms: 0 },
            revision: String::new(),
        }
    }

    /// Whether an attempt that starts at `now` would start later than the deadline allows. The two instants come from
    /// two hosts' clocks: their difference shortens or lengthens the deadline.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        let late = (now - self.scheduled_at).to_std().unwrap_or_default();
        self.limits.deadline_ms.is_some_and(|deadline_ms| late > Duration::from_millis(deadline_ms))
    }
}

/// How long an attempt may take, how it is ended, and when it is too late for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Milliseconds after which an attempt is ended; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Milliseconds between TERM and KILL.
    pub grace_ms: u64,
    /// Milliseconds: later than this after the scheduled instant no attempt is started any more; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// How often and when a failed attempt is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// Milliseconds before the second attempt; doubled for each one after it.
    pub backoff_ms: u64,
    /// The longest wait between attempts, in milliseconds.
    pub backoff_max_ms: u64,
}

/// One try of a run, as it lies in a cluster's topic or in its retry topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What is to be run.
    pub run: Arc<Run>,
    /// 1 for the first. Numbers only grow: a replayed dead letter gets the next one.
    pub attempt: u32,
    /// How many attempts may follow this one.
    pub attempts_left: u32,
    /// The attempt must not start before this instant; absent when it may start at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
}

impl Attempt {
    /// Names the attempt.
    pub fn name(&self) -> AttemptRef {
        AttemptRef { run: self.run.id, attempt: self.attempt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::wire;

    fn check(deadline_ms: Option<u64>, now: &str, expired: bool) {
        let sample = include_bytes!("../../../tests/data/wire/v1/attempt-first.json");
        let mut run = Run::clone(&wire::decode_attempt(sample).unwrap().run);
        run.scheduled_at = "2026-11-23T17:00:00Z".parse().unwrap();
        run.limits.deadline_ms = deadline_ms;
        assert_eq!(run.is_expired(now.parse().unwrap()), expired, "{deadline_ms:?} {now}");
    }

    #[test]
    fn a_run_is_expired_when_its_deadline_has_passed_and_not_at_it() {
        check(Some(5_000), "2026-11-23T17:00:05Z", false);
        check(Some(5_000), "2026-11-23T17:00:05.001Z", true);
        check(Some(5_000), "2026-11-23T16:00:00Z", false);
        check(None, "2999-01-01T00:00:00Z", false);
        check(Some(u64::MAX), "2999-01-01T00:00:00Z", false);
    }
}
