//! Tests of what the verdict says about a time before the first producer began, or before the job file was active.

use super::*;

/// The leader put on record that our job file, or another one, was active from an instant on.
fn rules(world: &mut World, revision: Option<&str>, from: &str) {
    let revision = revision.map_or_else(|| world.file.revision.to_string(), str::to_owned);
    let (leader, from) = ("p".to_owned(), at(from));
    let event = Event::Revision { cluster: cluster("a"), revision, tzdata: None, leader, from, at: from };
    let before = world.events.iter().filter(|(written, _)| *written < from).count();
    world.events.insert(before, (from, event));
}

#[test]
fn what_was_due_before_the_first_producer_began_is_not_owed() {
    let mut world = World::new();
    rules(&mut world, None, "11:59:59.250");
    let report = world.verdict_of(Some("10:00:00"), "12:05:00").unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!((report.since, report.asked_since), (at("12:00:00"), Some(at("10:00:00"))));
    assert_eq!(report.ticks.published, 22);
    let note = "checked from 2026-03-01T12:00:00Z, when the first producer of these clusters began: no tick was owed before";
    assert_eq!(report.notes, [note]);
    let last = "every tick from 2026-03-01T12:00:00Z on is accounted for".to_owned();
    assert_eq!(words(&report, true), (last, Exit::Done));
    let nothing = world.verdict_of(Some("10:00:00"), "11:00:00").unwrap_err().to_string();
    assert!(nothing.starts_with("nothing can be checked: the first producer"), "{nothing}");
}

#[test]
fn what_is_missing_after_the_first_producer_began_is_found() {
    let check = |spoil: &dyn Fn(&mut World), unaccounted: usize| {
        let mut world = World::new();
        rules(&mut world, None, "11:59:59.250");
        spoil(&mut world);
        let report = world.verdict_of(Some("10:00:00"), "12:05:00").unwrap();
        assert_eq!((report.ok, report.unaccounted.total), (false, unaccounted), "{report:#?}");
    };
    // The very first ones.
    check(&|world| ["minutely", "often"].iter().for_each(|job| world.forget(job, at("12:00:00"))), 2);
    check(&|world| world.forget("often", at("12:03:20")), 1);
    // An older message: cron-runs is a newer topic than that of the messages, and tells nothing of the beginning.
    let older = |world: &mut World| {
        world.publish("minutely", at("11:58:00"));
        world.messages.rotate_right(1);
    };
    check(&older, 1 + 6);
    // No event says when the first producer began.
    check(&|world| world.events.retain(|(_, event)| !matches!(event, Event::Revision { .. })), 480);
    // The older events are deleted, so that this one may not be the first. What is checked begins with the events.
    let cut = |world: &mut World| {
        world.forget("often", at("12:03:20"));
        world.deleted.push((topics::RUNS, 1));
        world.events.insert(0, (at("11:00:00"), world.events[0].1.clone()));
    };
    check(&cut, 1);
    // What another program wrote is no beginning.
    let foreign = |world: &mut World| {
        world.forget("often", at("12:03:20"));
        world.publish("minutely", at("11:00:00"));
        Arc::make_mut(&mut world.messages.last_mut().unwrap().1.run).id = RunId(Uuid::nil());
        world.messages.rotate_right(1);
    };
    check(&foreign, 1);
}

#[test]
fn what_a_job_did_not_owe_before_it_was_added_is_not_missing() {
    let mut world = World::new();
    // Retention has deleted the event that said which file was active before.
    rules(&mut world, Some("older"), "11:00:00");
    rules(&mut world, None, "12:02:30");
    world.deleted.push((topics::RUNS, 1));
    for tick in [0, 20, 40, 60, 80, 100, 120, 140].map(|second| at("12:00:00") + TimeDelta::seconds(second)) {
        world.forget("often", tick);
    }
    for (_, attempt) in &mut world.messages {
        if attempt.run.scheduled_at < at("12:02:30") {
            Arc::make_mut(&mut attempt.run).revision = "older".to_owned();
        }
    }
    let report = world.verdict_of(Some("12:00:31"), "12:05:00").unwrap();
    assert_eq!((report.unaccounted.total, report.ticks.not_checked), (0, 8), "{report:#?}");
    let note = "up to 2026-03-01T12:02:30Z another job file was active, as its runs show";
    assert!(!report.ok && report.notes.iter().any(|told| told.starts_with(note)), "{report:#?}");
}
