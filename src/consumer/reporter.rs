//! The thread `reporter`: writes everything but claims: next attempts, dead letters, `finished`, `alive`.
//!
//! Each confirmed before the next: what an attempt is passed on as, and only then that it has finished. While Kafka
//! is away results are held on to; the channel fills, and workers wait.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::dispatcher::Claimed;
use super::measures::Measures;
use super::reports::Report;
use crate::common::broker::Client;
use crate::common::clock::Clock;
use crate::common::metrics::Beat;
use crate::common::outgoing::{Outgoing, Unwritten, Writer};
use crate::common::thread::{Joined, spawn};
use crate::common::words::{AttemptRef, Event, RunningAttempt};
use crate::common::{topics, wire};

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

/// The handle. The thread ends when every sender of the channel is gone and all is written; dropping the handle ends
/// the wait for a Kafka that is away.
#[derive(Debug)]
pub struct Reporter {
    _give_up: Sender<()>,
    thread: Joined,
}

impl Reporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        client: Box<dyn Client>,
        clock: Arc<dyn Clock>,
        measures: Measures,
        beat: Beat,
    ) -> io::Result<(Self, Sender<Tell>)> {
        // A start and an end for each worker.
        let (tell, told) = bounded(options.workers * 2 + 2);
        let (give_up, given_up) = bounded(0);
        let thread = spawn("reporter", move || {
            let next_alive = clock.monotonic() + options.lease / 3;
            let running = BTreeMap::new();
            let writer = Writer::default();
            let reporting =
                Reporting { options, client, clock, given_up, writer, measures, running, next_alive };
            reporting.run(&told, &beat);
        })?;
        Ok((Self { _give_up: give_up, thread }, tell))
    }

    /// Whether all is written and the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// An attempt that was handed to a worker, for [`Tell::Started`].
pub fn started(claimed: &Claimed) -> Tell {
    let attempt = AttemptRef { run: claimed.attempt.run.id, attempt: claimed.attempt.attempt };
    Tell::Started(attempt, RunningAttempt { attempt, place: claimed.place.clone() })
}

struct Reporting {
    options: Options,
    client: Box<dyn Client>,
    clock: Arc<dyn Clock>,
    given_up: Receiver<()>,
    writer: Writer,
    measures: Measures,
    running: BTreeMap<AttemptRef, RunningAttempt>,
    next_alive: Instant,
}

impl Reporting {
    fn run(mut self, told: &Receiver<Tell>, beat: &Beat) {
        loop {
            let wait = self.next_alive.saturating_duration_since(self.clock.monotonic());
            let mut ended = Vec::new();
            let mut notes = Vec::new();
            select! {
                recv(told) -> tell => {
                    let Ok(tell) = tell else { return };
                    self.take(tell, &mut ended, &mut notes);
                    // Everything that waits goes in the same round trips.
                    while let Ok(tell) = told.try_recv() {
                        self.take(tell, &mut ended, &mut notes);
                    }
                }
                recv(self.clock.alarm(wait.min(Duration::from_secs(1)))) -> _ => {}
            }
            beat.touch(self.clock.now());
            let passed_on: Vec<Outgoing> =
                ended.iter().filter_map(|report: &Report| report.passed_on(&self.options.consumer)).collect();
            let finished = ended.iter().map(|report| report.finished(&self.options.consumer));
            let last: Vec<Outgoing> = finished.chain(notes).collect();
            if !self.write_until_confirmed(passed_on) || !self.write_until_confirmed(last) {
                return;
            }
            for report in &ended {
                self.measures.passed_on(report.then());
                log::info!("{}", report.line());
                let attempt = &report.claimed.attempt;
                self.running.remove(&AttemptRef { run: attempt.run.id, attempt: attempt.attempt });
            }
            self.say_alive();
        }
    }

    fn take(&mut self, tell: Tell, ended: &mut Vec<Report>, notes: &mut Vec<Outgoing>) {
        match tell {
            Tell::Started(attempt, running) => drop(self.running.insert(attempt, running)),
            Tell::Ended(report) => ended.push(*report),
            Tell::Note(key, event) => {
                let value = wire::encode(&event);
                notes.push(Outgoing { topic: topics::RUNS.into(), key: key.into(), value });
            }
        }
    }

    /// One event for all that is under way. It is repeated often enough that two may fail.
    fn say_alive(&mut self) {
        let now = self.clock.monotonic();
        if now < self.next_alive {
            return;
        }
        self.next_alive = now + self.options.lease / 3;
        if self.running.is_empty() {
            return;
        }
        let event = Event::Alive {
            consumer: self.options.consumer.clone(),
            lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
            running: self.running.values().cloned().collect(),
            at: self.clock.now(),
        };
        let key = self.options.consumer.clone().into();
        let alive = Outgoing { topic: topics::RUNS.into(), key, value: wire::encode(&event) };
        if let Some(failure) = self.write(vec![alive]).first() {
            log::warn!("the sign of life could not be written: {}", failure.error);
            self.next_alive = now + Duration::from_secs(1).min(self.options.lease / 6);
        }
    }

    /// Writes until every record is confirmed. `false` when it was told to give up.
    fn write_until_confirmed(&mut self, mut records: Vec<Outgoing>) -> bool {
        let mut wait = Duration::from_millis(50);
        let mut told = false;
        while !records.is_empty() {
            let unwritten = self.write(records);
            let Some(first) = unwritten.first() else { break };
            if !told {
                log::warn!("results wait to be written: {}; trying again", first.error);
                told = true;
            }
            records = unwritten.into_iter().flat_map(|failure| failure.records).collect();
            select! {
                recv(self.given_up) -> _ => {
                    log::error!("{} results could not be written; their leases will end them", records.len());
                    return false;
                }
                recv(self.clock.alarm(wait)) -> _ => {}
            }
            wait = (wait * 2).min(Duration::from_secs(2));
        }
        if told {
            log::info!("Kafka is back, and the results are written");
        }
        true
    }

    /// Writes once, and returns what was not confirmed.
    fn write(&mut self, records: Vec<Outgoing>) -> Vec<Unwritten> {
        let by = self.clock.monotonic() + Duration::from_secs(2);
        let timestamp_ms = self.clock.now().timestamp_millis();
        let unwritten = self.writer.write(self.client.as_mut(), records, timestamp_ms, by);
        for failure in &unwritten {
            self.measures.failed(&self.measures.report_failures, failure.error.word());
        }
        unwritten
    }
}
