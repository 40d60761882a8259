//! The threads `publish-CLUSTER`: each writes the ticks of one cluster to its topic, and tells the timer what is
//! confirmed. One a cluster, on a connection of its own, so that a topic that cannot be written holds up no other.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::SecondsFormat;
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::job::Overlap;
use super::lane::Kind;
use super::leadership::Mandate;
use super::measures::ClusterMeasures;
use super::setup;
use super::timetable::Tick;
use crate::common::bounds::TICK_BATCHES;
use crate::common::broker::{BrokerError, Client, ErrorCode, TopicPartition};
use crate::common::clock::Clock;
use crate::common::http::{Fact, Health};
use crate::common::metrics::Beat;
use crate::common::outgoing::{Outgoing, Unwritten, Writer, Written};
use crate::common::thread::{Joined, spawn};
use crate::common::words::{Attempt, ClusterName, Event, JobName, MissedReason, Place, RunId};
use crate::common::{topics, wire};

/// Ticks of one cluster, all due, and events about those that are not run.
#[derive(Debug)]
pub struct Batch {
    /// The term in which it may be written.
    pub epoch: u64,
    /// What of a lane it is; `None` for what stands beside the lane.
    pub kind: Option<Kind>,
    /// The ticks, in the order of their instants.
    pub ticks: Vec<Tick>,
    /// For `cron-runs`.
    pub events: Vec<Event>,
    /// Which job file they are of.
    pub revision: Arc<str>,
}

/// Every tick of a cluster's oldest batch of a kind has its fate on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The batch's term.
    pub epoch: u64,
    /// What of a lane it was; `None` for what stands beside the lane.
    pub kind: Option<Kind>,
    /// Runs of it that could not be published and never will be: their ticks are missed.
    pub refused: Vec<(JobName, RunId)>,
    /// The cluster's number in the timer's list.
    pub cluster: usize,
}

/// What a publisher is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its cluster.
    pub cluster: ClusterName,
    /// The cluster's number in the timer's list.
    pub number: usize,
    /// How the cluster's topics are created.
    pub topics: setup::Options,
}

/// Around a publisher: what it talks to.
pub struct Around {
    /// A connection of its own.
    pub client: Box<dyn Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The leave to write, asked for before each write.
    pub mandate: Mandate,
    /// To the timer. It has room for all the batches that can be under way, so a publisher never waits here.
    pub confirmed: Sender<Confirmed>,
    /// What it counts.
    pub measures: ClusterMeasures,
    /// Told whether Kafka takes our writes.
    pub health: Health,
    /// When it last came round.
    pub beat: Beat,
}

/// The handle. It ends when the sender of its batches is gone and all are written; dropping it ends it although
/// Kafka is away.
#[derive(Debug)]
pub struct Publisher {
    _give_up: Sender<()>,
    thread: Joined,
}

impl Publisher {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(options: Options, around: Around) -> io::Result<(Self, Sender<Batch>)> {
        let (batches, queue) = bounded(TICK_BATCHES);
        let (give_up, given_up) = bounded(0);
        let thread = spawn(&format!("publish-{}", options.cluster), move || {
            let writer = Writer::default();
            let topic = topics::first(&options.cluster).into();
            Publishing { options, around, writer, topic, given_up, is_away: false }.run(&queue);
        })?;
        Ok((Self { _give_up: give_up, thread }, batches))
    }

    /// Whether all is written and the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Publishing {
    options: Options,
    around: Around,
    writer: Writer,
    topic: Arc<str>,
    given_up: Receiver<()>,
    is_away: bool,
}

/// How a batch ended.
enum Ended {
    /// All of it has its fate on record.
    Written {
        /// Runs that could not be published.
        refused: Vec<(JobName, RunId)>,
    },
    /// Its term is over: whoever leads now finds what is missing by the cursor.
    Abandoned,
    /// We end, and Kafka is away.
    GivenUp,
}

/// The record of an event about ticks, or about the job file.
fn of_event(event: &Event) -> Option<Outgoing> {
    let key = match event {
        Event::Missed { job, .. }
        | Event::Skipped { job, .. }
        | Event::Queued { job, .. }
        | Event::Published { job, .. } => job.as_str().to_owned(),
        Event::Revision { .. } => "revision".to_owned(),
        _ => return None,
    };
    Some(Outgoing { topic: topics::RUNS.into(), key: key.into(), value: wire::encode(event) })
}

fn is_too_large(error: &BrokerError) -> bool {
    *error == BrokerError::Refused(ErrorCode::MessageTooLarge)
}

fn at(tick: &Tick) -> String {
    tick.at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long one call may take.
const CALL: Duration = Duration::from_secs(3);
/// Waits between attempts to reach Kafka.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Publishing {
    fn run(&mut self, queue: &Receiver<Batch>) {
        if !self.set_up() {
            return;
        }
        loop {
            self.around.beat.touch(self.around.clock.now());
            select! {
                recv(queue) -> batch => {
                    let Ok(batch) = batch else { return };
                    let refused = match self.publish(&batch) {
                        Ended::Written { refused } => refused,
                        Ended::Abandoned => continue,
                        Ended::GivenUp => return,
                    };
                    self.around.measures.under_way.sub(i64::try_from(batch.ticks.len()).unwrap_or(0));
                    let Batch { epoch, kind, .. } = batch;
                    let confirmed = Confirmed { epoch, kind, cluster: self.options.number, refused };
                    if self.around.confirmed.send(confirmed).is_err() {
                        log::debug!("the timer has ended; nobody asks what is confirmed");
                    }
                }
                recv(self.around.clock.alarm(Duration::from_secs(1))) -> _ => {
                    let by = self.around.clock.monotonic() + CALL;
                    self.writer.look_ahead(self.around.client.as_mut(), &self.topic, by);
                }
            }
        }
    }

    /// Creates the cluster's topics, however long it takes to reach Kafka.
    fn set_up(&mut self) -> bool {
        let mut wait = FIRST_WAIT;
        loop {
            match setup::ensure(self.around.client.as_mut(), &self.options.cluster, self.options.topics) {
                Ok(()) => {
                    self.reached();
                    return true;
                }
                Err(error) => self.failed("cannot see to the topics", &error),
            }
            if !self.pause(&mut wait) {
                return false;
            }
        }
    }

    /// Writes a batch until each tick of it has its fate on record, or its term is over.
    fn publish(&mut self, batch: &Batch) -> Ended {
        let mut records: Vec<Outgoing> =
            batch.ticks.iter().map(|tick| self.message(tick, &batch.revision)).collect();
        let keys = records.iter().map(|record| record.key.clone());
        let mut unconfirmed: HashMap<Bytes, &Tick> = keys.zip(&batch.ticks).collect();
        records.extend(batch.events.iter().filter_map(of_event));
        let mut wait = FIRST_WAIT;
        let mut refused = Vec::new();
        loop {
            // A membership that is not proven at present may be again, in the same term.
            while !self.around.mandate.holds(batch.epoch, self.around.clock.monotonic()) {
                let (cluster, left) = (&self.options.cluster, records.len());
                if self.around.mandate.is_over(batch.epoch) {
                    log::info!("{cluster}: {left} records are left to whoever leads now");
                    return Ended::Abandoned;
                }
                if !self.pause(&mut wait) {
                    return Ended::GivenUp;
                }
            }
            let (written, unwritten) = self.write(records);
            // That a run is published is on record before its tick is confirmed, where others depend on it.
            records = written.iter().flat_map(|batch| self.published(batch, &unconfirmed)).collect();
            let all = unwritten.is_empty();
            let mut waiting = HashMap::new();
            for Unwritten { records: left, error } in unwritten {
                for record in left {
                    match unconfirmed.remove(&record.key) {
                        Some(tick) if is_too_large(&error) => {
                            refused.push((tick.job.name.clone(), RunId::of(&tick.job.name, tick.at)));
                            records.push(self.missed(tick));
                        }
                        Some(tick) => {
                            waiting.insert(record.key.clone(), tick);
                            records.push(record);
                        }
                        None => records.push(record), // an event
                    }
                }
            }
            self.count(unconfirmed.into_values().collect());
            if records.is_empty() {
                return Ended::Written { refused };
            }
            if all {
                unconfirmed = waiting;
                continue;
            }
            unconfirmed = waiting;
            if !self.pause(&mut wait) {
                let (cluster, left) = (&self.options.cluster, records.len());
                log::warn!("{cluster}: {left} ticks are due and could not be published before the end");
                return Ended::GivenUp;
            }
        }
    }

    fn write(&mut self, records: Vec<Outgoing>) -> (Vec<Written>, Vec<Unwritten>) {
        let Around { client, clock, .. } = &mut self.around;
        let by = clock.monotonic() + CALL;
        let timestamp_ms = clock.now().timestamp_millis();
        let mut written = Vec::new();
        let unwritten = self.writer.write_and_tell(client.as_mut(), records, timestamp_ms, by, |batch| {
            if *batch.to.topic == *self.topic {
                written.push(batch);
            }
        });
        for Unwritten { error, .. } in &unwritten {
            self.around.measures.failed(error.word());
        }
        match unwritten.iter().find(|left| !is_too_large(&left.error)) {
            Some(left) => self.failed("ticks wait to be published", &left.error),
            None => self.reached(),
        }
        (written, unwritten)
    }

    /// The events for the runs of a batch that is confirmed, of jobs whose runs may not overlap.
    fn published(&self, batch: &Written, ticks: &HashMap<Bytes, &Tick>) -> Vec<Outgoing> {
        let at = self.around.clock.now();
        let event = |(offset, record): (i64, &Outgoing)| {
            let tick = ticks.get(&record.key).filter(|tick| tick.job.overlap != Overlap::Allow)?;
            let TopicPartition { topic, partition } = batch.to.clone();
            of_event(&Event::Published {
                run: RunId::of(&tick.job.name, tick.at),
                job: tick.job.name.clone(),
                cluster: self.options.cluster.clone(),
                scheduled_at: tick.at,
                place: Place { topic, topic_id: batch.topic_id, partition, offset },
                at,
            })
        };
        (batch.base_offset..).zip(&batch.records).filter_map(event).collect()
    }

    fn message(&self, tick: &Tick, revision: &str) -> Outgoing {
        let run = tick.job.run(tick.at, revision);
        let attempts_left = run.retry.retries;
        let key = run.id.to_string().into();
        let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left, not_before: None };
        Outgoing { topic: Arc::clone(&self.topic), key, value: wire::encode(&attempt) }
    }

    fn missed(&self, tick: &Tick) -> Outgoing {
        log::error!(
            "{}: the message of job {} is larger than topic {} takes; its tick at {} is missed",
            self.options.cluster,
            tick.job.name,
            self.topic,
            at(tick)
        );
        self.around.measures.missed(1, "too_large");
        let event = Event::Missed {
            job: tick.job.name.clone(),
            cluster: self.options.cluster.clone(),
            from: tick.at,
            to: tick.at,
            count: 1,
            reason: MissedReason::TooLarge,
            at: self.around.clock.now(),
        };
        let key = tick.job.name.as_str().to_owned().into();
        Outgoing { topic: topics::RUNS.into(), key, value: wire::encode(&event) }
    }

    /// Counts what is confirmed, and says it: each run where they are few, how many where they are many.
    fn count(&self, mut confirmed: Vec<&Tick>) {
        const FEW: usize = 5;
        let now = self.around.clock.now();
        let late = |tick: &Tick| (now - tick.at).num_milliseconds();
        confirmed.sort_by_key(|tick| tick.at);
        for tick in &confirmed {
            self.around.measures.published(tick.at, now);
            if confirmed.len() <= FEW {
                log::info!(
                    "{}: published {} due {}, {} ms late",
                    self.topic,
                    tick.job.name,
                    at(tick),
                    late(tick)
                );
            }
        }
        if let (Some(first), true) = (confirmed.first(), confirmed.len() > FEW) {
            let (number, late) = (confirmed.len(), late(first));
            log::info!(
                "{}: published {number} runs, the first due {}, {late} ms late",
                self.topic,
                at(first)
            );
        }
    }

    fn reached(&mut self) {
        if std::mem::take(&mut self.is_away) {
            log::info!("{}: Kafka takes our writes again", self.options.cluster);
        }
        self.around.health.set(self.options.cluster.as_str(), Fact::Ready);
    }

    /// An outage is one thing to be told, not a thousand.
    fn failed(&mut self, what: &str, error: &BrokerError) {
        if !std::mem::replace(&mut self.is_away, true) {
            log::warn!("{}: {what}: {error}; trying again", self.options.cluster);
        }
        let why = Fact::NotReady(format!("{what}: {error}"));
        self.around.health.set(self.options.cluster.as_str(), why);
    }

    /// Waits before the next try. `false` when it was told to give up.
    fn pause(&self, wait: &mut Duration) -> bool {
        self.around.beat.touch(self.around.clock.now());
        let goes_on = select! {
            recv(self.given_up) -> _ => false,
            recv(self.around.clock.alarm(*wait)) -> _ => true,
        };
        *wait = (*wait * 2).min(LONGEST_WAIT);
        goes_on
    }
}

#[cfg(test)]
mod tests;
