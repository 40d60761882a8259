//! Runs that were published and that no consumer will run.

use std::time::Duration;

use super::fixture;
use super::fixture::{LEASE, Producer, World, name, of};
use crate::common::broker::memory::{Call, Fate};
use crate::common::model::{AttemptRef, EndReason, Event, Place, Then};
use crate::producer::run_tracker::messages::RunNews;
use crate::producer::run_tracker::{Effect, RunTracker};

/// The time after which a run is looked for that waits to be claimed, and what it takes to notice.
const LONG: u64 = 75;

/// A producer that follows the runs of job `j`.
fn following(world: &World, name: &str, leads: bool) -> Producer {
    let mut producer = world.producer(name, leads);
    producer.tracker = RunTracker::new(fixture::options(name, &["j"]), world.mono());
    producer
}

fn over(effects: &[Effect]) -> Vec<u128> {
    let run = |effect: &Effect| match effect {
        Effect::Tell(RunNews::Over { run, .. }) => Some(run.0.as_u128()),
        _ => None,
    };
    effects.iter().filter_map(run).collect()
}

fn unfinished(effects: &[Effect]) -> Vec<u128> {
    let run = |effect: &Effect| match effect {
        Effect::Tell(RunNews::Unfinished(run)) => Some(run.run.0.as_u128()),
        _ => None,
    };
    effects.iter().filter_map(run).collect()
}

/// The attempts after which runs were said to be over that no consumer will run.
fn ended(world: &mut World) -> Vec<AttemptRef> {
    let all = world.said(|event| matches!(event, Event::Ended { .. }));
    let attempt = |event: &Event| match event {
        Event::Ended { attempt, reason: EndReason::Unclaimable, .. } => Some(*attempt),
        _ => None,
    };
    all.iter().filter_map(attempt).collect()
}

/// Run 1 is published, and then something happens to its message that no consumer tells of.
fn check_unclaimable(happens: impl Fn(&mut World, &Place)) {
    let mut world = World::new();
    let (mut leader, mut standby) = (following(&world, "p", true), following(&world, "q", false));
    world.pass(3, &mut [&mut leader, &mut standby]);
    let place = world.publish(1, 2);
    world.note(1, &place);
    world.pass(3, &mut [&mut leader, &mut standby]);
    assert_eq!((unfinished(&leader.effects), unfinished(&standby.effects)), (vec![1], vec![1]));
    happens(&mut world, &place);
    world.pass(LONG, &mut [&mut leader, &mut standby]);
    assert_eq!(ended(&mut world), [AttemptRef { attempt: 0, ..name(1) }]);
    assert_eq!((over(&leader.effects), over(&standby.effects)), (vec![1], vec![1]));
    assert!(leader.effects.contains(&Effect::Unclaimable("c".parse().unwrap())));
    // Who begins to follow after that knows it, too.
    let mut next = following(&world, "r", false);
    world.pass(3, &mut [&mut next]);
    assert_eq!((next.tracker.parts.runs.known().open(), over(&next.effects)), (vec![], vec![1]));
    world.pass(20 * LEASE, &mut [&mut leader, &mut standby]);
    assert_eq!((ended(&mut world).len(), over(&leader.effects).len()), (1, 1), "once");
}

#[test]
fn a_run_whose_topic_was_made_anew_is_over() {
    check_unclaimable(|world, _| {
        world.faults().delete_topic("c");
        world.create("c", 1);
    });
    // Another run lies now where it lay.
    check_unclaimable(|world, _| {
        world.faults().delete_topic("c");
        world.create("c", 1);
        world.publish(2, 0);
    });
}

#[test]
fn a_run_whose_message_was_cut_off_is_over() {
    check_unclaimable(|world, place| world.faults().cut(&of("c", 0), place.offset));
}

#[test]
fn a_run_that_the_group_has_passed_without_a_claim_is_over() {
    check_unclaimable(|world, place| world.commit(place, place.offset + 1, &[]));
    check_unclaimable(|world, place| {
        world.faults().spoil(&of("c", 0), place.offset);
        world.commit(place, place.offset + 1, &[]);
    });
    // As Kafka's own tools set it.
    check_unclaimable(|world, _| world.commit_for("c", of("c", 0), 1, String::new()));
}

#[test]
fn a_run_whose_message_waits_is_not_over_however_long_nobody_claims_it() {
    let mut world = World::new();
    let mut leader = following(&world, "p", true);
    world.commit_for("c", of("c", 0), 0, String::new());
    let place = world.publish(1, 0);
    world.note(1, &place);
    // Two copies, of which the first is passed.
    let first = world.publish(2, 0);
    world.note(2, &first);
    let copy = world.publish(2, 0);
    world.commit(&place, copy.offset, &[place.offset]);
    world.pass(50 * LEASE, &mut [&mut leader]);
    assert_eq!((ended(&mut world), over(&leader.effects)), (vec![], vec![]));
    world.claim(1, &place, "one");
    world.commit(&place, copy.offset + 1, &[]);
    world.pass(5, &mut [&mut leader]);
    world.finish(1, Then::Done);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [1]);
}

#[test]
fn a_retry_whose_topic_was_made_anew_is_over() {
    let mut world = World::new();
    let mut leader = following(&world, "p", true);
    for run in 1..=2 {
        let place = world.start(run, 1);
        world.note(run, &place);
        world.finish(run, Then::Retried);
    }
    world.retry(1);
    world.pass(5, &mut [&mut leader]);
    world.faults().delete_topic("c-retry");
    world.create("c-retry", 1);
    world.retry(2);
    world.pass(LONG, &mut [&mut leader]);
    assert_eq!((ended(&mut world), over(&leader.effects)), (vec![name(1)], vec![1]), "the other one waits");
}

#[test]
fn a_topic_that_is_out_of_sight_and_a_broker_that_refuses_end_nothing() {
    let mut world = World::new();
    let mut leader = following(&world, "p", true);
    let place = world.publish(1, 0);
    world.note(1, &place);
    world.pass(5, &mut [&mut leader]);
    world.faults().delete_topic("c");
    world.pass(5 * LONG, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [0; 0]);
    world.create("c", 1);
    world.faults().decide(Box::new(|_, call| (call == Call::Committed).then_some(Fate::NotSent)));
    world.pass(5 * LONG, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [0; 0]);
    world.faults().decide(Box::new(|_, _| None));
    world.pass(600, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [1]);
}

#[test]
fn a_run_that_is_claimed_although_it_was_ended_is_waited_for_again() {
    let mut world = World::new();
    let mut leader = following(&world, "p", true);
    let place = world.publish(1, 0);
    world.note(1, &place);
    world.commit(&place, 1, &[]);
    world.pass(LONG, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [1]);
    leader.effects.clear();
    // An operator has set the group's offset back.
    world.commit(&place, 0, &[]);
    world.claim(1, &place, "one");
    world.commit(&place, 1, &[]);
    world.pass(5, &mut [&mut leader]);
    assert_eq!((unfinished(&leader.effects), over(&leader.effects)), (vec![1], vec![]));
    world.finish(1, Then::Done);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [1]);
}

#[test]
fn how_long_a_run_has_waited_is_known_until_it_is_claimed() {
    let mut world = World::new();
    let mut leader = following(&world, "p", true);
    let place = world.publish(1, 0);
    world.note(1, &place);
    world.pass(100, &mut [&mut leader]);
    let longest =
        |world: &World, leader: &Producer| leader.tracker.longest_waits(world.now()).into_values().next();
    assert_eq!(longest(&world, &leader), Some(Duration::from_secs(100)));
    world.claim(1, &place, "one");
    world.pass(2, &mut [&mut leader]);
    assert_eq!(longest(&world, &leader), None);
}
