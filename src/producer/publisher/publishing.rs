//! The state machine: one batch at a time, written until each tick of it has its fate on record, or its term is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::records::{at, message, missed, of_event, published};
use super::{Batch, Confirmed};
use crate::common::broker::{BrokerError, Client, ErrorCode};
use crate::common::clock::Now;
use crate::common::outgoing::{Outgoing, Unwritten, Writer, Written};
use crate::common::topics;
use crate::common::words::{ClusterName, JobName, RunId};
use crate::producer::leadership::Mandate;
use crate::producer::measures::ClusterMeasures;
use crate::producer::timetable::Tick;

/// How long one call may take.
pub(super) const CALL: Duration = Duration::from_secs(3);

/// What came of a step.
#[derive(Debug)]
pub enum Progress {
    /// There is no batch.
    Idle,
    /// Our membership is not proven at present; it may be again, in the same term.
    Waits,
    /// Some of it is written, and what follows from that is to be written at once.
    GoesOn,
    /// Some of it could not be written, for this reason; it is tried again.
    Failed(BrokerError),
    /// Each tick has its fate on record.
    Done(Confirmed),
    /// Its term is over: whoever leads now finds what is missing by the cursor.
    Abandoned,
}

/// Writes the batches of a cluster.
#[derive(Debug)]
pub struct Publishing {
    cluster: ClusterName,
    number: usize,
    topic: Arc<str>,
    measures: ClusterMeasures,
    writer: Writer,
    going: Option<Going>,
}

/// A batch that is being written.
#[derive(Debug)]
struct Going {
    batch: Batch,
    /// To be written.
    records: Vec<Outgoing>,
    /// By the keys of their records, the numbers of the ticks that are not confirmed.
    unconfirmed: HashMap<Bytes, usize>,
    refused: Vec<(JobName, RunId)>,
}

fn is_too_large(error: &BrokerError) -> bool {
    *error == BrokerError::Refused(ErrorCode::MessageTooLarge)
}

impl Publishing {
    /// For a cluster, which has this number in the timer's list.
    pub fn new(cluster: ClusterName, number: usize, measures: ClusterMeasures) -> Self {
        let topic = topics::first(&cluster).into();
        Self { cluster, number, topic, measures, writer: Writer::default(), going: None }
    }

    /// Takes a batch, when there is none.
    pub fn take(&mut self, batch: Batch) {
        let mut records: Vec<Outgoing> =
            batch.ticks.iter().map(|tick| message(&self.topic, tick, &batch.revision)).collect();
        let unconfirmed = records.iter().map(|record| record.key.clone()).zip(0..).collect();
        records.extend(batch.events.iter().filter_map(of_event));
        self.going = Some(Going { batch, records, unconfirmed, refused: Vec::new() });
    }

    /// Looks the topic up before it is needed.
    pub(super) fn look_ahead(&mut self, client: &mut dyn Client, now: Now) {
        self.writer.look_ahead(client, &self.topic, now.mono + CALL);
    }

    /// How many records of a batch are left.
    pub(super) fn left(&self) -> usize {
        self.going.as_ref().map_or(0, |going| going.records.len())
    }

    /// Makes the next step, of one write.
    pub fn step(&mut self, client: &mut dyn Client, mandate: &Mandate, now: Now) -> Progress {
        let Some(mut going) = self.going.take() else { return Progress::Idle };
        if !mandate.holds(going.batch.epoch, now.mono) {
            if mandate.is_over(going.batch.epoch) {
                let (cluster, left) = (&self.cluster, going.records.len());
                log::info!("{cluster}: {left} records are left to whoever leads now");
                return Progress::Abandoned;
            }
            self.going = Some(going);
            return Progress::Waits;
        }
        let failed = self.write(client, &mut going, now);
        if going.records.is_empty() {
            let Going { batch: Batch { epoch, kind, ticks, .. }, refused, .. } = going;
            self.measures.under_way.sub(i64::try_from(ticks.len()).unwrap_or(0));
            return Progress::Done(Confirmed { epoch, kind, cluster: self.number, refused });
        }
        self.going = Some(going);
        failed.map_or(Progress::GoesOn, Progress::Failed)
    }

    /// Writes what is left, and returns why some of it could not be written.
    fn write(&mut self, client: &mut dyn Client, going: &mut Going, now: Now) -> Option<BrokerError> {
        let Going { batch, records, unconfirmed, refused } = going;
        let by = now.mono + CALL;
        let mut written: Vec<Written> = Vec::new();
        let topic = &self.topic;
        let unwritten = self.writer.write_and_tell(
            client,
            std::mem::take(records),
            now.wall.timestamp_millis(),
            by,
            |batch| {
                if *batch.to.topic == **topic {
                    written.push(batch);
                }
            },
        );
        // That a run is published is on record before its tick is confirmed, where others depend on it.
        let tick_of = |key: &Bytes| unconfirmed.get(key).and_then(|number| batch.ticks.get(*number));
        *records = written.iter().flat_map(|written| published(written, tick_of, now.wall)).collect();
        let mut failed = None;
        let mut waiting = HashMap::new();
        for Unwritten { records: left, error } in unwritten {
            self.measures.failed(error.word());
            for record in left {
                match unconfirmed.remove(&record.key) {
                    Some(number) if is_too_large(&error) => {
                        let tick = &batch.ticks[number];
                        refused.push((tick.job.name.clone(), RunId::of(&tick.job.name, tick.at)));
                        records.push(self.too_large(tick, now));
                    }
                    Some(number) => {
                        waiting.insert(record.key.clone(), number);
                        records.push(record);
                    }
                    None => records.push(record), // an event
                }
            }
            failed = failed.or((!is_too_large(&error)).then_some(error));
        }
        let confirmed = std::mem::replace(unconfirmed, waiting);
        self.count(confirmed.into_values().map(|number| &batch.ticks[number]).collect(), now);
        failed
    }

    fn too_large(&self, tick: &Tick, now: Now) -> Outgoing {
        log::error!(
            "{}: the message of job {} is larger than topic {} takes; its tick at {} is missed",
            self.cluster,
            tick.job.name,
            self.topic,
            at(tick)
        );
        self.measures.missed(1, "too_large");
        missed(tick, now.wall)
    }

    /// Counts what is confirmed, and says it: each run where they are few, how many where they are many.
    fn count(&self, mut confirmed: Vec<&Tick>, now: Now) {
        const FEW: usize = 5;
        let now = now.wall;
        let late = |tick: &Tick| (now - tick.at).num_milliseconds();
        confirmed.sort_by_key(|tick| tick.at);
        for tick in &confirmed {
            self.measures.published(tick.at, now);
            if confirmed.len() <= FEW {
                let (topic, job) = (&self.topic, &tick.job.name);
                log::info!("{topic}: published {job} due {}, {} ms late", at(tick), late(tick));
            }
        }
        if let (Some(first), true) = (confirmed.first(), confirmed.len() > FEW) {
            let (topic, number, late) = (&self.topic, confirmed.len(), late(first));
            log::info!("{topic}: published {number} runs, the first due {}, {late} ms late", at(first));
        }
    }
}
