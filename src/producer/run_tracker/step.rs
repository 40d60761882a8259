//! One step of the run tracker: what its parts may use in it, and what follows from it.

use std::collections::HashSet;

use bytes::Bytes;

use super::duties::Duties;
use super::messages::{Effect, Options, RunNews};
use super::notes::Note;
use crate::common::broker::{BrokerError, Client, Deadline, ErrorCode};
use crate::common::clock::Now;
use crate::common::outgoing::{Outgoing, Writer};
use crate::producer::leadership::Term;

/// A step.
pub struct Step<'a> {
    /// Kafka.
    pub client: &'a mut dyn Client,
    /// The writer of records that go by their keys.
    pub writer: &'a mut Writer,
    /// The options.
    pub options: &'a Options,
    /// When the step began.
    pub now: Now,
    /// By when its calls must have ended.
    pub by: Deadline,
    /// The term in which this producer leads.
    pub leads: Option<Term>,
    /// What follows.
    pub effects: Vec<Effect>,
}

impl Step<'_> {
    /// Tells the scheduler.
    pub fn tell(&mut self, news: RunNews) {
        self.effects.push(Effect::Tell(news));
    }

    /// Has a line written to the log.
    pub fn note(&mut self, note: Note) {
        self.effects.push(Effect::Note(note));
    }

    /// Reports a call that failed. It is made again.
    pub fn failed(&mut self, work: Duties, error: BrokerError) {
        self.effects.push(Effect::Failed(work, error));
    }

    /// What came of a part of the work; `None` where a call failed, which is reported. `what` names the call for the log.
    pub fn attempted<T>(
        &mut self,
        work: Duties,
        what: &'static str,
        answer: Result<T, BrokerError>,
    ) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.note(Note::Failed { what, error: error.clone() });
                self.failed(work, error);
                None
            }
        }
    }

    /// Whether a call of this part of the work has failed in this step.
    pub fn has_failed(&self, work: Duties) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Failed(of, _) if *of == work))
    }

    /// Writes what follows from lost attempts and runs, and returns the keys of those records that were not confirmed, and
    /// of those that are too large.
    pub fn write(&mut self, records: Vec<Outgoing>) -> (HashSet<Bytes>, HashSet<Bytes>) {
        let (mut left, mut too_large) = (HashSet::new(), HashSet::new());
        for unwritten in self.writer.write(self.client, records, self.now.wall.timestamp_millis(), self.by) {
            let (records, error) = (unwritten.records, unwritten.error);
            if error.code() == Some(ErrorCode::MessageTooLarge) {
                too_large.extend(records.iter().map(|record| record.key.clone()));
            }
            left.extend(records.into_iter().map(|record| record.key));
            self.note(Note::Unwritten { error: error.clone() });
            self.failed(Duties::LostAttempts, error);
        }
        (left, too_large)
    }
}
