//! What is lost, and what is not.

use std::time::Duration;

use super::fixture::{
    LEASE, LEASE_AND_A_BIT, Producer, World, followed, has_read_history, name, of, options,
};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::common::model::{Event, Outcome, Place, Then};
use crate::common::topics;
use crate::common::wire::DeadReason;
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};
use crate::producer::run_tracker::{Effect, RunTracker};

#[test]
fn an_attempt_of_which_nothing_is_heard_for_a_lease_is_tried_again() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.pass(1, &mut [&mut leader]);
    let place = world.start(1, 2);
    world.pass(LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "not before the lease is over");
    world.pass(LEASE_AND_A_BIT - LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
    let next = world.retried().remove(0);
    assert_eq!((next.run.id, next.attempt, next.attempts_left), (name(1).run, 2, 1));
    assert!(next.not_before.is_some());
    let Event::Lost { attempt, job, scheduled_at, consumer, place: lay, then, .. } = world.lost().remove(0)
    else {
        panic!()
    };
    assert_eq!((attempt, consumer.as_str(), lay, then), (name(1), "one", place, Then::Retried));
    assert!(job.is_some() && scheduled_at.is_some());
    world.pass(10 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1), "once");
    assert_eq!(leader.effects, [Effect::Lost("c".parse().unwrap(), Then::Retried)]);
}

#[test]
fn the_last_attempt_that_is_lost_becomes_a_letter() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 0);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 1, 1));
    let letter = world.letters().remove(0);
    assert_eq!((letter.reason, letter.outcome), (DeadReason::AttemptsExhausted, Some(Outcome::Lost)));
    assert_eq!((letter.attempt.unwrap().run.id, letter.consumer.as_str()), (name(1).run, "p"));
    let over = Effect::Tell(RunNews::Over { job: Some("j".parse().unwrap()), run: name(1).run });
    assert_eq!(leader.effects, [Effect::Lost("c".parse().unwrap(), Then::Dead), over]);
}

#[test]
fn a_next_attempt_that_is_too_large_for_its_topic_becomes_a_letter() {
    let mut world = World::new();
    world.faults().delete_topic("c-retry");
    world.create_as("c-retry", 1, vec![("max.message.bytes", "100".to_owned())]);
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 1, 1));
    let letter = world.letters().remove(0);
    assert_eq!(letter.attempt.unwrap().attempts_left, 2);
    assert!(leader.effects.contains(&Effect::Lost("c".parse().unwrap(), Then::Dead)), "{:?}", leader.effects);
}

#[test]
fn signs_of_life_keep_an_attempt_and_its_end_ends_it() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.start(1, 2);
    for _ in 0..20 {
        world.pass(LEASE / 3, &mut [&mut leader]);
        world.alive(1, &place, "one");
    }
    world.finish(1, Then::Done);
    world.pass(3 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0));
    assert_eq!(
        leader.effects,
        [Effect::Tell(RunNews::Over { job: Some("j".parse().unwrap()), run: name(1).run })]
    );
    assert_eq!(leader.tracker.watched(), 0);
}

#[test]
fn what_another_fleet_tells_of_a_run_of_the_same_id_ends_none_of_ours() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    leader.tracker = RunTracker::new(options("p", &["j"]), world.mono());
    let place = world.start(1, 2);
    world.note(1, &place);
    world.finish_in("theirs", 1, Then::Done);
    world.lose_in("theirs", 1, &place);
    world.pass(5, &mut [&mut leader]);
    let over = |effect: &Effect| matches!(effect, Effect::Tell(RunNews::Over { .. }));
    assert!(!leader.effects.iter().any(over), "{:?}", leader.effects);
    assert_eq!(leader.tracker.watched(), 1);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates().0, 1, "it is lost, and tried again");
}

#[test]
fn what_another_fleet_told_long_ago_ends_none_of_ours() {
    let mut world = World::new();
    let place = world.start(1, 0);
    world.note(1, &place);
    world.lose_in("theirs", 1, &place);
    world.finish_in("theirs", 1, Then::Done);
    world.pass(100 * LEASE, &mut []);
    (100..200).for_each(|run| world.finish_in("theirs", run, Then::Done));
    let mut standby = world.producer("p", false);
    standby.tracker = RunTracker::new(options("p", &["j"]), world.mono());
    world.pass(5, &mut [&mut standby]);
    let told: Vec<&Effect> = standby
        .effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Tell(RunNews::Unfinished(_))))
        .collect();
    assert_eq!(told.len(), 1, "{:?}", standby.effects);
}

#[test]
fn a_run_that_is_tried_again_is_not_over() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    world.finish(1, Then::Retried);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(leader.effects, []);
    world.finish(1, Then::Dead);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(leader.effects, [], "and it ends late, after it was known to be over");
}

#[test]
fn a_claim_that_does_not_count_is_not_lost_until_it_does() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.publish(1, 2);
    world.publish(2, 2);
    world.claim(1, &place, "one");
    world.pass(4 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "nothing is committed");
    world.commit(&place, 0, &[]);
    world.pass(4 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "the offset has not passed it");
    world.commit(&place, 2, &[0]);
    world.pass(4 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "it is a hole");
    world.commit(&place, 2, &[]);
    world.pass(10 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1), "it has passed");
}

#[test]
fn a_newer_claim_that_made_the_offset_pass_is_seen() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.publish(1, 2);
    world.claim(1, &place, "one");
    world.pass(4 * LEASE, &mut [&mut leader]);
    // Just before it is looked at again the next owner claims it and commits. Neither is read yet: who looked the offset
    // up after reading the log would find it passed, and nothing but the old claim.
    let second = Duration::from_secs(1);
    let is_next = |leader: &Producer, now| {
        let (from, seen) = leader.tracker.parts.heartbeat.seen().unwrap();
        !leader.tracker.parts.leases.over(from, seen, now + second).is_empty()
    };
    while !is_next(&leader, world.mono()) {
        world.pass(1, &mut [&mut leader]);
    }
    world.claim(1, &place, "two");
    world.commit(&place, 1, &[]);
    world.pass(LEASE - 1, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0));
    world.pass(LEASE_AND_A_BIT - LEASE + 1, &mut [&mut leader]);
    assert!(matches!(&world.lost()[..], [Event::Lost { consumer, .. }] if consumer == "two"));
}

#[test]
fn a_lost_attempt_whose_message_was_deleted_is_a_letter_that_says_so() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    world.faults().delete_records(&of("c", 0), 1);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 1, 1));
    let letter = world.letters().remove(0);
    assert_eq!((letter.reason, letter.attempt, letter.place), (DeadReason::Deleted, None, place));
    assert!(letter.detail.contains(&name(1).run.to_string()), "{}", letter.detail);
    let lost = world.lost().remove(0);
    assert!(matches!(lost, Event::Lost { job: None, scheduled_at: None, then: Then::Dead, .. }), "{lost:?}");
}

#[test]
fn a_claimed_attempt_becomes_a_letter_where_its_topic_was_made_anew_with_fewer_partitions() {
    let mut world = World::new();
    world.faults().grow_topic("c", 2);
    let mut leader = world.producer("p", true);
    let place = Place { partition: 1, ..world.publish(1, 2) };
    world.claim(1, &place, "one");
    world.pass(5, &mut [&mut leader]);
    world.faults().delete_topic("c");
    world.create("c", 1);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!((world.fates(), leader.tracker.watched()), ((0, 1, 1), 0));
    assert_eq!(world.letters().remove(0).place, place);
}

#[test]
fn a_claimed_attempt_whose_topic_was_made_anew_becomes_a_letter() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    leader.tracker = RunTracker::new(options("p", &["j"]), world.mono());
    let place = world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    world.faults().delete_topic("c");
    world.pass(2 * LEASE, &mut [&mut leader]);
    assert_eq!((world.fates(), leader.tracker.watched()), ((0, 0, 0), 1), "it may only be out of sight");
    world.create("c", 1);
    let other = world.publish(2, 2);
    world.commit(&other, 1, &[]);
    world.pass(20 * LEASE, &mut [&mut leader]);
    assert_eq!((world.fates(), leader.tracker.watched()), ((0, 1, 1), 0));
    let letter = world.letters().remove(0);
    assert_eq!((letter.reason, letter.place), (DeadReason::Deleted, place));
    assert!(
        leader.effects.contains(&Effect::Tell(RunNews::Over { job: None, run: name(1).run })),
        "no tick waits for it"
    );
    // The tracker does not report it as open when a job file with other jobs becomes active, either.
    leader.effects.clear();
    leader.tracker.handle(FollowRequest::Follow(followed(&["j", "k"])));
    world.pass(5, &mut [&mut leader]);
    assert!(has_read_history(&leader.effects, &["j", "k"]));
    assert!(
        !leader.effects.iter().any(|effect| matches!(effect, Effect::Tell(RunNews::Unfinished(_)))),
        "{:?}",
        leader.effects
    );
}

#[test]
fn a_claim_that_did_not_count_and_whose_message_is_gone_becomes_a_letter() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.publish(1, 2);
    world.claim(1, &place, "one");
    world.pass(5, &mut [&mut leader]);
    world.faults().delete_records(&of("c", 0), 1);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 1, 1));
    assert_eq!(world.letters().remove(0).reason, DeadReason::Deleted);
}

#[test]
fn a_claimed_message_that_was_cut_off_is_not_taken_for_the_one_that_lies_there_now() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    world.faults().cut(&of("c", 0), place.offset);
    let other = world.publish(2, 2);
    assert_eq!(other, place);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 1, 1), "the other run is not tried again");
    assert_eq!(world.letters().remove(0).reason, DeadReason::Deleted);
}

#[test]
fn an_attempt_that_goes_on_after_it_was_lost_is_lost_once() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.start(1, 2);
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    leader.effects.clear();
    for _ in 0..30 {
        world.alive(1, &place, "one");
        world.pass(LEASE / 3, &mut [&mut leader]);
    }
    world.finish(1, Then::Done);
    world.pass(3 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
    assert_eq!(leader.effects, [], "the next attempt is under way, so the run is not over");
}

#[test]
fn many_attempts_are_lost_together() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    (0..200).for_each(|run| drop(world.start(run, 1)));
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (200, 0, 200));
    assert_eq!(leader.tracker.parts.must_be_read_from(), leader_ends(&leader));
}

fn leader_ends(leader: &Producer) -> std::collections::BTreeMap<i32, i64> {
    let ends = leader.tracker.parts.log.ends().partitions();
    assert_eq!(ends.len(), 2, "of {}", topics::RUNS);
    ends.iter().map(|(partition, end)| (*partition, end.next)).collect()
}

#[test]
fn a_message_that_a_new_leader_of_its_partition_does_not_show_yet_is_not_taken_for_deleted() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    world.faults().cut(&of("c", 0), place.offset);
    world.pass(2 * LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!((world.fates(), leader.tracker.watched()), ((0, 0, 0), 1));
    assert_eq!(world.publish(1, 2), place, "it is there again");
    world.pass(LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn a_broker_that_takes_our_offset_for_out_of_range_although_it_is_not_ends_no_lease() {
    for is_emptied in [false, true] {
        let mut world = World::new();
        let mut leader = world.producer("p", true);
        world.start(1, 2);
        world.pass(5, &mut [&mut leader]);
        if is_emptied {
            for partition in 0..2 {
                let end = world.end_of_runs(partition);
                world.faults().delete_records(&of(topics::RUNS, partition), end);
            }
        }
        world.faults().next(Call::Fetch, Fate::Refused(ErrorCode::OffsetOutOfRange));
        world.pass(2, &mut [&mut leader]);
        assert_eq!((leader.tracker.watched(), &leader.notes[..]), (1, &[][..]), "{is_emptied}");
    }
}
