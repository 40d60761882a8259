//! Tests of what the verdict still knows about messages that retention has deleted.

use super::*;

/// The last offset of a topic, so that all before it are deleted.
fn all_of(world: &World, topic: &str) -> i64 {
    match topic {
        topics::RUNS => i64::try_from(world.events.len()).unwrap(),
        _ => world.messages.iter().filter(|(of, _)| of.as_str() == topic).count().try_into().unwrap(),
    }
}

/// Consumers say that so many messages of cluster b were deleted unread.
fn unread(world: &mut World, count: i64) {
    let at = at("13:00:00");
    world.events.push((at, Event::DeletedUnread { place: place("b"), next_offset: count, at }));
}

#[test]
fn what_was_run_is_accounted_for_although_its_message_is_deleted() {
    for deleted in [8, 16] {
        let report = check(|world| world.deleted.push(("b", deleted)), [0; 6]);
        assert!(report.ok, "{report:#?}");
        assert_eq!(report.ticks.published, 22);
        assert_eq!(report.ticks.message_deleted, usize::try_from(deleted).unwrap());
        assert_eq!(report.notes.len(), 1);
        assert_eq!(words(&report, true), ("every tick is accounted for".to_owned(), Exit::Done));
    }
}

#[test]
fn a_message_that_retention_cannot_have_deleted_is_still_asked_for() {
    let gone = |world: &mut World| {
        let run = RunId::of(&name("often"), at("12:04:40"));
        world.messages.retain(|(_, attempt)| attempt.run.id != run);
        world.deleted.push(("b", 8));
    };
    let report = check(gone, [1, 0, 0, 0, 0, 0]);
    assert!(report.unaccounted.first[0].why.contains("it was run"), "{report:?}");
}

#[test]
fn what_was_run_of_a_topic_that_was_made_anew_is_accounted_for_and_what_was_not_is_named() {
    let anew = |world: &mut World| {
        // Up to 12:02:00, messages were written to the former topic. One of them nobody has claimed.
        let before = |tick: DateTime<Utc>| tick <= at("12:02:00");
        world.messages.retain(|(of, attempt)| of.as_str() != "b" || !before(attempt.run.scheduled_at));
        for (_, event) in &mut world.events {
            if let Event::Claimed { place, at, .. } = event
                && place.topic == "b"
                && before(*at)
            {
                place.topic_id = Uuid::from_u128(1);
            }
        }
        world.forget("often", at("12:01:20"));
    };
    let report = check(anew, [1, 0, 0, 0, 0, 0]);
    let lost = &report.unaccounted.first[0];
    assert_eq!(lost.scheduled_at, at("12:01:20"));
    assert!(lost.why.contains("b was deleted and made again"), "{report:?}");
    assert_eq!(report.ticks.message_deleted, 6);
    assert!(report.notes.iter().any(|note| note.contains("b was deleted and made again")), "{report:?}");
}

#[test]
fn what_was_deleted_before_a_consumer_claimed_it_is_a_fate_of_its_own() {
    let silent = |world: &mut World| {
        for tick in ["12:00:20", "12:00:40"] {
            world.forget("often", at(tick));
            world.publish("often", at(tick));
            world.messages.rotate_right(1);
        }
        world.deleted.push(("b", 8));
    };
    // No event says that it was unread.
    let report = check(silent, [2, 0, 0, 0, 0, 0]);
    assert!(report.unaccounted.first[0].why.contains("retention has deleted messages of b"), "{report:?}");
    for (count, left) in [(1, 1), (2, 0), (8, 0)] {
        let told = |world: &mut World| {
            silent(world);
            unread(world, count);
            unread(world, count);
        };
        let report = check(told, [left, 0, 0, 0, 0, 0]);
        assert_eq!(
            (report.ok, report.deleted_unread.total, report.ticks.deleted_unread),
            (false, 2 - left, 2 - left)
        );
    }
    // It was published, and that is on record.
    let published = |world: &mut World| {
        silent(world);
        for tick in ["12:00:20", "12:00:40"].map(at) {
            let (job, place, run) = (name("often"), place("b"), RunId::of(&name("often"), tick));
            let cluster = cluster("b");
            let published = Event::Published { run, job, cluster, scheduled_at: tick, place, at: tick };
            world.events.push((tick, published));
        }
    };
    assert_eq!(check(published, [0; 6]).deleted_unread.total, 2);
    // Where nothing was deleted, it is no excuse.
    let elsewhere = |world: &mut World| {
        world.forget("often", at("12:04:40"));
        unread(world, 8);
    };
    check(elsewhere, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn what_is_checked_begins_where_the_events_begin() {
    let mut world = World::new();
    // The events of the first two minutes.
    let events = world.events.iter().filter(|(written, _)| *written < at("12:02:00")).count();
    world.deleted.push((topics::RUNS, i64::try_from(events).unwrap()));
    for asked in [Some("11:00:00"), None] {
        let report = world.verdict_of(asked, "12:05:00").unwrap();
        assert!(report.ok, "{report:#?}");
        assert_eq!(report.since, at("12:02:31"));
        assert_eq!(report.asked_since, asked.map(at));
        assert!(report.notes[0].contains("to 2026-03-01T12:02:31Z nothing can be checked"), "{report:?}");
        let told = if asked.is_some() { " from 2026-03-01T12:02:31Z on" } else { "" };
        assert_eq!(words(&report, true), (format!("every tick{told} is accounted for"), Exit::Done));
    }
    let report = world.verdict_of(Some("12:03:00"), "12:05:00").unwrap();
    assert_eq!((report.ok, report.since, report.notes.len()), (true, at("12:03:00"), 0));
    let nothing = world.verdict_of(Some("12:00:00"), "12:02:00").unwrap_err();
    assert!(nothing.to_string().starts_with("nothing can be checked: "), "{nothing}");
    let all = all_of(&world, topics::RUNS);
    world.deleted = vec![(topics::RUNS, all)];
    let nothing = world.verdict_of(Some("12:00:00"), "12:05:00").unwrap_err();
    assert!(nothing.to_string().starts_with("nothing can be checked: "), "{nothing}");
}

#[test]
fn a_topic_of_which_little_is_left_ends_no_other_topics_verdict() {
    let mut world = World::new();
    world.deleted = vec![("b", all_of(&world, "b") - 1), ("a", all_of(&world, "a"))];
    let report = world.verdict_of(None, "12:05:00").unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.since, at("12:05:00"), "no event says which file was active");
    let revision = world.file.revision.to_string();
    let (leader, from) = ("p".to_owned(), at("11:59:59"));
    let event = Event::Revision { cluster: cluster("a"), revision, tzdata: None, leader, from, at: from };
    world.events.insert(0, (from, event));
    let report = world.verdict_of(None, "12:05:00").unwrap();
    assert_eq!((report.ok, report.ticks.named, report.ticks.message_deleted), (true, 22, 21), "{report:#?}");
}
