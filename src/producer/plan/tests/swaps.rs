//! One job file after another.

use super::*;

#[test]
fn ticks_due_before_a_swap_are_the_old_files_however_late() {
    let mut plan = plan(&file("one", [last("a", "@every 10s"), last("gone", "@every 10s")]), 0, 0);
    plan.swap(&file("two", [last("a", "@every 5s")]), at(20));
    assert_eq!(plan.next(), Some(at(10)));
    check(&mut plan, 30, 9, &["Current one: a@10 gone@10 a@20 gone@20", "Current two: a@25 a@30"]);
}

#[test]
fn a_swap_may_lie_ahead() {
    let mut plan = plan(&file("one", [last("a", "@every 10s")]), 0, 0);
    plan.swap(&file("two", [last("b", "@every 10s")]), at(20));
    check(&mut plan, 10, 9, &["Current one: a@10"]);
    check_cursor(&mut plan, 11, before(10));
    check(&mut plan, 20, 9, &["Current one: a@20"]);
    check(&mut plan, 30, 9, &["Current two: b@30"]);
    // Even across an outage that ends before it.
    plan.swap(&file("three", [last("c", "@every 10s")]), at(220));
    check(
        &mut plan,
        210,
        9,
        &[
            "Current two: b@160 b@170 b@180 b@190 b@200 b@210",
            "Backlog two: b@150 | b@40-140*11 not_caught_up",
        ],
    );
    check(&mut plan, 230, 9, &["Current two: b@220", "Current three: c@230"]);
}

#[test]
fn several_swaps_in_a_row_leave_each_file_its_time() {
    let mut plan = plan(&file("one", [last("a", "@every 10s")]), 0, 0);
    for (revision, name, from) in [("two", "b", 10), ("three", "c", 12), ("four", "d", 15), ("five", "e", 30)]
    {
        plan.swap(&file(revision, [last(name, "@every 10s")]), at(from));
    }
    assert_eq!(plan.current.closed.len(), 2, "a file that owes nothing is not kept");
    check(&mut plan, 40, 9, &["Current one: a@10", "Current four: d@20 d@30", "Current five: e@40"]);
}

#[test]
fn a_swap_that_lies_before_what_was_handed_out_repeats_nothing() {
    let jobs = || [last("a", "@every 10s"), last("b", "@every 10s")];
    let mut plan = plan(&file("one", jobs()), 0, 0);
    check_next(&mut plan, 20, 3, "Current one: a@10 b@10 a@20");
    plan.swap(&file("two", jobs()), at(5));
    plan.swap(&file("three", jobs()), at(4));
    check(&mut plan, 30, 9, &["Current one: b@20", "Current three: a@30 b@30"]);
}

#[test]
fn the_past_keeps_its_file_when_another_comes_in_force() {
    let mut plan = plan(&file("one", [all("a", "@every 10s"), last("gone", "@every 10s")]), 0, 25);
    plan.swap(&file("two", [all("a", "@every 10s")]), at(3));
    check(
        &mut plan,
        30,
        9,
        &["Current two: a@30", "Backlog one: a@10 a@20 gone@20 | gone@10-10*1 not_caught_up"],
    );
}

#[test]
fn a_job_that_is_due_again_under_the_next_file_has_its_last_tick_there() {
    let mut plan = plan(
        &file("one", [last("a", "@every 10s"), last("gone", "@every 10s"), all("all", "@every 20s")]),
        0,
        0,
    );
    plan.swap(
        &file("two", [last("a", "@every 10s"), all("all", "@every 20s"), last("rare", "@hourly")]),
        at(20),
    );
    plan.swap(&file("three", [last("a", "@hourly"), all("all", "@hourly")]), at(40));
    check(
        &mut plan,
        100,
        9,
        &[
            "Backlog one: all@20 gone@20 | a@10-10*1 not_caught_up gone@10-10*1 not_caught_up a@20-20*1 not_caught_up",
            "Backlog two: a@40 all@40 | a@30-30*1 not_caught_up",
        ],
    );
}

#[test]
fn a_former_file_owes_ticks_until_the_last_of_them_is_handed_out() {
    let jobs = || [last("a", "@every 10s")];
    let mut plan = plan(&file("one", jobs()), 0, 0);
    assert!(!plan.owes_former(), "what the active file owes is no former one's");
    plan.swap(&file("two", jobs()), at(20));
    assert!(plan.owes_former());
    check(&mut plan, 10, 9, &["Current one: a@10"]);
    assert!(plan.owes_former());
    check(&mut plan, 20, 9, &["Current one: a@20"]);
    assert!(!plan.owes_former());
    // Whose ticks lie in the backlog is not told apart.
    let mut plan = super::plan(&file("one", jobs()), 0, 25);
    assert!(plan.owes_former());
    check(
        &mut plan,
        85,
        9,
        &["Current one: a@30 a@40 a@50 a@60 a@70 a@80", "Backlog one: a@20 | a@10-10*1 not_caught_up"],
    );
    assert!(!plan.owes_former());
}
