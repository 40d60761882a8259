//! Reporting as a state machine: takes what is told and writes it, each confirmed before the next: what an attempt is
//! passed on as, and only then that it has finished. Each call of [`Reporting::step`] writes once; the thread and the
//! simulation both do nothing but call it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::reports::Report;
use crate::common::broker::Client;
use crate::common::outgoing::{Outgoing, Unwritten, Writer};
use crate::common::words::{AttemptRef, Event, RunningAttempt};
use crate::common::{topics, wire};
use crate::consumer::claiming::dispatcher::{Claimed, Now};

/// What is told to the reporter.
#[derive(Debug)]
pub enum Tell {
    /// An attempt was handed to a worker.
    Started(AttemptRef, RunningAttempt),
    /// An attempt has ended.
    Ended(Box<Report>),
    /// Something else to be written to `cron-runs`, under the key.
    Note(String, Event),
}

/// What the reporter is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our name in events.
    pub consumer: String,
    /// How long a sign of life counts.
    pub lease: Duration,
    /// How many workers there are: as many results may wait.
    pub workers: usize,
}

/// What follows from a step.
#[derive(Debug)]
pub enum Act {
    /// All that follows from the end of an attempt is confirmed.
    PassedOn(Box<Report>),
    /// Something could not be written, for this reason; it is written again, and not at once.
    Failed(&'static str),
}

/// An attempt that was handed to a worker, for [`Tell::Started`].
pub fn started(claimed: &Claimed) -> Tell {
    let attempt = AttemptRef { run: claimed.attempt.run.id, attempt: claimed.attempt.attempt };
    Tell::Started(attempt, RunningAttempt { attempt, place: claimed.place.clone() })
}

const CALL: Duration = Duration::from_secs(2);

/// The state of the reporter.
#[derive(Debug)]
pub struct Reporting {
    options: Options,
    writer: Writer,
    running: BTreeMap<AttemptRef, RunningAttempt>,
    next_alive: Instant,
    /// Next attempts and dead letters, to be confirmed before anything in `last`.
    passed_on: Vec<Outgoing>,
    /// `finished`, and what else is to be told.
    last: Vec<Outgoing>,
    /// Whose end it is.
    ended: Vec<Report>,
}

impl Reporting {
    /// One that has nothing to write yet.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            next_alive: now + options.lease / 3,
            options,
            writer: Writer::default(),
            running: BTreeMap::new(),
            passed_on: Vec::new(),
            last: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Takes what was told. While [`Reporting::is_busy`] it should wait outside, so that what waits has a bound.
    pub fn take(&mut self, tell: Tell) {
        match tell {
            Tell::Started(attempt, running) => drop(self.running.insert(attempt, running)),
            Tell::Ended(report) => {
                self.passed_on.extend(report.passed_on(&self.options.consumer));
                self.last.push(report.finished(&self.options.consumer));
                self.ended.push(*report);
            }
            Tell::Note(key, event) => {
                let value = wire::encode(&event);
                self.last.push(Outgoing { topic: topics::RUNS.into(), key: key.into(), value });
            }
        }
    }

    /// Writes once: a sign of life where one is due, or else what is to be confirmed next.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> Vec<Act> {
        let mut acts = Vec::new();
        if now.mono >= self.next_alive {
            // Also while results wait: one topic that cannot be written ends nobody else's lease.
            self.say_alive(client, now, &mut acts);
        } else if !self.passed_on.is_empty() {
            let records = std::mem::take(&mut self.passed_on);
            self.passed_on = unconfirmed(self.write(client, records, now, &mut acts));
        } else if !self.last.is_empty() {
            let records = std::mem::take(&mut self.last);
            self.last = unconfirmed(self.write(client, records, now, &mut acts));
        }
        if !self.is_busy() {
            for report in std::mem::take(&mut self.ended) {
                self.running.remove(&report.name());
                acts.push(Act::PassedOn(Box::new(report)));
            }
        }
        acts
    }

    /// Whether something that was told is not confirmed yet.
    pub fn is_busy(&self) -> bool {
        !self.passed_on.is_empty() || !self.last.is_empty()
    }

    /// How many records wait to be confirmed.
    pub fn waiting(&self) -> usize {
        self.passed_on.len() + self.last.len()
    }

    /// When the next sign of life is due.
    pub fn next_alive(&self) -> Instant {
        self.next_alive
    }

    /// One event for all that is under way. It is repeated often enough that two may fail.
    fn say_alive(&mut self, client: &mut dyn Client, now: Now, acts: &mut Vec<Act>) {
        self.next_alive = now.mono + self.options.lease / 3;
        if self.running.is_empty() {
            return;
        }
        let event = Event::Alive {
            consumer: self.options.consumer.clone(),
            lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
            running: self.running.values().cloned().collect(),
            at: now.wall,
        };
        let key = self.options.consumer.clone().into();
        let alive = Outgoing { topic: topics::RUNS.into(), key, value: wire::encode(&event) };
        if let Some(failure) = self.write(client, vec![alive], now, acts).first() {
            log::warn!("the sign of life could not be written: {}", failure.error);
            self.next_alive = now.mono + Duration::from_secs(1).min(self.options.lease / 6);
        }
    }

    /// Writes once, and returns what was not confirmed.
    fn write(
        &mut self,
        client: &mut dyn Client,
        records: Vec<Outgoing>,
        now: Now,
        acts: &mut Vec<Act>,
    ) -> Vec<Unwritten> {
        let unwritten = self.writer.write(client, records, now.wall.timestamp_millis(), now.mono + CALL);
        acts.extend(unwritten.iter().map(|failure| Act::Failed(failure.error.word())));
        unwritten
    }
}

fn unconfirmed(unwritten: Vec<Unwritten>) -> Vec<Outgoing> {
    unwritten.into_iter().flat_map(|failure| failure.records).collect()
}
