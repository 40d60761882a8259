//! Which topics are looked at and when, and which of their messages are left.

use std::sync::Arc;

use super::*;

/// Run 1 of job `j`, which is claimed in topic `c` and is not under way.
fn claimed_run() -> OpenRuns {
    let jobs = Arc::new([("j".parse().unwrap(), "c".parse().unwrap())].into());
    let mut runs = OpenRuns::new(jobs, Duration::from_secs(60));
    let place = Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 0 };
    let claimed = Event::Claimed {
        attempt: AttemptRef { run: RunId(Uuid::from_u128(1)), attempt: 1 },
        job: "j".parse().unwrap(),
        place,
        consumer: "one".to_owned(),
        lease_ms: 1,
        at: chrono::DateTime::UNIX_EPOCH,
    };
    runs.take(&claimed, Instant::now());
    runs
}

#[test]
fn a_topic_is_looked_at_again_once_all_that_is_under_way_is_known() {
    let (now, runs, leases) = (Instant::now(), claimed_run(), Leases::default());
    let mut deleted = DeletedMessages::new(now);
    let mut begins = |is_sure| deleted.begin(is_sure, now, &runs, &leases).is_some();
    assert!(!begins(true), "nothing is doubted");
    deleted.doubt("c".to_owned(), now);
    let mut begins = |is_sure| deleted.begin(is_sure, now, &runs, &leases).is_some();
    assert!(!begins(false), "its claim may have counted");
    assert!(!begins(false));
    assert!(begins(true));
    assert!(!begins(true), "once");
}

#[test]
fn a_topic_is_looked_at_from_the_earliest_of_its_instants_on() {
    let (zero, runs, leases) = (Instant::now(), claimed_run(), Leases::default());
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut deleted = DeletedMessages::new(zero);
    [7, 5, 6].iter().for_each(|secs| deleted.doubt("c".to_owned(), at(*secs)));
    assert!(deleted.begin(true, at(4), &runs, &leases).is_none());
    assert!(deleted.begin(true, at(5), &runs, &leases).is_some());
    assert!(deleted.begin(true, at(9), &runs, &leases).is_none());
    // A topic without a run that waits is looked at in vain.
    deleted.doubt("c-retry".to_owned(), at(9));
    assert!(deleted.begin(true, at(9), &runs, &leases).is_none());
}

#[test]
fn runs_that_wait_are_looked_for_every_five_seconds() {
    let zero = Instant::now();
    let mut deleted = DeletedMessages::new(zero);
    let due: Vec<u64> =
        (0..12).filter(|secs| deleted.is_look_due(zero + Duration::from_secs(*secs))).collect();
    assert_eq!(due, [0, 5, 10]);
}

#[test]
fn the_messages_that_a_group_has_not_passed_begin_with_its_first_hole_or_at_its_offset() {
    let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let text = |id: Uuid, holes: &[i64]| holes::encode(id, 9, &holes.iter().copied().collect()).unwrap();
    let check = |metadata: String, expected: i64| {
        let committed = Committed { offset: 9, metadata };
        assert_eq!(first_left(&committed, ours), expected, "{committed:?}");
    };
    check(String::new(), 9);
    check("what nobody can read".to_owned(), 9);
    check(text(ours, &[]), 9);
    check(text(ours, &[3, 5]), 3);
    // Of a topic that was made anew nothing is passed.
    check(text(other, &[]), 0);
    check(text(other, &[3, 5]), 0);
}

#[test]
fn a_message_is_left_where_the_log_has_it_and_the_group_has_not_passed_it() {
    let id = Uuid::from_u128(1);
    let part = |partition, end, passed: Option<i64>| Part {
        of: TopicPartition { topic: "c".to_owned(), partition },
        leader: Some(1),
        start: 2,
        next: 2,
        end,
        committed: passed.map(|offset| Committed { offset, metadata: String::new() }),
    };
    let parts = [part(0, 5, None), part(1, 9, Some(7))];
    let check = |partition: i32, offset: i64, expected: bool| {
        let place = Place { topic: "c".to_owned(), topic_id: id, partition, offset };
        assert_eq!(is_left(&place, id, &parts), expected, "{partition}/{offset}");
    };
    check(0, 1, false);
    check(0, 2, true);
    check(0, 4, true);
    check(0, 5, false);
    check(0, 6, false);
    check(1, 6, false);
    check(1, 7, true);
    check(2, 4, false);
}
