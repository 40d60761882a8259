//! How a failed attempt is passed on: as the next attempt, or as a dead letter. The consumer does it for what it ran,
//! the leading producer for what was lost; both write the same.

use chrono::{DateTime, TimeDelta, Utc};

use super::outgoing::Outgoing;
use super::wire::{self, DeadLetter, DeadReason, DeadRecord};
use super::words::{Attempt, AttemptRef, Outcome, Place, Then};
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
    /// The end of what it wrote; empty where it wrote nothing or nobody knows.
    pub output_tail: &'a str,
    /// What of it fits.
    pub fit: Fit,
}

impl Ended<'_> {
    /// Its name.
    pub fn name(&self) -> AttemptRef {
        AttemptRef { run: self.attempt.run.id, attempt: self.attempt.attempt }
    }

    /// What must be done about it.
    pub fn then(&self) -> Then {
        match (self.outcome.wants_retry(), self.attempt.attempts_left) {
            (false, _) => Then::Done,
            (true, left) if left > 0 && self.fit == Fit::Whole => Then::Retried,
            (true, _) => Then::Dead,
        }
    }

    /// The record that must be confirmed before anybody says that the attempt is over: the next attempt, or a letter
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
