//! Runs that hold ticks of their job back and were due before the period. The command reads the topics again
//! to see what became of those that hold ticks back for long.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::report::Item;
use crate::common::model::{Event, JobName, RunId, RunningAttempt};
use crate::cronctl::instant::shown;
use crate::cronctl::runs::run_detail::{RunDetail, Stage, attempt_of};

/// What a run holds back.
#[derive(Debug)]
struct Hold {
    job: JobName,
    /// The first and the last tick that it holds back.
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    count: u64,
    detail: RunDetail,
}

/// The runs of before the period that hold something back.
#[derive(Debug, Default)]
pub struct Held(HashMap<RunId, Hold>);

impl Held {
    /// Notes a tick that a run of before the period holds back.
    pub fn add(&mut self, by: RunId, job: &JobName, tick: DateTime<Utc>) {
        let fresh =
            || Hold { job: job.clone(), first: tick, last: tick, count: 0, detail: RunDetail::default() };
        let hold = self.0.entry(by).or_insert_with(fresh);
        (hold.first, hold.last) = (hold.first.min(tick), hold.last.max(tick));
        hold.count += 1;
    }

    /// Keeps the runs that hold something back for longer than that. Whether there is any, so that all events have to be asked
    /// about them.
    pub fn is_for_longer_than(&mut self, limit: Duration) -> bool {
        let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
        self.0.retain(|_, hold| hold.last - hold.first > limit);
        !self.0.is_empty()
    }

    /// Takes what an event says about the runs that hold something back.
    pub fn take(&mut self, event: &Event, written_at: DateTime<Utc>) {
        if let Event::Alive { lease_ms, running, .. } = event {
            for RunningAttempt { attempt, .. } in running {
                if let Some(hold) = self.0.get_mut(&attempt.run) {
                    hold.detail.sign(attempt.attempt, written_at, *lease_ms);
                }
            }
        } else if let Some(hold) = attempt_of(event).and_then(|attempt| self.0.get_mut(&attempt.run)) {
            hold.detail.take(event, written_at);
        }
    }

    /// The runs that hold ticks back and do not live.
    pub fn faults(self, now: DateTime<Utc>) -> impl Iterator<Item = Item> {
        self.0.into_iter().filter_map(move |(run, Hold { job, first, last, count, detail })| {
            let why = match detail.stage() {
                Stage::Waiting => "no consumer has begun it",
                Stage::Running if detail.is_abandoned(now) => "its lease has run out",
                _ => return None,
            };
            let why = format!("this run holds back {count} ticks from then to {}, and {why}", shown(last));
            Some(Item { job, scheduled_at: first, run, why })
        })
    }
}
