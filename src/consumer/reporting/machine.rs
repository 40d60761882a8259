//! Reporting as a state machine: it takes what is told ([`Reporting::handle`]) and writes it. For each attempt it first writes
//! the next attempt or the letter, and `finished` only once that is confirmed. Attempts never wait for each other: what cannot
//! be written rests, by topic, and the rest is written. Each call of [`Reporting::step`] writes once. The machine also says
//! whether it may be told more ([`Reporting::takes`]), how long to wait, and when it has ended; the thread and the simulation
//! drive it by the same calls.

#[cfg(test)]
pub(super) mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use self::waiting::Waiting;
pub use super::messages::{Effect, Event, Instead, Options};
use crate::common::bounds::RESULTS_WAITING_BYTES;
use crate::common::broker::{BrokerError, Client, ErrorCode};
use crate::common::clock::{Now, Skew};
use crate::common::model::{self, AttemptRef, RunningAttempt};
use crate::common::outgoing::{Outgoing, Unwritten, Writer, in_pieces, is_final};
use crate::common::{topics, wire};
use crate::consumer::claiming::linger::Linger;

/// How long a write may take where the lease is short. Otherwise it may take a quarter of the lease, so that a slow
/// broker's work is not given up and done twice, and a sign of life is still in time after it.
const CALL: Duration = Duration::from_secs(2);

/// What a result takes beside its record and its output.
const RESULT_BYTES: usize = 1024;

/// How long a topic rests after a write to it failed, doubled with each failure that follows.
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// How often our clock is compared with the broker's although nothing is written, and where it is too far off.
const COMPARE: Duration = Duration::from_secs(60);
const COMPARE_WRONG: Duration = Duration::from_secs(15);
/// How often a write that is made anyway is a comparison as well: each costs a step.
const COMPARE_BY_THE_WAY: Duration = Duration::from_secs(10);
/// How often it is tried where it could not be compared, or where our clock jumps all the time.
const COMPARE_AGAIN: Duration = Duration::from_secs(1);

/// The state of the reporting thread.
#[derive(Debug)]
pub struct Reporting {
    options: Options,
    writer: Writer,
    running: BTreeMap<AttemptRef, RunningAttempt>,
    next_alive: Instant,
    /// The newest sign of life was not written.
    is_alive_unsaid: bool,
    waiting: Vec<Waiting>,
    /// How many of these, the last ones, were told since the last step. They linger for more.
    fresh: usize,
    linger: Linger,
    /// The last step has written something; when that was over the next look at the clock sees.
    has_written: bool,
    takes_all: bool,
    is_all_told: bool,
    has_given_up: bool,
    /// By topic: until when it rests, and for how long it has rested.
    rests: BTreeMap<Arc<str>, (Instant, Duration)>,
    /// How our clock stands to the broker's, as far as that is known.
    skew: Option<Skew>,
    /// When it is compared, and the instant before which it is not although it jumps.
    compare_at: Instant,
    compare_not_before: Instant,
    /// What time it was at the broker in the last step, and when that began. What follows from it depends on when the step
    /// was over, which the next one sees.
    seen: Option<(Now, i64)>,
}

impl Reporting {
    /// Creates one that has nothing to write yet.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            next_alive: now + options.lease / 3,
            linger: Linger::new(options.workers / 2),
            fresh: 0,
            has_written: false,
            takes_all: false,
            is_all_told: false,
            has_given_up: false,
            options,
            writer: Writer::undated_where_refused(),
            running: BTreeMap::new(),
            is_alive_unsaid: false,
            waiting: Vec::new(),
            rests: BTreeMap::new(),
            skew: None,
            compare_at: now,
            compare_not_before: now,
            seen: None,
        }
    }

    /// Takes an event. Ends and notes should wait outside unless [`Reporting::takes`], so that what waits has a bound.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Started(running) => {
                self.running.insert(running.attempt, running);
            }
            Event::Ended(report) => {
                let passed_on = report.passed_on(&self.options.consumer);
                let is_last = passed_on.is_none();
                let record = passed_on.unwrap_or_else(|| report.finished(&self.options.consumer));
                let bytes = RESULT_BYTES + record.value.len() + report.output_tail.len();
                self.take(Waiting { whose: Some(*report), record, is_last, was_tried: false, bytes });
            }
            Event::Note(event) => {
                let record = Outgoing::event(&event);
                let bytes = RESULT_BYTES + record.value.len();
                self.take(Waiting { whose: None, record, is_last: true, was_tried: false, bytes });
            }
            Event::TakeAll => self.takes_all = true,
            Event::AllTold => self.is_all_told = true,
            // Only what waits can be given up.
            Event::GiveUp if self.is_busy() => {
                self.has_given_up = true;
                return vec![Effect::GivenUp(self.waiting.len())];
            }
            Event::GiveUp => {}
        }
        Vec::new()
    }

    fn take(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
        self.fresh += 1;
    }

    /// Writes once: a sign of life where one is due, or else all that may be written now. What was told since the last step
    /// lingers for more, unless something else is written anyway.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.lingers() && !self.wait(now.mono).is_zero() {
            return effects;
        }
        self.fresh = 0;
        if let Some((sent, brokers_ms)) = self.seen.take() {
            effects.push(Effect::Clock(self.compare(Skew::between(sent, brokers_ms, now.mono), now)));
        }
        if now.mono >= self.next_alive || self.is_to_be_compared(now) {
            // Also while results wait: a topic that cannot be written must not end the leases of other attempts.
            self.say_alive(client, now, &mut effects);
        } else {
            self.write_due(client, now, &mut effects);
        }
        let brokers_ms = self.writer.take_brokers_ms();
        if self.skew.is_none_or(|skew| now.mono >= skew.at.mono + COMPARE_BY_THE_WAY) {
            self.seen = self.seen.or(brokers_ms.map(|brokers_ms| (now, brokers_ms)));
        }
        effects
    }

    /// How long to wait before the next step, if nothing is told before that.
    pub fn wait(&mut self, now: Instant) -> Duration {
        if std::mem::take(&mut self.has_written) {
            self.linger.went(now);
        }
        let wait = self.next(now).saturating_duration_since(now);
        if !self.lingers() {
            return wait;
        }
        let others = self.next_of(self.waiting.len() - self.fresh, now).saturating_duration_since(now);
        others.min(self.linger.wait(self.due(now), now))
    }

    /// Whether what was told since the last step lingers for more.
    pub fn lingers(&self) -> bool {
        self.fresh > 0 && self.takes()
    }

    /// Whether more may be told. Otherwise it waits outside.
    pub fn takes(&self) -> bool {
        !self.is_all_told && (self.has_room() || self.takes_all)
    }

    /// Whether nothing more comes: all is told and written, or what cannot be written was given up.
    pub fn is_over(&self) -> bool {
        self.has_given_up || (self.is_all_told && !self.is_busy())
    }

    fn compare(&mut self, skew: Skew, now: Now) -> Skew {
        self.skew = Some(skew);
        self.compare_at = now.mono + if skew.is_off(now) { COMPARE_WRONG } else { COMPARE };
        skew
    }

    /// Whether our clock is to be compared with the broker's although nothing is to be written: it was not for a while, or
    /// it has jumped.
    fn is_to_be_compared(&self, now: Now) -> bool {
        let has_jumped = || self.skew.is_some_and(|skew| skew.is_off(now) != skew.is_off(skew.at));
        now.mono >= self.compare_not_before && (now.mono >= self.compare_at || has_jumped())
    }

    /// What time it is, by the broker's clock where ours is too far off.
    fn wall(&self, now: Now) -> DateTime<Utc> {
        self.skew.map_or(now.wall, |skew| skew.corrected(now))
    }

    /// Whether something that was told is not confirmed yet.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether something failed and was not made good.
    pub fn has_failed(&self) -> bool {
        self.is_alive_unsaid || self.waiting.iter().any(|waiting| waiting.was_tried)
    }

    /// Whether what waits is within its bound.
    fn has_room(&self) -> bool {
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

    /// When the next step has something to do, where nothing lingers.
    fn next(&self, now: Instant) -> Instant {
        self.next_of(self.waiting.len(), now)
    }

    /// As [`Self::next`], with so many of those that wait.
    fn next_of(&self, waiting: usize, now: Instant) -> Instant {
        if self.seen.is_some() {
            return now;
        }
        let due = self.waiting[..waiting].iter().map(|waiting| self.due_at(waiting).unwrap_or(now)).min();
        let alive = self.next_alive.min(self.compare_at.max(self.compare_not_before));
        due.map_or(alive, |due| due.min(alive))
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
    fn say_alive(&mut self, client: &mut dyn Client, now: Now, effects: &mut Vec<Effect>) {
        self.next_alive = now.mono + self.options.lease / 3;
        self.is_alive_unsaid = false;
        let compares = self.is_to_be_compared(now);
        // One that names nothing has the broker tell its time.
        if self.running.is_empty() && !compares {
            return;
        }
        self.compare_not_before = now.mono + COMPARE_AGAIN;
        let running: Vec<RunningAttempt> = self.running.values().cloned().collect();
        let wall = self.wall(now);
        let event = |running: &[RunningAttempt]| {
            wire::encode(&model::Event::Alive {
                consumer: self.options.consumer.clone(),
                lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
                running: running.to_vec(),
                at: wall,
            })
        };
        let (topic, key): (Arc<str>, Bytes) = (topics::RUNS.into(), self.options.consumer.clone().into());
        let by = self.patience(now);
        let values = in_pieces(&running, self.writer.takes(&topic, by).saturating_sub(key.len()), &event);
        let can_be_split = values.len() < running.len();
        let record = |value| Outgoing { topic: Arc::clone(&topic), key: key.clone(), value };
        let records = values.into_iter().map(record).collect();
        let unwritten = self.writer.write(client, records, wall.timestamp_millis(), by);
        let failure = unwritten.into_iter().next();
        if compares {
            self.learn_the_time(client, failure.as_ref(), now, effects);
        }
        let Some(failure) = failure.filter(|_| !running.is_empty()) else { return };
        let is_too_large = failure.error.code() == Some(ErrorCode::MessageTooLarge);
        self.next_alive = if is_too_large && can_be_split {
            // The writer knows now what the topic does not take.
            now.mono
        } else {
            now.mono + Duration::from_secs(1).min(self.options.lease / 6)
        };
        self.is_alive_unsaid = true;
        effects.push(Effect::Failed(topic, failure.error));
    }

    /// Takes the broker's time from what was written to `cron-runs`; where that does not tell it, asks for it.
    fn learn_the_time(
        &mut self,
        client: &mut dyn Client,
        unwritten: Option<&Unwritten>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let told = self.writer.take_brokers_ms();
        match (told.map_or_else(|| client.cluster_time(now.mono + CALL), Ok), unwritten) {
            (Ok(brokers_ms), _) => self.seen = Some((now, brokers_ms)),
            (Err(_), Some(failure)) => effects.push(Effect::NotCompared(failure.error.clone())),
            (Err(error), None) => {
                self.compare_at = now.mono + COMPARE;
                effects.push(Effect::ClockUnknown(error));
            }
        }
    }

    fn write_due(&mut self, client: &mut dyn Client, now: Now, effects: &mut Vec<Effect>) {
        let due: Vec<bool> = self.waiting.iter().map(|waiting| self.is_due(waiting, now.mono)).collect();
        let is_due = self.waiting.iter().zip(&due).filter(|(_, due)| **due);
        let records: Vec<Outgoing> = is_due.map(|(waiting, _)| waiting.record.clone()).collect();
        if records.is_empty() {
            return;
        }
        let tried: BTreeSet<Arc<str>> = records.iter().map(|record| Arc::clone(&record.topic)).collect();
        let stamp = self.wall(now).timestamp_millis();
        let unwritten = self.writer.write(client, records, stamp, self.patience(now));
        self.has_written = true;
        let failed = self.rest(tried, &unwritten, now.mono, effects);
        for (mut waiting, was_due) in std::mem::take(&mut self.waiting).into_iter().zip(due) {
            match failed.get(&waiting.record) {
                _ if !was_due => self.waiting.push(waiting),
                Some(error) if is_final(error) => {
                    let topic = Arc::clone(&waiting.record.topic);
                    let instead = waiting.becomes_less(&self.options.consumer);
                    effects.push(Effect::Refused(topic, (*error).clone(), instead));
                    if matches!(instead, Instead::NoEnd(_) | Instead::NoEvent(_)) {
                        self.ends(waiting, effects);
                    } else {
                        self.waiting.push(waiting);
                    }
                }
                Some(_) => {
                    waiting.was_tried = true;
                    self.waiting.push(waiting);
                }
                None if waiting.is_last => self.ends(waiting, effects),
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
        effects: &mut Vec<Effect>,
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
                // It may be our clock that is wrong.
                self.compare_at = now;
            }
            effects.push(Effect::Failed(Arc::clone(&topic), (*error).clone()));
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

    fn ends(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        let Some(report) = waiting.whose else { return };
        self.running.remove(&report.name());
        effects.push(Effect::PassedOn(Box::new(report)));
    }
}
