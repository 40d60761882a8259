//! The run list: the runs of a period, as far as messages and events tell. Memory grows with the runs, not with the events.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::run_detail as story;
use super::run_detail::RunDetail;
use crate::common::model::{Attempt, ClusterName, Event, JobName, RunId};
use crate::common::topics;

/// A run, or a tick that did not become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The run's id.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// Its cluster, where it is known.
    pub cluster: Option<ClusterName>,
    /// The instant that the schedule named, where it is known: a claim does not say so.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// What was decided about the tick.
    pub decision: Decision,
    /// Its attempts.
    pub story: RunDetail,
}

/// What was decided about a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// The run before it is in its way, and it is not run.
    Skipped,
    /// It waits for the run before it.
    Queued,
    /// It is published.
    Published,
}

impl Entry {
    /// The bounded word for how far it has come.
    pub fn word(&self) -> &'static str {
        match self.decision {
            _ if !self.story.attempts.is_empty() || self.story.ended.is_some() => self.story.stage().word(),
            Decision::Skipped => "skipped",
            Decision::Queued => "queued",
            Decision::Published => self.story.stage().word(),
        }
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.story.stage().is_over() || (self.decision == Decision::Skipped && self.story.attempts.is_empty())
    }
}

/// Runs by id.
#[derive(Debug, Default)]
pub struct RunList {
    /// What is known of each.
    pub runs: HashMap<RunId, Entry>,
}

/// What is known of a run from one message or event.
struct Told<'a> {
    run: RunId,
    job: &'a JobName,
    cluster: Option<ClusterName>,
    scheduled_at: Option<DateTime<Utc>>,
    decision: Decision,
}

impl RunList {
    /// Takes a message of a cluster's topic. Returns its run, if something is new about it.
    pub fn message(&mut self, attempt: &Attempt) -> Option<RunId> {
        let run = &attempt.run;
        self.entry(Told {
            run: run.id,
            job: &run.job,
            cluster: Some(run.cluster.clone()),
            scheduled_at: Some(run.scheduled_at),
            decision: Decision::Published,
        })
        .1
        .then_some(run.id)
    }

    /// Takes an event. Returns the run that it tells something about.
    pub fn event(&mut self, event: &Event, written_at: DateTime<Utc>) -> Option<RunId> {
        let run = story::run_of(event)?;
        let told = |job, cluster: &ClusterName, at: DateTime<Utc>, decision| {
            Some(Told { run, job, cluster: Some(cluster.clone()), scheduled_at: Some(at), decision })
        };
        let told = match event {
            Event::Claimed { job, place, .. } => Some(Told {
                run,
                job,
                cluster: topics::cluster_of(&place.topic),
                scheduled_at: None,
                decision: Decision::Published,
            }),
            Event::Lost { job: None, .. }
            | Event::Lost { scheduled_at: None, .. }
            | Event::Ended { scheduled_at: None, .. } => {
                // Its message is gone; what is known of the run was told by the claim.
                let entry = self.runs.get_mut(&run)?;
                entry.story.take(event, written_at);
                return Some(run);
            }
            Event::Lost { job: Some(job), cluster, scheduled_at: Some(scheduled_at), .. }
            | Event::Ended { job, cluster, scheduled_at: Some(scheduled_at), .. }
            | Event::Finished { job, cluster, scheduled_at, .. }
            | Event::Published { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Published)
            }
            Event::Queued { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Queued)
            }
            Event::Skipped { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Skipped)
            }
            _ => None,
        }?;
        let (entry, new) = self.entry(told);
        let before = entry.story.clone();
        entry.story.take(event, written_at);
        (new || entry.story != before).then_some(run)
    }

    /// The entry with what was told in it, and whether that was new.
    fn entry(&mut self, told: Told<'_>) -> (&mut Entry, bool) {
        let Told { run, job, cluster, scheduled_at, decision } = told;
        let fresh = !self.runs.contains_key(&run);
        let entry = self.runs.entry(run).or_insert_with(|| Entry {
            run,
            job: job.clone(),
            cluster: None,
            scheduled_at: None,
            decision,
            story: RunDetail::default(),
        });
        let new = fresh || decision > entry.decision;
        entry.decision = entry.decision.max(decision);
        entry.cluster = entry.cluster.take().or(cluster);
        entry.scheduled_at = entry.scheduled_at.or(scheduled_at);
        (entry, new)
    }

    /// Forgets what is over and older than an instant.
    pub fn forget_before(&mut self, instant: DateTime<Utc>) {
        self.runs.retain(|_, entry| !entry.is_over() || entry.scheduled_at.is_none_or(|at| at >= instant));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::{AttemptRef, Place};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn skipped(scheduled: i64) -> Event {
        let (job, cluster) = (JobName::new("j").unwrap(), ClusterName::new("c").unwrap());
        let blocked_by = RunId::of(&job, at(0));
        Event::Skipped { job, cluster, scheduled_at: at(scheduled), blocked_by, at: at(scheduled) }
    }

    fn queued(scheduled: i64) -> Event {
        let (job, cluster) = (JobName::new("j").unwrap(), ClusterName::new("c").unwrap());
        let blocked_by = RunId::of(&job, at(0));
        Event::Queued { job, cluster, scheduled_at: at(scheduled), blocked_by, at: at(scheduled) }
    }

    fn claimed(scheduled: i64) -> Event {
        let job = JobName::new("j").unwrap();
        let topic = "c-retry".to_owned();
        Event::Claimed {
            attempt: AttemptRef { run: RunId::of(&job, at(scheduled)), attempt: 1 },
            job,
            place: Place { topic, topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 },
            consumer: "me".to_owned(),
            lease_ms: 1,
            at: at(scheduled),
        }
    }

    #[test]
    fn events_in_any_order_make_one_entry_a_run() {
        let check = |events: &[Event], word: &str, scheduled_at: Option<i64>| {
            let mut journal = RunList::default();
            for event in events {
                journal.event(event, at(0));
            }
            let entries: Vec<&Entry> = journal.runs.values().collect();
            assert_eq!(entries.len(), 1, "{events:?}");
            assert_eq!((entries[0].word(), entries[0].scheduled_at), (word, scheduled_at.map(at)));
            assert_eq!(entries[0].cluster.as_ref().map(ClusterName::as_str), Some("c"));
        };
        check(&[skipped(60)], "skipped", Some(60));
        check(&[queued(60)], "queued", Some(60));
        check(&[claimed(60)], "running", None);
        check(&[queued(60), claimed(60)], "running", Some(60));
        check(&[claimed(60), queued(60)], "running", Some(60));
    }

    #[test]
    fn what_is_told_again_is_no_news() {
        let mut journal = RunList::default();
        let mut check = |event: Event, news: bool| {
            assert_eq!(journal.event(&event, at(0)).is_some(), news, "{event:?}");
        };
        check(queued(60), true);
        check(queued(60), false);
        check(claimed(60), true);
        check(claimed(60), false);
        check(Event::Beat { leader: String::new(), number: 1, at: at(0) }, false);
    }

    #[test]
    fn only_what_is_over_is_forgotten() {
        let mut journal = RunList::default();
        for event in [skipped(60), skipped(120), queued(30)] {
            journal.event(&event, at(0));
        }
        journal.forget_before(at(100));
        let mut left: Vec<i64> =
            journal.runs.values().filter_map(|entry| entry.scheduled_at).map(|at| at.timestamp()).collect();
        left.sort_unstable();
        assert_eq!(left, [30, 120]);
    }
}
