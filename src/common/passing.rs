//! How a failed attempt is passed on: as the next attempt, or as a dead letter. The consumer does it for what it ran,
//! the leading producer for what was lost; both write the same.

use chrono::{DateTime, TimeDelta, Utc};

use super::outgoing::Outgoing;
use super::wire::{self, DeadLetter, DeadReason, DeadRecord};
use super::words::{Attempt, AttemptRef, Outcome, Place, Then};
use super::{backoff, topics};

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
            (true, 0) => Then::Dead,
            (true, _) => Then::Retried,
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
        DeadLetter {
            reason: DeadReason::AttemptsExhausted,
            detail: format!("attempt {} was the last: {}", self.attempt.attempt, self.outcome),
            place: self.place.clone(),
            last_offset: self.place.offset,
            attempt: Some(self.attempt.clone()),
            outcome: Some(self.outcome.clone()),
            output_tail: self.output_tail.to_owned(),
            original: None,
            consumer: by.to_owned(),
            at: self.at,
        }
    }
}
