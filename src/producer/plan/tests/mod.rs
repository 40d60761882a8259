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
fn lane(file: &ActiveJobs, cursor: i64, past: i64) -> ClusterPlan {
    ClusterPlan::new(file, &sample("any", "@hourly").cluster, at(cursor), at(past) + LATE)
}

/// What a batch says, briefly: `kind revision: job@second.. | job@from-to*count reason..`. The plan promises no order
/// of jobs at one instant.
fn shown(portion: &PlanBatch) -> String {
    assert!(portion.ticks.is_sorted_by_key(|tick| tick.at));
    let mut ticks: Vec<_> =
        portion.ticks.iter().map(|tick| (tick.at.timestamp(), tick.job.name.as_str())).collect();
    ticks.sort_unstable();
    let ticks: String = ticks.iter().map(|(at, name)| format!(" {name}@{at}")).collect();
    let mut missed: Vec<_> = portion
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
    format!("{:?} {}:{ticks}{separator}{missed}", portion.kind, portion.revision)
}

/// Takes everything, in batches of at most `limit`, and compares.
fn check(lane: &mut ClusterPlan, now: i64, limit: usize, expected: &[&str]) {
    let portions: Vec<PlanBatch> = std::iter::from_fn(|| lane.take(at(now), limit)).collect();
    assert!(portions.iter().all(|portion| portion.len() <= limit), "{portions:?}");
    assert_eq!(portions.iter().map(shown).collect::<Vec<_>>(), expected, "at {now}");
}

/// The cursor: `before(n)` is just before second `n`.
fn check_cursor(lane: &mut ClusterPlan, now: i64, expected: DateTime<Utc>) {
    assert_eq!(lane.cursor(at(now)), expected, "at {now}");
}

fn before(seconds: i64) -> DateTime<Utc> {
    at(seconds) - TimeDelta::milliseconds(1)
}

#[test]
fn a_first_start_owes_nothing_of_the_past() {
    let mut lane = lane(&file("one", [last("a", "@every 10s")]), 100, 100);
    assert_eq!(lane.next(), Some(at(110)));
    check(&mut lane, 109, 10, &[]);
    check_cursor(&mut lane, 109, at(109));
    check(&mut lane, 110, 10, &["Current one: a@110"]);
}

#[test]
fn a_lane_is_of_one_cluster() {
    let other = "cluster-b".parse().expect("a name");
    let jobs = [last("a", "@every 10s"), Job { cluster: other, ..last("b", "@every 10s") }];
    let mut lane = lane(&file("one", jobs), 0, 0);
    check(&mut lane, 10, 10, &["Current one: a@10"]);
}

#[test]
fn the_cursor_passes_no_tick_whose_fate_is_not_on_record() {
    let mut lane = lane(&file("one", [last("a", "@every 10s"), last("b", "@every 10s")]), 0, 0);
    check_cursor(&mut lane, 5, at(5));
    check_cursor(&mut lane, 25, before(10));
    check(&mut lane, 25, 3, &["Current one: a@10 b@10 a@20", "Current one: b@20"]);
    check_cursor(&mut lane, 25, before(10));
    lane.confirmed(Kind::Current);
    check_cursor(&mut lane, 25, before(20));
    lane.confirmed(Kind::Current);
    check_cursor(&mut lane, 26, at(26));
    check_cursor(&mut lane, 40, before(30));
}

#[test]
fn the_cursor_never_goes_back() {
    let mut lane = lane(&file("one", [last("a", "@every 100s")]), 0, 0);
    check_cursor(&mut lane, 50, at(50));
    check_cursor(&mut lane, 20, at(50));
    check_cursor(&mut lane, 60, at(60));
    // Nor is a tick handed out that it has passed, whatever a new file says.
    lane.swap(&file("two", [last("b", "@every 10s")]), at(20));
    check(&mut lane, 70, 10, &["Current two: b@70"]);
}

#[test]
fn a_confirmation_too_many_is_harmless() {
    let mut lane = lane(&file("one", [last("a", "@every 10s")]), 0, 0);
    lane.confirmed(Kind::Backlog);
    lane.confirmed(Kind::Current);
    check(&mut lane, 10, 10, &["Current one: a@10"]);
    lane.confirmed(Kind::Backlog);
    check_cursor(&mut lane, 10, before(10));
}

#[test]
fn the_past_is_judged_by_each_jobs_catch_up() {
    let jobs = [
        last("last", "@every 10s"),
        all("all", "@every 10s"),
        job("none", "@every 10s", CatchUpPolicy::None),
    ];
    let mut lane = lane(&file("one", jobs), 100, 135);
    check(
        &mut lane,
        135,
        10,
        &[
            "Backlog one: all@110 all@120 all@130 last@130 | last@110-120*2 not_caught_up none@110-130*3 not_caught_up",
        ],
    );
    check_cursor(&mut lane, 135, before(110));
    lane.confirmed(Kind::Backlog);
    check_cursor(&mut lane, 135, at(135));
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
    let mut lane = lane(&file("one", jobs), 40, 80);
    check(
        &mut lane,
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
    let mut lane = lane(&file("one", [shifted]), 100 + shift - 1, 150 + shift);
    check(&mut lane, 150 + shift, 10, &[&expected]);
}

#[test]
fn the_present_comes_first_while_the_past_is_worked_off() {
    let mut lane = lane(&file("one", [all("a", "@every 1s")]), 0, 1_000);
    let mut past = 0;
    for now in 1_001..1_101 {
        check_next(&mut lane, now, 10, &format!("Current one: a@{now}"));
        let portion = lane.take(at(now), 10).expect("the past");
        assert_eq!((portion.kind, portion.len()), (Kind::Backlog, 10));
        past += portion.len();
    }
    assert_eq!(past, 1_000);
    check(&mut lane, 1_100, 10, &[]);
}

/// Takes one batch and compares.
fn check_next(lane: &mut ClusterPlan, now: i64, limit: usize, expected: &str) {
    assert_eq!(lane.take(at(now), limit).as_ref().map(shown).as_deref(), Some(expected), "at {now}");
}

#[test]
fn a_cursor_from_the_future_hands_out_nothing_before_it() {
    let mut lane = lane(&file("one", [last("a", "@every 10s")]), 100, 50);
    check(&mut lane, 100, 9, &[]);
    check_cursor(&mut lane, 60, at(100));
    lane.swap(&file("two", [last("a", "@every 10s")]), at(60));
    check(&mut lane, 110, 9, &["Current two: a@110"]);
}

/// Works off what there is at `now`, confirming each batch at once: ticks, intervals, and cursors on the way.
fn work_off(lane: &mut ClusterPlan, now: i64) -> (usize, Vec<Missed>, Vec<DateTime<Utc>>) {
    let (mut ticks, mut missed, mut cursors) = (0, Vec::new(), Vec::new());
    while lane.next().is_some_and(|next| next <= at(now)) {
        if let Some(portion) = lane.take(at(now), 2_000) {
            ticks += portion.ticks.len();
            lane.confirmed(portion.kind);
            missed.extend(portion.missed);
        }
        cursors.push(lane.cursor(at(now)));
    }
    (ticks, missed, cursors)
}

#[test]
fn a_long_past_is_told_in_few_intervals_and_the_cursor_moves_in_steps() {
    const END: i64 = 40_000;
    let jobs = [all("all", "@every 1s"), job("none", "@every 1s", CatchUpPolicy::None)];
    let (ticks, missed, cursors) = work_off(&mut lane(&file("one", jobs), 0, END), END);
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
    let mut lane = lane(&file("one", [last("a", "@every 1s")]), 0, END);
    assert_eq!(lane.take(at(END), 10), None, "it counts");
    assert!(lane.next().is_some_and(|next| next <= at(END)), "and asks to be called again");
    check_cursor(&mut lane, END, before(1));
    check_next(&mut lane, END + 1, 10, &format!("Current one: a@{}", END + 1));
    let (ticks, missed, _) = work_off(&mut lane, END + 1);
    assert_eq!((ticks, missed.len()), (1, 1));
    assert_eq!(missed[0].count, 49_999);
}

#[test]
fn a_day_of_many_jobs_is_told_in_one_interval_each() {
    const JOBS: usize = 5_000;
    const DAY: i64 = 86_400;
    let jobs = (0..JOBS).map(|n| Arc::new(last(&format!("job-{n}"), "* * * * *"))).collect();
    let file = ActiveJobs { jobs, revision: "one".into(), tzdata: "2026f".into() };
    let (ticks, missed, _) = work_off(&mut lane(&file, 0, DAY), DAY);
    assert_eq!((ticks, missed.len()), (JOBS, JOBS));
    assert!(missed.iter().all(|missed| missed.count == 1_439));
}
