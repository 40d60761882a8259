//! Where following begins, and what may be concluded from the part of `cron-runs` that was read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fixture;
use super::fixture::{LEASE, LEASE_AND_A_BIT, Producer, World, has_read_history, name, of};
use crate::common::broker::memory::{Call, Fate};
use crate::common::broker::partition_for;
use crate::common::model::Then;
use crate::common::topics;
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};
use crate::producer::run_tracker::{Effect, RunTracker};

/// A consumer whose signs of life go to the other partition than the events of run 1.
fn elsewhere() -> String {
    let partition = |key: &str| partition_for(key.as_bytes(), 2);
    let run = name(1).run.to_string();
    (0..).map(|n| format!("consumer-{n}")).find(|word| partition(word) != partition(&run)).unwrap()
}

/// Events about others, so that both partitions have new ends.
fn chatter(world: &mut World) {
    for run in 100..140 {
        world.finish(run, Then::Done);
    }
}

fn began(producer: &Producer) -> Vec<i64> {
    producer.tracker.parts.log.ends().partitions().values().map(|end| end.began).collect()
}

/// A leader has said that its successor must read from the current end of a partition.
fn said(world: &mut World, partitions: &[i32]) {
    let mut reader = world.producer("reader", false);
    world.pass(5, &mut [&mut reader]);
    for (partition, end) in reader.tracker.parts.log.ends().partitions() {
        let from = if partitions.contains(partition) { end.next } else { 0 };
        world.commit_for(topics::LEADER, of(topics::RUNS, *partition), from, String::new());
    }
}

#[test]
fn reading_begins_with_all_there_is_where_no_leader_has_said_more() {
    let mut world = World::new();
    chatter(&mut world);
    world.start(1, 2);
    // No producer leads while the consumer dies, and other runs go on for long.
    world.pass(100 * LEASE, &mut []);
    chatter(&mut world);
    let mut leader = world.producer("p", true);
    world.pass(1, &mut [&mut leader]);
    assert_eq!(began(&leader), [0, 0]);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn reading_begins_where_the_last_leader_said() {
    let mut world = World::new();
    chatter(&mut world);
    let mut first = world.producer("p", true);
    world.pass(1, &mut [&mut first]);
    world.start(1, 2);
    world.pass(10, &mut [&mut first]);
    let from = first.tracker.parts.must_be_read_from();
    drop(first);
    for (partition, offset) in from {
        world.commit_for(topics::LEADER, of(topics::RUNS, partition), offset, String::new());
    }
    // No producer leads while the consumer dies, and other runs go on.
    world.pass(100 * LEASE, &mut []);
    chatter(&mut world);
    let mut second = world.producer("q", true);
    world.pass(LEASE_AND_A_BIT, &mut [&mut second]);
    assert!(began(&second).iter().all(|offset| *offset > 0), "{:?}", began(&second));
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn a_long_attempt_is_known_from_its_signs_of_life() {
    let mut world = World::new();
    let consumer = elsewhere();
    let place = world.start(1, 2);
    said(&mut world, &[0, 1]);
    world.pass(100 * LEASE, &mut []);
    world.alive(1, &place, &consumer);
    chatter(&mut world);
    let mut leader = world.producer("p", true);
    world.pass(2 * LEASE, &mut [&mut leader]);
    assert!(began(&leader).iter().any(|offset| *offset > 0), "its claim was not read");
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn a_sign_of_life_that_was_late_makes_no_finished_attempt_lost() {
    let mut world = World::new();
    let consumer = elsewhere();
    let place = world.start(1, 2);
    world.finish(1, Then::Done);
    world.alive(1, &place, &consumer);
    said(&mut world, &[partition_for(name(1).run.to_string().as_bytes(), 2)]);
    world.pass(100 * LEASE, &mut []);
    // New events where the run's end lies, and none where the sign of life does.
    for run in 100..200 {
        let (key, of_run) = (name(run).run.to_string(), name(1).run.to_string());
        if partition_for(key.as_bytes(), 2) == partition_for(of_run.as_bytes(), 2) {
            world.finish(run, Then::Done);
        }
    }
    let mut leader = world.producer("p", true);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(leader.tracker.watched(), 1, "the sign was read, the end was not");
    world.pass(10 * LEASE, &mut [&mut leader]);
    assert_eq!((world.fates(), leader.tracker.watched()), ((0, 0, 0), 0));
}

#[test]
fn a_partition_that_is_added_is_followed() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    world.faults().grow_topic(topics::RUNS, 3);
    for _ in 0..20 {
        world.pass(LEASE / 3, &mut [&mut leader]);
        world.alive_in(2, 1, &place);
    }
    assert_eq!(world.fates(), (0, 0, 0));
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn an_offset_that_the_last_leader_said_of_another_log_counts_for_nothing() {
    let mut world = World::new();
    for partition in 0..2 {
        world.commit_for(topics::LEADER, of(topics::RUNS, partition), 1_000, String::new());
    }
    let place = world.start(1, 2);
    world.start(2, 2);
    world.finish(2, Then::Done);
    world.alive(1, &place, "one");
    let mut leader = world.producer("p", true);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!((began(&leader), world.fates()), (vec![0, 0], (1, 0, 1)));
}

/// The runs that are told to be unfinished.
fn told(effects: &[Effect]) -> Vec<u128> {
    let run = |effect: &Effect| match effect {
        Effect::Tell(RunNews::Unfinished(unfinished)) => Some(unfinished.run.0.as_u128()),
        _ => None,
    };
    effects.iter().filter_map(run).collect()
}

#[test]
fn runs_of_a_job_that_is_followed_later_are_known_from_what_was_read_before() {
    let mut world = World::new();
    let place = world.start(1, 2);
    world.start(2, 2);
    world.finish(2, Then::Retried);
    world.start(3, 2);
    world.finish(3, Then::Done);
    let never_passed = world.publish(4, 2);
    world.pass(100 * LEASE, &mut []);
    world.alive(1, &place, "one");
    chatter(&mut world);
    let mut leader = world.producer("p", true);
    world.pass(5, &mut [&mut leader]);
    world.claim(5, &never_passed, "one");
    world.pass(5, &mut [&mut leader]);
    assert_eq!(told(&leader.effects), [0; 0]);
    leader.effects.clear();
    leader.tracker.handle(FollowRequest::Follow(fixture::followed(&["j"])));
    world.pass(5, &mut [&mut leader]);
    let mut runs = told(&leader.effects);
    assert!(has_read_history(&leader.effects, &["j"]));
    let is_over = |effect: &Effect| matches!(effect, Effect::Tell(RunNews::HistoryRead { over, .. }) if over.contains(&name(3).run));
    assert!(leader.effects.iter().any(is_over), "{:?}", leader.effects);
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs, [1, 2, 5], "one runs, one waits for its retry, one is claimed");
    leader.effects.clear();
    world.start(6, 2);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(told(&leader.effects), [6], "and those that are claimed from now on");
}

#[test]
fn runs_that_were_not_finished_are_known_however_long_ago_they_began() {
    let mut world = World::new();
    for run in 1..=3 {
        let place = world.publish(run, 0);
        world.note(run, &place);
    }
    world.finish(1, Then::Done);
    world.finish(2, Then::Retried);
    said(&mut world, &[0, 1]);
    world.pass(100 * LEASE, &mut []);
    chatter(&mut world);
    let mut standby = world.producer("p", false);
    standby.tracker = RunTracker::new(fixture::options("p", &["j"]), world.mono());
    world.pass(5, &mut [&mut standby]);
    assert!(began(&standby).iter().all(|offset| *offset > 0));
    assert_eq!(told(&standby.effects), [2, 3]);
    assert!(has_read_history(&standby.effects, &["j"]));
    let place = world.publish(4, 0);
    world.note(4, &place);
    world.pass(5, &mut [&mut standby]);
    assert_eq!(told(&standby.effects), [2, 3, 4], "and what another leader publishes");
}

#[test]
fn a_run_that_is_known_from_a_claim_before_following_began_is_open_whichever_is_read_first() {
    let mut world = World::new();
    let consumer = elsewhere();
    let place = world.start(1, 2);
    said(&mut world, &[0, 1]);
    world.alive(1, &place, &consumer);
    let mut standby = world.producer("p", false);
    standby.tracker = RunTracker::new(fixture::options("p", &["j"]), world.mono());
    // In each step the history is read first, and then what follows: that fails for a while.
    let fetches = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&fetches);
    world.faults().decide(Box::new(move |_, call| {
        let is_failing = call == Call::Fetch && counted.fetch_add(1, Ordering::Relaxed) < 8;
        (is_failing && counted.load(Ordering::Relaxed).is_multiple_of(2)).then_some(Fate::NotSent)
    }));
    world.pass(10, &mut [&mut standby]);
    assert!(fetches.load(Ordering::Relaxed) > 8);
    let is_told =
        |effect: &Effect| matches!(effect, Effect::Tell(RunNews::Unfinished(run)) if run.run == name(1).run);
    assert!(standby.effects.iter().any(is_told), "{:?}", standby.effects);
}

#[test]
fn the_answer_about_other_jobs_covers_all_that_had_been_claimed_when_it_was_asked() {
    let mut world = World::new();
    let mut standby = world.producer("p", false);
    world.pass(5, &mut [&mut standby]);
    // Nothing is read for a while.
    world.faults().decide(Box::new(|_, call| (call == Call::Fetch).then_some(Fate::NotSent)));
    world.start(1, 2);
    world.pass(5, &mut [&mut standby]);
    standby.effects.clear();
    standby.tracker.handle(FollowRequest::Follow(fixture::followed(&["j"])));
    let mut fetches = 0;
    world.faults().decide(Box::new(move |_, call| {
        fetches += u32::from(call == Call::Fetch);
        (call == Call::Fetch && fetches < 8 && fetches != 1).then_some(Fate::NotSent)
    }));
    world.pass(10, &mut [&mut standby]);
    assert!(has_read_history(&standby.effects, &["j"]));
    let read =
        standby.effects.iter().position(|effect| matches!(effect, Effect::Tell(RunNews::HistoryRead { .. })));
    let open =
        standby.effects.iter().position(|effect| matches!(effect, Effect::Tell(RunNews::Unfinished(_))));
    assert!(open.is_some() && open < read, "{:?}", standby.effects);
}
