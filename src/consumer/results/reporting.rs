//! Reporting as a state machine: takes what is told and writes it, each confirmed before the next: what an attempt is
//! passed on as, and only then that it has finished. Each call of [`Reporting::step`] writes once; the thread and the
//! simulation both do nothing but call it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::reports::Report;
use crate::common::broker::{Client, ErrorCode};
use crate::common::outgoing::{Outgoing, Unwritten, Writer};
use crate::common::words::{AttemptRef, Event, RunId, RunningAttempt};
use crate::common::{topics, wire};
use crate::consumer::claiming::dispatcher::{Claimed, Now};

/// What is told to the reporter.
#[derive(Debug)]
pub enum Tell {
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

/// An attempt that was handed to a worker, for [`Reporting::started`].
pub fn started(claimed: &Claimed) -> RunningAttempt {
    let attempt = AttemptRef { run: claimed.attempt.run.id, attempt: claimed.attempt.attempt };
    RunningAttempt { attempt, place: claimed.place.clone() }
}

/// How long a write may take where the lease is short. Otherwise it may take a quarter of the lease, so that a slow
/// broker's work is not given up and done twice, and a sign of life is still in time after it.
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

    /// An attempt was handed to a worker. It is said to be alive from now on, whatever else waits.
    pub fn started(&mut self, running: RunningAttempt) {
        self.running.insert(running.attempt, running);
    }

    /// Takes what was told. While [`Reporting::is_busy`] it should wait outside, so that what waits has a bound.
    pub fn take(&mut self, tell: Tell) {
        match tell {
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
            let unwritten = self.write(client, records, now, &mut acts);
            self.passed_on = self.unconfirmed(unwritten, Self::pass_on_smaller);
        } else if !self.last.is_empty() {
            let records = std::mem::take(&mut self.last);
            let unwritten = self.write(client, records, now, &mut acts);
            self.last = self.unconfirmed(unwritten, Self::say_less);
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
        let by = now.mono + CALL.max(self.options.lease / 4);
        let unwritten = self.writer.write(client, records, now.wall.timestamp_millis(), by);
        acts.extend(unwritten.iter().map(|failure| Act::Failed(failure.error.word())));
        unwritten
    }

    /// What is to be written again; `smaller` makes something else of what no broker will ever take.
    fn unconfirmed(
        &mut self,
        unwritten: Vec<Unwritten>,
        smaller: impl Fn(&mut Self, &Outgoing) -> Option<Outgoing>,
    ) -> Vec<Outgoing> {
        let mut again = Vec::new();
        for Unwritten { records, error } in unwritten {
            if error.code() == Some(ErrorCode::MessageTooLarge) {
                again.extend(records.iter().filter_map(|record| smaller(self, record)));
            } else {
                again.extend(records);
            }
        }
        again
    }

    /// The end of an attempt that a record tells of.
    fn ended_of(&mut self, record: &Outgoing) -> Option<&mut Report> {
        let run: RunId = std::str::from_utf8(&record.key).ok()?.parse().ok()?;
        self.ended.iter_mut().find(|report| report.name().run == run)
    }

    /// Instead of the next attempt or a letter: a letter, or a smaller one.
    fn pass_on_smaller(&mut self, record: &Outgoing) -> Option<Outgoing> {
        let consumer = self.options.consumer.clone();
        let report = self.ended_of(record)?;
        let name = report.name();
        let Some(fit) = report.fit.smaller() else {
            log::error!("run {}: {} takes not even a bare letter, and there is none", name.run, record.topic);
            return None;
        };
        log::warn!("run {}, attempt {}: too large for {}", name.run, name.attempt, record.topic);
        report.fit = fit;
        let (passed_on, finished) = (report.passed_on(&consumer), report.finished(&consumer));
        self.last
            .iter_mut()
            .filter(|last| last.key == finished.key)
            .for_each(|last| *last = finished.clone());
        passed_on
    }

    /// Instead of what is to be told: the same without output.
    fn say_less(&mut self, record: &Outgoing) -> Option<Outgoing> {
        let consumer = self.options.consumer.clone();
        let is_said = self.ended_of(record).filter(|report| !report.is_terse).map(|report| {
            report.is_terse = true;
            report.finished(&consumer)
        });
        if is_said.is_none() {
            log::error!("{} takes no event of {} bytes: it is not written", record.topic, record.value.len());
        }
        is_said
    }
}
