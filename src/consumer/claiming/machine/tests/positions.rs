//! Where partitions go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::consumer::Consumer;
use super::fixture::{TOPIC, World, of};
use crate::common::broker::memory::{Call, Fate};
use crate::consumer::claiming::machine as claimer;

#[test]
fn a_partition_without_a_leader_holds_up_no_other() {
    let mut world = World::new();
    world.publish(0, 1);
    world.publish(1, 2);
    world.faults().lead(&of(0), None);
    let mut consumer = Consumer::join(&world);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [2]);
    assert!(!consumer.claimer.is_busy(), "it is not asked for all the time");
    world.faults().lead(&of(0), Some(1));
    world.turn_clock(Duration::from_millis(500));
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [2, 1]);
}

#[test]
fn a_broker_that_does_not_answer_is_asked_for_one_partition_and_then_left_alone() {
    let mut world = World::new();
    world.faults().brokers(2);
    world.make_topic_anew();
    world.faults().lead(&of(1), Some(2));
    world.faults().grow_topic(TOPIC, 8);
    for partition in 2..8 {
        world.faults().lead(&of(partition), Some(2));
    }
    let silent = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&silent);
    let mut consumer = Consumer::join(&world);
    let mut left = 2;
    world.faults().decide(Box::new(move |client, call| {
        if (client, call) != ("dispatch", Call::Offset) {
            return None;
        }
        // Partition 0 answers, from where it begins to where it ends; the other broker never does.
        if left > 0 {
            left -= 1;
            return None;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        Some(Fate::RequestLost)
    }));
    consumer.step(&world, 9);
    world.publish(0, 1);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [1]);
    assert_eq!(silent.load(Ordering::Relaxed), 1, "of seven partitions one is asked for");
    world.turn_clock(Duration::from_millis(600));
    consumer.run(&world, 9);
    assert_eq!(silent.load(Ordering::Relaxed), 1, "it is left alone for a while");
    world.turn_clock(Duration::from_secs(2));
    consumer.run(&world, 9);
    assert_eq!(silent.load(Ordering::Relaxed), 2);
}

/// Has the ends of partitions be answered so many times, and then never again; counts those that are not.
fn answers_then_is_silent(world: &World, mut answers: u32) -> Arc<AtomicU32> {
    let silent = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&silent);
    world.faults().decide(Box::new(move |client, call| {
        if (client, call) != ("dispatch", Call::Offset) {
            return None;
        }
        if answers > 0 {
            answers -= 1;
            return None;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        Some(Fate::RequestLost)
    }));
    silent
}

#[test]
fn a_broker_that_never_answers_is_left_alone_for_longer_each_time_but_not_for_ever() {
    let mut world = World::new();
    world.faults().brokers(2);
    world.make_topic_anew();
    world.faults().lead(&of(1), Some(2));
    let mut consumer = Consumer::join(&world);
    // Where partition 0 begins and ends.
    let silent = answers_then_is_silent(&world, 2);
    let mut asked_at = Vec::new();
    for tenths in 0..1_000 {
        let before = silent.load(Ordering::Relaxed);
        consumer.step(&world, 0);
        asked_at.extend((silent.load(Ordering::Relaxed) > before).then_some(tenths));
        world.turn_clock(Duration::from_millis(100));
    }
    assert_eq!(asked_at, [0, 20, 60, 140, 300, 600, 900], "tenths of a second");
    assert!(consumer.claimer.owes(claimer::Call::Load));
    let told = consumer.failures.iter().filter(|failure| failure.call == claimer::Call::Load).count();
    assert_eq!(told, asked_at.len(), "each failure is told");
}

#[test]
fn a_partition_that_may_have_a_leader_soon_does_not_wait_for_a_broker_that_is_silent() {
    let mut world = World::new();
    world.faults().brokers(2);
    world.make_topic_anew();
    world.faults().lead(&of(0), None);
    world.faults().lead(&of(1), Some(2));
    let mut consumer = Consumer::join(&world);
    let silent = answers_then_is_silent(&world, 0);
    let looked_up = |world: &World| world.faults().made(Call::Committed);
    let before = looked_up(&world);
    for _ in 0..50 {
        consumer.step(&world, 9);
    }
    assert_eq!((silent.load(Ordering::Relaxed), looked_up(&world) - before), (1, 1), "once in no time");
    world.faults().lead(&of(0), Some(1));
    answers_then_is_silent(&world, 2);
    world.turn_clock(Duration::from_millis(500));
    consumer.step(&world, 9);
    world.publish(0, 1);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [1]);
}

#[test]
fn what_was_not_read_is_not_committed_past() {
    let mut world = World::new();
    for run in 1..=3 {
        world.publish(0, run);
    }
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    consumer.skip(0, 2);
    consumer.run(&world, 9);
    assert_eq!((consumer.started, world.committed(0)), (vec![1, 2, 3], Some((3, vec![]))));
}

#[test]
fn a_new_plan_does_not_skip_what_is_still_to_be_read_again() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.publish_for_later(0, 1, 60);
    world.publish(0, 2);
    first.run(&world, 9);
    assert_eq!(world.committed(0), Some((2, vec![0])));
    first.leave(&world);
    world.faults().lead(&of(1), None);
    let mut second = Consumer::join(&world);
    second.step(&world, 0);
    // Before anything of partition 0 is read, the other one's leader is back, and there is a new plan.
    world.faults().lead(&of(1), Some(1));
    world.turn_clock(Duration::from_secs(60));
    second.run(&world, 9);
    assert_eq!((second.started, world.committed(0)), (vec![1], Some((2, vec![]))));
}

#[test]
fn a_claim_under_way_when_the_position_is_lost_is_decided_and_started() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    world.publish(0, 1);
    consumer.run(&world, 0);
    world.faults().next(Call::Commit, Fate::NotSent);
    consumer.step(&world, 1);
    consumer.loses_position(&world, 0);
    consumer.step(&world, 1);
    consumer.step(&world, 1);
    assert_eq!(consumer.started, [1]);
    world.publish(0, 2);
    consumer.run(&world, 1);
    assert_eq!(consumer.started, [1, 2], "and the position is looked up");
}

#[test]
fn nothing_is_claimed_by_what_was_known_before_the_position_was_lost() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    world.publish(0, 1);
    consumer.poll(&world);
    consumer.loses_position(&world, 0);
    world.faults().next(Call::Committed, Fate::NotSent);
    consumer.step(&world, 9);
    assert!(world.faults().all_met());
    assert_eq!((world.claimed(), world.committed(0)), (vec![], Some((0, vec![]))));
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [1]);
}

#[test]
fn a_copy_as_far_behind_as_the_window_is_known_across_owners() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    world.publish(0, 1);
    first.run(&world, 9);
    assert_eq!(first.started, [1]);
    // Another consumer handed out what lies between as well.
    let filler: Vec<bytes::Bytes> = vec!["x".into(); 3_333];
    for _ in 0..3 {
        world.write(0, &filler);
    }
    let (holder, topic_id) = (first.holder.clone().unwrap(), world.topic_id());
    world.commit_of(&holder, 0, 10_000, topic_id);
    first.leave(&world);
    world.publish(0, 1);
    let mut second = Consumer::join(&world);
    second.run(&world, 9);
    second.run(&world, 9);
    assert_eq!((second.started.len(), second.claimer.counts().copies), (0, 1));
    assert_eq!(world.committed(0), Some((10_001, vec![])));
}

#[test]
fn a_record_too_long_to_be_read_at_once_is_read_on_where_it_stopped() {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    for run in 1..=8 {
        world.publish(0, run);
    }
    first.run(&world, 9);
    assert_eq!(world.claimed().len(), 8);
    first.leave(&world);
    world.faults().expire_offsets("g");
    // Of the two partitions of `cron-runs` the second cannot be read at first.
    let fetches = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&fetches);
    world.faults().decide(Box::new(move |client, call| {
        let fetch = (client, call) == ("dispatch", Call::Fetch);
        (fetch && counted.fetch_add(1, Ordering::Relaxed) == 1).then_some(Fate::RequestLost)
    }));
    let mut second = Consumer::join(&world);
    second.step(&world, 9);
    assert_eq!(world.committed(0), None);
    world.turn_clock(Duration::from_millis(500));
    second.step(&world, 9);
    assert_eq!(fetches.load(Ordering::Relaxed), 3, "the first is not read again");
    second.run(&world, 9);
    assert_eq!((second.started.len(), world.committed(0)), (0, Some((8, vec![]))));
}
