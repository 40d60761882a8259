//! What is due when: jobs of one schedule, their windows and shifts, and backlogs of any length.

use std::time::Duration;

use super::*;
use crate::common::model::Limits;
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
    assert_eq!(jobs.map(|job| job.next(at(15)).map(|at| at.timestamp())), [None, Some(20), None, Some(18)]);
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
    let jobs = [job("slow", "@every 20s", 0), job("fast", "@every 10s", 0), job("slow-too", "@every 20s", 0)];
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
