//! A job: a line of the job file, checked and complete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::schedule::Schedule;
use super::window::Window;
use crate::common::model::{ClusterName, JobName, Limits, Resources, RetryPolicy, Run, RunId};

/// Namespace of the hash that spreads jobs over their jitter; any fixed value would do.
const SPREAD: Uuid = Uuid::NAMESPACE_OID;

/// What a line of the job file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Unique in its file.
    pub name: JobName,
    /// Whose consumers run it.
    pub cluster: ClusterName,
    /// When. Shared by all the jobs that have the same expression and zone.
    pub schedule: Arc<Schedule>,
    /// Which of the schedule's instants, before they are shifted, are ticks at all.
    pub window: Window,
    /// The tick is shifted by less than this, by as much as the hash of the name says. Whole seconds.
    pub jitter: Duration,
    /// Handed verbatim to the shell.
    pub command: String,
    /// The `NAME=value` lines above the job.
    pub environment: Arc<BTreeMap<String, String>>,
    /// Working directory.
    pub cwd: Option<String>,
    /// User to run as.
    pub user: Option<String>,
    /// How long an attempt may take.
    pub limits: Limits,
    /// What an attempt may use of its host.
    pub resources: Resources,
    /// How often and when it is tried again.
    pub retry: RetryPolicy,
    /// What happens at a tick while the run before it is not finished.
    pub overlap: Overlap,
    /// Which late ticks are published: those that were due while no producer published.
    pub catch_up: CatchUp,
}

/// What happens at a tick while the run before it is not finished, retries that are pending included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is run all the same.
    #[default]
    Allow,
    /// It is skipped.
    Skip,
    /// It waits; one at most, and the next is skipped.
    Queue,
    /// It waits, and the run before it is ended; of the ticks that wait the newest is run, and the others are skipped.
    Replace,
}

/// Which late ticks are published: those that were due while no producer published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CatchUp {
    /// Which.
    pub policy: CatchUpPolicy,
    /// Those that were due longer ago are missed, whatever the policy.
    pub window: Duration,
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { policy: CatchUpPolicy::Last, window: Duration::from_secs(24 * 60 * 60) }
    }
}

/// Which late ticks are published: those that were due while no producer published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CatchUpPolicy {
    /// The last of them.
    #[default]
    Last,
    /// All of them.
    All,
    /// None of them.
    None,
}

impl Job {
    /// Creates a job for tests, with the defaults of the job file.
    #[cfg(any(test, feature = "testing"))]
    pub fn sample(name: JobName, cluster: ClusterName, schedule: Schedule) -> Self {
        Self {
            name,
            cluster,
            schedule: Arc::new(schedule),
            window: Window::default(),
            jitter: Duration::ZERO,
            command: "true".to_owned(),
            environment: Arc::default(),
            cwd: None,
            user: None,
            limits: Limits { timeout_ms: None, grace_ms: 10_000, deadline_ms: None },
            resources: Resources::default(),
            retry: RetryPolicy { retries: 0, backoff_ms: 10_000, backoff_max_ms: 3_600_000 },
            overlap: Overlap::Allow,
            catch_up: CatchUp::default(),
        }
    }

    /// By how much the job's ticks come after the instants of its schedule: whole seconds, less than the jitter (none
    /// where that is below a second), always the same for the same name.
    pub fn shift(&self) -> TimeDelta {
        let span = self.jitter.as_secs();
        if span == 0 {
            return TimeDelta::zero();
        }
        let hash = Uuid::new_v5(&SPREAD, self.name.as_str().as_bytes()).as_u64_pair().0;
        TimeDelta::seconds(i64::try_from(hash % span).unwrap_or(0))
    }

    /// The job's first tick after `after`: the schedule's instant in the job's window, shifted. `None` when there is none
    /// before the end of chrono's time.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shift = self.shift();
        let unshifted = after.checked_sub_signed(shift)?;
        self.window.next(unshifted, |after| self.schedule.next(after))?.checked_add_signed(shift)
    }

    /// The run that the job owes for its tick at `at`; `revision` names the job file.
    pub fn run(&self, at: DateTime<Utc>, revision: &str) -> Run {
        Run {
            id: RunId::of(&self.name, at),
            job: self.name.clone(),
            cluster: self.cluster.clone(),
            scheduled_at: at,
            command: self.command.clone(),
            environment: Arc::clone(&self.environment),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            limits: self.limits,
            resources: self.resources,
            retry: self.retry,
            revision: revision.to_owned(),
        }
    }
}

/// A job of `cluster-a` with the defaults of the job file.
#[cfg(test)]
pub(super) fn sample(name: &str, words: &str) -> Job {
    let cluster = ClusterName::new("cluster-a").expect("a name");
    let schedule = Schedule::parse(words, &crate::producer::zone::Zone::utc()).expect(words);
    Job::sample(JobName::new(name).expect(name), cluster, schedule)
}
