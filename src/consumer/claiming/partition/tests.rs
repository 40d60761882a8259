//! What is held, what may be claimed, and what a commit has to say of it.

use super::*;
use crate::common::words::{ClusterName, JobName, Limits, RetryPolicy, Run, RunId};
use std::sync::Arc;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn message(run: u128, not_before: Option<i64>) -> Held {
    let run = Run {
        id: RunId(Uuid::from_u128(run)),
        job: JobName::new("j").unwrap(),
        cluster: ClusterName::new("c").unwrap(),
        scheduled_at: at(0),
        command: String::new(),
        environment: Arc::default(),
        cwd: None,
        user: None,
        limits: Limits { timeout_ms: None, grace_ms: 0, deadline_ms: None },
        retry: RetryPolicy { retries: 0, backoff_ms: 0, backoff_max_ms: 0 },
        revision: String::new(),
    };
    let attempt =
        Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: not_before.map(at) };
    Held { attempt, published_ms: 0, bytes: 10 }
}

fn partition(unread_from: i64, holes: &[i64]) -> Partition {
    let position = Position { unread_from, holes: holes.iter().copied().collect(), finding: None };
    Partition::new(Uuid::nil(), position, 0, 100)
}

fn check_commit(partition: &Partition, claim: &[i64], offset: i64, holes: &[i64]) {
    let (passed, text) = partition.commit_for(claim).unwrap();
    let read = holes::decode(&text, passed).unwrap().unwrap();
    assert_eq!((passed, read.offsets), (offset, holes.iter().copied().collect()));
}

#[test]
fn a_message_that_is_not_yet_due_lets_others_pass_and_stays_a_hole() {
    let mut p = partition(0, &[]);
    assert_eq!(p.take(0, message(1, Some(60))), Taken::Held);
    assert_eq!(p.take(1, message(2, None)), Taken::Held);
    assert_eq!(p.load(), (1, 20), "what waits is no reason to read no further, but for its bytes");
    assert_eq!(p.due(at(0), 9), [1]);
    check_commit(&p, &[1], 2, &[0]);
    assert_eq!(p.claimed(&[1]).len(), 1);
    assert_eq!(p.next_due(), Some(at(60)));
    assert_eq!(p.due(at(60), 9), [0]);
    check_commit(&p, &[0], 2, &[]);
    p.claimed(&[0]);
    assert_eq!(p.load(), (0, 0));
}

#[test]
fn what_was_due_by_a_clock_that_is_set_back_waits_again() {
    let mut p = partition(0, &[]);
    p.take(0, message(1, Some(60)));
    p.take(1, message(2, None));
    assert_eq!(p.due(at(60), 9), [0, 1]);
    assert_eq!((p.due(at(59), 9), p.next_due()), (vec![1], Some(at(60))));
    assert_eq!(p.due(at(60), 9), [0, 1]);
}

#[test]
fn a_record_that_is_read_twice_is_held_once() {
    let mut p = partition(0, &[]);
    assert_eq!(p.take(0, message(1, None)), Taken::Held);
    assert_eq!(p.take(0, message(1, None)), Taken::Old);
    assert_eq!(p.load(), (1, 10));
}

#[test]
fn a_new_owner_takes_up_the_holes_and_nothing_else_below() {
    let mut p = partition(3, &[1]);
    assert_eq!(p.take(0, message(1, None)), Taken::Old);
    assert_eq!(p.take(1, message(2, None)), Taken::Held);
    assert_eq!(p.take(2, message(3, None)), Taken::Old);
    assert_eq!(p.take(3, message(4, None)), Taken::Held);
    assert_eq!(p.due(at(0), 9), [1, 3]);
    check_commit(&p, &[3], 4, &[1]);
}

#[test]
fn a_hole_that_was_not_read_yet_stays_one_in_every_commit() {
    let mut p = partition(10, &[7]);
    check_commit(&p, &[], 10, &[7]);
    p.read_to(8);
    check_commit(&p, &[], 10, &[]);
}

#[test]
fn a_copy_is_dropped_and_committed_past() {
    let mut p = partition(1, &[]);
    assert_eq!(p.take(0, message(1, None)), Taken::Old);
    assert_eq!(p.take(1, message(1, None)), Taken::Copy);
    assert!(p.is_dirty());
    check_commit(&p, &[], 2, &[]);
    p.is_committing();
    assert!(!p.is_dirty());
    p.take(2, message(1, None));
    p.claimed(&[]);
    assert!(p.is_dirty(), "what came while the commit was under way is not in it");
}

#[test]
fn what_is_settled_behind_a_held_message_leaves_it_a_hole() {
    let mut p = partition(0, &[]);
    p.take(0, message(1, None));
    p.settle(1, 1);
    check_commit(&p, &[], 2, &[0]);
}

#[test]
fn an_unreadable_message_stays_a_hole_until_its_letter_is_confirmed() {
    let mut p = partition(1, &[]);
    assert_eq!(p.take_unreadable(0, 0), None, "it was settled by an earlier owner");
    assert_eq!(p.take_unreadable(1, 1), Some(1));
    p.take(2, message(1, None));
    check_commit(&p, &[2], 3, &[1]);
    p.settle(1, 1);
    check_commit(&p, &[2], 3, &[]);
}

#[test]
fn of_a_batch_that_cannot_be_decoded_only_what_was_claimed_before_is_settled() {
    let mut p = partition(5, &[2]);
    assert_eq!(p.take_unreadable(0, 8), Some(2), "from the first hole in it");
    p.take(9, message(1, None));
    check_commit(&p, &[9], 10, &[2, 5, 6, 7, 8]);
    p.settle(2, 8);
    check_commit(&p, &[9], 10, &[]);
}

#[test]
fn where_nothing_is_committed_a_position_is_before_anything_is_claimed() {
    let mut p = partition(0, &[]);
    p.record_first();
    p.take(0, message(1, None));
    assert!(p.is_dirty() && p.due(at(0), 9).is_empty());
    check_commit(&p, &[], 0, &[]);
    p.claimed(&[]);
    assert_eq!(p.due(at(0), 9), [0]);
}

#[test]
fn holes_that_cannot_be_written_down_make_the_partition_wait() {
    let mut p = partition(0, &[]);
    for i in 0..3_000_u128 {
        p.take(i64::try_from(i * 1_000).unwrap(), message(i, Some(60)));
    }
    p.take(3_000_000, message(9_999, None));
    assert_eq!(p.commit_for(&[3_000_000]), None);
    assert_eq!(p.waiting(), 3_000);
    let mut some = vec![0, 3_000_000];
    assert!(p.commit_for_some(&mut some).is_some());
    assert_eq!(some, [0], "what can be claimed is");
}
