//! Tests of what a sequence of events says about a run.

use super::*;
use crate::common::model::{ClusterName, EndReason, JobName, Place};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn attempt(number: u32) -> AttemptRef {
    AttemptRef { run: RunId(uuid::Uuid::nil()), attempt: number }
}

fn job() -> JobName {
    JobName::new("j").unwrap()
}

fn cluster() -> ClusterName {
    ClusterName::new("c").unwrap()
}

fn place() -> Place {
    Place { topic: "c".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 }
}

fn claimed(number: u32, consumer: &str) -> Event {
    Event::Claimed {
        attempt: attempt(number),
        job: job(),
        place: place(),
        consumer: consumer.to_owned(),
        lease_ms: 60_000,
        at: at(0),
    }
}

fn finished(number: u32, consumer: &str, outcome: Outcome, then: Then) -> Event {
    Event::Finished {
        attempt: attempt(number),
        job: job(),
        cluster: cluster(),
        scheduled_at: at(0),
        consumer: consumer.to_owned(),
        outcome,
        then,
        started_at: at(1),
        ended_at: at(3),
        output_bytes: 0,
        output_tail: String::new(),
    }
}

fn lost(number: u32, then: Then) -> Event {
    Event::Lost {
        attempt: attempt(number),
        job: Some(job()),
        cluster: cluster(),
        scheduled_at: Some(at(0)),
        consumer: "a".to_owned(),
        place: place(),
        then,
        at: at(200),
    }
}

fn detail_of(events: &[Event]) -> RunDetail {
    let mut detail = RunDetail::default();
    events.iter().for_each(|event| detail.take(event, at(0)));
    detail
}

const FAILED: Outcome = Outcome::Failed { code: 1 };

#[test]
fn the_last_attempt_says_how_far_a_run_has_come() {
    let check = |events: &[Event], stage: Stage, worker: Option<&str>| {
        let detail = detail_of(events);
        assert_eq!((detail.stage(), detail.worker()), (stage, worker), "{events:?}");
    };
    let done = |number, outcome| finished(number, "a", outcome, Then::Done);
    let retried = || finished(1, "a", FAILED, Then::Retried);
    check(&[], Stage::Waiting, None);
    check(&[claimed(1, "a")], Stage::Running, Some("a"));
    check(&[claimed(1, "a"), claimed(1, "b")], Stage::Running, Some("b"));
    check(&[claimed(1, "a"), done(1, Outcome::Succeeded)], Stage::Succeeded, Some("a"));
    check(&[done(1, Outcome::Succeeded), claimed(1, "a")], Stage::Succeeded, Some("a"));
    check(&[done(1, Outcome::Expired)], Stage::Expired, Some("a"));
    check(&[claimed(1, "a"), done(1, Outcome::Replaced)], Stage::Replaced, Some("a"));
    check(&[retried(), done(2, Outcome::Replaced)], Stage::Replaced, Some("a"));
    check(&[retried()], Stage::Retrying, Some("a"));
    check(&[claimed(2, "b"), retried()], Stage::Running, Some("b"));
    check(&[retried(), finished(2, "b", FAILED, Then::Dead)], Stage::GivenUp, Some("b"));
    check(&[claimed(1, "a"), lost(1, Then::Retried)], Stage::Retrying, Some("a"));
    check(&[claimed(1, "a"), lost(1, Then::Dead)], Stage::Lost, Some("a"));
    // A late end changes nothing but what is known.
    check(&[lost(1, Then::Retried), done(1, Outcome::Succeeded)], Stage::Retrying, Some("a"));
    // Put back by hand.
    check(&[finished(1, "a", FAILED, Then::Dead), claimed(2, "b")], Stage::Running, Some("b"));
}

#[test]
fn a_run_that_was_ended_is_over_unless_a_later_attempt_is_known() {
    let ended = |number| Event::Ended {
        attempt: attempt(number),
        job: job(),
        cluster: cluster(),
        scheduled_at: None,
        reason: EndReason::Unclaimable,
        detail: String::new(),
        by: String::new(),
        at: at(0),
    };
    let check = |events: &[Event], stage: Stage| assert_eq!(detail_of(events).stage(), stage, "{events:?}");
    check(&[ended(0)], Stage::Ended);
    check(&[ended(0), claimed(1, "a")], Stage::Running);
    check(&[claimed(1, "a"), ended(1)], Stage::Ended);
    check(&[ended(1), finished(1, "a", FAILED, Then::Retried)], Stage::Ended);
    check(&[ended(1), finished(1, "a", Outcome::Succeeded, Then::Done)], Stage::Succeeded);
    check(&[ended(1), finished(1, "a", FAILED, Then::Retried), claimed(2, "a")], Stage::Running);
}

#[test]
fn two_ends_that_are_not_copies_are_two_starts() {
    let check = |events: &[Event], expected: &[u32]| {
        let detail = detail_of(events);
        let twice: Vec<u32> = detail.started_twice().map(|(number, _)| number).collect();
        assert_eq!(twice, expected, "{events:?}");
    };
    let done = |number, consumer| finished(number, consumer, Outcome::Succeeded, Then::Done);
    let expired = |consumer| finished(1, consumer, Outcome::Expired, Then::Done);
    let mut again = done(1, "a");
    if let Event::Finished { started_at, .. } = &mut again {
        *started_at = at(2);
    }
    check(&[claimed(1, "a"), claimed(1, "b"), done(1, "b")], &[]);
    check(&[done(1, "a"), done(1, "a")], &[]);
    check(&[done(1, "a"), done(1, "b")], &[1]);
    check(&[done(1, "a"), again], &[1]);
    check(&[done(1, "a"), done(2, "b"), done(2, "a")], &[2]);
    check(&[expired("a"), expired("b")], &[]);
    check(&[lost(1, Then::Retried), done(1, "a"), done(2, "b")], &[]);
}

#[test]
fn a_run_is_abandoned_when_its_lease_is_over_and_the_leader_has_had_its_time() {
    let check = |events: &[Event], signs: &[i64], now: i64, expected: bool| {
        let mut detail = detail_of(events);
        signs.iter().for_each(|second| detail.sign(1, at(*second), 60_000));
        assert_eq!(detail.is_abandoned(at(now)), expected, "{events:?} {signs:?} {now}");
    };
    let done = finished(1, "a", Outcome::Succeeded, Then::Done);
    check(&[], &[], 1_000, false);
    check(&[claimed(1, "a")], &[], 120, false);
    check(&[claimed(1, "a")], &[], 121, true);
    check(&[claimed(1, "a")], &[50, 20], 170, false);
    check(&[claimed(1, "a")], &[50, 20], 171, true);
    check(&[claimed(1, "a"), done], &[], 1_000, false);
    check(&[claimed(1, "a"), lost(1, Then::Dead)], &[], 1_000, false);
}
