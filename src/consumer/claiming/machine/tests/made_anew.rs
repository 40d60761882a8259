//! A topic that was deleted and made anew.

use std::time::Duration;

use uuid::Uuid;

use super::consumer::Consumer;
use super::fixture::{TOPIC, World};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::consumer::claiming::messages::Report;

#[test]
fn a_topic_made_anew_is_read_from_its_start() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    for run in 1..=3 {
        world.publish(0, run);
    }
    consumer.run(&world, 9);
    world.faults().delete_topic(TOPIC);
    world.create(TOPIC, 2);
    world.publish(0, 4);
    consumer.run(&world, 9);
    assert_eq!((consumer.started, world.committed(0)), (vec![1, 2, 3, 4], Some((1, vec![]))));
}

/// How many messages of each partition operators were told to be gone since they were last asked.
fn gone(consumer: &mut Consumer) -> Vec<(i32, u64)> {
    let reports = std::mem::take(&mut consumer.reports).into_iter();
    let gone = |report| match report {
        Report::Gone(partition, count) => Some((partition, count)),
        _ => None,
    };
    reports.filter_map(gone).collect()
}

#[test]
fn what_went_unclaimed_with_a_deleted_topic_is_counted() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    world.publish(0, 1);
    consumer.run(&world, 9);
    // One is claimed before the deletion is noticed, one waits for its instant, and three were not even read.
    world.publish(0, 2);
    world.publish_for_later(0, 3, 3_600);
    consumer.poll(&world);
    consumer.claimer.log_ends(0, 6);
    assert_eq!(gone(&mut consumer), []);
    world.make_topic_anew();
    world.publish(0, 4);
    consumer.run(&world, 9);
    assert_eq!((gone(&mut consumer), consumer.started.clone()), (vec![(0, 4)], vec![1, 2, 4]));
    // Where all was claimed, nothing is gone.
    world.make_topic_anew();
    consumer.run(&world, 9);
    assert_eq!(gone(&mut consumer), []);
}

#[test]
fn what_went_with_a_topic_is_counted_where_a_commit_is_the_first_to_notice() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    world.publish(0, 1);
    for run in [2, 3] {
        world.publish_for_later(0, run, 3_600);
    }
    consumer.poll(&world);
    world.faults().delete_topic(TOPIC);
    consumer.step(&world, 9);
    assert_eq!((consumer.started.len(), gone(&mut consumer)), (0, vec![]));
    world.create(TOPIC, 2);
    world.turn_clock(Duration::from_secs(1));
    consumer.run(&world, 9);
    assert_eq!((consumer.started.len(), gone(&mut consumer)), (0, vec![(0, 3)]));
    consumer.run(&world, 9);
    assert_eq!(gone(&mut consumer), []);
}

#[test]
fn what_went_with_a_topic_is_counted_once_where_a_new_generation_begins_meanwhile() {
    for is_made_anew in [true, false] {
        let mut world = World::new();
        let mut consumer = Consumer::join(&world);
        consumer.run(&world, 9);
        world.publish_for_later(1, 5, 3_600);
        consumer.poll(&world);
        if is_made_anew {
            world.make_topic_anew();
        }
        consumer.next_generation_by_leaving(&world);
        consumer.run(&world, 9);
        assert_eq!(gone(&mut consumer), if is_made_anew { vec![(1, 1)] } else { vec![] });
        consumer.run(&world, 9);
        assert_eq!(gone(&mut consumer), []);
    }
}

#[test]
fn what_was_claimed_of_a_topic_made_anew_is_not_run_again_by_the_next_owner() {
    for claimed_before in [0, 1, 9] {
        let mut world = World::new();
        let mut first = Consumer::join(&world);
        for run in 0..claimed_before {
            world.publish(0, 100 + run);
        }
        first.run(&world, 9);
        world.make_topic_anew();
        for run in 1..=5 {
            world.publish(0, run);
            first.run(&world, 9);
        }
        assert_eq!(first.started.split_off(usize::try_from(claimed_before).unwrap()), [1, 2, 3, 4, 5]);
        assert_eq!(world.committed_topic(0), Some(world.topic_id()), "after {claimed_before}");
        first.leave(&world);
        let mut second = Consumer::join(&world);
        second.run(&world, 9);
        assert_eq!(second.started, [], "after {claimed_before}");
    }
}

#[test]
fn a_record_of_the_new_topic_is_never_claimed_under_the_old_ones_id() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    let before = world.topic_id();
    world.make_topic_anew();
    world.publish(0, 1);
    // The fetch goes by the name alone, as with a client that has only just learnt the new id.
    consumer.forget_topic_ids(&world);
    consumer.poll(&world);
    consumer.step(&world, 9);
    assert_ne!(world.committed_topic(0), Some(before));
    consumer.run(&world, 9);
    assert_eq!((consumer.started, world.committed_topic(0)), (vec![1], Some(world.topic_id())));
}

#[test]
fn a_late_commit_for_a_topic_that_is_gone_has_nothing_run_again() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.publish(0, 1);
    first.run(&world, 0);
    world.faults().next(Call::Commit, Fate::Late);
    first.step(&world, 1);
    world.make_topic_anew();
    first.next_generation_by_leaving(&world);
    for run in 2..=4 {
        world.publish(0, run);
    }
    first.run(&world, 9);
    assert_eq!(first.started, [2, 3, 4]);
    // The broker lets it through where the same member still holds the generation.
    let holder = first.holder.clone().unwrap();
    world.commit_of(&holder, 0, 1, Uuid::from_u128(99));
    first.leave(&world);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    assert_eq!((second.started.len(), world.committed_topic(0)), (0, Some(world.topic_id())));
}

#[test]
fn brokers_that_do_not_agree_about_a_topic_are_asked_with_pauses() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.run(&world, 0);
    world.faults().refuse(Call::Fetch, TOPIC, ErrorCode::InconsistentTopicId);
    let asked = world.faults().made(Call::Committed);
    for _ in 0..30 {
        consumer.step(&world, 1);
        consumer.poll(&world);
    }
    let asked = world.faults().made(Call::Committed) - asked;
    assert!((2..8).contains(&asked), "{asked} times in no time");
    world.faults().allow(Call::Fetch, TOPIC);
    world.publish(0, 1);
    world.turn_clock(Duration::from_secs(1));
    consumer.run(&world, 1);
    assert_eq!(consumer.started, [1]);
}
