//! Reporting as a state machine: takes what is told and writes it, for each attempt first what it is passed on as, and only
//! when that is confirmed that it has finished. Attempts do not wait for each other: what cannot be written rests, by
//! topic, and the rest is written. Each call of [`Reporting::step`] writes once; the thread and the simulation both do
//! nothing but call it.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::TimeDelta;

use super::reports::Report;
use crate::common::bounds::RESULTS_WAITING_BYTES;
use crate::common::broker::{BrokerError, Client, ErrorCode};
use crate::common::clock::CLOCK_TOLERANCE;
use crate::common::outgoing::{Outgoing, Unwritten, Writer, in_pieces, is_final};
use crate::common::words::{AttemptRef, Event, RunningAttempt};
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
    /// Something could not be written to this topic; it is written again, and not at once.
    Failed(Arc<str>, BrokerError),
    /// The topic will never take a record. Something smaller is written instead, as long as there is anything smaller.
    Refused(Arc<str>, BrokerError),
    /// How far our clock is ahead of the broker's.
    Clock(TimeDelta),
}

/// An attempt that was handed to a worker, for [`Reporting::started`].
pub fn started(claimed: &Claimed) -> RunningAttempt {
    let attempt = AttemptRef { run: claimed.attempt.run.id, attempt: claimed.attempt.attempt };
    RunningAttempt { attempt, place: claimed.place.clone() }
}

/// How long a write may take where the lease is short. Otherwise it may take a quarter of the lease, so that a slow
/// broker's work is not given up and done twice, and a sign of life is still in time after it.
const CALL: Duration = Duration::from_secs(2);

/// What a result takes beside its record and its output.
const RESULT_BYTES: usize = 1024;

/// How long a topic rests after a write to it failed, doubled with each failure that follows.
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// The state of the reporter.
#[derive(Debug)]
pub struct Reporting {
    options: Options,
    writer: Writer,
    running: BTreeMap<AttemptRef, RunningAttempt>,
    next_alive: Instant,
    /// The newest sign of life was not written.
    is_alive_unsaid: bool,
    waiting: Vec<Waiting>,
    /// By topic: until when it rests, and for how long it has rested.
    rests: BTreeMap<Arc<str>, (Instant, Duration)>,
    ahead: Option<TimeDelta>,
}

/// Something that was told and is not confirmed yet.
#[derive(Debug)]
struct Waiting {
    /// Whose end it is.
    whose: Option<Report>,
    /// What is to be confirmed next: of an end first what the attempt is passed on as, and then `finished`.
    record: Outgoing,
    is_last: bool,
    /// It was tried and not confirmed, so it waits until its topic has rested.
    was_tried: bool,
    bytes: usize,
}

impl Reporting {
    /// Creates one that has nothing to write yet.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            next_alive: now + options.lease / 3,
            options,
            writer: Writer::dated_by_brokers(),
            running: BTreeMap::new(),
            is_alive_unsaid: false,
            waiting: Vec::new(),
            rests: BTreeMap::new(),
            ahead: None,
        }
    }

    /// An attempt was handed to a worker. It is said to be alive from now on, whatever else waits.
    pub fn started(&mut self, running: RunningAttempt) {
        self.running.insert(running.attempt, running);
    }

    /// Takes what was told. Unless [`Reporting::has_room`] it should wait outside, so that what waits has a bound.
    pub fn take(&mut self, tell: Tell) {
        let waiting = match tell {
            Tell::Ended(report) => {
                let passed_on = report.passed_on(&self.options.consumer);
                let is_last = passed_on.is_none();
                let record = passed_on.unwrap_or_else(|| report.finished(&self.options.consumer));
                let bytes = RESULT_BYTES + record.value.len() + report.output_tail.len();
                Waiting { whose: Some(*report), record, is_last, was_tried: false, bytes }
            }
            Tell::Note(key, event) => {
                let value = wire::encode(&event);
                let bytes = RESULT_BYTES + value.len();
                let record = Outgoing { topic: topics::RUNS.into(), key: key.into(), value };
                Waiting { whose: None, record, is_last: true, was_tried: false, bytes }
            }
        };
        self.waiting.push(waiting);
    }

    /// Writes once: a sign of life where one is due, or else all that may be written now.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> Vec<Act> {
        let mut acts = Vec::new();
        if now.mono >= self.next_alive {
            // Also while results wait: one topic that cannot be written ends nobody else's lease.
            self.say_alive(client, now, &mut acts);
        } else {
            self.write_due(client, now, &mut acts);
        }
        let ahead = self.writer.ahead();
        if ahead != self.ahead {
            self.ahead = ahead;
            acts.extend(ahead.map(Act::Clock));
        }
        acts
    }

    /// Whether something that was told is not confirmed yet.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether something failed and was not made good.
    pub fn has_failed(&self) -> bool {
        self.is_alive_unsaid || self.waiting.iter().any(|waiting| waiting.was_tried)
    }

    /// Whether more may be taken.
    pub fn has_room(&self) -> bool {
        self.waiting.iter().map(|waiting| waiting.bytes).sum::<usize>() < RESULTS_WAITING_BYTES
    }

    /// How many records may be written now.
    pub fn due(&self, now: Instant) -> usize {
        self.waiting.iter().filter(|waiting| self.is_due(waiting, now)).count()
    }

    /// How many results are not confirmed.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When the next step has something to do.
    pub fn next(&self, now: Instant) -> Instant {
        let due = self.waiting.iter().map(|waiting| self.due_at(waiting).unwrap_or(now)).min();
        due.map_or(self.next_alive, |due| due.min(self.next_alive))
    }

    fn patience(&self, now: Now) -> Instant {
        now.mono + CALL.max(self.options.lease / 4)
    }

    /// When the next sign of life is due.
    pub fn next_alive(&self) -> Instant {
        self.next_alive
    }

    /// `None`: it is due at once.
    fn due_at(&self, waiting: &Waiting) -> Option<Instant> {
        let rest = waiting.was_tried.then(|| self.rests.get(&waiting.record.topic));
        rest.flatten().map(|(until, _)| *until)
    }

    fn is_due(&self, waiting: &Waiting, now: Instant) -> bool {
        self.due_at(waiting).is_none_or(|at| at <= now)
    }

    /// Events for all that is under way, as few as the topic takes. They are repeated often enough that two may fail.
    fn say_alive(&mut self, client: &mut dyn Client, now: Now, acts: &mut Vec<Act>) {
        self.next_alive = now.mono + self.options.lease / 3;
        self.is_alive_unsaid = false;
        // A clock that is off is compared although nothing runs, to see when it is right.
        if self.running.is_empty() && self.ahead.is_none_or(|ahead| ahead.abs() <= CLOCK_TOLERANCE) {
            return;
        }
        let running: Vec<RunningAttempt> = self.running.values().cloned().collect();
        let event = |running: &[RunningAttempt]| {
            wire::encode(&Event::Alive {
                consumer: self.options.consumer.clone(),
                lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
                running: running.to_vec(),
                at: now.wall,
            })
        };
        let (topic, key): (Arc<str>, Bytes) = (topics::RUNS.into(), self.options.consumer.clone().into());
        let by = self.patience(now);
        let values = in_pieces(&running, self.writer.takes(&topic, by).saturating_sub(key.len()), &event);
        let can_be_split = values.len() < running.len();
        let record = |value| Outgoing { topic: Arc::clone(&topic), key: key.clone(), value };
        let records = values.into_iter().map(record).collect();
        let unwritten = self.writer.write(client, records, now.wall.timestamp_millis(), by);
        let Some(failure) = unwritten.into_iter().next() else { return };
        let is_too_large = failure.error.code() == Some(ErrorCode::MessageTooLarge);
        self.next_alive = if is_too_large && can_be_split {
            // The writer knows now what the topic does not take.
            now.mono
        } else {
            now.mono + Duration::from_secs(1).min(self.options.lease / 6)
        };
        self.is_alive_unsaid = true;
        acts.push(Act::Failed(topic, failure.error));
    }

    fn write_due(&mut self, client: &mut dyn Client, now: Now, acts: &mut Vec<Act>) {
        let due: Vec<bool> = self.waiting.iter().map(|waiting| self.is_due(waiting, now.mono)).collect();
        let is_due = self.waiting.iter().zip(&due).filter(|(_, due)| **due);
        let records: Vec<Outgoing> = is_due.map(|(waiting, _)| waiting.record.clone()).collect();
        if records.is_empty() {
            return;
        }
        let tried: BTreeSet<Arc<str>> = records.iter().map(|record| Arc::clone(&record.topic)).collect();
        let unwritten = self.writer.write(client, records, now.wall.timestamp_millis(), self.patience(now));
        let failed = self.rest(tried, &unwritten, now.mono, acts);
        for (mut waiting, was_due) in std::mem::take(&mut self.waiting).into_iter().zip(due) {
            match failed.get(&waiting.record) {
                _ if !was_due => self.waiting.push(waiting),
                Some(error) if is_final(error) => {
                    acts.push(Act::Refused(Arc::clone(&waiting.record.topic), (*error).clone()));
                    if waiting.becomes_less(&self.options.consumer) {
                        self.waiting.push(waiting);
                    } else {
                        self.ends(waiting, acts);
                    }
                }
                Some(_) => {
                    waiting.was_tried = true;
                    self.waiting.push(waiting);
                }
                None if waiting.is_last => self.ends(waiting, acts),
                None => {
                    waiting.goes_on(&self.options.consumer);
                    self.waiting.push(waiting);
                }
            }
        }
    }

    /// Lets the topics rest to which something could not be written, and returns what that was, and why.
    fn rest<'a>(
        &mut self,
        tried: BTreeSet<Arc<str>>,
        unwritten: &'a [Unwritten],
        now: Instant,
        acts: &mut Vec<Act>,
    ) -> HashMap<&'a Outgoing, &'a BrokerError> {
        let mut failures: BTreeMap<&Arc<str>, &BrokerError> = BTreeMap::new();
        for Unwritten { records, error } in unwritten.iter().filter(|failure| !is_final(&failure.error)) {
            failures.extend(records.iter().map(|record| (&record.topic, error)));
        }
        for topic in tried {
            let Some(error) = failures.get(&topic) else {
                self.rests.remove(&topic);
                continue;
            };
            if error.code() == Some(ErrorCode::InvalidTimestamp) {
                // It goes to a topic that tells the broker's time.
                self.next_alive = now;
            }
            acts.push(Act::Failed(Arc::clone(&topic), (*error).clone()));
            let (until, rested) = self.rests.entry(topic).or_insert((now, Duration::ZERO));
            // What is new fails while the others rest, and must not put them off for ever.
            if *until <= now {
                *rested = (*rested * 2).clamp(FIRST_REST, LONGEST_REST);
                *until = now + *rested;
            }
        }
        let each = |failure: &'a Unwritten| failure.records.iter().map(|record| (record, &failure.error));
        unwritten.iter().flat_map(each).collect()
    }

    fn ends(&mut self, waiting: Waiting, acts: &mut Vec<Act>) {
        let Some(report) = waiting.whose else { return };
        self.running.remove(&report.name());
        acts.push(Act::PassedOn(Box::new(report)));
    }
}

impl Waiting {
    /// What it is passed on as is confirmed (or nobody takes it): `finished` follows.
    fn goes_on(&mut self, consumer: &str) {
        if let Some(report) = &self.whose {
            self.record = report.finished(consumer);
        }
        (self.is_last, self.was_tried) = (true, false);
    }

    /// Makes something else of what no broker will ever take; `false` when nothing is left to be written.
    fn becomes_less(&mut self, consumer: &str) -> bool {
        self.was_tried = false;
        let topic = &self.record.topic;
        let Some(report) = &mut self.whose else {
            log::error!("{topic} takes no event of {} bytes: it is not written", self.record.value.len());
            return false;
        };
        let name = report.name();
        if self.is_last {
            if report.is_terse {
                log::error!("run {}, attempt {}: {topic} does not take its end", name.run, name.attempt);
                return false;
            }
            report.is_terse = true;
            self.record = report.finished(consumer);
            return true;
        }
        let Some(fit) = report.fit.smaller() else {
            log::error!("run {}: {topic} takes not even a bare letter, and there is none", name.run);
            self.goes_on(consumer);
            return true;
        };
        log::warn!("run {}, attempt {}: {topic} does not take it", name.run, name.attempt);
        report.fit = fit;
        match report.passed_on(consumer) {
            Some(less) => self.record = less,
            None => self.goes_on(consumer),
        }
        true
    }
}
