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
use super::reports::{Outgoing, Report};
use crate::common::broker::{BrokerError, Client, ProduceBatch, Record, TopicPartition, partition_for};
use crate::common::clock::Clock;
use crate::common::metrics::Beat;
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

/// The handle. Dropping it (and every clone of its sender) ends the thread once all is written; the field order
/// matters for that.
#[derive(Debug)]
pub struct Reporter {
    /// Where to tell it.
    pub tell: Sender<Tell>,
    _thread: Joined,
}

impl Reporter {
    /// Starts the thread. After `give_up` is closed it does not wait for a Kafka that is away any more.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        client: Box<dyn Client>,
        clock: Arc<dyn Clock>,
        give_up: Receiver<()>,
        beat: Beat,
    ) -> io::Result<Self> {
        // A start and an end for each worker.
        let (tell, told) = bounded(options.workers * 2 + 2);
        let thread = spawn("reporter", move || {
            let next_alive = clock.monotonic() + options.lease / 3;
            let counts = BTreeMap::new();
            let running = BTreeMap::new();
            let reporting = Reporting { options, client, clock, give_up, counts, running, next_alive };
            reporting.run(&told, &beat);
        })?;
        Ok(Self { tell, _thread: thread })
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
    give_up: Receiver<()>,
    counts: BTreeMap<String, i32>,
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
                notes.push(Outgoing { topic: topics::RUNS.to_owned(), key, value });
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
        let key = self.options.consumer.clone();
        let alive = Outgoing { topic: topics::RUNS.to_owned(), key, value: wire::encode(&event) };
        if let Err((_, error)) = self.write(vec![alive]) {
            log::warn!("the sign of life could not be written: {error}");
            self.next_alive = now + Duration::from_secs(1).min(self.options.lease / 6);
        }
    }

    /// Writes until every record is confirmed. `false` when it was told to give up.
    fn write_until_confirmed(&mut self, mut records: Vec<Outgoing>) -> bool {
        let mut wait = Duration::from_millis(50);
        let mut told = false;
        while !records.is_empty() {
            match self.write(records) {
                Ok(()) => break,
                Err((left, error)) => {
                    if !told {
                        log::warn!("{} results wait to be written: {error}; trying again", left.len());
                        told = true;
                    }
                    records = left;
                }
            }
            select! {
                recv(self.give_up) -> _ => {
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
    fn write(&mut self, records: Vec<Outgoing>) -> Result<(), (Vec<Outgoing>, BrokerError)> {
        let by = self.clock.monotonic() + Duration::from_secs(2);
        let timestamp_ms = self.clock.now().timestamp_millis();
        let mut batches: BTreeMap<TopicPartition, Vec<Outgoing>> = BTreeMap::new();
        for record in &records {
            match self.partition_count(&record.topic, by) {
                Ok(count) => {
                    let partition = partition_for(record.key.as_bytes(), count);
                    let to = TopicPartition { topic: record.topic.clone(), partition };
                    batches.entry(to).or_default().push(record.clone());
                }
                Err(error) => return Err((records, error)),
            }
        }
        let produce: Vec<ProduceBatch> = batches
            .iter()
            .map(|(to, outgoing)| ProduceBatch {
                to: to.clone(),
                records: outgoing
                    .iter()
                    .map(|out| Record {
                        key: Some(out.key.clone().into()),
                        value: Some(out.value.clone()),
                        timestamp_ms,
                    })
                    .collect(),
            })
            .collect();
        let answers = self.client.produce(&produce, by);
        let mut left = Vec::new();
        let mut first_error = None;
        for (outgoing, answer) in batches.into_values().zip(answers) {
            if let Err(error) = answer {
                first_error.get_or_insert(error);
                left.extend(outgoing);
            }
        }
        first_error.map_or(Ok(()), |error| Err((left, error)))
    }

    fn partition_count(&mut self, topic: &str, by: Instant) -> Result<i32, BrokerError> {
        if let Some(count) = self.counts.get(topic) {
            return Ok(*count);
        }
        let missing = || BrokerError::NotSent(format!("topic {topic} does not exist yet"));
        let state = self.client.topic(topic, by)?.ok_or_else(missing)?;
        let count = i32::try_from(state.partitions.len()).unwrap_or(1);
        self.counts.insert(topic.to_owned(), count);
        Ok(count)
    }
}
