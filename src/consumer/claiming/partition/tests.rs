//! What is held, what may be claimed, and what a commit has to say of it.

use super::*;
use crate::common::model::{Attempt, ClusterName, JobName, Order, Run, RunId};
use std::sync::Arc;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn message(run: u128, not_before: Option<i64>) -> Held {
    let (id, job) = (RunId(Uuid::from_u128(run)), JobName::new("j").unwrap());
    let run = Run::sample(id, job, ClusterName::new("c").unwrap());
    let attempt =
        Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: not_before.map(at) };
    Held { attempt, published_ms: 0, bytes: 10 }
}

fn partition(unread_from: i64, holes: &[i64]) -> Partition {
    let position = Position { unread_from, holes: holes.iter().copied().collect(), finding: None };
    Partition::new(Uuid::nil(), position, 0, 100, 1_000_000)
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
    assert_eq!((p.ready.len(), p.ready_bytes, p.waiting()), (1, 10, 1));
    assert_eq!(p.due(at(0), 9), [1]);
    check_commit(&p, &[1], 2, &[0]);
    assert_eq!(p.claimed(&[1]).len(), 1);
    assert_eq!(p.next_due(), Some(at(60)));
    assert_eq!(p.due(at(60), 9), [0]);
    check_commit(&p, &[0], 2, &[]);
    p.claimed(&[0]);
    assert_eq!((p.ready_bytes, p.waiting()), (0, 0));
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
fn what_waits_of_a_run_that_is_to_end_may_be_claimed_at_once() {
    let mut p = partition(0, &[]);
    p.take(0, message(1, Some(60)));
    p.take(1, message(2, Some(60)));
    p.hurry(&[2, 3].map(|run| (RunId(Uuid::from_u128(run)), at(0))));
    assert_eq!((p.due(at(0), 9), p.waiting()), (vec![1], 1));
    check_commit(&p, &[1], 2, &[0]);
    assert_eq!(p.claimed(&[1]).len(), 1);
    // One that was written long before the message is not about it.
    p.hurry(&[(RunId(Uuid::from_u128(1)), at(0) - Order::COUNTS)]);
    p.hurry(&[(RunId(Uuid::from_u128(2)), at(0))]);
    assert_eq!((p.due(at(0), 9), p.next_due()), (vec![], Some(at(60))));
    // Of what was dropped the run is not known.
    let mut p = narrow();
    for run in 0..5 {
        p.take(i64::try_from(run).unwrap(), message(run, Some(60)));
    }
    p.hurry(&[0, 1, 2, 3, 4].map(|run| (RunId(Uuid::from_u128(run)), at(0))));
    assert_eq!((p.due(at(0), 9), p.waiting()), (vec![0, 1], 3));
    check_commit(&p, &[0, 1], 2, &[]);
}

#[test]
fn a_record_that_is_read_twice_is_held_once() {
    let mut p = partition(0, &[]);
    assert_eq!(p.take(0, message(1, None)), Taken::Held);
    assert_eq!(p.take(0, message(1, None)), Taken::Old);
    assert_eq!((p.ready.len(), p.ready_bytes), (1, 10));
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

/// A partition that keeps the content of two messages that wait.
fn narrow() -> Partition {
    let position = Position { unread_from: 0, holes: BTreeSet::new(), finding: None };
    Partition::new(Uuid::nil(), position, 0, 100, 20)
}

#[test]
fn of_what_waits_beyond_the_bound_offset_and_instant_are_kept_and_it_is_read_again() {
    let mut p = narrow();
    for (offset, due) in [(0, 50), (1, 90), (2, 60), (3, 70), (4, 80)] {
        p.take(offset, message(u128::try_from(offset).unwrap(), Some(due)));
    }
    p.take(5, message(9, None));
    assert!(!p.is_full(), "reading goes on");
    assert_eq!((p.waiting(), p.due(at(0), 9)), (5, vec![5]));
    check_commit(&p, &[5], 6, &[0, 1, 2, 3, 4]);
    p.claimed(&[5]);
    assert_eq!((p.due(at(60), 9), p.to_read_again()), (vec![0, 2], None), "what is due first was kept");
    assert_eq!((p.due(at(80), 9), p.to_read_again()), (vec![0, 2], Some(3)));
    assert_eq!(p.waiting(), 3, "what is to be read again waits");
    check_commit(&p, &[0, 2], 6, &[1, 3, 4]);
    p.claimed(&[0, 2]);
    let read =
        |offset: i64, due| (offset, Read::Attempt(message(u128::try_from(offset).unwrap(), Some(due))));
    let all = vec![read(3, 70), read(4, 80), (5, Read::Attempt(message(9, None)))];
    assert_eq!(p.take_again(all, 3..6), []);
    assert_eq!((p.due(at(80), 9), p.to_read_again()), (vec![3, 4], None));
    check_commit(&p, &[3, 4], 6, &[1]);
    assert_eq!(p.claimed(&[3, 4]).len(), 2);
    assert_eq!(p.next_due(), Some(at(90)));
}

#[test]
fn what_waits_and_is_not_there_when_it_is_read_again_is_settled_or_becomes_a_letter() {
    let mut p = narrow();
    for offset in 0..6_u32 {
        p.take(i64::from(offset), message(u128::from(offset), Some(50 + i64::from(offset))));
    }
    p.take(6, message(9, None));
    p.due(at(0), 9);
    p.claimed(&[6]);
    assert_eq!((p.due(at(60), 9), p.to_read_again()), (vec![0, 1], Some(2)));
    let letter = Unreadable {
        last_offset: 4,
        reason: crate::common::wire::DeadReason::Undecodable,
        detail: String::new(),
        record: None,
    };
    let read = vec![(3, Read::Unreadable(letter.clone())), (5, Read::Attempt(message(5, Some(55))))];
    assert_eq!(p.take_again(read, 2..6), [(3, letter)]);
    assert!(p.is_dirty(), "what was deleted is committed past");
    check_commit(&p, &[0, 1, 5], 7, &[3, 4]);
    p.settle(3, 4);
    check_commit(&p, &[0, 1, 5], 7, &[]);
}

#[test]
fn what_is_to_be_read_again_waits_again_when_the_clock_is_set_back() {
    let mut p = narrow();
    for offset in 0..4_i64 {
        p.take(offset, message(u128::try_from(offset).unwrap(), Some(50 + offset)));
    }
    assert_eq!((p.due(at(60), 9), p.to_read_again()), (vec![0, 1], Some(2)));
    assert_eq!((p.due(at(49), 9), p.to_read_again()), (vec![], None));
    assert_eq!((p.waiting(), p.next_due()), (4, Some(at(50))));
    assert_eq!((p.due(at(53), 9), p.to_read_again()), (vec![0, 1], Some(2)));
}

#[test]
fn reading_pauses_before_there_are_more_holes_than_can_be_written_down() {
    let mut p = narrow();
    let most = i64::try_from(WAITING_PER_PARTITION).unwrap();
    for offset in 0..most {
        assert!(!p.is_full());
        p.take(offset, message(u128::try_from(offset).unwrap(), Some(50)));
    }
    assert!(p.is_full());
    p.take(most, message(1 << 100, None));
    assert!(p.commit_for(&[most]).is_some(), "what is due behind them can be claimed");
}

#[test]
fn as_many_are_claimed_as_leave_holes_that_can_be_written_down() {
    let mut p = partition(0, &[]);
    for i in 0..1_000_i64 {
        p.take(i * 1_000, message(u128::try_from(i).unwrap(), Some(60)));
        p.take(i * 1_000 + 1, message(1_000_000 + u128::try_from(i).unwrap(), None));
    }
    let mut some = p.due(at(0), 1_000);
    assert!(p.commit_for_some(&mut some).is_some());
    assert!((200..900).contains(&some.len()), "{}", some.len());
    let next = i64::try_from(some.len()).unwrap() * 1_000 + 1;
    some.push(next);
    assert_eq!(p.commit_for(&some), None, "one more does not fit");
}

#[test]
fn a_text_that_the_broker_found_too_long_is_followed_by_shorter_ones() {
    let mut p = partition(0, &[]);
    for i in 0..100_i64 {
        p.take(i * 1_000, message(u128::try_from(i).unwrap(), Some(60)));
        p.take(i * 1_000 + 1, message(1_000_000 + u128::try_from(i).unwrap(), None));
    }
    let due = p.due(at(0), 100);
    let (_, text) = p.commit_for(&due).unwrap();
    p.limit_text(text.len() - 1);
    let mut some = due.clone();
    let (_, shorter) = p.commit_for_some(&mut some).unwrap();
    assert!(shorter.len() < text.len() && !some.is_empty() && some.len() < due.len());
}

#[test]
fn what_nobody_has_claimed_is_counted_whether_it_was_read_or_not() {
    let mut p = partition(5, &[1, 3]);
    assert_eq!(p.unclaimed(5), 2, "the holes below");
    assert_eq!(p.unclaimed(12), 9, "and all that was not read");
    p.take(5, message(1, None));
    p.take(6, message(2, Some(60)));
    p.take_unreadable(7, 7);
    assert_eq!(p.unclaimed(12), 9, "reading claims nothing");
    p.take(8, message(3, None));
    assert_eq!(p.due(at(0), 9), [5, 8]);
    p.claimed(&[5]);
    assert_eq!(p.unclaimed(12), 8);
    p.settle(7, 7);
    assert_eq!(p.unclaimed(12), 7, "its letter is written");
    p.claimed(&[8]);
    p.read_to(12);
    assert_eq!(p.unclaimed(12), 1, "the holes are gone from the log, and one waits");
    assert_eq!(p.unclaimed(10), 1, "an end that was asked for earlier takes nothing away");
}

#[test]
fn what_is_settled_or_unreadable_is_not_read_as_new_and_what_follows_is() {
    for settles in [true, false] {
        let mut p = partition(0, &[]);
        if settles {
            p.settle(0, 4);
        } else {
            p.take_unreadable(0, 4);
        }
        assert_eq!(p.unclaimed(10), if settles { 5 } else { 10 });
        assert_eq!(p.take(5, message(1, None)), Taken::Held);
        assert_eq!(p.due(at(0), 9), [5]);
    }
}

/// A message of so many bytes.
fn message_of(run: u128, not_before: Option<i64>, bytes: usize) -> Held {
    Held { bytes, ..message(run, not_before) }
}

#[test]
fn each_bound_by_itself_makes_a_partition_full() {
    let check = |ready: usize, bytes: usize, waiting: usize, expected: bool| {
        let mut p = partition(0, &[]);
        let mut offset = 0;
        let mut take = |message: Held| {
            let run = u128::try_from(offset).unwrap();
            let id = RunId(Uuid::from_u128(run));
            let attempt =
                Attempt { run: Arc::new(Run { id, ..Run::clone(&message.attempt.run) }), ..message.attempt };
            assert_eq!(p.take(offset, Held { attempt, ..message }), Taken::Held);
            offset += 1;
        };
        let (one, later) = (message_of(0, None, 0), message_of(0, Some(60), 0));
        (1..ready).for_each(|_| take(one.clone()));
        if ready > 0 {
            take(Held { bytes, ..one });
        }
        (0..waiting).for_each(|_| take(later.clone()));
        assert_eq!(p.is_full(), expected, "{ready} ready, {bytes} bytes, {waiting} waiting");
    };
    check(0, 0, 0, false);
    check(READY_PER_PARTITION - 1, HELD_BYTES_PER_PARTITION - 1, 9, false);
    check(READY_PER_PARTITION, 0, 0, true);
    check(1, HELD_BYTES_PER_PARTITION, 0, true);
    check(0, 0, WAITING_PER_PARTITION - 1, false);
    check(0, 0, WAITING_PER_PARTITION, true);
}

#[test]
fn what_is_due_is_read_again_while_less_than_half_of_what_may_be_held_is_ready() {
    let check = |ready: usize, bytes: usize, expected: Option<i64>| {
        let position = Position { unread_from: 0, holes: BTreeSet::new(), finding: None };
        // Of what waits no content is kept.
        let mut p = Partition::new(Uuid::nil(), position, 0, 100, 0);
        p.take(0, message(1_000_000, Some(60)));
        assert_eq!((p.next_due(), p.to_read_again()), (Some(at(60)), None));
        p.look(at(60));
        for n in 1..=ready {
            let bytes = if n == 1 { bytes } else { 0 };
            p.take(i64::try_from(n).unwrap(), message_of(n as u128, None, bytes));
        }
        assert_eq!(p.to_read_again(), expected, "{ready} ready, {bytes} bytes");
    };
    check(0, 0, Some(0));
    check(READY_PER_PARTITION / 2 - 1, HELD_BYTES_PER_PARTITION / 2 - 1, Some(0));
    check(READY_PER_PARTITION / 2, 0, None);
    check(1, HELD_BYTES_PER_PARTITION / 2, None);
}

#[test]
fn what_is_due_when_it_is_read_need_not_be_read_again() {
    let position = || Position { unread_from: 0, holes: BTreeSet::new(), finding: None };
    for due in [59, 60] {
        // Of what waits no content is kept.
        let mut p = Partition::new(Uuid::nil(), position(), 0, 100, 0);
        p.look(at(60));
        p.take(0, message(1, Some(due)));
        assert_eq!((p.due(at(60), 9), p.to_read_again()), (vec![0], None), "due at {due}");
        // The clock is set back to the instant at which it is due, and not before it.
        assert_eq!((p.due(at(due), 9), p.to_read_again()), (vec![0], None), "due at {due}");
    }
}

#[test]
fn what_has_become_due_leaves_its_room_to_what_still_waits() {
    let mut p = narrow();
    p.take(0, message(1, Some(50)));
    p.take(1, message(2, Some(60)));
    assert_eq!(p.due(at(50), 9), [0]);
    // Ten of twenty bytes are left; this is too much for them.
    p.take(2, message_of(3, Some(70), 15));
    assert_eq!((p.due(at(70), 9), p.to_read_again()), (vec![0, 1], Some(2)));
    let mut p = narrow();
    p.take(0, message(1, Some(50)));
    p.take(1, message(2, Some(60)));
    assert_eq!(p.due(at(60), 9), [0, 1]);
    p.take(2, message_of(3, Some(70), 20));
    assert_eq!((p.due(at(70), 9), p.to_read_again()), (vec![0, 1, 2], None));
}
