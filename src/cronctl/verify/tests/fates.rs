//! Fates other than to be published and to succeed.

use super::*;

#[test]
fn skipped_and_missed_ticks_are_accounted_for() {
    let skipped = |world: &mut World| {
        world.forget("often", at("12:01:40"));
        let blocked_by = RunId::of(&name("often"), at("12:01:20"));
        let (job, scheduled_at) = (name("often"), at("12:01:40"));
        let skipped =
            Event::Skipped { job, cluster: cluster("b"), scheduled_at, blocked_by, at: scheduled_at };
        world.events.push((scheduled_at, skipped));
        ["12:02:00", "12:02:20", "12:02:40"].iter().for_each(|tick| world.forget("often", at(tick)));
        world.miss("often", "12:02:00", "12:02:40", 3);
    };
    let report = check(skipped, [0; 6]);
    assert!(report.ok);
    assert_eq!((report.ticks.skipped, report.ticks.missed), (1, 3));
    assert_eq!(report.missed_by_reason["not_caught_up"], 3);
}

#[test]
fn where_a_cursor_was_lost_what_has_no_other_fate_was_missed() {
    let lost = |world: &mut World| {
        ["12:01:40", "12:02:00"].iter().for_each(|tick| world.forget("often", at(tick)));
        let (from, to) = (DateTime::UNIX_EPOCH, at("12:02:00"));
        let (job, cluster, reason) = (JobName::any(), cluster("b"), MissedReason::NoCursor);
        world.events.push((to, Event::Missed { job, cluster, from, to, count: 0, reason, at: to }));
    };
    let report = check(lost, [0; 6]);
    assert!(report.ok);
    assert_eq!((report.ticks.missed, report.missed_by_reason["no_cursor"]), (2, 2));
    let other = |world: &mut World| {
        lost(world);
        world.forget("minutely", at("12:01:00"));
    };
    assert!(!check(other, [1, 0, 0, 0, 0, 0]).ok, "nothing is said of the other cluster");
}

#[test]
fn an_interval_stands_for_as_many_ticks_as_it_says() {
    let missed = |count: u64, still_there: &'static [&str]| {
        move |world: &mut World| {
            let ticks = ["12:02:00", "12:02:20", "12:02:40"];
            for tick in ticks.iter().filter(|tick| !still_there.contains(tick)) {
                world.forget("often", at(tick));
            }
            world.miss("often", "12:02:00", "12:02:40", count);
        }
    };
    check(missed(3, &[]), [0; 6]);
    check(missed(2, &[]), [0, 0, 0, 0, 1, 0]);
    check(missed(4, &[]), [0, 0, 0, 0, 1, 0]);
    // Published all the same: counted among them or not.
    check(missed(3, &["12:02:20"]), [0; 6]);
    check(missed(2, &["12:02:20"]), [0; 6]);
    check(missed(1, &["12:02:20"]), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_tick_that_waits_is_accounted_for_until_nothing_stands_in_its_way() {
    let queued = |blocking: &'static str, published: bool| {
        move |world: &mut World| {
            world.forget("often", at("12:01:40"));
            let (job, scheduled_at) = (name("often"), at("12:01:40"));
            let blocked_by = RunId::of(&job, at(blocking));
            let queued =
                Event::Queued { job, cluster: cluster("b"), scheduled_at, blocked_by, at: scheduled_at };
            world.events.push((scheduled_at, queued));
            if published {
                world.publish("often", scheduled_at);
            }
        }
    };
    // The run before the period is not known to be over.
    assert_eq!(check(queued("11:00:00", false), [0; 6]).ticks.queued, 1);
    assert_eq!(check(queued("12:01:20", false), [1, 0, 0, 0, 0, 0]).ticks.queued, 0);
    let report = check(queued("12:01:20", true), [0; 6]);
    assert_eq!((report.ticks.queued, report.ticks.queued_first), (0, 1));
}

#[test]
fn a_run_without_an_end_is_listed_and_a_fault_once_its_lease_is_over() {
    let tick = at("12:01:40");
    let run = RunId::of(&name("often"), tick);
    let begun = |claimed: bool, sign: Option<&'static str>| {
        move |world: &mut World| {
            world.forget("often", tick);
            world.publish("often", tick);
            if claimed {
                world.claim((run, 1), "c1", tick);
            }
            if let Some(sign) = sign {
                let running =
                    vec![RunningAttempt { attempt: AttemptRef { run, attempt: 1 }, place: place("b") }];
                let (consumer, lease_ms) = ("c1".to_owned(), 60_000);
                world.events.push((at(sign), Event::Alive { consumer, lease_ms, running, at: at(sign) }));
            }
        }
    };
    let report = check(begun(false, None), [0; 6]);
    assert_eq!((report.ok, report.unfinished.total), (true, 1));
    assert_eq!(report.unfinished.first[0].why, "waiting (nobody)");
    let report = check(begun(true, Some("13:59:30")), [0; 6]);
    assert_eq!((report.ok, report.unfinished.total), (true, 1));
    assert!(!check(begun(true, None), [0, 0, 0, 1, 0, 0]).ok);
    assert!(!check(begun(true, Some("13:57:59")), [0, 0, 0, 1, 0, 0]).ok);
}
