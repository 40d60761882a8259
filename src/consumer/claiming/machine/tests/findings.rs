//! What is odd about a committed offset: messages that were deleted, a log that was cut, offsets that are gone.

use std::time::Duration;

use super::consumer::Consumer;
use super::fixture::{World, of};
use crate::common::broker::TopicPartition;
use crate::common::broker::memory::{Call, Fate};
use crate::common::model::Event;
use crate::consumer::claiming::machine as claimer;

#[test]
fn what_was_deleted_unread_is_told_once_and_reading_goes_on() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    for run in 1..=4 {
        world.publish(0, run);
    }
    first.run(&world, 0);
    world.commit(&first.holder.clone().unwrap(), 0, 1);
    first.leave(&world);
    world.faults().delete_records(&of(0), 3);
    let mut second = Consumer::join(&world);
    world.faults().next(Call::Produce, Fate::NotSent);
    second.run(&world, 0);
    let committed = world.committed(0);
    assert_eq!(
        (world.told(), committed),
        (vec![], Some((1, vec![]))),
        "not on record, and nothing is committed"
    );
    world.turn_clock(Duration::from_secs(1));
    second.run(&world, 0);
    let told = world.told();
    assert!(
        matches!(&told[..], [Event::DeletedUnread { place, next_offset: 3, .. }] if place.offset == 1),
        "{told:?}"
    );
    assert_eq!(world.committed(0), Some((3, vec![])));
    second.next_generation_by_leaving(&world);
    second.run(&world, 9);
    assert_eq!((world.told().len(), second.started), (1, vec![4]));
}

#[test]
fn a_log_that_was_cut_is_told_and_read_from_its_end() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    for run in 1..=3 {
        world.publish(0, run);
    }
    consumer.run(&world, 9);
    world.faults().cut(&of(0), 1);
    consumer.run(&world, 9);
    let told = world.told();
    assert!(
        matches!(&told[..], [Event::Truncated { place, end_offset: 1, .. }] if place.offset == 3),
        "{told:?}"
    );
    world.publish(0, 9);
    consumer.run(&world, 9);
    assert_eq!((consumer.started, world.committed(0)), (vec![1, 2, 3, 9], Some((2, vec![]))));
}

#[test]
fn without_offsets_the_claims_on_record_are_not_run_again() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.publish_for_later(0, 1, 60);
    world.publish(0, 2);
    first.run(&world, 9);
    first.leave(&world);
    world.publish(0, 3);
    world.faults().expire_offsets("g");
    world.turn_clock(Duration::from_secs(60));
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    second.started.sort_unstable();
    assert_eq!((second.started, world.committed(0)), (vec![1, 3], Some((3, vec![]))));
}

#[test]
fn without_offsets_nothing_is_run_before_the_claims_on_record_can_be_read() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.publish(0, 1);
    first.run(&world, 9);
    first.leave(&world);
    world.publish(0, 2);
    world.faults().expire_offsets("g");
    let runs = |partition| TopicPartition { topic: "cron-runs".to_owned(), partition };
    (0..2).for_each(|partition| world.faults().lead(&runs(partition), None));
    let mut second = Consumer::join(&world);
    for _ in 0..5 {
        second.run(&world, 9);
        world.turn_clock(Duration::from_secs(1));
    }
    assert_eq!((second.started.len(), world.committed(0)), (0, None));
    assert!(second.failures.iter().any(|failure| failure.call == claimer::Call::Load));
    (0..2).for_each(|partition| world.faults().lead(&runs(partition), Some(1)));
    world.turn_clock(Duration::from_secs(1));
    second.run(&world, 9);
    assert_eq!((second.started, world.committed(0)), (vec![2], Some((2, vec![]))));
}

#[test]
fn whether_a_message_was_deleted_unread_is_known_as_far_as_the_claims_on_record_go_back() {
    // The first of two messages was claimed or waited, the second was claimed; then offsets and messages were lost, and
    // of the claims those of before the second, or none.
    let check = |is_claimed: bool, forgets: bool, expected: &[(i32, i64, i64)]| {
        let mut world = World::new();
        let mut first = Consumer::join(&world);
        world.publish_for_later(0, 1, if is_claimed { 0 } else { 600 });
        first.run(&world, 9);
        if forgets {
            for partition in 0..2 {
                let of = TopicPartition { topic: "cron-runs".to_owned(), partition };
                let end = world.end(&of);
                world.faults().delete_records(&of, end);
            }
        }
        world.publish(0, 2);
        first.run(&world, 9);
        first.leave(&world);
        world.faults().expire_offsets("g");
        world.faults().delete_records(&of(0), 2);
        let mut second = Consumer::join(&world);
        second.run(&world, 9);
        let told: Vec<_> = world.told().iter().filter_map(deleted).collect();
        assert_eq!((told.as_slice(), second.started.len()), (expected, 0), "{is_claimed} {forgets}");
    };
    check(true, false, &[]);
    check(false, false, &[(0, 0, 2)]);
    check(true, true, &[]);
}

#[test]
fn what_is_older_than_what_is_left_of_the_claims_on_record_is_not_run_again() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    (1..=3).for_each(|run| _ = world.publish(0, run));
    first.run(&world, 9);
    world.turn_clock(Duration::from_secs(100));
    for partition in 0..2 {
        let of = TopicPartition { topic: "cron-runs".to_owned(), partition };
        let end = world.end(&of);
        world.faults().delete_records(&of, end);
    }
    // Of these, at least one claim stands in either partition of cron-runs.
    (4..=20).for_each(|run| _ = world.publish(0, run));
    first.run(&world, 30);
    world.publish(0, 21);
    first.leave(&world);
    world.faults().expire_offsets("g");
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    assert_eq!(second.started, [21], "the first three are forgotten, and were run");
}

#[test]
fn what_was_deleted_before_a_group_had_an_offset_is_told() {
    let mut world = World::new();
    for run in 1..=4 {
        world.publish(0, run);
    }
    world.publish(1, 5);
    world.faults().delete_records(&of(0), 3);
    world.faults().delete_records(&of(1), 1);
    let mut consumer = Consumer::join(&world);
    consumer.run(&world, 9);
    assert_eq!((consumer.started.as_slice(), world.committed(1)), (&[4][..], Some((1, vec![]))));
    let told: Vec<_> = world.told().iter().filter_map(deleted).collect();
    assert_eq!(told, [(0, 0, 3), (1, 0, 1)], "also where nothing is left");
    consumer.leave(&world);
    let mut next = Consumer::join(&world);
    next.run(&world, 9);
    assert_eq!(world.told().len(), 2, "once");
}

#[test]
fn what_was_claimed_before_the_offsets_expired_was_not_deleted_unread() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    for run in 1..=3 {
        world.publish(0, run);
    }
    first.run(&world, 2);
    assert_eq!(first.started, [1, 2, 3]);
    first.leave(&world);
    world.publish(0, 4);
    world.faults().expire_offsets("g");
    world.faults().delete_records(&of(0), 4);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    let told: Vec<_> = world.told().iter().filter_map(deleted).collect();
    assert_eq!((second.started.len(), told), (0, vec![(0, 3, 4)]));
}

pub(super) fn deleted(event: &Event) -> Option<(i32, i64, i64)> {
    match event {
        Event::DeletedUnread { place, next_offset, .. } => {
            Some((place.partition, place.offset, *next_offset))
        }
        _ => None,
    }
}
