//! The figures of a cluster, counted from its runs: what is running, late, failing and held. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use crate::common::model::{ClusterName, JobName};
use crate::cronctl::runs::entry::{Decision, Entry};
use crate::cronctl::runs::run_detail::Stage;

/// A run is late if no consumer has begun it so long after it was due.
pub const LATE: TimeDelta = TimeDelta::seconds(10);

/// How a run is shown and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// An attempt is under way.
    Running,
    /// An attempt is under way, and its consumer has given no sign of life for a lease.
    Silent,
    /// No consumer has begun it.
    Waiting,
    /// The same, for longer than [`LATE`].
    Late,
    /// The next attempt waits.
    Retrying,
    /// The tick waits for the run before it.
    Held,
    /// It was given up, or lost.
    Failed,
    /// It is over in another way.
    Over,
}

impl State {
    /// The state of a run at an instant.
    pub fn of(entry: &Entry, now: DateTime<Utc>) -> Self {
        if entry.detail.attempts.is_empty() && entry.detail.ended.is_none() {
            match entry.decision {
                Decision::Queued => return Self::Held,
                Decision::Missed | Decision::Skipped => return Self::Over,
                Decision::Published => {}
            }
        }
        match entry.detail.stage() {
            Stage::Waiting if entry.scheduled_at.is_some_and(|due| due + LATE < now) => Self::Late,
            Stage::Waiting => Self::Waiting,
            Stage::Running if is_silent(entry, now) => Self::Silent,
            Stage::Running => Self::Running,
            Stage::Retrying => Self::Retrying,
            Stage::GivenUp | Stage::Lost => Self::Failed,
            Stage::Succeeded | Stage::Expired | Stage::Replaced | Stage::Ended => Self::Over,
        }
    }
}

fn is_silent(entry: &Entry, now: DateTime<Utc>) -> bool {
    let lease = entry.detail.attempts.last().and_then(|(_, tried)| tried.lease);
    lease.is_some_and(|(until, _)| until < now)
}

/// The figures of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Runs of which an attempt is under way.
    pub running: usize,
    /// Of these, those whose consumer is silent.
    pub silent: usize,
    /// Runs that no consumer has begun in time.
    pub late: usize,
    /// When the oldest of these was due.
    pub oldest: Option<DateTime<Utc>>,
    /// Jobs whose newest run that has a result failed: it waits for a retry, was given up, or was lost.
    pub failing: usize,
    /// Ticks that wait for the run before them.
    pub held: usize,
}

/// When a job's newest run that has a result was due, and whether it failed.
type Newest = (Option<DateTime<Utc>>, bool);

/// Counts the runs of each cluster.
pub fn count<'a>(
    entries: impl Iterator<Item = Cow<'a, Entry>>,
    now: DateTime<Utc>,
) -> BTreeMap<ClusterName, Figures> {
    let mut counted: BTreeMap<ClusterName, Figures> = BTreeMap::new();
    let mut newest: HashMap<(ClusterName, JobName), Newest> = HashMap::new();
    for entry in entries {
        let Some(cluster) = entry.cluster.clone() else { continue };
        let figures = counted.entry(cluster.clone()).or_default();
        let state = State::of(&entry, now);
        match state {
            State::Running => figures.running += 1,
            State::Silent => (figures.running, figures.silent) = (figures.running + 1, figures.silent + 1),
            State::Late => {
                figures.late += 1;
                figures.oldest = figures.oldest.into_iter().chain(entry.scheduled_at).min();
            }
            State::Held => figures.held += 1,
            State::Waiting | State::Retrying | State::Failed | State::Over => {}
        }
        let result = match state {
            State::Retrying | State::Failed => true,
            State::Over if entry.detail.last_end().is_some() => false,
            // A later attempt of a run that has failed before has not succeeded yet.
            State::Running | State::Silent if entry.detail.last_end().is_some() => true,
            _ => continue,
        };
        let of = newest.entry((cluster, entry.job.clone())).or_insert((entry.scheduled_at, result));
        if entry.scheduled_at >= of.0 {
            *of = (entry.scheduled_at, result);
        }
    }
    for ((cluster, _), (_, is_failing)) in newest {
        if let Some(figures) = counted.get_mut(&cluster).filter(|_| is_failing) {
            figures.failing += 1;
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::{Outcome, Then};
    use crate::cronctl::runs::run_list::RunList;
    use crate::cronctl::top::sample::{at, claimed, finished, lost, message, queued, skipped};

    /// A first attempt that has ended: its job, when it was due, and how.
    type Ended<'a> = (&'a str, i64, Outcome, Then);

    const FAILED: Outcome = Outcome::Failed { code: 1 };

    fn check(fill: impl FnOnce(&mut RunList), now: i64, expected: &Figures) {
        let mut runs = RunList::default();
        fill(&mut runs);
        let counted = count(runs.entries(), at(now));
        let of = counted.into_iter().next().map(|(_, figures)| figures).unwrap_or_default();
        assert_eq!(of, *expected);
    }

    #[test]
    fn a_run_is_running_while_its_consumer_gives_signs_of_life() {
        // Without its message the run's instant is unknown; it is counted all the same.
        let one = |runs: &mut RunList| {
            runs.event(&claimed("j", 60, 1), at(61));
        };
        let running = Figures { running: 1, ..Figures::default() };
        check(one, 62, &running);
        check(one, 121, &running);
        check(one, 122, &Figures { running: 1, silent: 1, ..Figures::default() });
    }

    #[test]
    fn a_run_is_late_when_no_consumer_has_begun_it() {
        let two = |runs: &mut RunList| {
            runs.message(&message("j", 60));
            runs.message(&message("j", 50));
        };
        check(two, 60, &Figures::default());
        check(two, 61, &Figures { late: 1, oldest: Some(at(50)), ..Figures::default() });
        check(two, 71, &Figures { late: 2, oldest: Some(at(50)), ..Figures::default() });
    }

    #[test]
    fn a_job_fails_as_its_newest_result_says() {
        let fails = |count| Figures { failing: count, ..Figures::default() };
        let rows: [(&[Ended<'_>], usize); 5] = [
            (&[("j", 60, Outcome::Succeeded, Then::Done)], 0),
            (&[("j", 60, FAILED, Then::Dead)], 1),
            (&[("j", 60, FAILED, Then::Retried), ("k", 60, FAILED, Then::Dead)], 2),
            (&[("j", 120, Outcome::Succeeded, Then::Done), ("j", 60, FAILED, Then::Dead)], 0),
            (&[("j", 60, Outcome::Succeeded, Then::Done), ("j", 120, FAILED, Then::Dead)], 1),
        ];
        for (events, failing) in rows {
            let fill = |runs: &mut RunList| {
                for (job, due, outcome, then) in events {
                    runs.event(&finished(job, *due, 1, outcome.clone(), *then), at(*due));
                }
            };
            check(fill, 120, &fails(failing));
        }
        let gone = |runs: &mut RunList| {
            runs.event(&lost("j", 60, Then::Dead), at(60));
        };
        check(gone, 120, &fails(1));
        let again = |runs: &mut RunList| {
            runs.event(&finished("j", 60, 1, FAILED, Then::Retried), at(60));
            runs.event(&claimed("j", 60, 2), at(70));
        };
        check(again, 80, &Figures { running: 1, failing: 1, ..Figures::default() });
    }

    #[test]
    fn a_tick_that_waits_is_held_and_one_that_is_skipped_is_not() {
        let ticks = |runs: &mut RunList| {
            runs.event(&queued("j", 60), at(60));
            runs.event(&skipped("j", 120), at(120));
        };
        check(ticks, 600, &Figures { held: 1, ..Figures::default() });
    }
}
