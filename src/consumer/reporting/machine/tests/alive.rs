//! Signs of life.

use super::super::*;
use super::fixture::{Fixture, LEASE, claimed, ended};
use crate::common::broker::TopicPartition;
use crate::common::broker::memory::{Call, Fate};
use crate::common::clock::Clock;
use crate::common::model::Outcome;
use crate::consumer::reporting::messages::started;

#[test]
fn what_runs_or_has_ended_without_a_record_of_it_is_said_to_be_alive() {
    let mut f = Fixture::new();
    let retry = TopicPartition { topic: "a-retry".to_owned(), partition: 0 };
    f.broker.faults().lead(&retry, None);
    (1..=3).for_each(|run| f.handle(Event::Started(started(&claimed(run, 1)))));
    f.handle(ended(claimed(1, 1), Outcome::TimedOut));
    f.handle(ended(claimed(3, 1), Outcome::Succeeded));
    assert_eq!((f.step(), f.written()), ((true, 1), [0, 0, 1, 0]), "a good end waits for no other's retry");
    for alive in 1..4 {
        f.clock.turn(LEASE / 3);
        assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 1, alive]));
        assert_eq!(f.said_alive(), [1, 2], "what has ended, too, until that is on record");
        assert_eq!(f.step(), (true, 0));
    }
    f.broker.faults().lead(&retry, Some(1));
    f.rest();
    f.step();
    assert_eq!((f.step(), f.written()), ((false, 1), [1, 0, 2, 3]));
    f.clock.turn(LEASE / 3);
    f.step();
    assert_eq!(f.said_alive(), [2]);
}

#[test]
fn a_sign_of_life_that_failed_follows_within_a_second() {
    let mut f = Fixture::new();
    f.handle(Event::Started(started(&claimed(1, 1))));
    f.clock.turn(LEASE / 3);
    f.broker.faults().next(Call::Produce, Fate::RequestLost);
    assert_eq!((f.step(), f.reporting.has_failed()), ((true, 0), true));
    let wait = f.reporting.next_alive() - f.clock.monotonic();
    assert!(!wait.is_zero() && wait <= Duration::from_secs(1), "{wait:?}");
    f.clock.turn(wait);
    assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 0, 1]));
    assert!(!f.reporting.has_failed());
    assert_eq!(f.reporting.next_alive() - f.clock.monotonic(), LEASE / 3);
}

#[test]
fn signs_of_life_of_many_workers_are_split_into_what_the_topic_takes() {
    let mut f = Fixture::with(&[("cron-runs", "2000")]);
    (0..60).for_each(|run| f.handle(Event::Started(started(&claimed(run, 1)))));
    for turn in 0..2 {
        f.clock.turn(LEASE / 3);
        let before = f.written()[3];
        let steps = (1..9).find(|_| !f.step().0);
        assert!(steps.is_some_and(|steps| turn == 0 || steps == 1), "{steps:?}");
        assert!((5..20).contains(&(f.written()[3] - before)));
        assert_eq!(f.said_alive(), (0..60).collect::<Vec<u128>>());
    }
}

#[test]
fn nothing_is_said_to_be_alive_when_nothing_runs() {
    let mut f = Fixture::new();
    f.handle(Event::Started(started(&claimed(1, 0))));
    f.handle(ended(claimed(1, 0), Outcome::Succeeded));
    f.step();
    f.clock.turn(LEASE);
    assert_eq!((f.step(), f.written()), ((false, 0), [0, 0, 1, 0]));
}

#[test]
fn a_sign_of_life_that_fails_rests_a_second_or_a_sixth_of_a_short_lease() {
    let check = |lease, limit: &str, fate: Option<Fate>, running: u8, rest_ms| {
        let mut f = Fixture::with(&[("cron-runs", limit)]);
        let options = Options { consumer: "me".to_owned(), lease, workers: 1 };
        f.reporting = Reporting::new(options, f.clock.monotonic());
        (1..=running).for_each(|run| f.handle(Event::Started(started(&claimed(run, 0)))));
        f.clock.turn(lease / 3);
        f.broker.faults().decide(Box::new(move |_, call| fate.filter(|_| call == Call::Produce)));
        let now = f.clock.monotonic();
        let mut steps = 0;
        // What is too large is written in parts at once, down to a part for each attempt.
        while f.reporting.next_alive() <= now {
            steps += 1;
            assert!(steps < 20, "it spins");
            f.step();
        }
        let rest = f.reporting.next_alive() - now;
        assert_eq!(rest, Duration::from_millis(rest_ms), "{lease:?} {limit} {fate:?} {running}");
    };
    let short = Duration::from_secs(3);
    check(LEASE, "1000000", Some(Fate::NotSent), 2, 1_000);
    check(short, "1000000", Some(Fate::NotSent), 2, 500);
    check(LEASE, "1", None, 1, 1_000);
    check(LEASE, "1", None, 3, 1_000);
}
