//! The timetable of one cluster: which ticks are due. It never learns that Kafka exists and never reads a clock.
//!
//! Jobs that share a schedule, its window, a shift and the rule for late ticks form a group, which is due as one and
//! has one fate. The groups stand in buckets, one for each second that has any, so a million jobs due in one second
//! cost a few steps in the tree of buckets and a walk along their groups. A group stands in one bucket at a time, that
//! of its oldest tick not yet taken. The next tick is computed when this one has been taken, so the timetable does not
//! grow however long no caller takes a tick.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::producer::job::{CatchUp, Job};
use crate::producer::schedule::Schedule;
use crate::producer::window::Window;

/// An instant at which a job is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The job.
    pub job: Arc<Job>,
    /// The scheduled instant, after the job's jitter.
    pub at: DateTime<Utc>,
}

/// The oldest ticks not yet taken, those of one group.
#[derive(Debug, Clone, Copy)]
pub(in crate::producer) struct Due<'a> {
    /// Their instant.
    pub at: DateTime<Utc>,
    /// The group's number.
    pub group: usize,
    /// How many jobs of the group were handed out at this instant before.
    pub handed_out: usize,
    /// The others; never empty.
    pub jobs: &'a [Arc<Job>],
}

/// The ticks of a set of jobs, in order. A copy shares the jobs.
#[derive(Debug, Clone)]
pub struct Timetable {
    groups: Arc<[Group]>,
    /// Numbers of groups by the instant, in whole seconds, of their oldest tick not yet taken. No bucket is empty.
    buckets: BTreeMap<DateTime<Utc>, VecDeque<usize>>,
    /// How many jobs of the very first group have been handed out, where a limit cut it.
    handed_out: usize,
}

/// Jobs that are due at the same instants and judged alike when they are late.
#[derive(Debug)]
struct Group {
    schedule: Arc<Schedule>,
    window: Window,
    shift: TimeDelta,
    jobs: Vec<Arc<Job>>,
}

impl Group {
    /// The first tick after `after`: it is the shifted instant that is after it.
    fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let unshifted = after.checked_sub_signed(self.shift)?;
        self.window.next(unshifted, |after| self.schedule.next(after))?.checked_add_signed(self.shift)
    }
}

impl Timetable {
    /// A timetable of the ticks after `from`.
    pub fn new(jobs: &[Arc<Job>], from: DateTime<Utc>) -> Self {
        Self::starting(group(jobs).into(), from)
    }

    /// Another timetable of the same jobs: their ticks after `from`. The jobs are shared.
    pub(in crate::producer) fn after(&self, from: DateTime<Utc>) -> Self {
        Self::starting(Arc::clone(&self.groups), from)
    }

    fn starting(groups: Arc<[Group]>, from: DateTime<Utc>) -> Self {
        let mut timetable = Self { groups, buckets: BTreeMap::new(), handed_out: 0 };
        for number in 0..timetable.groups.len() {
            timetable.enter(number, from);
        }
        timetable
    }

    /// Takes ticks that are due at `now`, in the order of their instants, at most `limit`. What is left stays due.
    pub fn take(&mut self, now: DateTime<Utc>, limit: usize) -> Vec<Tick> {
        let mut ticks = Vec::new();
        while ticks.len() < limit
            && let Some(Due { at, jobs, .. }) = self.due(now)
        {
            let taken = jobs.len().min(limit - ticks.len());
            ticks.extend(jobs[..taken].iter().map(|job| Tick { job: Arc::clone(job), at }));
            self.pass(taken);
        }
        ticks
    }

    /// What [`take`](Self::take) would take first.
    pub(in crate::producer) fn due(&self, now: DateTime<Utc>) -> Option<Due<'_>> {
        let (at, bucket) = self.buckets.first_key_value().filter(|(at, _)| **at <= now)?;
        let group = *bucket.front()?;
        let handed_out = self.handed_out;
        Some(Due { at: *at, group, handed_out, jobs: &self.groups[group].jobs[handed_out..] })
    }

    /// Goes on behind the first `count` jobs of what is due.
    pub(in crate::producer) fn pass(&mut self, count: usize) {
        let Some((at, bucket)) = self.buckets.first_key_value() else { return };
        let (at, Some(number)) = (*at, bucket.front().copied()) else { return };
        self.handed_out += count;
        if self.handed_out >= self.groups[number].jobs.len() {
            self.leave_first();
            self.enter(number, at);
        }
    }

    /// The jobs of a group.
    pub(super) fn jobs(&self, group: usize) -> &[Arc<Job>] {
        &self.groups[group].jobs
    }

    /// The first tick of a group after `after`.
    pub(super) fn next_of(&self, group: usize, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.groups[group].next(after)
    }

    /// The jobs that have a tick after `from`, up to `until`.
    pub(super) fn due_between(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> impl Iterator<Item = &Arc<Job>> {
        let due = move |group: &&Group| group.next(from).is_some_and(|at| at <= until);
        self.groups.iter().filter(due).flat_map(|group| &group.jobs)
    }

    /// The instant of the next tick that was not taken; `None` when there is none any more.
    pub fn next(&self) -> Option<DateTime<Utc>> {
        self.buckets.first_key_value().map(|(at, _)| *at)
    }

    /// How many jobs there are, those that are never due again among them.
    pub fn job_count(&self) -> usize {
        self.groups.iter().map(|group| group.jobs.len()).sum()
    }

    /// Puts a group into the bucket of its first tick after `after`, if it has one.
    fn enter(&mut self, number: usize, after: DateTime<Utc>) {
        if let Some(at) = self.groups[number].next(after) {
            self.buckets.entry(at).or_default().push_back(number);
        }
    }

    /// Takes the first group out of its bucket.
    fn leave_first(&mut self) {
        self.handed_out = 0;
        if let Some(mut first) = self.buckets.first_entry() {
            first.get_mut().pop_front();
            if first.get().is_empty() {
                first.remove();
            }
        }
    }
}

/// The groups, in the order of their first jobs. Schedules that are equal need not be the same one.
fn group(jobs: &[Arc<Job>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut numbers: HashMap<(&Schedule, Window, TimeDelta, CatchUp, Option<u64>), usize> = HashMap::new();
    for job in jobs {
        let shift = job.shift();
        let alike = (&*job.schedule, job.window, shift, job.catch_up, job.limits.deadline_ms);
        let number = *numbers.entry(alike).or_insert_with(|| {
            let (schedule, window) = (Arc::clone(&job.schedule), job.window);
            groups.push(Group { schedule, window, shift, jobs: Vec::new() });
            groups.len() - 1
        });
        groups[number].jobs.push(Arc::clone(job));
    }
    groups
}

#[cfg(test)]
mod tests;
