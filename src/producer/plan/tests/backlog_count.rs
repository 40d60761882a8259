//! How much is still to be caught up, counted ahead.

use super::*;

/// How much is still to be caught up, asked often enough to have been counted.
fn check_left(plan: &mut ClusterPlan, now: i64, expected: u64) {
    let counted = (0..100).map(|_| plan.left_to_catch_up(at(now))).last();
    assert_eq!(counted, Some(expected), "at {now}");
}

#[test]
fn what_is_still_to_be_caught_up_is_known_before_it_is_handed_out() {
    let jobs = [
        all("all", "@every 10s"),
        last("last", "@every 10s"),
        job("none", "@every 10s", CatchUpPolicy::None),
    ];
    let mut plan = plan(&file("one", jobs), 0, 1_000);
    check_left(&mut plan, 1_000, 100 + 1);
    let taken = plan.take(at(1_000), 30).map(|batch| batch.ticks.len());
    assert_eq!(taken, Some(30));
    check_left(&mut plan, 1_000, 100 + 1 - 30);
    while plan.take(at(1_000), 30).is_some() {}
    check_left(&mut plan, 1_000, 0);
    plan.take(at(1_010), 30);
    check_left(&mut plan, 1_010, 0);
    assert!(plan.take(at(1_500), 1).is_some());
    check_left(&mut plan, 1_500, 43 + 1);
}

#[test]
fn the_last_tick_of_a_past_is_counted_wherever_the_past_ends() {
    for end in 1_000..1_010 {
        let mut plan = plan(&file("one", [last("a", "@every 10s")]), 0, end);
        check_left(&mut plan, end, 1);
    }
}

#[test]
fn a_job_that_is_due_again_under_the_next_file_is_caught_up_once() {
    let mut plan = plan(&file("one", [last("a", "@every 10s")]), 0, 0);
    plan.swap(&file("two", [last("a", "@every 10s")]), at(100));
    let taken = [(); 2].map(|()| plan.take(at(500), 1_000).map(|batch| batch.ticks.len()));
    assert_eq!(taken, [Some(6), Some(0)], "the last minute, and then what is missed of the first file");
    check_left(&mut plan, 500, 1);
}

#[test]
fn a_long_past_is_counted_a_little_at_a_time() {
    let mut plan = plan(&file("one", [all("a", "* * * * * *")]), 0, 50_000);
    let first = plan.left_to_catch_up(at(50_000));
    assert_eq!(first, COUNT_AHEAD as u64);
    check_left(&mut plan, 50_000, 50_000);
}
