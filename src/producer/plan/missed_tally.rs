//! The missed ticks of a backlog, counted a group at a time, so that the cost of a day of a hundred thousand jobs
//! depends on their schedules and not on the number of their ticks.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};

use super::batch::Missed;
use super::timetable::{Due, Timetable};
use crate::common::model::MissedReason;

/// Intervals that were counted and not handed out.
#[derive(Debug, Default)]
pub(super) struct MissedTally {
    /// In the order of their first instants.
    intervals: VecDeque<Interval>,
    /// For each group, how many intervals lie before its latest one.
    latest: HashMap<usize, usize>,
    /// One a job and interval.
    len: usize,
}

/// Ticks in a row of a group's jobs, but for the first few.
#[derive(Debug)]
struct Interval {
    group: usize,
    /// How many of the group's jobs it is not about: they were handed out before.
    but_first: usize,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    count: u64,
    reason: MissedReason,
}

impl MissedTally {
    /// The ticks that are due are missed. Not while intervals are being handed out.
    pub(super) fn count(&mut self, due: Due<'_>, reason: MissedReason) {
        let latest = self.latest.get(&due.group).and_then(|number| self.intervals.get_mut(*number));
        match latest.filter(|latest| latest.reason == reason && latest.but_first == due.handed_out) {
            Some(latest) => {
                latest.to = due.at;
                latest.count += 1;
            }
            None => {
                self.latest.insert(due.group, self.intervals.len());
                self.len += due.jobs.len();
                self.intervals.push_back(Interval {
                    group: due.group,
                    but_first: due.handed_out,
                    from: due.at,
                    to: due.at,
                    count: 1,
                    reason,
                });
            }
        }
    }

    /// Hands out intervals, at most `limit`.
    pub(super) fn take(&mut self, timetable: &Timetable, limit: usize) -> Vec<Missed> {
        let mut missed = Vec::new();
        self.latest.clear();
        while missed.len() < limit
            && let Some(interval) = self.intervals.front_mut()
        {
            let jobs = &timetable.jobs(interval.group)[interval.but_first..];
            let taken = jobs.len().min(limit - missed.len());
            let Interval { from, to, count, reason, .. } = *interval;
            missed.extend(jobs[..taken].iter().cloned().map(|job| Missed { job, from, to, count, reason }));
            interval.but_first += taken;
            if taken == jobs.len() {
                self.intervals.pop_front();
            }
        }
        self.len -= missed.len();
        missed
    }

    /// How many intervals there are, one a job.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The oldest instant among them.
    pub(super) fn oldest(&self) -> Option<DateTime<Utc>> {
        self.intervals.front().map(|interval| interval.from)
    }
}
