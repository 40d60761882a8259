//! Generations come and go, and with them owners of a partition.

use std::time::Duration;

use super::consumer::Consumer;
use super::fixture::{World, of};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::common::membership::Change;
use crate::consumer::claiming::machine::Event;
use crate::consumer::fetching::reading::LogSlice;

#[test]
fn a_new_generation_reads_the_committed_offset_again() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    world.publish(0, 1);
    world.publish(0, 2);
    consumer.run(&world, 0);
    // Another consumer had the partition meanwhile, and claimed the first.
    world.commit(&consumer.holder.clone().unwrap(), 0, 1);
    consumer.next_generation_by_leaving(&world);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [2]);
}

#[test]
fn what_was_read_under_an_older_generation_is_not_taken() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    let plan = consumer.plan;
    consumer.next_generation_by_leaving(&world);
    consumer.step(&world, 0);
    let topic_id = world.topic_id();
    let slice = LogSlice { topic_id, records: Vec::new(), span: 0..5 };
    consumer.handle(Event::Read { plan, partition: 0, slice }, &world);
    consumer.handle(Event::LostPosition { plan, partition: 0 }, &world);
    assert!(!consumer.claimer.is_busy());
    world.publish(0, 1);
    consumer.run(&world, 1);
    assert_eq!(consumer.started, [1]);
}

#[test]
fn a_partition_that_went_to_another_is_let_go() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    world.publish(0, 1);
    world.publish(1, 2);
    consumer.run(&world, 0);
    let holder = consumer.holder.clone().unwrap();
    let change = Change::Assigned { holder, partitions: vec![of(1)], alone: true, is_first: true };
    consumer.handle(Event::Changed(change), &world);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [2]);
}

#[test]
fn holes_survive_to_the_next_owner() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.publish_for_later(0, 1, 60);
    world.publish(0, 2);
    world.publish(0, 3);
    first.run(&world, 9);
    assert_eq!((first.started.clone(), world.committed(0)), (vec![2, 3], Some((3, vec![0]))));
    first.leave(&world);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    assert_eq!((second.started.len(), second.claimer.waiting()), (0, 1));
    world.turn_clock(Duration::from_secs(60));
    second.run(&world, 9);
    assert_eq!((second.started, world.committed(0)), (vec![1], Some((3, vec![]))));
}

#[test]
fn copies_are_dropped_across_owners_and_committed_past() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.publish(0, 1);
    first.run(&world, 9);
    assert_eq!(first.started, [1]);
    first.leave(&world);
    world.publish(0, 1);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    assert_eq!((second.started.len(), second.claimer.counts().copies), (0, 1));
    assert_eq!(world.committed(0), Some((2, vec![])));
    assert_eq!(world.claimed(), [(0, 0)]);
}

#[test]
fn a_copy_that_is_read_while_a_claim_is_under_way_is_committed_past_too() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    world.publish(0, 1);
    consumer.poll(&world);
    world.faults().next(Call::Commit, Fate::NotSent);
    consumer.step(&world, 1);
    world.publish(0, 1);
    consumer.run(&world, 1);
    assert_eq!((consumer.started, consumer.claimer.counts().copies), (vec![1], 1));
    assert_eq!(world.committed(0), Some((2, vec![])));
}

#[test]
fn a_claim_under_way_when_the_generation_ends_is_started_by_nobody_or_claimed_anew() {
    // Whether it had been applied shows in the committed offset, which is read again.
    for (fate, started) in [(Fate::AnswerLost, vec![]), (Fate::RequestLost, vec![7])] {
        let mut world = World::new();
        let mut consumer = Consumer::join(&world);
        world.publish(0, 7);
        consumer.run(&world, 0);
        world.faults().next(Call::Commit, fate);
        consumer.step(&world, 1);
        assert!(consumer.claimer.has_pending());
        consumer.next_generation_by_leaving(&world);
        assert!(!consumer.claimer.has_pending());
        consumer.run(&world, 1);
        assert_eq!(consumer.started, started, "{fate:?}");
        assert_eq!(consumer.claimer.counts().refused, 1, "{fate:?}");
    }
}

#[test]
fn what_was_granted_is_started_although_the_membership_has_ended() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    world.publish(0, 7);
    consumer.run(&world, 0);
    consumer.step(&world, 1);
    consumer.handle(Event::Changed(Change::Lost), &world);
    consumer.step(&world, 0);
    assert_eq!(consumer.started, [7]);
}

#[test]
fn without_a_membership_nothing_is_asked_of_the_broker() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    world.publish(0, 7);
    consumer.run(&world, 0);
    consumer.handle(Event::Changed(Change::Lost), &world);
    world.faults().decide(Box::new(|client, call| {
        assert_ne!(client, "dispatch", "{call:?}");
        None
    }));
    consumer.step(&world, 9);
    assert_eq!(consumer.started, []);
}

#[test]
fn a_first_claim_that_is_refused_is_not_taken_for_a_granted_one() {
    // Two consumers that start together on a new topic: the claim of the first is refused, for the second has joined.
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    first.step(&world, 0);
    world.publish(0, 7);
    first.poll(&world);
    world.faults().next(Call::Commit, Fate::Refused(ErrorCode::IllegalGeneration));
    first.run(&world, 1);
    assert_eq!((first.started.len(), world.claimed()), (0, vec![(0, 0)]));
    first.leave(&world);
    world.publish(0, 8);
    let mut second = Consumer::join(&world);
    second.run(&world, 1);
    assert_eq!(second.started, [7, 8]);
}
