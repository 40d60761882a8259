//! Claim, then start.

use std::time::Duration;

use uuid::Uuid;

use super::consumer::Consumer;
use super::fixture::{LEASE, World, of};
use crate::common::broker::memory::{Call, Fate};
use crate::common::broker::{ErrorCode, TopicPartition, partition_for};
use crate::common::model::RunId;
use crate::consumer::claiming::machine as claimer;

/// A consumer that holds what was published and has claimed nothing yet.
pub(super) fn ready(world: &mut World, runs: &[u128]) -> Consumer {
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
    assert!(consumer.claimer.has_granted() && consumer.claimer.is_busy());
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
        assert!(world.faults().all_met() && consumer.claimer.has_pending());
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
        assert_eq!((consumer.started.len(), consumer.claimer.counts().refused), (0, 1), "{code}");
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
    assert!(!consumer.claimer.is_busy(), "there is nothing to do but to wait for it");
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
        assert_eq!((consumer.started.len(), consumer.claimer.counts().too_late), (0, 1));
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
    let check = |call: Call, fate: Fate, expected: &[(claimer::Call, &'static str)]| {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[7]);
        world.faults().next(call, fate);
        consumer.run(&world, 1);
        let failures: Vec<_> = consumer.failures.iter().map(|f| (f.call, f.error.word())).collect();
        assert_eq!(failures, expected, "{call:?} {fate:?}");
    };
    let (claim, commit) = (claimer::Call::Claim, claimer::Call::Commit);
    check(Call::Produce, Fate::NotSent, &[(claim, "unreachable")]);
    check(Call::Produce, Fate::Refused(ErrorCode::NotEnoughReplicas), &[(claim, "not_enough_replicas")]);
    check(Call::Commit, Fate::RequestLost, &[(commit, "no_answer")]);
    let busy = ErrorCode::RebalanceInProgress;
    check(Call::Commit, Fate::Refused(busy), &[(commit, "rebalance_in_progress")]);
    let forbidden = ErrorCode::TopicAuthorizationFailed;
    check(Call::Commit, Fate::Refused(forbidden), &[(commit, "topic_authorization_failed")]);
    check(Call::Commit, Fate::Refused(ErrorCode::IllegalGeneration), &[]);
}

#[test]
fn claims_are_written_in_batches_that_the_topic_takes() {
    let mut world = World::new();
    let runs: Vec<u128> = (1..=60).collect();
    let mut consumer = ready(&mut world, &runs);
    world.make_runs_anew(&[("max.message.bytes", "4000")]);
    consumer.run(&world, 60);
    assert_eq!((consumer.started, consumer.failures), (runs.clone(), vec![]));
    assert_eq!(world.claimed().len(), 60);
}

#[test]
fn a_batch_of_claims_that_is_refused_for_what_it_holds_is_written_in_parts() {
    for code in [ErrorCode::InvalidRecord, ErrorCode::RecordListTooLarge] {
        let mut world = World::new();
        let runs: Vec<u128> = (1..=20).collect();
        let mut consumer = ready(&mut world, &runs);
        world.faults().next(Call::Produce, Fate::Refused(code));
        consumer.run(&world, 20);
        assert_eq!((consumer.started, consumer.failures), (runs.clone(), vec![]), "{code}");
    }
}

#[test]
fn a_claim_that_can_never_be_written_is_told_and_takes_no_others_place() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[]);
    world.faults().lead(&runs_partition(0), None);
    let elsewhere = (1..=40).filter(|run| runs_partition_of(*run) == 1).count();
    for run in 1..=40 {
        world.publish(0, run);
    }
    consumer.poll(&world);
    for _ in 0..elsewhere * 6 {
        consumer.step(&world, 1);
    }
    assert_eq!(consumer.started.len(), elsewhere, "with a single worker");
    assert!(consumer.claimer.owes(claimer::Call::Claim), "the others are owed");
    assert!(consumer.failures.iter().any(|failure| failure.call == claimer::Call::Claim));
    world.faults().lead(&runs_partition(0), Some(1));
    world.turn_clock(Duration::from_secs(15));
    for _ in 0..4 * 40 {
        consumer.step(&world, 1);
    }
    assert_eq!(consumer.started.len(), 40);
    assert!(!consumer.claimer.owes(claimer::Call::Claim));
}

#[test]
fn a_partition_of_claims_that_cannot_be_written_is_not_asked_all_the_time() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[1, 2, 3, 4, 5, 6]);
    for partition in 0..2 {
        world.faults().lead(&runs_partition(partition), None);
    }
    let before = world.faults().made(Call::Produce);
    for _ in 0..100 {
        consumer.step(&world, 9);
    }
    let asked = world.faults().made(Call::Produce) - before;
    assert!((2..=6).contains(&asked), "{asked} batches in no time");
}

#[test]
fn a_commit_that_is_rejected_blocks_no_other_partition_and_starts_nothing() {
    for code in [ErrorCode::OffsetMetadataTooLarge, ErrorCode::UnknownTopicOrPartition] {
        let mut world = World::new();
        let mut consumer = ready(&mut world, &[7]);
        world.publish(1, 8);
        consumer.poll(&world);
        // Of the answer, the first partition's code; the second's commit is granted.
        world.faults().reject_commits(&of(0), Some(code));
        consumer.run(&world, 9);
        assert_eq!(consumer.started, [8], "{code}");
        world.publish(1, 9);
        consumer.run(&world, 9);
        assert_eq!((consumer.started.as_slice(), world.committed(0)), (&[8, 9][..], Some((0, vec![]))));
        assert!(consumer.claimer.owes(claimer::Call::Commit));
        world.faults().reject_commits(&of(0), None);
        world.turn_clock(Duration::from_secs(10));
        consumer.run(&world, 9);
        assert_eq!((consumer.started, consumer.claimer.counts().too_late), (vec![8, 9, 7], 0), "{code}");
    }
}

#[test]
fn a_rejected_commit_is_not_made_again_all_the_time() {
    let mut world = World::new();
    let mut consumer = ready(&mut world, &[7]);
    world.faults().reject_commits(&of(0), Some(ErrorCode::TopicAuthorizationFailed));
    let before = world.faults().made(Call::Commit);
    for _ in 0..200 {
        consumer.step(&world, 9);
        consumer.poll(&world);
        world.turn_clock(Duration::from_millis(100));
    }
    let made = world.faults().made(Call::Commit) - before;
    assert!((3..=12).contains(&made), "{made} commits in 20 s");
}

#[test]
fn what_waits_beyond_the_bound_is_read_again_when_it_is_due_and_holds_up_nothing() {
    let mut world = World::new();
    world.waiting_bytes = 1_000;
    let mut consumer = ready(&mut world, &[]);
    for run in 0..300 {
        world.publish_for_later(0, run, 400 - i64::try_from(run).unwrap());
    }
    world.publish_for_later(0, 1_000, 1);
    world.publish(0, 1_001);
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [1_001]);
    world.turn_clock(Duration::from_secs(1));
    consumer.run(&world, 9);
    assert_eq!((consumer.started.as_slice(), consumer.claimer.waiting()), (&[1_001, 1_000][..], 300));
    world.turn_clock(Duration::from_secs(109));
    for _ in 0..10 {
        consumer.run(&world, 4);
    }
    let started: Vec<u128> = consumer.started[2..].to_vec();
    assert_eq!(started.len(), 10, "{started:?}");
    world.turn_clock(Duration::from_secs(290));
    for _ in 0..40 {
        consumer.run(&world, 9);
    }
    consumer.started.sort_unstable();
    assert_eq!(consumer.started, (0..300).chain([1_000, 1_001]).collect::<Vec<u128>>(), "each once");
    assert_eq!(world.committed(0), Some((302, vec![])));
}

#[test]
fn reading_again_rests_after_a_failure_and_claims_go_on() {
    let mut world = World::new();
    world.waiting_bytes = 0;
    let mut consumer = ready(&mut world, &[]);
    world.publish_for_later(0, 1, 1);
    consumer.run(&world, 9);
    world.turn_clock(Duration::from_secs(1));
    let before = world.faults().made(Call::Fetch);
    for _ in 0..20 {
        world.faults().next(Call::Fetch, Fate::RequestLost);
    }
    for _ in 0..50 {
        consumer.step(&world, 9);
    }
    assert_eq!(world.faults().made(Call::Fetch) - before, 1);
    assert!(consumer.claimer.owes(claimer::Call::ReadAgain) && !consumer.claimer.is_busy());
    world.faults().forget_planned();
    world.turn_clock(Duration::from_secs(5));
    consumer.run(&world, 9);
    assert_eq!(consumer.started, [1]);
    assert!(!consumer.claimer.owes(claimer::Call::ReadAgain));
}

pub(super) fn runs_partition(partition: i32) -> TopicPartition {
    TopicPartition { topic: "cron-runs".to_owned(), partition }
}

pub(super) fn runs_partition_of(run: u128) -> i32 {
    partition_for(uuid::Uuid::from_u128(run).to_string().as_bytes(), 2)
}

#[test]
fn a_retry_of_a_run_that_is_to_end_is_claimed_at_once() {
    let mut world = World::new();
    let mut consumer = Consumer::join(&world);
    consumer.step(&world, 0);
    for run in [1, 2] {
        world.publish_for_later(0, run, 3_600);
    }
    consumer.poll(&world);
    consumer.run(&world, 2);
    assert_eq!(consumer.started, []);
    consumer.handle(claimer::Event::Ordered(vec![(RunId(Uuid::from_u128(2)), world.now().wall)]), &world);
    consumer.run(&world, 2);
    assert_eq!((consumer.started.as_slice(), world.claimed()), (&[2][..], vec![(0, 1)]));
    assert_eq!(world.committed(0), Some((2, vec![0])), "the other one waits on");
}
