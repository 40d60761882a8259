//! The promises of a cluster plan, one by one. `model` checks all of them at once, under random circumstances.

mod backlog_count;
mod outages;
mod swaps;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::common::model::MissedReason;
use crate::producer::job::{CatchUp, CatchUpPolicy, Job, sample};

const NOT_ASKED_FOR: MissedReason = MissedReason::NotCaughtUp;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("an instant")
}

fn job(name: &str, words: &str, policy: CatchUpPolicy) -> Job {
    Job { catch_up: CatchUp { policy, ..CatchUp::default() }, ..sample(name, words) }
}

fn last(name: &str, words: &str) -> Job {
    job(name, words, CatchUpPolicy::Last)
}

fn all(name: &str, words: &str) -> Job {
    job(name, words, CatchUpPolicy::All)
}

fn file<const N: usize>(revision: &str, jobs: [Job; N]) -> ActiveJobs {
    ActiveJobs { jobs: jobs.map(Arc::new).to_vec(), revision: revision.into(), tzdata: "2026f".into() }
}

/// A plan whose cursor and the end of whose backlog are given in seconds.
fn plan(file: &ActiveJobs, cursor: i64, past: i64) -> ClusterPlan {
    ClusterPlan::new(Term::FIRST, file, &sample("any", "@hourly").cluster, at(cursor), at(past) + LATE)
}

/// What a batch says, briefly: `source revision: job@second.. | job@from-to*count reason..`. The plan promises no order
/// of jobs at one instant.
fn shown(batch: &Batch) -> String {
    assert!(batch.ticks.is_sorted_by_key(|tick| tick.at));
    let mut ticks: Vec<_> =
        batch.ticks.iter().map(|tick| (tick.at.timestamp(), tick.job.name.as_str())).collect();
    ticks.sort_unstable();
    let ticks: String = ticks.iter().map(|(at, name)| format!(" {name}@{at}")).collect();
    let mut missed: Vec<_> = batch
        .missed
        .iter()
        .map(|Missed { job, from, to, count, reason }| {
            let (from, to) = (from.timestamp(), to.timestamp());
            (from, format!(" {}@{from}-{to}*{count} {}", job.name, reason.word()))
        })
        .collect();
    missed.sort_unstable();
    let missed: String = missed.into_iter().map(|(_, shown)| shown).collect();
    let separator = if missed.is_empty() { "" } else { " |" };
    format!("{:?} {}:{ticks}{separator}{missed}", batch.source, batch.revision)
}

/// Takes everything, in batches of at most `limit`, and compares.
fn check(plan: &mut ClusterPlan, now: i64, limit: usize, expected: &[&str]) {
    let batches: Vec<Batch> = std::iter::from_fn(|| plan.take(at(now), limit)).collect();
    assert!(batches.iter().all(|batch| batch.len() <= limit), "{batches:?}");
    assert_eq!(batches.iter().map(shown).collect::<Vec<_>>(), expected, "at {now}");
}

/// The cursor: `before(n)` is just before second `n`.
fn check_cursor(plan: &mut ClusterPlan, now: i64, expected: DateTime<Utc>) {
    assert_eq!(plan.cursor(at(now)), expected, "at {now}");
}

fn before(seconds: i64) -> DateTime<Utc> {
    at(seconds) - TimeDelta::milliseconds(1)
}

#[test]
fn a_first_start_owes_nothing_of_the_past() {
    let mut plan = plan(&file("one", [last("a", "@every 10s")]), 100, 100);
    assert_eq!(plan.next(), Some(at(110)));
    check(&mut plan, 109, 10, &[]);
    check_cursor(&mut plan, 109, at(109));
    check(&mut plan, 110, 10, &["Current one: a@110"]);
}

#[test]
fn a_lane_is_of_one_cluster() {
    let other = "cluster-b".parse().expect("a name");
    let jobs = [last("a", "@every 10s"), Job { cluster: other, ..last("b", "@every 10s") }];
    let mut plan = plan(&file("one", jobs), 0, 0);
    check(&mut plan, 10, 10, &["Current one: a@10"]);
}

#[test]
fn the_cursor_passes_no_tick_whose_fate_is_not_on_record() {
    let mut plan = plan(&file("one", [last("a", "@every 10s"), last("b", "@every 10s")]), 0, 0);
    check_cursor(&mut plan, 5, at(5));
    check_cursor(&mut plan, 25, before(10));
    check(&mut plan, 25, 3, &["Current one: a@10 b@10 a@20", "Current one: b@20"]);
    check_cursor(&mut plan, 25, before(10));
    plan.confirmed(Source::Current);
    check_cursor(&mut plan, 25, before(20));
    plan.confirmed(Source::Current);
    check_cursor(&mut plan, 26, at(26));
    check_cursor(&mut plan, 40, before(30));
}

#[test]
fn the_cursor_never_goes_back() {
    let mut plan = plan(&file("one", [last("a", "@every 100s")]), 0, 0);
    check_cursor(&mut plan, 50, at(50));
    check_cursor(&mut plan, 20, at(50));
    check_cursor(&mut plan, 60, at(60));
    // Nor is a tick handed out that it has passed, whatever a new file says.
    plan.swap(&file("two", [last("b", "@every 10s")]), at(20));
    check(&mut plan, 70, 10, &["Current two: b@70"]);
}

#[test]
fn a_confirmation_too_many_is_harmless() {
    let mut plan = plan(&file("one", [last("a", "@every 10s")]), 0, 0);
    plan.confirmed(Source::Backlog);
    plan.confirmed(Source::Current);
    check(&mut plan, 10, 10, &["Current one: a@10"]);
    plan.confirmed(Source::Backlog);
    check_cursor(&mut plan, 10, before(10));
}

#[test]
fn the_past_is_judged_by_each_jobs_catch_up() {
    let jobs = [
        last("last", "@every 10s"),
        all("all", "@every 10s"),
        job("none", "@every 10s", CatchUpPolicy::None),
    ];
    let mut plan = plan(&file("one", jobs), 100, 135);
    check(
        &mut plan,
        135,
        10,
        &[
            "Backlog one: all@110 all@120 all@130 last@130 | last@110-120*2 not_caught_up none@110-130*3 not_caught_up",
        ],
    );
    check_cursor(&mut plan, 135, before(110));
    plan.confirmed(Source::Backlog);
    check_cursor(&mut plan, 135, at(135));
}

#[test]
fn what_is_too_old_is_missed_with_the_reason() {
    // Found a minute after the last of them.
    let window = |policy| CatchUp { policy, window: Duration::from_secs(20 + 60) };
    let deadline = |job: &Job| crate::common::model::Limits { deadline_ms: Some(10_000), ..job.limits };
    let jobs = [
        Job { catch_up: window(CatchUpPolicy::All), ..sample("window", "@every 10s") },
        Job { catch_up: window(CatchUpPolicy::Last), ..sample("late", "@every 50s") },
        Job { limits: deadline(&sample("a", "@hourly")), ..all("deadline", "@every 10s") },
    ];
    let mut plan = plan(&file("one", jobs), 40, 80);
    check(
        &mut plan,
        80,
        10,
        &["Backlog one: window@60 deadline@70 window@70 deadline@80 window@80 \
           | deadline@50-60*2 deadline late@50-50*1 window window@50-50*1 window"],
    );
}

#[test]
fn a_job_is_due_in_the_past_at_its_shifted_instants() {
    let shifted = Job { jitter: Duration::from_secs(60), ..all("shifted", "@every 100s") };
    let shift = shifted.shift().num_seconds();
    assert!(shift > 1, "{shift}");
    let expected = format!("Backlog one: shifted@{}", 100 + shift);
    let mut plan = plan(&file("one", [shifted]), 100 + shift - 1, 150 + shift);
    check(&mut plan, 150 + shift, 10, &[&expected]);
}

#[test]
fn the_present_comes_first_while_the_past_is_worked_off() {
    let mut plan = plan(&file("one", [all("a", "@every 1s")]), 0, 1_000);
    let mut past = 0;
    for now in 1_001..1_101 {
        check_next(&mut plan, now, 10, &format!("Current one: a@{now}"));
        let batch = plan.take(at(now), 10).expect("the past");
        assert_eq!((batch.source, batch.len()), (Source::Backlog, 10));
        past += batch.len();
    }
    assert_eq!(past, 1_000);
    check(&mut plan, 1_100, 10, &[]);
}

/// Takes one batch and compares.
fn check_next(plan: &mut ClusterPlan, now: i64, limit: usize, expected: &str) {
    assert_eq!(plan.take(at(now), limit).as_ref().map(shown).as_deref(), Some(expected), "at {now}");
}

#[test]
fn a_cursor_from_the_future_hands_out_nothing_before_it() {
    let mut plan = plan(&file("one", [last("a", "@every 10s")]), 100, 50);
    check(&mut plan, 100, 9, &[]);
    check_cursor(&mut plan, 60, at(100));
    plan.swap(&file("two", [last("a", "@every 10s")]), at(60));
    check(&mut plan, 110, 9, &["Current two: a@110"]);
}

/// Works off what there is at `now`, confirming each batch at once: ticks, intervals, and cursors on the way.
fn work_off(plan: &mut ClusterPlan, now: i64) -> (usize, Vec<Missed>, Vec<DateTime<Utc>>) {
    let (mut ticks, mut missed, mut cursors) = (0, Vec::new(), Vec::new());
    while plan.next().is_some_and(|next| next <= at(now)) {
        if let Some(batch) = plan.take(at(now), 2_000) {
            ticks += batch.ticks.len();
            plan.confirmed(batch.source);
            missed.extend(batch.missed);
        }
        cursors.push(plan.cursor(at(now)));
    }
    (ticks, missed, cursors)
}

#[test]
fn a_long_past_is_told_in_few_intervals_and_the_cursor_moves_in_steps() {
    const END: i64 = 40_000;
    let jobs = [all("all", "@every 1s"), job("none", "@every 1s", CatchUpPolicy::None)];
    let (ticks, missed, cursors) = work_off(&mut plan(&file("one", jobs), 0, END), END);
    assert_eq!(ticks, 40_000);
    assert!(missed.len() <= 5, "{}", missed.len());
    assert!(missed.iter().all(|missed| missed.reason == NOT_ASKED_FOR));
    assert_eq!(missed.iter().map(|missed| missed.count).sum::<u64>(), 40_000);
    assert!(missed.is_sorted_by(|one, next| one.to + TimeDelta::seconds(1) == next.from));
    let distinct: std::collections::BTreeSet<_> = cursors.iter().collect();
    assert!(distinct.len() >= 4 && cursors.is_sorted(), "{distinct:?}");
    assert_eq!(cursors.last(), Some(&at(END)));
}

#[test]
fn the_present_does_not_wait_until_a_past_is_counted() {
    const END: i64 = 50_000;
    let mut plan = plan(&file("one", [last("a", "@every 1s")]), 0, END);
    assert_eq!(plan.take(at(END), 10), None, "it counts");
    assert!(plan.next().is_some_and(|next| next <= at(END)), "and asks to be called again");
    check_cursor(&mut plan, END, before(1));
    check_next(&mut plan, END + 1, 10, &format!("Current one: a@{}", END + 1));
    let (ticks, missed, _) = work_off(&mut plan, END + 1);
    assert_eq!((ticks, missed.len()), (1, 1));
    assert_eq!(missed[0].count, 49_999);
}

#[test]
fn a_day_of_many_jobs_is_told_in_one_interval_each() {
    const JOBS: usize = 5_000;
    const DAY: i64 = 86_400;
    let jobs = (0..JOBS).map(|n| Arc::new(last(&format!("job-{n}"), "* * * * *"))).collect();
    let file = ActiveJobs { jobs, revision: "one".into(), tzdata: "2026f".into() };
    let (ticks, missed, _) = work_off(&mut plan(&file, 0, DAY), DAY);
    assert_eq!((ticks, missed.len()), (JOBS, JOBS));
    assert!(missed.iter().all(|missed| missed.count == 1_439));
}
