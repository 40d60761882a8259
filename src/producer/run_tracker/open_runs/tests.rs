//! Which runs are not finished, by what was read in whatever order.

use super::*;
use crate::common::model::{AttemptRef, Outcome, Place};
use uuid::Uuid;

fn place(offset: i64) -> Place {
    Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset }
}

fn published(job: &str, run: u128) -> Event {
    Event::Published {
        run: RunId(Uuid::from_u128(run)),
        job: job.parse().unwrap(),
        cluster: "c".parse().unwrap(),
        scheduled_at: DateTime::from_timestamp(i64::try_from(run).unwrap(), 0).unwrap(),
        place: place(i64::try_from(run).unwrap()),
        at: DateTime::UNIX_EPOCH,
    }
}

fn lost(run: u128, then: Then) -> Event {
    lost_of(None, run, then)
}

fn lost_of(job: Option<&str>, run: u128, then: Then) -> Event {
    lost_as((run, 1), job, then)
}

fn lost_as((run, attempt): (u128, u32), job: Option<&str>, then: Then) -> Event {
    Event::Lost {
        attempt: AttemptRef { run: RunId(Uuid::from_u128(run)), attempt },
        job: job.map(|job| job.parse().unwrap()),
        cluster: "c".parse().unwrap(),
        scheduled_at: None,
        consumer: "one".to_owned(),
        place: place(0),
        then,
        at: DateTime::UNIX_EPOCH,
    }
}

fn claimed(run: u128) -> Event {
    claimed_as(run, 1)
}

fn claimed_as(run: u128, attempt: u32) -> Event {
    let attempt = AttemptRef { run: RunId(Uuid::from_u128(run)), attempt };
    let (consumer, at) = ("one".to_owned(), DateTime::UNIX_EPOCH);
    Event::Claimed { attempt, job: "j".parse().unwrap(), place: place(0), consumer, lease_ms: 1, at }
}

fn finished(run: u128, attempt: u32, then: Then) -> Event {
    Event::Finished {
        attempt: AttemptRef { run: RunId(Uuid::from_u128(run)), attempt },
        job: "j".parse().unwrap(),
        cluster: "c".parse().unwrap(),
        scheduled_at: DateTime::UNIX_EPOCH,
        consumer: "one".to_owned(),
        outcome: Outcome::Succeeded,
        then,
        started_at: DateTime::UNIX_EPOCH,
        ended_at: DateTime::UNIX_EPOCH,
        output_bytes: 0,
        output_tail: String::new(),
    }
}

fn jobs(names: &[&str]) -> Followed {
    Arc::new(names.iter().map(|name| (name.parse().unwrap(), "c".parse().unwrap())).collect())
}

fn check(events: &[Event], expected: &[u128]) {
    let now = Instant::now();
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    for event in events {
        runs.take(event, now);
    }
    assert_eq!(open(&runs), expected, "{events:?}");
}

fn open(runs: &OpenRuns) -> Vec<u128> {
    runs.open().iter().map(|unfinished| unfinished.run.0.as_u128()).collect()
}

#[test]
fn a_run_is_open_from_published_until_nothing_follows_in_whatever_order_that_is_read() {
    check(&[published("j", 2), published("j", 1), published("other", 3)], &[1, 2]);
    check(&[published("j", 1), lost(1, Then::Retried)], &[1]);
    check(&[published("j", 1), lost(1, Then::Dead)], &[]);
    check(&[lost(1, Then::Dead), published("j", 1)], &[]);
    check(&[published("j", 1), lost(1, Then::Dead), published("j", 1)], &[]);
}

#[test]
fn a_run_waits_where_its_next_message_is_until_it_is_claimed() {
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    let all = HashSet::from([1, 2].map(|run| RunId(Uuid::from_u128(run))));
    let mut check = |event: Event, first: usize, retry: usize| {
        runs.take(&event, Instant::now());
        assert_eq!(
            (runs.waiting_in("c", &all).len(), runs.waiting_in("c-retry", &all).len()),
            (first, retry),
            "{event:?}"
        );
    };
    check(published("j", 1), 1, 0);
    check(claimed(1), 0, 0);
    check(lost(1, Then::Retried), 0, 0);
    check(lost_of(Some("j"), 1, Then::Retried), 0, 1);
    check(claimed_as(1, 2), 0, 0);
    check(published("j", 2), 1, 0);
    check(lost(2, Then::Dead), 0, 0);
}

#[test]
fn an_open_run_is_followed_to_its_end_although_its_job_allows_overlaps_meanwhile() {
    let none = HashSet::new();
    let of_job = || lost_of(Some("j"), 1, Then::Retried);
    for retried in [finished(1, 1, Then::Retried), of_job()] {
        let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
        runs.take(&published("j", 1), Instant::now());
        runs.follow(jobs(&[]));
        runs.take(&retried, Instant::now());
        runs.follow(jobs(&["j"]));
        let attempts = |topic: &str| -> Vec<u32> {
            runs.waiting_in(topic, &none).iter().map(Waiting::last_attempt).collect()
        };
        assert_eq!((attempts("c"), attempts("c-retry")), (vec![], vec![1]), "{retried:?}");
    }
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    runs.take(&published("j", 1), Instant::now());
    runs.follow(jobs(&[]));
    runs.take(&claimed_as(1, 2), Instant::now());
    assert_eq!(
        runs.waiting_in("c-retry", &none).len(),
        1,
        "its second attempt is claimed in the retry topic"
    );
    runs.take(&published("j", 2), Instant::now());
    runs.take(&claimed(3), Instant::now());
    assert_eq!(open(&runs), [1], "no other run of that job is followed");
}

#[test]
fn a_run_whose_claim_did_not_count_waits_where_it_was_claimed() {
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    let none = HashSet::new();
    let lost = lost_as((1, 2), None, Then::Dead);
    for (event, expected) in [(claimed(1), (1, 0)), (claimed_as(1, 2), (0, 1)), (lost, (0, 0))] {
        runs.take(&event, Instant::now());
        assert_eq!(
            (runs.waiting_in("c", &none).len(), runs.waiting_in("c-retry", &none).len()),
            expected,
            "{event:?}"
        );
    }
}

#[test]
fn an_attempt_under_way_keeps_a_claimed_run_from_being_missing_and_not_one_that_is_to_be_tried_again() {
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    let all = HashSet::from([RunId(Uuid::from_u128(1))]);
    for (event, topic, expected) in
        [(claimed(1), "c", false), (lost_of(Some("j"), 1, Then::Retried), "c-retry", true)]
    {
        runs.take(&event, Instant::now());
        let waiting = runs.waiting_in(topic, &HashSet::new()).remove(0);
        assert_eq!(runs.still_waits(&waiting, &all), expected, "{event:?}");
    }
}

#[test]
fn a_run_that_nobody_said_was_published_is_open_from_its_first_claim_on() {
    check(&[claimed(1)], &[1]);
    check(&[claimed(1), lost_of(Some("j"), 1, Then::Retried), claimed_as(1, 2)], &[1]);
    check(&[lost_of(Some("j"), 1, Then::Retried)], &[1]);
    check(&[lost_of(Some("other"), 1, Then::Retried)], &[]);
    check(&[claimed(1), lost(1, Then::Dead)], &[]);
    check(&[lost(1, Then::Dead), claimed(1)], &[]);
}

/// Once all of `cron-runs` was read, with nothing under way but run 9.
fn check_read(events: &[Event], expected: &[u128]) {
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    for event in events {
        runs.take(event, Instant::now());
    }
    runs.all_was_read(&HashSet::from([RunId(Uuid::from_u128(9))]));
    assert_eq!(open(&runs), expected, "{events:?}");
}

#[test]
fn a_claim_that_did_not_count_keeps_no_run_open() {
    check_read(&[claimed(1), claimed(9)], &[9]);
    check_read(&[published("j", 1), claimed(1)], &[1]);
    let retried = lost_of(Some("j"), 1, Then::Retried);
    check_read(&[claimed(1), retried.clone()], &[1]);
    check_read(&[retried.clone(), claimed(1)], &[1]);
    check_read(&[claimed(1), retried, claimed_as(1, 2)], &[]);
}

#[test]
fn the_late_end_of_an_attempt_that_was_lost_does_not_end_its_run() {
    let retried = || lost_of(Some("j"), 1, Then::Retried);
    let late = || finished(1, 1, Then::Done);
    check(&[claimed(1), retried(), late()], &[1]);
    check(&[claimed(1), retried(), claimed_as(1, 2), late()], &[1]);
    check(&[claimed(1), retried(), claimed_as(1, 2), late(), finished(1, 2, Then::Dead)], &[]);
    check(&[claimed(1), retried(), claimed_as(1, 2), finished(1, 2, Then::Done), late()], &[]);
    // Also where the end is read first, before what was written long ago.
    check(&[late(), claimed(1), retried(), claimed_as(1, 2)], &[1]);
    check(&[late(), claimed(1)], &[]);
    // And where another leader had taken it for lost when it had ended.
    check(&[claimed(1), late(), retried()], &[1]);
    check(&[claimed_as(1, 2), finished(1, 2, Then::Done), retried(), claimed_as(1, 2)], &[]);
}

#[test]
fn a_run_that_is_put_back_is_open_again() {
    check(&[claimed(1), lost(1, Then::Dead), claimed_as(1, 2)], &[1]);
    check(&[claimed(1), lost(1, Then::Dead), claimed_as(1, 2), finished(1, 2, Then::Done)], &[]);
}

#[test]
fn what_is_known_of_a_job_that_is_not_followed_any_more_ends_all_the_same() {
    let (now, mut runs) = (Instant::now(), OpenRuns::new(jobs(&["j"]), Duration::from_secs(60)));
    assert!(matches!(runs.take(&published("j", 1), now), Said::Unfinished(_)));
    runs.follow(jobs(&["other"]));
    assert_eq!(runs.take(&finished(1, 1, Then::Done), now), Said::Over);
    assert_eq!(open(&runs), [0; 0]);
}

#[test]
fn a_job_that_is_followed_later_is_known_by_what_is_read_again() {
    let (now, mut runs) = (Instant::now(), OpenRuns::new(jobs(&[]), Duration::from_secs(60)));
    let events = [published("j", 1), claimed(2)];
    events.iter().for_each(|event| drop(runs.take(event, now)));
    assert_eq!(open(&runs), [0; 0]);
    runs.follow(jobs(&["j"]));
    events.iter().for_each(|event| drop(runs.take(event, now)));
    assert_eq!(open(&runs), [2, 1], "those whose instants are not known first");
    runs.follow(jobs(&[]));
    assert_eq!(open(&runs), [2, 1]);
}

#[test]
fn a_run_that_waits_is_looked_for_after_its_time_and_each_time_later() {
    let (zero, none) = (Instant::now(), HashSet::new());
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    runs.take(&claimed(1), zero);
    // The same claim is read again, as it is when all is read anew.
    runs.take(&claimed(1), at(30));
    let mut looked = Vec::new();
    for secs in 0..200 {
        looked.extend(runs.take_long_waiting(&none, at(secs)).into_iter().map(|topic| (secs, topic)));
    }
    assert_eq!(looked, [60, 180].map(|secs| (secs, "c".to_owned())));
}

#[test]
fn where_the_next_message_of_a_run_lies_is_known_in_the_topic_where_it_was_read_to_lie() {
    let none = HashSet::new();
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    let waits = |runs: &OpenRuns, topic: &str| {
        runs.waiting_in(topic, &none).into_iter().map(|waiting| waiting.place).collect::<Vec<_>>()
    };
    runs.take(&published("j", 1), Instant::now());
    assert_eq!((waits(&runs, "c"), waits(&runs, "c-retry")), (vec![Some(place(1))], vec![]));
    runs.take(&lost_of(Some("j"), 1, Then::Retried), Instant::now());
    assert_eq!((waits(&runs, "c"), waits(&runs, "c-retry")), (vec![], vec![None]));
}

#[test]
fn that_a_run_is_over_is_remembered_for_its_time() {
    let (zero, after) = (Instant::now(), Duration::from_secs(100));
    let mut runs = OpenRuns::new(jobs(&["j"]), Duration::from_secs(60));
    runs.take(&finished(1, 1, Then::Done), zero);
    for (secs, expected) in [(99, 1), (100, 0)] {
        runs.forget(zero + Duration::from_secs(secs), after);
        assert_eq!(runs.over().len(), expected, "{secs}");
    }
}
