//! Claim, then start.

use std::time::Duration;

use super::consumer::Consumer;
use super::fixture::{LEASE, World};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::consumer::claiming::dispatcher::{self, Failure};

/// A consumer that holds what was published and has claimed nothing yet.
fn ready(world: &mut World, runs: &[u128]) -> Consumer {
    let mut consumer = Consumer::join(world);
    consumer.step(world, 0);
    for run in runs {
        world.publish(0, *run);
    }
    consumer.poll(world);
    consumer
}

#[test]
fn an_attempt_is_claimed_and_committed_before_it_is_started() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[7]);
    assert_eq!((world.claimed(), world.committed(0)), (vec![], Some((0, vec![]))));
    consumer.step(&world, 1);
    assert_eq!((world.claimed(), world.committed(0)), (vec![(0, 0)], Some((1, vec![]))));
    assert_eq!(consumer.started, [], "the answer is not judged by an instant before it");
    assert!(consumer.dispatcher.has_granted() && consumer.dispatcher.is_busy());
    consumer.step(&world, 1);
    assert_eq!(consumer.started, [7]);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [7], "once");
}

#[test]
fn no_more_is_claimed_than_workers_are_free_and_partitions_take_turns() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[1, 2, 3]);
    world.publish(1, 4);
    consumer.poll(&world);
    consumer.step(&world, 2);
    assert_eq!(world.claimed(), [(0, 0), (1, 0)]);
    consumer.step(&world, 2);
    consumer.step(&world, 0);
    assert_eq!(consumer.started, [1, 4]);
}

#[test]
fn without_a_record_of_the_claim_nothing_is_committed() {
    for fate in [Fate::NotSent, Fate::AnswerLost, Fate::Refused(ErrorCode::NotEnoughReplicas)] {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[7]);
        world.faults().next(Call::Produce, fate);
        consumer.step(&world, 1);
        consumer.step(&world, 0);
        assert_eq!((world.committed(0), consumer.started.len()), (Some((0, vec![])), 0), "{fate:?}");
        consumer.run(&world, 1);
        assert_eq!(consumer.started, [7], "{fate:?}");
    }
}

#[test]
fn nothing_runs_on_an_unknown_answer_and_the_same_commit_is_sent_again() {
    let fates = [
        Fate::NotSent,
        Fate::RequestLost,
        Fate::AnswerLost,
        Fate::Refused(ErrorCode::NotCoordinator),
        Fate::Refused(ErrorCode::RebalanceInProgress),
        Fate::AppliedButRefused(ErrorCode::CoordinatorNotAvailable),
        Fate::AppliedButRefused(ErrorCode::RequestTimedOut),
    ];
    for fate in fates {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[7]);
        for _ in 0..3 {
            world.faults().next(Call::Commit, fate);
        }
        for _ in 0..3 {
            consumer.step(&world, 9);
            // It changes nothing that there is more to claim by now.
            world.publish(0, 8);
            consumer.poll(&world);
        }
        assert!(world.faults().all_met() && consumer.dispatcher.has_pending());
        assert_eq!(consumer.started, [], "{fate:?}");
        consumer.step(&world, 9);
        consumer.step(&world, 0);
        assert_eq!(consumer.started, [7], "{fate:?}");
        assert_eq!(world.claimed(), [(0, 0)], "{fate:?}: claimed once");
        assert_eq!(world.committed(0), Some((1, vec![])), "{fate:?}");
    }
}

#[test]
fn a_refused_claim_starts_nothing() {
    for code in [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId, ErrorCode::FencedInstanceId] {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[7]);
        world.faults().next(Call::Commit, Fate::Refused(code));
        consumer.run(&world, 9);
        assert_eq!((consumer.started.len(), consumer.dispatcher.counts().refused), (0, 1), "{code}");
        assert_eq!(world.committed(0), Some((0, vec![])), "{code}");
        consumer.next_generation_by_leaving(&world);
        consumer.run(&world, 9);
        assert_eq!(consumer.started, [7], "{code}: a new generation claims it anew");
    }
}

#[test]
fn after_a_lost_answer_nothing_is_claimed_before_a_new_member_id() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[7]);
    world.faults().next(Call::Commit, Fate::Late);
    consumer.run(&world, 9);
    assert_eq!((consumer.started.clone(), consumer.new_ids_asked_for), (vec![7], 1));
    world.publish(0, 8);
    consumer.run(&world, 9);
    assert_eq!((consumer.started.clone(), consumer.new_ids_asked_for), (vec![7], 1));
    assert!(!consumer.dispatcher.is_busy(), "there is nothing to do but to wait for it");
    let before = consumer.holder.clone().unwrap();
    consumer.member.join_as_new();
    consumer.next_generation(&world);
    assert_ne!(consumer.holder.as_ref().unwrap().member_id, before.member_id);
    consumer.run(&world, 9);
    assert_eq!((consumer.started, world.committed(0)), (vec![7, 8], Some((2, vec![]))));
    world.faults().deliver();
    assert_eq!(world.committed(0), Some((2, vec![])), "the late commit moves nothing back");
}

#[test]
fn a_confirmation_later_than_the_lease_starts_nothing() {
    // The commit is answered too late; or it is answered in time, and we get to hear of it too late.
    for unsent in [1, 0] {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[7]);
        for _ in 0..unsent {
            world.faults().next(Call::Commit, Fate::NotSent);
        }
        consumer.step(&world, 1);
        world.turn_clock(LEASE - LEASE / 4);
        consumer.run(&world, 1);
        assert_eq!((consumer.started.len(), consumer.dispatcher.counts().too_late), (0, 1));
        assert_eq!(world.committed(0), Some((1, vec![])), "its lease ends it");
    }
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[7]);
    consumer.step(&world, 1);
    world.turn_clock(LEASE - LEASE / 4 - Duration::from_millis(1));
    consumer.step(&world, 0);
    assert_eq!(consumer.started, [7]);
}

#[test]
fn a_commit_that_decides_nothing_is_told_apart_from_a_claim_that_was_not_written() {
    let check = |call: Call, fate: Fate, expected: &[(dispatcher::Call, &'static str)]| {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[7]);
        world.faults().next(call, fate);
        consumer.run(&world, 1);
        let expected: Vec<Failure> =
            expected.iter().map(|(call, reason)| Failure { call: *call, reason }).collect();
        assert_eq!(consumer.failures, expected, "{call:?} {fate:?}");
    };
    let (claim, commit) = (dispatcher::Call::Claim, dispatcher::Call::Commit);
    check(Call::Produce, Fate::NotSent, &[(claim, "unreachable")]);
    check(Call::Produce, Fate::Refused(ErrorCode::NotEnoughReplicas), &[(claim, "not_enough_replicas")]);
    check(Call::Commit, Fate::RequestLost, &[(commit, "no_answer")]);
    let busy = ErrorCode::RebalanceInProgress;
    check(Call::Commit, Fate::Refused(busy), &[(commit, "rebalance_in_progress")]);
    check(Call::Commit, Fate::Refused(ErrorCode::IllegalGeneration), &[]);
}
