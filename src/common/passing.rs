//! How a failed attempt is passed on: as the next attempt, or as a dead letter. The consumer does it for what it ran,
//! the leading producer for what was lost; both write the same.

use chrono::{DateTime, TimeDelta, Utc};

use super::model::{Attempt, AttemptRef, Outcome, Place, Then};
use super::outgoing::Outgoing;
use super::wire::{self, DeadLetter, DeadReason, DeadRecord};
use super::{backoff, topics};

/// What is left out of what an attempt is passed on as, because a topic takes no record of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fit {
    /// Nothing.
    #[default]
    Whole,
    /// The next attempt is a little larger than this one was, and too large: it is a letter instead.
    Letter,
    /// The letter tells nothing of the output.
    WithoutOutput,
    /// Nor what was to be run: only where that lies.
    Bare,
}

impl Fit {
    /// The next smaller one.
    pub fn smaller(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::Letter),
            Self::Letter => Some(Self::WithoutOutput),
            Self::WithoutOutput => Some(Self::Bare),
            Self::Bare => None,
        }
    }
}

/// How much later than its backoff allows a retry may be dated before its date is not believed: results may wait a while
/// before they are written, and hosts' clocks differ.
const DATED_TOO_LATE: TimeDelta = TimeDelta::seconds(60);

/// When an attempt may start. That is what it says, unless the clock of the host that wrote it was far ahead: a retry that was
/// written at `written_ms` (milliseconds since the epoch; the broker's time in topics of `LogAppendTime`) is due when its
/// backoff has passed since then, and would otherwise wait for as long as that clock was wrong. A first attempt follows no
/// failure, and waits as it says.
pub fn may_start(attempt: &Attempt, written_ms: i64) -> Option<DateTime<Utc>> {
    let says = attempt.not_before?;
    if attempt.attempt <= 1 {
        return Some(says);
    }
    let written = DateTime::from_timestamp_millis(written_ms).filter(|_| written_ms > 0);
    let failed = AttemptRef { run: attempt.run.id, attempt: attempt.attempt.saturating_sub(1) };
    let wait = TimeDelta::from_std(backoff::before_next(failed, &attempt.run.retry)).ok();
    let due = written.zip(wait).and_then(|(written, wait)| written.checked_add_signed(wait));
    Some(due.filter(|due| says - *due > DATED_TOO_LATE).unwrap_or(says))
}

/// An attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// What it was.
    pub attempt: &'a Attempt,
    /// Where its message lies.
    pub place: &'a Place,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// When it had ended.
    pub at: DateTime<Utc>,
    /// The end of what it wrote; empty where it wrote nothing or that is unknown.
    pub output_tail: &'a str,
    /// What of it fits.
    pub fit: Fit,
}

impl Ended<'_> {
    /// Its name.
    pub fn name(&self) -> AttemptRef {
        self.attempt.name()
    }

    /// What must be done about it.
    pub fn then(&self) -> Then {
        match (self.outcome.wants_retry(), self.attempt.attempts_left) {
            (false, _) => Then::Done,
            (true, left) if left > 0 && self.fit == Fit::Whole => Then::Retried,
            (true, _) => Then::Dead,
        }
    }

    /// The record that must be confirmed before a program says that the attempt is over: the next attempt, or a letter
    /// signed by `by`. `None` where nothing follows.
    pub fn passed_on(&self, by: &str) -> Option<Outgoing> {
        let run = &self.attempt.run;
        let (topic, value) = match self.then() {
            Then::Done => return None,
            Then::Retried => (topics::retry(&run.cluster), wire::encode(&self.next_attempt())),
            Then::Dead => {
                let letter = DeadRecord::Letter(Box::new(self.letter(by)));
                (topics::dead(&run.cluster), wire::encode(&letter))
            }
        };
        Some(Outgoing { topic: topic.into(), key: run.id.to_string().into(), value })
    }

    /// The attempt that follows: one number higher, one less left, and not before its backoff is over.
    pub fn next_attempt(&self) -> Attempt {
        let attempt = self.attempt;
        let wait = backoff::before_next(self.name(), &attempt.run.retry);
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        Attempt {
            run: attempt.run.clone(),
            attempt: attempt.attempt + 1,
            attempts_left: attempt.attempts_left.saturating_sub(1),
            not_before: Some(self.at.checked_add_signed(wait).unwrap_or(DateTime::<Utc>::MAX_UTC)),
        }
    }

    fn letter(&self, by: &str) -> DeadLetter {
        let (attempt, outcome) = (self.attempt.attempt, self.outcome);
        let mut detail = match self.attempt.attempts_left {
            0 => format!("attempt {attempt} was the last: {outcome}"),
            _ => format!(
                "attempt {attempt} was the last, for the next one is too large for its topic: {outcome}"
            ),
        };
        if self.fit == Fit::Bare {
            detail.push_str(" (too large to be kept in the letter)");
        }
        DeadLetter {
            reason: DeadReason::AttemptsExhausted,
            detail,
            place: self.place.clone(),
            last_offset: self.place.offset,
            attempt: (self.fit < Fit::Bare).then(|| self.attempt.clone()),
            outcome: Some(self.outcome.clone()),
            output_tail: if self.fit < Fit::WithoutOutput {
                self.output_tail.to_owned()
            } else {
                String::new()
            },
            original: None,
            consumer: by.to_owned(),
            at: self.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::common::model::Run;

    const AT: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// An attempt with so many left.
    fn attempt(number: u32, left: u32) -> Attempt {
        let sample = include_bytes!("../../tests/data/wire/v1/attempt-first.json");
        let mut run = Run::clone(&wire::decode_attempt(sample).unwrap().run);
        (run.retry.backoff_ms, run.retry.backoff_max_ms) = (10_000, 60_000);
        Attempt { run: Arc::new(run), attempt: number, attempts_left: left, not_before: None }
    }

    fn with_ended<T>((left, outcome, fit): (u32, Outcome, Fit), see: impl FnOnce(Ended<'_>) -> T) -> T {
        let place =
            Place { topic: "t".to_owned(), topic_id: uuid::Uuid::from_u128(1), partition: 2, offset: 7 };
        let (attempt, outcome) = (&attempt(3, left), &outcome);
        see(Ended { attempt, place: &place, outcome, at: AT, output_tail: "oops", fit })
    }

    fn failed() -> Outcome {
        Outcome::Failed { code: 1 }
    }

    #[test]
    fn each_fit_is_followed_by_the_next_smaller_one_until_nothing_can_be_left_out() {
        let all = std::iter::successors(Some(Fit::default()), |fit| fit.smaller());
        assert_eq!(all.take(9).collect::<Vec<_>>(), [Fit::Whole, Fit::Letter, Fit::WithoutOutput, Fit::Bare]);
    }

    #[test]
    fn what_follows_depends_on_the_outcome_the_attempts_left_and_what_fits() {
        let check = |left, outcome: Outcome, fit, then, topic: Option<&str>| {
            with_ended((left, outcome, fit), |ended| {
                assert_eq!(ended.then(), then, "{ended:?}");
                let cluster = &ended.attempt.run.cluster;
                let record = ended.passed_on("me");
                assert_eq!(
                    record.as_ref().map(|record| record.topic.to_string()),
                    topic.map(|end| format!("{cluster}-{end}"))
                );
                let key = ended.attempt.run.id.to_string();
                assert!(record.is_none_or(|record| record.key == key), "all of a run has one key");
            });
        };
        check(2, Outcome::Succeeded, Fit::Whole, Then::Done, None);
        check(0, Outcome::Expired, Fit::Bare, Then::Done, None);
        check(3, Outcome::Replaced, Fit::Whole, Then::Done, None);
        check(1, failed(), Fit::Whole, Then::Retried, Some("retry"));
        check(1, Outcome::Lost, Fit::Whole, Then::Retried, Some("retry"));
        check(0, failed(), Fit::Whole, Then::Dead, Some("dead"));
        for fit in [Fit::Letter, Fit::WithoutOutput, Fit::Bare] {
            check(1, failed(), fit, Then::Dead, Some("dead"));
        }
    }

    #[test]
    fn the_next_attempt_counts_on_and_is_not_due_before_its_backoff_after_the_end() {
        with_ended((2, failed(), Fit::Whole), |ended| {
            let name = AttemptRef { run: ended.attempt.run.id, attempt: 3 };
            assert_eq!(ended.name(), name);
            let wait = backoff::before_next(name, &ended.attempt.run.retry);
            let expected = Attempt { not_before: Some(AT + wait), ..attempt(4, 1) };
            assert_eq!(ended.next_attempt(), expected);
            let record = ended.passed_on("me").unwrap();
            assert_eq!(wire::decode_attempt(&record.value).unwrap(), expected);
        });
    }

    #[test]
    fn a_retry_that_was_dated_by_a_clock_far_ahead_is_due_when_its_backoff_has_passed() {
        with_ended((2, failed(), Fit::Whole), |ended| {
            let next = ended.next_attempt();
            let wait = backoff::before_next(ended.name(), &next.run.retry);
            let ended_at = AT + TimeDelta::days(1);
            let check = |ahead_secs: i64, written: Option<DateTime<Utc>>, expected: DateTime<Utc>| {
                let says = Some(ended_at + wait + TimeDelta::seconds(ahead_secs));
                let retry = Attempt { not_before: says, ..next.clone() };
                let written_ms = written.map_or(-1, |at| at.timestamp_millis());
                assert_eq!(may_start(&retry, written_ms), Some(expected), "{ahead_secs} s ahead");
            };
            let ahead = |secs| ended_at + wait + TimeDelta::seconds(secs);
            check(0, Some(ended_at), ahead(0));
            check(60, Some(ended_at), ahead(60));
            check(61, Some(ended_at), ahead(0));
            check(7_200, Some(ended_at), ahead(0));
            // A result that was written late may start late.
            check(7_200, Some(ended_at + TimeDelta::seconds(7_150)), ahead(7_200));
            check(-7_200, Some(ended_at), ahead(-7_200));
            check(7_200, None, ahead(7_200));
        });
        assert_eq!(may_start(&attempt(1, 1), AT.timestamp_millis()), None);
    }

    #[test]
    fn a_first_attempt_waits_as_long_as_it_says() {
        let written = AT + TimeDelta::days(1);
        let says = Some(written + TimeDelta::days(1));
        let start = |number| {
            may_start(&Attempt { not_before: says, ..attempt(number, 1) }, written.timestamp_millis())
        };
        assert_eq!(start(1), says);
        assert!(start(2) < says, "a retry is dated by its backoff");
    }

    #[test]
    fn a_letter_tells_as_much_as_fits() {
        let last = "attempt 3 was the last: failed (exit code 1)";
        let large =
            "attempt 3 was the last, for the next one is too large for its topic: failed (exit code 1)";
        let bare = " (too large to be kept in the letter)";
        let check = |left, fit, detail: &str, has_attempt: bool, output: &str| {
            let record = with_ended((left, failed(), fit), |ended| ended.passed_on("me")).unwrap();
            let DeadRecord::Letter(letter) = wire::decode_dead(&record.value).unwrap() else {
                panic!("no letter")
            };
            assert_eq!(letter.detail, detail);
            assert_eq!(letter.attempt, has_attempt.then(|| attempt(3, left)), "{fit:?}");
            assert_eq!(letter.output_tail, output, "{fit:?}");
            let rest = (letter.reason, letter.place.offset, letter.last_offset, letter.outcome);
            assert_eq!(rest, (DeadReason::AttemptsExhausted, 7, 7, Some(failed())));
            assert_eq!((letter.consumer.as_str(), letter.at), ("me", AT));
        };
        check(0, Fit::Whole, last, true, "oops");
        check(1, Fit::Letter, large, true, "oops");
        check(0, Fit::WithoutOutput, last, true, "");
        check(0, Fit::Bare, &format!("{last}{bare}"), false, "");
        check(1, Fit::Bare, &format!("{large}{bare}"), false, "");
    }
}
