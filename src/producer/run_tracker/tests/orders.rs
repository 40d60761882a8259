//! Runs that are to end: consumers are asked until they are over.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{World, name, of};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::Call;
use crate::common::model::Order;
use crate::common::topics;
use crate::common::wire;
use crate::producer::run_tracker::messages::{FollowRequest, RunsToEnd};
use crate::producer::run_tracker::notes::Note;
use crate::producer::run_tracker::{Duties, Effect};

fn these(runs: &[u128]) -> FollowRequest {
    let of_job = ("j".parse().unwrap(), "c".parse().unwrap());
    let runs: RunsToEnd = Arc::new(runs.iter().map(|run| (name(*run).run, of_job.clone())).collect());
    FollowRequest::End(runs)
}

/// The runs whose end was asked for, as often as it was.
fn asked(world: &mut World) -> Vec<u128> {
    let orders = world.values(of(topics::ORDERS, 0));
    let run = |value: &bytes::Bytes| {
        let Order::End { run, .. } = wire::decode_order(value).unwrap();
        run.0.as_u128()
    };
    orders.iter().map(run).collect()
}

fn world() -> World {
    let mut world = World::new();
    world.create(topics::ORDERS, 1);
    world
}

#[test]
fn a_run_that_is_to_end_is_asked_for_at_once_and_again_until_it_is_over() {
    let mut world = world();
    let mut producer = world.producer("p", true);
    world.pass(2, &mut [&mut producer]);
    assert_eq!(asked(&mut world), []);
    producer.tracker.handle(these(&[1, 2]));
    world.pass(1, &mut [&mut producer]);
    assert_eq!(asked(&mut world), [1, 2]);
    world.pass(8, &mut [&mut producer]);
    assert_eq!(asked(&mut world), [1, 2], "it is not hurried");
    producer.tracker.handle(these(&[2, 3]));
    world.pass(1, &mut [&mut producer]);
    assert_eq!(asked(&mut world), [1, 2, 3]);
    world.pass(10, &mut [&mut producer]);
    assert_eq!(asked(&mut world), [1, 2, 3, 2, 3]);
    producer.tracker.handle(these(&[]));
    world.pass(60, &mut [&mut producer]);
    assert_eq!(asked(&mut world).len(), 5);
}

#[test]
fn only_a_leader_asks_and_it_asks_anew_in_each_term() {
    let mut world = world();
    let mut producer = world.producer("p", false);
    producer.tracker.handle(these(&[1]));
    world.pass(20, &mut [&mut producer]);
    assert_eq!(asked(&mut world), []);
    producer.leads = true;
    world.pass(1, &mut [&mut producer]);
    assert_eq!(asked(&mut world), [1]);
    producer.leads = false;
    world.pass(1, &mut [&mut producer]);
    producer.leads = true;
    world.pass(1, &mut [&mut producer]);
    assert_eq!(asked(&mut world), [1, 1]);
}

#[test]
fn an_order_that_is_not_confirmed_is_written_again_and_hinders_nothing_else() {
    let mut world = world();
    let mut producer = world.producer("p", true);
    world.pass(2, &mut [&mut producer]);
    producer.effects.clear();
    world.faults().refuse(Call::Produce, topics::ORDERS, ErrorCode::TopicAuthorizationFailed);
    producer.tracker.handle(these(&[1]));
    world.pass(30, &mut [&mut producer]);
    assert!(!producer.is_done(Duties::Orders));
    assert!(producer.is_done(Duties::Beats) && producer.is_done(Duties::LostAttempts));
    let failures = |effect: &&Effect| matches!(effect, Effect::Failed(Duties::Orders, _));
    let failed = producer.effects.iter().filter(failures).count();
    assert!((15..=31).contains(&failed), "about once a second: {failed}");
    world.faults().allow(Call::Produce, topics::ORDERS);
    world.pass(2, &mut [&mut producer]);
    assert_eq!(asked(&mut world), [1]);
    assert!(producer.is_done(Duties::Orders));
}

#[test]
fn a_run_that_goes_on_is_told_once_and_measured() {
    let mut world = world();
    let mut producer = world.producer("p", true);
    world.pass(2, &mut [&mut producer]);
    producer.tracker.handle(these(&[1]));
    world.pass(59, &mut [&mut producer]);
    let goes_on = |notes: &[Note]| notes.iter().filter(|note| matches!(note, Note::GoesOn { .. })).count();
    assert_eq!(goes_on(&producer.notes), 0);
    world.pass(60, &mut [&mut producer]);
    assert_eq!(goes_on(&producer.notes), 1);
    let waits = producer.tracker.longest_waits(world.now());
    let waits = waits[&"c".parse().unwrap()];
    assert!((Duration::from_secs(110)..Duration::from_secs(125)).contains(&waits), "{waits:?}");
    producer.tracker.handle(these(&[]));
    assert_eq!(producer.tracker.longest_waits(world.now()).len(), 0);
}
