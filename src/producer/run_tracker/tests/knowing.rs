//! What a leader knows of runs that are not finished, and of those that are over.

use std::collections::HashSet;

use super::fixture;
use super::fixture::{LEASE, Producer, World, name, of};
use crate::common::broker::memory::{Call, Fate};
use crate::common::model::{Place, RunId, Then};
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};
use crate::producer::run_tracker::{Effect, RunTracker};

/// A producer that follows the runs of job `j`.
fn following(world: &World, leads: bool) -> Producer {
    let mut producer = world.producer("p", leads);
    producer.tracker = RunTracker::new(fixture::options("p", &["j"]), world.mono());
    producer
}

/// The terms in which all was read, each with what was over.
fn read_in(effects: &[Effect]) -> Vec<(u64, HashSet<RunId>)> {
    let read = |effect: &Effect| match effect {
        Effect::Tell(RunNews::ReadToEnd { term, over }) => Some((term.number(), HashSet::clone(over))),
        _ => None,
    };
    effects.iter().filter_map(read).collect()
}

fn over(effects: &[Effect]) -> Vec<u128> {
    let run = |effect: &Effect| match effect {
        Effect::Tell(RunNews::Over { run, .. }) => Some(run.0.as_u128()),
        _ => None,
    };
    effects.iter().filter_map(run).collect()
}

#[test]
fn what_is_unfinished_is_told_before_it_is_said_that_all_was_read() {
    let mut world = World::new();
    let place = world.publish(1, 0);
    world.note(1, &place);
    world.start(2, 0);
    world.finish(2, Then::Done);
    let mut leader = following(&world, true);
    world.pass(3, &mut [&mut leader]);
    let told = |wanted: fn(&Effect) -> bool| leader.effects.iter().position(wanted);
    let unfinished = told(|effect| matches!(effect, Effect::Tell(RunNews::Unfinished(_))));
    let read = told(|effect| matches!(effect, Effect::Tell(RunNews::ReadToEnd { .. })));
    assert!(unfinished.is_some() && unfinished < read, "{:?}", leader.effects);
    assert_eq!(read_in(&leader.effects), [(1, HashSet::from([name(2).run]))]);
}

#[test]
fn each_term_reads_to_the_end_anew() {
    let mut world = World::new();
    let mut leader = following(&world, true);
    world.pass(3, &mut [&mut leader]);
    assert_eq!(read_in(&leader.effects), [(1, HashSet::new())]);
    // Another producer has led in between, and the tracker was not told.
    leader.term = leader.term.next();
    leader.effects.clear();
    world.faults().decide(Box::new(|_, call| (call == Call::Produce).then_some(Fate::NotSent)));
    world.pass(5, &mut [&mut leader]);
    assert_eq!(read_in(&leader.effects), [], "no beat of this term was read back");
    world.faults().decide(Box::new(|_, _| None));
    world.pass(5, &mut [&mut leader]);
    assert_eq!(read_in(&leader.effects), [(2, HashSet::new())]);
    leader.effects.clear();
    leader.tracker.handle(FollowRequest::Follow(fixture::followed(&["j"])));
    world.pass(5, &mut [&mut leader]);
    assert_eq!(read_in(&leader.effects).len(), 1, "and again when other jobs are followed");
}

#[test]
fn the_late_end_of_an_attempt_that_was_lost_releases_nobody_however_late_and_whoever_reads_it() {
    let mut world = World::new();
    let mut leader = following(&world, true);
    world.pass(1, &mut [&mut leader]);
    world.start(1, 1);
    world.pass(20 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1), "attempt 1 is lost, and 2 waits");
    world.finish(1, Then::Done);
    let mut next = following(&world, false);
    world.pass(5, &mut [&mut leader, &mut next]);
    assert_eq!(over(&leader.effects), [0; 0]);
    let is_told =
        |effect: &Effect| matches!(effect, Effect::Tell(RunNews::Unfinished(run)) if run.run == name(1).run);
    assert!(next.effects.iter().any(is_told), "{:?}", next.effects);
}

#[test]
fn runs_that_are_over_are_remembered_for_as_long_as_a_term_may_find_them() {
    let mut world = World::new();
    let mut standby = following(&world, false);
    world.pass(3, &mut [&mut standby]);
    world.finish(1, Then::Done);
    world.pass(50 * LEASE, &mut [&mut standby]);
    standby.leads = true;
    world.pass(5, &mut [&mut standby]);
    assert_eq!(read_in(&standby.effects), [(1, HashSet::from([name(1).run]))]);
}

#[test]
fn a_run_that_was_deleted_unread_is_waited_for_by_nobody() {
    let mut world = World::new();
    let mut leader = following(&world, true);
    let place = world.publish(1, 0);
    // Its copy, of which alone it is on record where it lies, is dropped.
    let copy = world.publish(1, 0);
    world.note(1, &copy);
    let left = world.publish(2, 0);
    world.note(2, &left);
    world.commit(&place, copy.offset + 1, &[place.offset]);
    world.pass(5, &mut [&mut leader]);
    world.faults().delete_records(&of("c", 0), place.offset + 1);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [0; 0], "nobody has said so");
    world.commit(&place, copy.offset + 1, &[]);
    world.deleted_unread(&place, place.offset + 1);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [1], "the other one is still to be claimed");
}

#[test]
fn a_retry_that_was_deleted_unread_is_waited_for_by_nobody() {
    let mut world = World::new();
    let mut leader = following(&world, false);
    for run in 1..=2 {
        let place = world.publish(run, 1);
        world.note(run, &place);
        world.finish(run, Then::Retried);
    }
    let kept = world.retry(2);
    world.deleted_unread(&kept, 0);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [0; 0], "it does not lead");
    leader.leads = true;
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [1]);
}

#[test]
fn a_run_that_was_deleted_unread_is_looked_for_again_by_a_leader_that_was_unsure_of_itself_meanwhile() {
    let mut world = World::new();
    let mut leader = following(&world, true);
    let place = world.publish(1, 1);
    world.note(1, &place);
    world.finish(1, Then::Retried);
    world.pass(5, &mut [&mut leader]);
    world.deleted_unread(&Place { topic: "c-retry".to_owned(), ..place }, 1);
    let looks = (0..100).any(|_| {
        world.step(&mut leader);
        leader.tracker.parts.deleted.is_searching()
    });
    assert!(looks);
    leader.leads = false;
    world.step(&mut leader);
    leader.leads = true;
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [1]);
}

#[test]
fn a_run_that_is_claimed_while_it_is_looked_for_is_not_over() {
    let mut world = World::new();
    let mut leader = following(&world, true);
    let place = world.publish(1, 0);
    world.note(1, &place);
    world.pass(5, &mut [&mut leader]);
    world.deleted_unread(&place, 0);
    world.step(&mut leader); // reads that, and not the claim
    world.claim(1, &place, "one");
    world.commit(&place, place.offset + 1, &[]);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(over(&leader.effects), [0; 0]);
}
