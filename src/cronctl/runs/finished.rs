//! A run of one attempt that succeeded, in some fifty bytes. It becomes an entry again when an event adds something to it.

use chrono::{DateTime, Utc};

use super::entry::{Decision, Entry};
use super::run_detail::{Attempts, End, RunDetail, Try};
use crate::common::model::{ClusterName, Event, JobName, Outcome, RunId, Then};
use crate::cronctl::names::Names;

/// The names that runs share.
#[derive(Debug, Default)]
pub struct RunNames {
    /// Of jobs.
    pub jobs: Names<JobName>,
    /// Of clusters.
    pub clusters: Names<ClusterName>,
    /// Of consumers.
    pub consumers: Names<String>,
}

/// All that is shown of such a run. What else its events said plays no part any more: who claimed it besides, and until when.
#[derive(Debug)]
pub struct Finished {
    /// The number of its job.
    pub job: u32,
    cluster: u32,
    consumer: u32,
    /// Something is new about it.
    pub is_news: bool,
    /// When it was due.
    pub scheduled_at: DateTime<Utc>,
    started_at: DateTime<Utc>,
    /// When it had ended.
    pub ended_at: DateTime<Utc>,
}

impl Finished {
    /// Creates it from an entry that can be kept so.
    pub fn of(entry: &Entry, is_news: bool, names: &mut RunNames) -> Option<Self> {
        let (cluster, scheduled_at) = entry.cluster.as_ref().zip(entry.scheduled_at)?;
        let (1, tried) = entry.detail.attempts.last()? else { return None };
        let [end] = &tried.ends[..] else { return None };
        let is_usual = entry.detail.attempts.len() == 1
            && entry.detail.ended.is_none()
            && tried.lost.is_none()
            && end.outcome == Outcome::Succeeded
            && end.then == Then::Done;
        is_usual.then(|| Self {
            job: names.jobs.number(&entry.job),
            cluster: names.clusters.number(cluster),
            consumer: names.consumers.number(&end.consumer),
            is_news,
            scheduled_at,
            started_at: end.started_at,
            ended_at: end.ended_at,
        })
    }

    /// The entry of the run. `None` where the names are not those that it was made with.
    pub fn entry(&self, run: RunId, names: &RunNames) -> Option<Entry> {
        let end = End {
            consumer: names.consumers.name(self.consumer)?.clone(),
            outcome: Outcome::Succeeded,
            then: Then::Done,
            started_at: self.started_at,
            ended_at: self.ended_at,
        };
        let tried = Try { ends: vec![end], ..Try::default() };
        Some(Entry {
            run,
            job: names.jobs.name(self.job)?.clone(),
            cluster: Some(names.clusters.name(self.cluster)?.clone()),
            scheduled_at: Some(self.scheduled_at),
            decision: Decision::Published,
            detail: RunDetail { attempts: Attempts::of(1, tried), ended: None },
        })
    }

    /// Whether an event of the run is a copy of what is known, or adds nothing to what is shown.
    pub fn is_told_already(&self, event: &Event, names: &RunNames) -> bool {
        match event {
            Event::Published { .. } | Event::Queued { .. } | Event::Skipped { .. } => true,
            Event::Claimed { attempt, .. } => attempt.attempt == 1,
            Event::Finished { attempt, consumer, outcome, then, started_at, ended_at, .. } => {
                attempt.attempt == 1
                    && names.consumers.name(self.consumer) == Some(consumer)
                    && *outcome == Outcome::Succeeded
                    && *then == Then::Done
                    && (*started_at, *ended_at) == (self.started_at, self.ended_at)
            }
            _ => false,
        }
    }
}
