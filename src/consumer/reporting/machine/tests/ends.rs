//! What is written of ends, in which order, and what happens when it cannot be.

use super::super::*;
use super::fixture::{Fixture, claimed, ended, note};
use crate::common::broker::TopicPartition;
use crate::common::broker::memory::{Call, Fate};
use crate::common::clock::Clock;
use crate::common::model::{Outcome, Then};

#[test]
fn finished_is_not_written_before_what_follows_is_confirmed() {
    let check = |left, then: [usize; 4]| {
        for fate in [Fate::NotSent, Fate::RequestLost, Fate::Refused(ErrorCode::NotEnoughReplicas)] {
            let mut f = Fixture::new();
            f.handle(ended(claimed(1, left), Outcome::Failed { code: 1 }));
            for _ in 0..3 {
                f.broker.faults().next(Call::Produce, fate);
                assert_eq!((f.step(), f.written()), ((true, 0), [0; 4]), "{fate:?}");
                let made = f.broker.faults().made(Call::Produce);
                f.step();
                assert_eq!(
                    f.broker.faults().made(Call::Produce),
                    made,
                    "no second try before its rest is over"
                );
                f.rest();
            }
            assert_eq!((f.step(), f.written()), ((false, 0), then), "{fate:?}");
            assert_eq!((f.step(), f.written()[2]), ((false, 1), 1), "{fate:?}");
            assert!(!f.reporting.is_busy());
        }
    };
    check(1, [1, 0, 0, 0]);
    check(0, [0, 1, 0, 0]);
}

#[test]
fn a_good_end_is_told_in_one_step() {
    let mut f = Fixture::new();
    f.handle(ended(claimed(1, 3), Outcome::Succeeded));
    assert_eq!((f.step(), f.written()), ((false, 1), [0, 0, 1, 0]));
}

/// A failed attempt of run 1 whose retry topic is not written to, and ten good ends: those are on record in one step,
/// and when the topic can be written to again, run 1's is in two.
fn check_waits_alone(break_it: impl Fn(&Fixture), mend: impl Fn(&mut Fixture)) {
    let mut f = Fixture::new();
    break_it(&f);
    f.handle(ended(claimed(1, 1), Outcome::TimedOut));
    f.step();
    assert!(f.reporting.has_failed() && f.reporting.takes());
    let tries = f.broker.faults().made(Call::Produce) + f.broker.faults().made(Call::Topic);
    for run in 2..12 {
        f.handle(ended(claimed(run, 1), Outcome::Succeeded));
        assert_eq!((f.step().1, f.written()[2]), (1, usize::from(run) - 1));
    }
    (0..60).for_each(|_| {
        f.step();
        f.clock.turn(Duration::from_secs(1));
    });
    let tries = f.broker.faults().made(Call::Produce) + f.broker.faults().made(Call::Topic) - tries;
    assert!((30..110).contains(&tries), "{tries} calls in a minute");
    mend(&mut f);
    f.rest();
    let passed_on: usize = (0..4).map(|_| f.step().1).sum();
    assert_eq!((passed_on, f.written()), (1, [1, 0, 11, 0]));
    assert!(!f.reporting.is_busy() && !f.reporting.has_failed());
}

#[test]
fn a_topic_that_cannot_be_written_to_holds_up_no_other_and_is_tried_every_two_seconds() {
    let denied = ErrorCode::TopicAuthorizationFailed;
    check_waits_alone(
        |f| f.broker.faults().refuse(Call::Produce, "a-retry", denied),
        |f| f.broker.faults().allow(Call::Produce, "a-retry"),
    );
    check_waits_alone(|f| f.broker.faults().delete_topic("a-retry"), |f| f.create("a-retry", None));
}

#[test]
fn new_failures_do_not_put_off_those_that_wait() {
    let mut f = Fixture::new();
    let retry = TopicPartition { topic: "a-retry".to_owned(), partition: 0 };
    f.broker.faults().lead(&retry, None);
    for run in 1..20 {
        f.handle(ended(claimed(run, 1), Outcome::TimedOut));
        f.step();
        f.clock.turn(Duration::from_millis(900));
    }
    f.broker.faults().lead(&retry, Some(1));
    f.handle(ended(claimed(20, 1), Outcome::TimedOut));
    f.step();
    f.rest();
    f.step();
    assert_eq!(f.written()[0], 20);
}

#[test]
fn results_that_wait_have_a_bound() {
    let mut f = Fixture::new();
    f.broker.faults().delete_topic("a-retry");
    let mut taken = 0;
    while f.reporting.takes() {
        let Event::Ended(mut report) = ended(claimed(1, 1), Outcome::TimedOut) else { panic!() };
        report.output_tail = "x".repeat(8_192);
        f.handle(Event::Ended(report));
        taken += 1;
    }
    assert!((1_000..10_000).contains(&taken), "{taken}");
}

#[test]
fn what_a_topic_never_takes_becomes_a_letter_and_holds_up_nothing() {
    let mut f = Fixture::new();
    f.broker.faults().refuse(Call::Produce, "a-retry", ErrorCode::InvalidRecord);
    f.handle(ended(claimed(1, 1), Outcome::TimedOut));
    f.step();
    f.step();
    assert_eq!((f.step().1, f.written()), (1, [0, 1, 1, 0]));
}

/// A failed attempt with one left and an output of 8 KiB, until it is passed on; what there is then of it, as
/// [`Fixture::written`] has it, whether the letter has output and attempt, and the length of the output in `finished`.
fn check_large(limits: &[(&str, &str)], written: [usize; 4], letter: Option<(bool, bool)>, output: usize) {
    let mut f = Fixture::with(limits);
    let Event::Ended(mut report) = ended(claimed(1, 1), Outcome::Failed { code: 1 }) else { panic!() };
    report.output_tail = "x".repeat(8_192);
    f.handle(Event::Ended(report));
    let steps = (1..20).find(|_| f.step().1 == 1);
    assert!(steps.is_some(), "{limits:?}: it is never passed on");
    assert_eq!((f.written(), f.reporting.is_busy()), (written, false), "{limits:?}");
    let found = f.values("a-dead").first().map(|value| match wire::decode_dead(value).unwrap() {
        wire::DeadRecord::Letter(letter) => (!letter.output_tail.is_empty(), letter.attempt.is_some()),
        wire::DeadRecord::Replayed(_) => panic!("a letter"),
    });
    assert_eq!(found, letter, "{limits:?}");
    for value in f.values("cron-runs") {
        let model::Event::Finished { then, output_tail, .. } = wire::decode_event(&value).unwrap() else {
            continue;
        };
        let expected = if written[0] == 1 { Then::Retried } else { Then::Dead };
        assert_eq!((then, output_tail.len()), (expected, output), "{limits:?}");
    }
}

#[test]
fn what_is_too_large_for_its_topic_is_passed_on_as_less_and_holds_up_nothing() {
    check_large(&[], [1, 0, 1, 0], None, 8_192);
    let retry = ("a-retry", "300");
    check_large(&[retry], [0, 1, 1, 0], Some((true, true)), 8_192);
    check_large(&[retry, ("a-dead", "2000")], [0, 1, 1, 0], Some((false, true)), 8_192);
    check_large(&[retry, ("a-dead", "600")], [0, 1, 1, 0], Some((false, false)), 8_192);
    check_large(&[retry, ("a-dead", "100")], [0, 0, 1, 0], None, 8_192);
    check_large(&[("cron-runs", "1000")], [1, 0, 1, 0], None, 0);
    check_large(&[("cron-runs", "100")], [1, 0, 0, 0], None, 0);
}

#[test]
fn a_write_may_take_a_quarter_of_the_lease_or_two_seconds_if_that_is_less() {
    for (lease_secs, expected_ms) in [(60, 15_000), (10, 2_500), (8, 2_000), (2, 2_000)] {
        let f = Fixture::new();
        let lease = Duration::from_secs(lease_secs);
        let options = Options { consumer: "me".to_owned(), lease, workers: 1 };
        let now = f.now();
        let reporting = Reporting::new(options, now.mono);
        assert_eq!(reporting.patience(now) - now.mono, Duration::from_millis(expected_ms), "{lease_secs} s");
    }
}

#[test]
fn what_waits_counts_with_its_record_its_output_and_a_kilobyte() {
    let mut f = Fixture::new();
    let Event::Ended(mut report) = ended(claimed(1, 1), Outcome::TimedOut) else { unreachable!() };
    report.claimed.attempt.attempts_left = 1;
    report.output_tail = "x".repeat(5_000);
    f.handle(Event::Ended(report));
    f.handle(note());
    assert_eq!(f.reporting.waiting(), 2);
    for (waiting, output) in f.reporting.waiting.iter().zip([5_000, 0]) {
        assert_eq!(waiting.bytes, 1_024 + waiting.record.value.len() + output);
    }
    assert_eq!(f.reporting.due(f.clock.monotonic()), 2);
}
