//! What is left alone for a while, whose turn it is, and how much is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::consumer::Consumer;
use super::fixture::{LEASE, TOPIC, World, of};
use crate::common::bounds::HELD_BYTES_PER_PARTITION;
use crate::common::broker::memory::{Call, Fate};
use crate::common::broker::{ErrorCode, FetchedRecord, TopicPartition};
use crate::common::wire::DeadReason;
use crate::consumer::claiming::machine as claimer;
use crate::consumer::claiming::machine::unreadable::Unread;
use crate::consumer::fetching::reading::Unreadable;

/// Consumers of both partitions that have looked up where they go on and hold nothing.
fn settled(world: &World) -> Consumer {
    let mut consumer = Consumer::join(world);
    consumer.run(world, 0);
    consumer
}

#[test]
fn a_partition_whose_leader_refuses_holds_up_no_other_of_the_same_broker() {
    let mut world = World::new();
    world.publish(1, 2);
    let mut consumer = Consumer::join(&world);
    world.faults().next(Call::Offset, Fate::Refused(ErrorCode::NotLeader));
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [2]);
    world.publish(0, 1);
    world.turn_clock(Duration::from_millis(500));
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [2, 1]);
}

#[test]
fn the_coordinator_is_not_asked_while_every_leader_is_left_alone() {
    let world = World::new();
    let mut consumer = Consumer::join(&world);
    world.faults().decide(Box::new(|name, call| {
        ((name, call) == ("dispatch", Call::Offset)).then_some(Fate::RequestLost)
    }));
    let before = world.faults().made(Call::Committed);
    let mut asked_at = Vec::new();
    for tenths in 0..150 {
        let made = world.faults().made(Call::Committed);
        consumer.step(&world, 0);
        asked_at.extend((world.faults().made(Call::Committed) > made).then_some(tenths));
        world.turn_clock(Duration::from_millis(100));
    }
    assert_eq!(asked_at, [0, 20, 60, 140], "tenths of a second");
    assert_eq!(world.faults().made(Call::Committed) - before, asked_at.len());
}

/// A consumer without offsets that knows what another one has claimed, and the world after it.
fn knows_what_was_claimed(runs: u128) -> (World, Consumer) {
    let mut world = World::new();
    let mut first = Consumer::join(&world);
    for run in 1..=runs {
        world.publish(0, run);
    }
    first.run(&world, 9);
    assert_eq!(first.started.len(), usize::try_from(runs).unwrap());
    first.leave(&world);
    world.faults().expire_offsets("g");
    let second = Consumer::join(&world);
    (world, second)
}

#[test]
fn what_was_claimed_is_looked_up_anew_each_time_that_offsets_are_lost() {
    let (mut world, mut consumer) = knows_what_was_claimed(8);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, []);
    // The log of claims begins anew, and holds less than was read of the old one.
    world.make_runs_anew(&[]);
    world.publish(0, 9);
    world.turn_clock(Duration::from_secs(60));
    for _ in 0..3 {
        consumer.run(&world, 9);
        world.turn_clock(Duration::from_secs(1));
    }
    assert_eq!(consumer.started, [9]);
    world.faults().expire_offsets("g");
    consumer.next_generation_by_leaving(&world);
    consumer.run(&world, 9);
    let again = consumer.started.iter().filter(|run| **run == 9).count();
    assert_eq!(again, 1, "its claim is on record");
}

#[test]
fn what_was_claimed_of_a_topic_is_not_left_out_of_one_that_was_made_after_it() {
    let (mut world, mut consumer) = knows_what_was_claimed(8);
    // Of the two partitions of `cron-runs` the second cannot be read at first; by then the topic is another.
    let fetches = AtomicU32::new(0);
    world.faults().decide(Box::new(move |name, call| {
        let fetch = (name, call) == ("dispatch", Call::Fetch);
        (fetch && fetches.fetch_add(1, Ordering::Relaxed) == 1).then_some(Fate::RequestLost)
    }));
    consumer.step(&world, 9);
    assert_eq!(world.committed(0), None);
    world.make_topic_anew();
    for run in 101..=108 {
        world.publish(0, run);
    }
    world.turn_clock(Duration::from_millis(500));
    consumer.forget_topic_ids(&world);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, (101..=108).collect::<Vec<u128>>());
}

#[test]
fn a_position_that_is_lost_again_and_again_is_looked_up_three_times_before_it_rests() {
    let world = World::new();
    let mut consumer = settled(&world);
    let mut lookups = |times: usize| {
        let before = world.faults().made(Call::Committed);
        for _ in 0..times {
            consumer.loses_position(&world, 0);
            consumer.step(&world, 0);
        }
        world.faults().made(Call::Committed) - before
    };
    assert_eq!(lookups(9), 3);
    world.turn_clock(Duration::from_millis(500));
    assert_eq!(lookups(9), 1, "then once after each rest");
    world.turn_clock(Duration::from_millis(499));
    assert_eq!(lookups(9), 0);
}

#[test]
fn each_round_trip_of_a_claim_may_take_a_quarter_of_the_lease_and_two_seconds_at_least() {
    let check = |lease: Duration, expected: Duration| {
        let mut consumer = Consumer::join(&World::new());
        consumer.claimer.options.lease = lease;
        assert_eq!(consumer.claimer.claim_call(), expected, "{lease:?}");
    };
    check(LEASE, Duration::from_secs(15));
    check(Duration::from_secs(6), Duration::from_secs(2));
}

#[test]
fn partitions_take_turns_in_reading_again() {
    let mut world = World::new();
    world.waiting_bytes = 0;
    let mut consumer = settled(&world);
    for partition in 0..2 {
        for secs in 1..=2 {
            let run = u128::try_from(i64::from(partition) * 10 + secs).unwrap();
            world.publish_for_later(partition, run, secs);
        }
    }
    consumer.run(&world, 0);
    // Each second there is something in both.
    for _ in 0..2 {
        world.turn_clock(Duration::from_secs(1));
        consumer.step(&world, 0);
    }
    let is_ready = |partition: i32| consumer.claimer.partitions[&partition].ready(0).is_some();
    assert_eq!((is_ready(0), is_ready(1)), (true, true));
}

#[test]
fn what_waits_at_the_end_of_a_log_that_was_cut_there_is_not_asked_for_all_the_time() {
    let mut world = World::new();
    world.waiting_bytes = 0;
    let mut consumer = settled(&world);
    world.publish_for_later(0, 1, 1);
    consumer.run(&world, 0);
    world.faults().cut(&of(0), 0);
    world.turn_clock(Duration::from_secs(1));
    let before = world.faults().made(Call::Fetch);
    for _ in 0..20 {
        consumer.step(&world, 0);
    }
    assert_eq!(world.faults().made(Call::Fetch) - before, 1);
    assert!(consumer.claimer.owes(claimer::Call::ReadAgain));
}

#[test]
fn a_text_that_the_broker_finds_too_long_is_a_quarter_shorter_the_next_time() {
    let mut world = World::new();
    let mut consumer = settled(&world);
    for run in 0..400 {
        world.publish_for_later(0, run, if run % 2 == 0 { 600 } else { 0 });
    }
    consumer.poll(&world);
    world.faults().reject_commits(&of(0), Some(ErrorCode::OffsetMetadataTooLarge));
    consumer.step(&world, 200);
    world.faults().reject_commits(&of(0), None);
    let refused = consumer.claimer.counts().refused;
    assert_eq!(refused, 200, "none of these is started");
    let limit = consumer.claimer.text_limit;
    assert!((holes_text() * 7 / 10..holes_text()).contains(&limit), "{limit}");
    // Another refusal makes no text shorter.
    world.turn_clock(Duration::from_secs(10));
    consumer.run(&world, 0);
    world.faults().reject_commits(&of(0), Some(ErrorCode::TopicAuthorizationFailed));
    consumer.step(&world, 1);
    assert_eq!((consumer.claimer.counts().refused, consumer.claimer.text_limit), (refused + 1, limit));
}

/// How long the text is beside an offset below which every second of 400 messages waits.
fn holes_text() -> usize {
    let waiting = (0..400).step_by(2).collect();
    crate::common::holes::encode(uuid::Uuid::nil(), 400, &waiting).unwrap().len()
}

/// What cannot be read, of a key and a value of so many bytes.
fn unreadable(key: usize, value: usize) -> Unreadable {
    let (key, value) = (Some(vec![b'k'; key].into()), Some(vec![b'v'; value].into()));
    let record = Some(FetchedRecord { offset: 0, timestamp_ms: 0, key, value });
    Unreadable { last_offset: 0, reason: DeadReason::Malformed, detail: String::new(), record }
}

#[test]
fn letters_fill_a_partition_by_their_bytes() {
    let half = HELD_BYTES_PER_PARTITION / 2;
    let mut unread = Unread::default();
    unread.push(0, 0, unreadable(half, half / 2));
    unread.push(1, 0, unreadable(1, half / 2 - 2));
    assert!(!unread.is_full());
    unread.push(1, 1, unreadable(1, 0));
    assert!(unread.is_full());
    unread.forget(1);
    assert!(!unread.is_full());
}

#[test]
fn bytes_of_letters_that_are_written_are_held_no_more() {
    let world = World::new();
    let mut consumer = settled(&world);
    for offset in 0..4 {
        // Its value does not fit into a letter, which is written without it.
        consumer.claimer.unread.push(0, offset, unreadable(1, HELD_BYTES_PER_PARTITION / 2));
        consumer.step(&world, 0);
        assert!(!consumer.is_paused(0));
    }
    assert_eq!(consumer.letters.len(), 4);
}

#[test]
fn a_new_generation_does_not_end_the_rest_of_letters() {
    let mut world = World::new();
    let mut consumer = settled(&world);
    world.faults().refuse(Call::Produce, "c-dead", ErrorCode::NotEnoughReplicas);
    world.write(0, &[bytes::Bytes::from_static(b"garbage")]);
    consumer.poll(&world);
    consumer.step(&world, 0);
    consumer.next_generation_by_leaving(&world);
    let before = world.faults().made(Call::Produce);
    consumer.run(&world, 0);
    assert_eq!(world.faults().made(Call::Produce), before);
}

#[test]
fn a_message_too_large_for_a_letter_is_told_without_its_value() {
    let mut world = World::new();
    let mut consumer = settled(&world);
    world.faults().set_topic("c-dead", "max.message.bytes", "2000");
    world.write(0, &[bytes::Bytes::from(vec![b'x'; 3_000])]);
    consumer.run(&world, 9);
    let letters = world.letters();
    assert_eq!((letters.len(), world.committed(0)), (1, Some((1, vec![]))));
    assert_eq!(letters[0].original.as_ref().unwrap().value, None);
    assert!(letters[0].detail.ends_with("(too large to be kept in the letter)"), "{}", letters[0].detail);
    // A topic that takes not even that is asked again later.
    world.faults().set_topic("c-dead", "max.message.bytes", "10");
    world.write(0, &[bytes::Bytes::from_static(b"garbage")]);
    consumer.run(&world, 9);
    assert!(consumer.claimer.owes(claimer::Call::Letter));
}

#[test]
fn claims_are_owed_while_there_is_no_topic_for_them_and_made_once_there_is() {
    let mut world = World::new();
    let mut consumer = settled(&world);
    world.faults().delete_topic("cron-runs");
    world.publish(0, 7);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, []);
    assert!(consumer.claimer.owes(claimer::Call::Claim));
    assert!(consumer.failures.iter().any(|failure| failure.call == claimer::Call::Claim));
    world.create("cron-runs", 2);
    world.turn_clock(Duration::from_secs(15));
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [7]);
    assert!(!consumer.claimer.owes(claimer::Call::Claim));
}

#[test]
fn a_partition_of_claims_that_cannot_be_written_rests_for_longer_each_time() {
    let mut world = World::new();
    let mut consumer = settled(&world);
    world.publish(0, 7);
    consumer.poll(&world);
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    world.faults().decide(Box::new(move |name, call| {
        let writes = (name, call) == ("dispatch", Call::Produce);
        counted.fetch_add(u32::from(writes), Ordering::Relaxed);
        writes.then_some(Fate::NotSent)
    }));
    let mut asked_at = Vec::new();
    for tenths in 0..600 {
        let before = asked.load(Ordering::Relaxed);
        consumer.step(&world, 9);
        asked_at.extend((asked.load(Ordering::Relaxed) > before).then_some(tenths));
        world.turn_clock(Duration::from_millis(100));
    }
    assert_eq!(asked_at, [0, 1, 11, 31, 71, 151, 301, 451], "tenths of a second");
}

#[test]
fn copies_alone_are_counted_as_copies() {
    let mut world = World::new();
    let mut consumer = settled(&world);
    for run in [1, 2, 1, 3, 1] {
        world.publish(0, run);
    }
    consumer.run(&world, 0);
    assert_eq!(consumer.claimer.counts().copies, 2);
    let unclaimed = |consumer: &Consumer, partition| consumer.claimer.unclaimed(partition, 5);
    assert_eq!((unclaimed(&consumer, 0), unclaimed(&consumer, 1)), (3, 5));
    assert_eq!(consumer.claimer.unclaimed(9, 5), 0, "it is not ours");
    let of = TopicPartition { topic: TOPIC.to_owned(), partition: 0 };
    assert_eq!(world.end(&of), 5);
}

#[test]
fn one_free_worker_gets_one_attempt_however_many_partitions_have_one() {
    let mut world = World::new();
    let mut consumer = settled(&world);
    world.publish(0, 1);
    world.publish(1, 2);
    consumer.poll(&world);
    consumer.step(&world, 1);
    assert_eq!(world.claimed(), [(0, 0)]);
}
