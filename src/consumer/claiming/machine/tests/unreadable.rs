//! What cannot be read goes to the dead-letter topic, and the partition goes on.

use std::time::Duration;

use bytes::Bytes;

use super::consumer::Consumer;
use super::fixture::{World, attempt, of};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::common::model::Event;
use crate::common::wire::DeadReason;
use crate::consumer::claiming::machine as claimer;

fn garbage() -> Bytes {
    Bytes::from_static(b"garbage")
}

#[test]
fn a_letter_is_written_and_the_partition_goes_on() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    world.write(0, &[garbage(), attempt(1, None)]);
    consumer.run(&world, 9);
    assert_eq!((consumer.started.clone(), world.committed(0)), (vec![1], Some((2, vec![]))));
    let letters = world.letters();
    assert_eq!((letters.len(), letters[0].reason, letters[0].place.offset), (1, DeadReason::Malformed, 0));
    assert_eq!(letters[0].original.as_ref().unwrap().value, Some(garbage()));
    assert!(matches!(consumer.notes[..], [Event::Unreadable { .. }]));
    assert_eq!(consumer.letters, [DeadReason::Malformed]);
}

#[test]
fn a_letter_that_cannot_be_written_holds_up_nothing_and_stays_a_hole() {
    let mut world = World::new();
    world.faults().delete_topic("c-dead");
    let mut first = Consumer::join(&world);
    world.write(0, &[garbage(), attempt(1, None)]);
    first.run(&world, 9);
    assert_eq!((first.started.clone(), world.committed(0)), (vec![1], Some((2, vec![0]))));
    assert!(!first.claimer.is_busy(), "letters rest for a while");
    first.leave(&world);
    world.create("c-dead", 1);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    assert_eq!((second.started.len(), world.committed(0)), (0, Some((2, vec![]))));
    assert_eq!(world.letters().len(), 1);
}

#[test]
fn a_letter_is_tried_again_until_it_is_confirmed() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    world.write(0, &[garbage()]);
    consumer.poll(&world);
    world.faults().next(Call::Produce, Fate::RequestLost);
    consumer.run(&world, 9);
    assert_eq!((world.letters().len(), world.committed(0)), (0, Some((0, vec![]))));
    world.turn_clock(Duration::from_secs(5));
    consumer.run(&world, 9);
    assert_eq!((world.letters().len(), world.committed(0)), (1, Some((1, vec![]))));
}

#[test]
fn a_batch_that_cannot_be_decoded_is_one_letter() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.write(0, &[attempt(1, None), attempt(2, None), attempt(3, None)]);
    first.run(&world, 1);
    first.leave(&world);
    let started = world.claimed().len();
    assert!(started >= 1);
    world.write(0, &[attempt(4, None), attempt(5, None)]);
    world.publish(0, 6);
    world.faults().spoil(&of(0), 3);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    assert_eq!((second.started, world.committed(0)), (vec![6], Some((6, vec![]))));
    let letters = world.letters();
    assert_eq!((letters.len(), letters[0].reason), (1, DeadReason::Undecodable));
    assert_eq!((letters[0].place.offset, letters[0].last_offset), (3, 4));
}

#[test]
fn of_a_batch_that_spoils_later_the_unclaimed_rest_is_told() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    first.step(&world, 0);
    world.write(0, &[attempt(1, None), attempt(2, None)]);
    first.poll(&world);
    first.step(&world, 1);
    first.step(&world, 0);
    assert_eq!(first.started, [1]);
    first.leave(&world);
    world.faults().spoil(&of(0), 0);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    let letters = world.letters();
    assert_eq!((letters.len(), letters[0].place.offset, letters[0].last_offset), (1, 1, 1));
    assert_eq!((second.started.len(), world.committed(0)), (0, Some((2, vec![]))));
}

#[test]
fn a_letter_that_waits_when_its_partitions_position_is_lost_settles_nothing() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    world.publish(0, 1);
    world.write(0, &[garbage()]);
    world.faults().refuse(Call::Produce, "c-dead", ErrorCode::NotEnoughReplicas);
    consumer.poll(&world);
    consumer.step(&world, 0);
    assert!(consumer.claimer.owes(claimer::Call::Letter));
    consumer.loses_position(&world, 0);
    world.faults().allow(Call::Produce, "c-dead");
    world.turn_clock(Duration::from_secs(5));
    consumer.step(&world, 9);
    assert_eq!(world.committed(0), Some((0, vec![])), "the attempt before it was not read again yet");
    consumer.run(&world, 9);
    assert_eq!((consumer.started, world.committed(0)), (vec![1], Some((2, vec![]))));
    assert_eq!(world.letters().len(), 1);
}
