//! Tests of all fates but that of a tick that was published and whose run succeeded.

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
fn a_tick_that_is_recorded_as_missed_twice_is_counted_once() {
    let twice = |world: &mut World| {
        ["12:01:40", "12:02:00", "12:02:20", "12:02:40"]
            .iter()
            .for_each(|tick| world.forget("often", at(tick)));
        // A leader that took over decided anew, and more ticks had become late by then.
        world.miss("often", "12:01:40", "12:02:20", 3);
        world.miss("often", "12:01:40", "12:02:40", 4);
        world.miss("often", "12:02:20", "12:02:40", 2);
    };
    let report = check(twice, [0; 6]);
    assert!(report.ok);
    assert_eq!((report.ticks.missed, report.missed_by_reason["not_caught_up"]), (4, 4));
    assert!(report.notes[0].starts_with("5 times a tick is recorded as missed that had been"), "{report:?}");
    // One that was published all the same is none of them.
    let published = |world: &mut World| {
        twice(world);
        world.publish("often", at("12:02:20"));
    };
    let report = check(published, [0; 6]);
    assert_eq!((report.ticks.missed, report.missed_by_reason["not_caught_up"]), (3, 3));
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
    assert_eq!((report.ok, report.unfinished.total, report.not_begun.total), (false, 0, 1));
    assert_eq!(report.not_begun.first[0].why, "attempt 1 could begin since 2026-03-01T12:01:40Z");
    assert_eq!(report.ticks.not_begun, 1);
    let report = check(begun(true, Some("13:59:30")), [0; 6]);
    assert_eq!((report.ok, report.unfinished.total), (true, 1));
    assert!(!check(begun(true, None), [0, 0, 0, 1, 0, 0]).ok);
    assert!(!check(begun(true, Some("13:57:59")), [0, 0, 0, 1, 0, 0]).ok);
}

#[test]
fn a_retry_that_nobody_begins_is_told_of() {
    let tick = at("12:01:40");
    let report = |then: Then, lost: bool| {
        let failed = |world: &mut World| {
            world.forget("often", tick);
            world.publish("often", tick);
            world.pass_on("often", tick, 2);
            let run = RunId::of(&name("often"), tick);
            world.claim((run, 1), "c1", tick);
            if lost {
                let attempt = AttemptRef { run, attempt: 1 };
                let (job, place) = (Some(name("often")), place("b"));
                let lost = Event::Lost {
                    attempt,
                    job,
                    cluster: cluster("b"),
                    scheduled_at: Some(tick),
                    place,
                    consumer: "c1".to_owned(),
                    then,
                    at: at("12:04:00"),
                };
                world.events.push((at("12:04:00"), lost));
            } else {
                world.finish("often", tick, (1, "c1", Outcome::Failed { code: 1 }, then));
            }
        };
        check(failed, [0; 6])
    };
    for lost in [false, true] {
        let retried = report(Then::Retried, lost);
        assert_eq!((retried.ok, retried.not_begun.total), (false, 1), "{lost}");
        assert!(retried.not_begun.first[0].why.starts_with("attempt 2 could begin since"), "{retried:?}");
        let dead = report(Then::Dead, lost);
        assert_eq!((dead.ok, dead.not_begun.total), (true, 0), "{lost}");
    }
}

#[test]
fn a_retry_that_was_dated_by_a_clock_far_ahead_and_waits_is_told_of() {
    let tick = at("12:01:40");
    let failed = |world: &mut World| {
        world.forget("often", tick);
        world.publish("often", tick);
        world.claim((RunId::of(&name("often"), tick), 1), "c1", tick);
        world.finish("often", tick, (1, "c1", Outcome::Failed { code: 1 }, Then::Retried));
        world.pass_on("often", tick, 2);
        // The broker had it when it had happened; its consumer says that it ended two hours later.
        if let Some((_, Event::Finished { ended_at, .. })) = world.events.last_mut() {
            *ended_at += TimeDelta::hours(2);
        }
    };
    let retried = check(failed, [0; 6]);
    assert_eq!((retried.ok, retried.not_begun.total), (false, 1));
    let why = &retried.not_begun.first[0].why;
    assert!(why.starts_with("attempt 2 could begin since 2026"), "{why}");
    assert!(why.ends_with("and waits: the clock of c1, which dated it, was 7200 s ahead"), "{why}");
}

#[test]
fn a_run_that_was_ended_and_never_ran_is_told_of() {
    let tick = at("12:02:00");
    let report = |reason: EndReason, skipped: &'static str| {
        let ended = |world: &mut World| {
            world.forget("minutely", tick);
            world.publish("minutely", tick);
            let (run, cluster) = (RunId::of(&name("minutely"), tick), cluster("a"));
            let (attempt, detail, by) = (AttemptRef { run, attempt: 0 }, "why".to_owned(), "p".to_owned());
            let (job, scheduled_at, at) = (name("minutely"), Some(tick), at("12:03:30"));
            let of = cluster.clone();
            world
                .events
                .push((at, Event::Ended { attempt, job, cluster: of, scheduled_at, reason, detail, by, at }));
            let (tick, job) = (super::at(skipped), name("minutely"));
            world.forget("minutely", tick);
            world
                .events
                .push((tick, Event::Skipped { job, cluster, scheduled_at: tick, blocked_by: run, at: tick }));
        };
        let report = check(ended, [0; 6]);
        (report.ok, report.not_begun.total, report.held_back.total, report.notes.len())
    };
    assert_eq!(report(EndReason::Unclaimable, "12:03:00"), (false, 1, 0, 0));
    assert_eq!(report(EndReason::Operator, "12:03:00"), (true, 0, 0, 1));
    assert_eq!(report(EndReason::Operator, "12:05:00"), (false, 0, 1, 1));
}

#[test]
fn a_run_that_was_ended_because_its_message_is_gone_is_listed_once() {
    let tick = at("12:02:00");
    let ended = |world: &mut World| {
        world.forget("minutely", tick);
        let (run, cluster) = (RunId::of(&name("minutely"), tick), cluster("a"));
        let (attempt, detail, by) = (AttemptRef { run, attempt: 0 }, "why".to_owned(), "p".to_owned());
        let (job, scheduled_at, at) = (name("minutely"), Some(tick), at("12:03:30"));
        let reason = EndReason::Unclaimable;
        let event = Event::Ended { attempt, job, cluster, scheduled_at, reason, detail, by, at };
        world.events.push((at, event));
    };
    let report = check(ended, [0; 6]);
    assert_eq!((report.ok, report.not_begun.total, report.unaccounted.total), (false, 1, 0));
    assert_eq!(report.ticks.message_deleted, 1);
}

#[test]
fn what_was_published_a_moment_ago_may_wait() {
    let mut world = World::new();
    let tick = at("12:01:40");
    world.forget("often", tick);
    world.publish("often", tick);
    world.written = Some(at("13:55:00"));
    let report = world.verdict();
    assert_eq!((report.ok, report.not_begun.total, report.ticks.not_begun), (true, 0, 1), "{report:?}");
    world.written = Some(at("13:49:00"));
    assert_eq!(world.verdict().not_begun.total, 1);
}

#[test]
fn a_tick_is_skipped_for_a_run_that_lives() {
    let skip = |ticks: &'static [&'static str], blocked_by: RunId| {
        move |world: &mut World| {
            for tick in ticks.iter().map(|tick| at(tick)) {
                world.forget("minutely", tick);
                let (job, cluster) = (name("minutely"), cluster("a"));
                let skipped = Event::Skipped { job, cluster, scheduled_at: tick, blocked_by, at: tick };
                world.events.push((tick, skipped));
            }
        }
    };
    let run = |tick: &str| RunId::of(&name("minutely"), at(tick));
    let found = |report: &Report| (report.ok, report.held_back.total);
    // The run of the minute before has ended a second after it began.
    assert_eq!(found(&check(skip(&["12:01:00"], run("12:00:00")), [0; 6])), (true, 0));
    let report = check(skip(&["12:02:00"], run("12:00:00")), [0; 6]);
    assert_eq!(found(&report), (false, 1));
    assert!(report.held_back.first[0].why.ends_with("which was over"), "{report:?}");
    let report = check(skip(&["12:01:00", "12:02:00"], run("12:01:00")), [0; 6]);
    assert!(report.held_back.first[0].why.ends_with("which was never published"), "{report:?}");
    assert_eq!(found(&report), (false, 2));
}

#[test]
fn a_run_of_before_the_period_that_holds_ticks_back_must_live() {
    let before = RunId::of(&name("minutely"), at("09:00:00"));
    let report = |signs: &dyn Fn(&mut World)| {
        let mut world = World::new();
        for minute in 0..=5 {
            let tick = at("12:00:00") + TimeDelta::minutes(minute);
            world.forget("minutely", tick);
            let (job, cluster) = (name("minutely"), cluster("a"));
            world.events.push((
                tick,
                Event::Skipped { job, cluster, scheduled_at: tick, blocked_by: before, at: tick },
            ));
        }
        signs(&mut world);
        world.begun_within = Duration::from_secs(200);
        let report = world.verdict();
        (report.ok, report.held_back.total)
    };
    let alive = |world: &mut World, sign: &str| {
        let running =
            vec![RunningAttempt { attempt: AttemptRef { run: before, attempt: 1 }, place: place("a") }];
        let (consumer, lease_ms) = ("c1".to_owned(), 60_000);
        world.events.push((at(sign), Event::Alive { consumer, lease_ms, running, at: at(sign) }));
    };
    assert_eq!(report(&|_| {}), (false, 1));
    assert_eq!(report(&|world| alive(world, "13:59:30")), (true, 0));
    assert_eq!(report(&|world| alive(world, "10:00:00")), (false, 1));
}

#[test]
fn a_run_that_no_calendar_names_must_be_begun_too() {
    let verdict = |begun: bool| {
        let mut world = World::new();
        let text = format!("{FILE}@reboot a [name=boot] x\n");
        let file = jobfile::parse("jobs", text.as_bytes(), &[cluster("a"), cluster("b")]).unwrap();
        world.file = JobFile { revision: world.file.revision.clone(), ..file };
        let tick = at("12:00:07");
        world.publish("boot", tick);
        world.publish("boot", tick);
        if begun {
            world.finish("boot", tick, (1, "c1", Outcome::Succeeded, Then::Done));
        }
        let report = world.verdict();
        (report.ok, report.ticks.named, report.ticks.published, report.copies, report.not_begun.total)
    };
    assert_eq!(verdict(true), (true, 23, 23, 1, 0));
    assert_eq!(verdict(false), (false, 23, 23, 1, 1));
}
