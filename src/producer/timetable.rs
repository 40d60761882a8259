//! The timetable of one cluster: which ticks are due. It never learns that Kafka exists, and never asks a clock.
//!
//! Jobs that share a schedule, its window, a shift and the rule for late ticks form a group, which is due as one and has one fate;
//! the groups stand in buckets, one a second that has any. So a million jobs due in one second cost a few steps in the
//! tree of buckets and a walk along their groups. A group stands in one bucket at a time, that of its oldest tick not
//! yet taken: the next is computed when this one has been taken, and however long nobody takes, the timetable does not
//! grow.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::job::{CatchUp, Job};
use super::schedule::Schedule;
use super::window::Window;

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
pub(super) struct Due<'a> {
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
    pub(super) fn after(&self, from: DateTime<Utc>) -> Self {
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
    pub(super) fn due(&self, now: DateTime<Utc>) -> Option<Due<'_>> {
        let (at, bucket) = self.buckets.first_key_value().filter(|(at, _)| **at <= now)?;
        let group = *bucket.front()?;
        let handed_out = self.handed_out;
        Some(Due { at: *at, group, handed_out, jobs: &self.groups[group].jobs[handed_out..] })
    }

    /// Goes on behind the first `count` jobs of what is due.
    pub(super) fn pass(&mut self, count: usize) {
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::common::words::Limits;
    use crate::producer::job::{CatchUpPolicy, sample};

    /// A job by its name, with a jitter in seconds.
    fn job(name: &str, words: &str, jitter: u64) -> Arc<Job> {
        Arc::new(Job { jitter: Duration::from_secs(jitter), ..sample(name, words) })
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("an instant")
    }

    #[test]
    fn jobs_of_one_schedule_are_due_each_in_its_own_window() {
        let bound = |name: &str, from: Option<i64>, until: Option<i64>, jitter: u64| {
            let window = Window { from: from.map(at), until: until.map(at) };
            Arc::new(Job { window, jitter: Duration::from_secs(jitter), ..sample(name, "@every 10s") })
        };
        let late = bound("late", None, Some(20), 9);
        let shift = late.shift().num_seconds();
        assert_eq!(shift, 8, "it is the schedule's instants that are bound, not the shifted ones");
        let jobs = [
            bound("first", None, Some(20), 0),
            bound("then", Some(20), None, 0),
            bound("gone", None, Some(5), 0),
            late,
        ];
        let mut timetable = Timetable::new(&jobs, at(5));
        check(&mut timetable, 30, 9, &[("late", 8), ("first", 10), ("late", 18), ("then", 20), ("then", 30)]);
        assert_eq!(
            jobs.map(|job| job.next(at(15)).map(|at| at.timestamp())),
            [None, Some(20), None, Some(18)]
        );
    }

    /// Takes, and compares with names and seconds since the epoch.
    fn check(timetable: &mut Timetable, now: i64, limit: usize, expected: &[(&str, i64)]) {
        let taken = timetable.take(at(now), limit);
        let taken: Vec<(&str, i64)> =
            taken.iter().map(|tick| (tick.job.name.as_str(), tick.at.timestamp())).collect();
        assert_eq!(taken, expected, "at {now}, at most {limit}");
    }

    #[test]
    fn ticks_come_in_the_order_of_their_instants() {
        let jobs =
            [job("slow", "@every 20s", 0), job("fast", "@every 10s", 0), job("slow-too", "@every 20s", 0)];
        let mut timetable = Timetable::new(&jobs, at(0));
        check(&mut timetable, 9, 10, &[]);
        check(&mut timetable, 10, 10, &[("fast", 10)]);
        assert_eq!(timetable.next(), Some(at(20)));
        check(&mut timetable, 29, 10, &[("slow", 20), ("slow-too", 20), ("fast", 20)]);
        check(&mut timetable, 29, 10, &[]);
        assert_eq!(timetable.job_count(), 3);
    }

    #[test]
    fn a_tick_at_the_start_is_past() {
        let jobs = [job("a", "@every 10s", 0)];
        assert_eq!(Timetable::new(&jobs, at(10)).next(), Some(at(20)));
        assert_eq!(Timetable::new(&jobs, at(10) - TimeDelta::nanoseconds(1)).next(), Some(at(10)));
        assert_eq!(Timetable::new(&jobs, at(10) + TimeDelta::nanoseconds(1)).next(), Some(at(20)));
    }

    #[test]
    fn a_limit_cuts_a_group_and_the_next_call_goes_on_in_it() {
        let jobs = ["a", "b", "c", "d", "e"].map(|name| job(name, "@every 10s", 0));
        let mut timetable = Timetable::new(&jobs, at(0));
        check(&mut timetable, 10, 0, &[]);
        check(&mut timetable, 10, 2, &[("a", 10), ("b", 10)]);
        assert_eq!(timetable.next(), Some(at(10)));
        check(&mut timetable, 20, 2, &[("c", 10), ("d", 10)]);
        check(&mut timetable, 20, 3, &[("e", 10), ("a", 20), ("b", 20)]);
        check(&mut timetable, 20, 3, &[("c", 20), ("d", 20), ("e", 20)]);
        assert_eq!(timetable.next(), Some(at(30)));
    }

    #[test]
    fn no_tick_comes_twice_when_the_clock_is_set_back() {
        let jobs = [job("a", "@every 10s", 0), job("b", "@every 10s", 0)];
        let mut timetable = Timetable::new(&jobs, at(0));
        check(&mut timetable, 20, 3, &[("a", 10), ("b", 10), ("a", 20)]);
        check(&mut timetable, 5, 10, &[]);
        check(&mut timetable, 10, 10, &[]);
        check(&mut timetable, 20, 10, &[("b", 20)]);
        check(&mut timetable, 30, 10, &[("a", 30), ("b", 30)]);
    }

    #[test]
    fn a_shifted_tick_after_the_start_counts_though_its_instant_lies_before() {
        let shifted = job("shifted", "@every 100s", 60);
        let shift = shifted.shift().num_seconds();
        assert!(shift > 1, "{shift}");
        let jobs = [shifted, job("plain", "@every 100s", 0)];
        let mut timetable = Timetable::new(&jobs, at(100 + shift - 1));
        check(&mut timetable, 200, 10, &[("shifted", 100 + shift), ("plain", 200)]);
        check(&mut timetable, 300, 10, &[("shifted", 200 + shift), ("plain", 300)]);
        let timetable = Timetable::new(&jobs[..1], at(100 + shift));
        assert_eq!(timetable.next(), Some(at(200 + shift)));
    }

    #[test]
    fn an_outage_costs_no_memory_and_loses_no_tick() {
        let jobs = [job("a", "* * * * * *", 0), job("b", "* * * * * *", 0), job("c", "@every 7s", 0)];
        let mut timetable = Timetable::new(&jobs, at(0));
        let mut taken = Vec::new();
        loop {
            let ticks = timetable.take(at(100_000), 997);
            assert!(timetable.buckets.values().map(VecDeque::len).sum::<usize>() <= 2);
            if ticks.is_empty() {
                break;
            }
            taken.extend(ticks);
        }
        assert!(taken.is_sorted_by_key(|tick| tick.at));
        assert_eq!(taken.len(), 2 * 100_000 + 100_000 / 7);
    }

    #[test]
    fn a_million_jobs_due_in_one_second_are_taken_within_the_limit() {
        const JOBS: usize = 1_000_000;
        const LIMIT: usize = 10_000;
        // The names are alike: what is shared among a million jobs is their schedule, and this test is of that alone.
        let [minutely, hourly] = [job("a", "* * * * *", 0), job("b", "@hourly", 0)];
        let jobs: Vec<Arc<Job>> =
            (0..JOBS).map(|n| Arc::clone(if n % 2 == 0 { &minutely } else { &hourly })).collect();
        let mut timetable = Timetable::new(&jobs, at(3599));
        assert_eq!(timetable.job_count(), JOBS);
        for _ in 0..JOBS / LIMIT {
            let ticks = timetable.take(at(3600), LIMIT);
            assert!(ticks.len() == LIMIT && ticks.iter().all(|tick| tick.at == at(3600)));
        }
        check(&mut timetable, 3600, LIMIT, &[]);
        assert_eq!(timetable.groups.len(), 2);
        assert_eq!(timetable.next(), Some(at(3660)));
    }

    #[test]
    fn a_timetable_of_the_same_jobs_starts_where_it_is_told() {
        let jobs = [job("a", "@every 10s", 0), job("b", "@every 10s", 0), job("c", "@every 40s", 0)];
        let mut timetable = Timetable::new(&jobs, at(0));
        check(&mut timetable, 10, 1, &[("a", 10)]);
        let mut later = timetable.after(at(20));
        check(&mut later, 30, 10, &[("a", 30), ("b", 30)]);
        check(&mut timetable, 20, 10, &[("b", 10), ("a", 20), ("b", 20)]);
    }

    #[test]
    fn a_group_is_judged_alike() {
        let with = |policy| CatchUp { policy, ..CatchUp::default() };
        let limits = Limits { deadline_ms: Some(1), ..sample("a", "@hourly").limits };
        let jobs = [
            sample("a", "@hourly"),
            Job { catch_up: with(CatchUpPolicy::All), ..sample("b", "@hourly") },
            Job { limits, ..sample("c", "@hourly") },
            Job { command: "false".to_owned(), ..sample("d", "0 * * * *") },
        ];
        let timetable = Timetable::new(&jobs.map(Arc::new), at(0));
        let sizes: Vec<usize> = timetable.groups.iter().map(|group| group.jobs.len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[test]
    fn nothing_is_due_without_jobs_or_time() {
        let mut timetable = Timetable::new(&[], at(0));
        check(&mut timetable, 100, 10, &[]);
        assert_eq!((timetable.next(), timetable.job_count()), (None, 0));
        let jobs = [job("a", "* * * * *", 3600)];
        for edge in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            assert!(Timetable::new(&jobs, edge).next().is_none_or(|next| next > edge), "{edge}");
        }
    }
}
