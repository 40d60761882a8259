//! Current ticks that fall behind.

use super::*;

#[test]
fn a_present_that_falls_behind_becomes_past() {
    let late = LATE.num_seconds();
    let jobs = || file("one", [last("a", "@every 10s")]);
    let mut in_time = plan(&jobs(), 0, 0);
    check(
        &mut in_time,
        10 + late,
        3,
        &["Current one: a@10 a@20 a@30", "Current one: a@40 a@50 a@60", "Current one: a@70"],
    );
    let mut too_late = plan(&jobs(), 0, 0);
    check(
        &mut too_late,
        21 + late,
        3,
        &[
            "Current one: a@30 a@40 a@50",
            "Current one: a@60 a@70 a@80",
            "Backlog one: a@20 | a@10-10*1 not_caught_up",
        ],
    );
    check(&mut too_late, 90, 3, &["Current one: a@90"]);
}

#[test]
fn a_present_that_falls_behind_again_at_once_becomes_past_and_what_is_not_late_is_published() {
    let late = LATE.num_seconds();
    let jobs = [job("none", "@every 10s", CatchUpPolicy::None), all("all", "@every 10s")];
    let mut plan = plan(&file("one", jobs), 0, 0);
    check_next(&mut plan, 11 + late, 2, "Current one: all@20 none@20");
    check(
        &mut plan,
        41 + late,
        99,
        &[
            "Backlog one: all@10 | none@10-10*1 not_caught_up",
            "Backlog one: all@30 all@40 all@50 none@50 all@60 none@60 all@70 none@70 all@80 none@80 all@90 none@90 all@100 \
             none@100 | none@30-40*2 not_caught_up",
        ],
    );
}

#[test]
fn jobs_that_were_handed_out_before_the_outage_do_not_count_into_it() {
    let mut plan = plan(&file("one", ["a", "b", "c"].map(|name| last(name, "@every 60s"))), 0, 0);
    assert_eq!(plan.take(at(60), 1).as_ref().map(shown), Some("Current one: a@60".to_owned()));
    check(
        &mut plan,
        250,
        2,
        &[
            "Current one: a@240 b@240",
            "Current one: c@240",
            "Backlog one: a@180 b@180",
            "Backlog one: c@180 | b@60-60*1 not_caught_up",
            "Backlog one: | c@60-60*1 not_caught_up a@120-120*1 not_caught_up",
            "Backlog one: | b@120-120*1 not_caught_up c@120-120*1 not_caught_up",
        ],
    );
    check_cursor(&mut plan, 250, before(60));
    plan.confirmed(Source::Current);
    plan.confirmed(Source::Backlog);
    check_cursor(&mut plan, 250, before(60));
    plan.confirmed(Source::Backlog);
    check_cursor(&mut plan, 250, before(60));
    plan.confirmed(Source::Backlog);
    check_cursor(&mut plan, 250, before(120));
    plan.confirmed(Source::Backlog);
    check_cursor(&mut plan, 250, before(240));
    plan.confirmed(Source::Current);
    plan.confirmed(Source::Current);
    check_cursor(&mut plan, 250, at(250));
}

#[test]
fn a_second_outage_waits_for_the_first_and_is_judged_alone() {
    let mut plan = plan(&file("one", [all("all", "@every 40s"), last("last", "@every 40s")]), 0, 130);
    check_next(&mut plan, 130, 1, "Backlog one: all@40");
    check_next(&mut plan, 160, 2, "Current one: all@160 last@160");
    check(
        &mut plan,
        350,
        9,
        &[
            "Current one: all@320 last@320",
            "Backlog one: all@80 all@120 last@120 | last@40-80*2 not_caught_up",
            "Backlog one: all@200 all@240 all@280 last@280 | last@200-240*2 not_caught_up",
        ],
    );
    let [present, past] = [Source::Current, Source::Backlog];
    let steps = [
        (past, before(40)),
        (past, before(160)),
        (present, before(200)),
        (past, before(320)),
        (present, at(350)),
    ];
    check_cursor(&mut plan, 350, before(40));
    for (source, cursor) in steps {
        plan.confirmed(source);
        check_cursor(&mut plan, 350, cursor);
    }
}
