//! The comparison of our clock with the broker's.

use chrono::TimeDelta;

use super::super::*;
use super::fixture::{Fixture, at, claimed, ended, note};
use crate::common::broker::TopicPartition;
use crate::common::broker::memory::Call;
use crate::common::model::Outcome;
use crate::consumer::reporting::messages::started;

/// Our clock is so many seconds ahead of the broker's. A failed attempt that was handed to a worker is passed on, dated
/// as the broker's clock is within a second (`None`: without a date), and said to be off where it is.
fn check_clock(ahead_secs: i64, runs: &str, dated_ahead: Option<i64>) {
    let mut f = Fixture::started_off(TimeDelta::seconds(ahead_secs), runs);
    if dated_ahead.is_none() {
        f.broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
    }
    f.handle(Event::Started(started(&claimed(1, 1))));
    f.handle(ended(claimed(1, 1), Outcome::Failed { code: 1 }));
    f.handle(ended(claimed(2, 1), Outcome::Succeeded));
    let mut clock = None;
    for _ in 0..8 {
        let now = f.now();
        for effect in f.reporting.step(f.client.as_mut(), now) {
            match effect {
                Effect::Clock(skew) => clock = Some(Some(skew.ahead)),
                Effect::ClockUnknown(_) => clock = Some(None),
                Effect::Failed(topic, error) => {
                    assert_eq!(error.code(), Some(ErrorCode::InvalidTimestamp), "{topic}");
                }
                Effect::PassedOn(_) | Effect::Refused(..) | Effect::NotCompared(_) | Effect::GivenUp(_) => {}
            }
        }
        f.clock.turn(Duration::from_secs(1));
    }
    let [retries, dead, finished, _] = f.written();
    assert_eq!(([retries, dead, finished], f.reporting.is_busy()), ([1, 0, 2], false), "{ahead_secs} {runs}");
    let dated = f.records("a-retry")[0].timestamp_ms;
    let expected = dated_ahead.map_or(-1, |secs| (at() + TimeDelta::seconds(secs)).timestamp_millis());
    assert!((expected..=expected + 8_000).contains(&dated), "{ahead_secs} {runs}: {dated}");
    let found = clock.expect("something is told of the clock");
    assert_eq!(found.is_some(), dated_ahead.is_some(), "{ahead_secs} {runs}");
    // A step takes a second here.
    assert!(found.is_none_or(|found| (found - f.ahead).abs() <= TimeDelta::seconds(1)), "{found:?} {runs}");
}

#[test]
fn a_wrong_clock_holds_up_no_result_and_is_noticed() {
    check_clock(0, "LogAppendTime", Some(0));
    check_clock(20, "LogAppendTime", Some(20));
    check_clock(7_200, "LogAppendTime", Some(0));
    check_clock(-7_200, "LogAppendTime", Some(0));
    check_clock(7_200, "CreateTime", Some(0));
    check_clock(-7_200, "CreateTime", Some(0));
    check_clock(7_200, "CreateTime", None);
}

#[test]
fn a_clock_is_compared_at_the_start_and_regularly_although_nothing_is_written() {
    for runs in ["LogAppendTime", "CreateTime"] {
        let mut f = Fixture::started_off(TimeDelta::hours(2), runs);
        assert_eq!(f.ahead(1), [7_200], "{runs}: before anything else");
        // As long as it is wrong every 15 s, and then every minute.
        assert_eq!(f.ahead(44), [7_200; 2], "{runs}");
        f.ahead = TimeDelta::zero();
        assert_eq!(f.ahead(1), [0], "{runs}: at once when it jumps");
        assert_eq!(f.ahead(121), [0; 2], "{runs}");
        f.ahead = TimeDelta::seconds(-31);
        assert_eq!(f.ahead(2), [-31], "{runs}: at once when it jumps");
    }
}

#[test]
fn writes_that_are_made_anyway_compare_the_clock_every_ten_seconds() {
    let mut f = Fixture::started_off(TimeDelta::zero(), "LogAppendTime");
    assert_eq!(f.ahead(1), [0]);
    let mut compared_at = Vec::new();
    for second in 1..50 {
        // Too small a jump to be noticed by itself.
        f.ahead = TimeDelta::milliseconds(second);
        f.handle(note());
        if !f.ahead(1).is_empty() {
            compared_at.push(second);
        }
    }
    // A second in which a sign of life is due has no other write.
    let apart = |two: &[i64]| (9..=12).contains(&(two[1] - two[0]));
    assert!(compared_at.len() > 3 && compared_at[0] == 10, "{compared_at:?}");
    assert!(compared_at.windows(2).all(apart), "{compared_at:?}");
}

#[test]
fn a_clock_that_nobody_can_compare_is_said_to_be_unknown_and_asked_about_every_minute() {
    let mut f = Fixture::started_off(TimeDelta::zero(), "CreateTime");
    f.broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
    let mut told = 0;
    for _ in 0..130 {
        let now = f.now();
        let effects = f.reporting.step(f.client.as_mut(), now);
        told += effects.iter().filter(|effect| matches!(effect, Effect::ClockUnknown(_))).count();
        f.clock.turn(Duration::from_secs(1));
    }
    assert_eq!(told, 3);
}

#[test]
fn a_comparison_that_fails_is_made_again_every_second_and_keeps_no_result_waiting() {
    let mut f = Fixture::started_off(TimeDelta::zero(), "LogAppendTime");
    let runs = TopicPartition { topic: "cron-runs".to_owned(), partition: 0 };
    f.broker.faults().lead(&runs, None);
    f.broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
    f.handle(ended(claimed(1, 1), Outcome::TimedOut));
    let mut failed = 0;
    for _ in 0..100 {
        let now = f.now();
        let effects = f.reporting.step(f.client.as_mut(), now);
        failed += effects.iter().filter(|effect| matches!(effect, Effect::NotCompared(_))).count();
        f.clock.turn(Duration::from_millis(100));
    }
    assert_eq!((failed, f.written()[0]), (10, 1));
}
