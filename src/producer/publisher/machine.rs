//! The state machine: one batch at a time, written until each tick of it has its fate on record, or its term is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::counting::{Count, Counting, Fact, fact_of};
use super::records::{lines, missed, published};
use super::{Confirmed, Effect, Encoded, Progress};
use crate::common::broker::{BrokerError, Client, ErrorCode};
use crate::common::clock::Now;
use crate::common::model::{ClusterName, JobName, RunId};
use crate::common::outgoing::{Limits, Unwritten, Writer, Written};
use crate::common::topics;
use crate::producer::leadership::LeaderLease;
use crate::producer::plan::timetable::Tick;

/// How long the topic may be looked up before a write. Together with the time in which the client still sends
/// something, it is how far a write may begin behind the look at the lease.
pub(super) const LOOK_UP: Duration = Duration::from_millis(1_500);
/// How long a write's answers are waited for, where the client has patience with a slow broker: what is given up while
/// the broker is at work on it stands in the topic twice.
const ANSWER: Duration = Duration::from_secs(30);

/// Writes the batches of a cluster.
#[derive(Debug)]
pub struct Publishing {
    number: usize,
    topic: Arc<str>,
    writer: Writer,
    counting: Counting,
    going: Option<Going>,
}

/// A batch that is being written.
#[derive(Debug)]
struct Going {
    /// Of its records and ticks, those that are not confirmed.
    left: Encoded,
    refused: Vec<(JobName, RunId)>,
}

fn is_too_large(error: &BrokerError) -> bool {
    *error == BrokerError::Refused(ErrorCode::MessageTooLarge)
}

impl Publishing {
    /// Creates the machine for a cluster, which has this number in the scheduler's list.
    pub fn new(cluster: &ClusterName, number: usize) -> Self {
        let topic = topics::first(cluster).into();
        Self { number, topic, writer: Writer::default(), counting: Counting::default(), going: None }
    }

    /// Takes a batch, when there is none.
    pub fn take(&mut self, batch: Encoded) {
        self.going = Some(Going { left: batch, refused: Vec::new() });
    }

    /// Looks the topic up before it is needed.
    pub(super) fn look_ahead(&mut self, client: &mut dyn Client, now: Now) {
        self.writer.look_ahead(client, &self.topic, now.mono + LOOK_UP);
    }

    /// How many records of a batch are left.
    pub(super) fn left(&self) -> usize {
        self.going.as_ref().map_or(0, |going| going.left.records.len())
    }

    /// Makes the next step, of one write.
    pub fn step(
        &mut self,
        client: &mut dyn Client,
        lease: &LeaderLease,
        now: Now,
    ) -> (Vec<Effect>, Progress) {
        let Some(mut going) = self.going.take() else { return (Vec::new(), Progress::Idle) };
        let term = going.left.batch.term;
        if !lease.holds(term, now.mono) {
            if lease.is_over(term) {
                return (vec![Effect::Left(going.left.records.len())], Progress::Abandoned);
            }
            self.going = Some(going);
            return (Vec::new(), Progress::Waits);
        }
        let mut effects = Vec::new();
        let failed = self.write(client, &mut going, now, &mut effects);
        if going.left.records.is_empty() {
            let confirmed = Confirmed::of(self.number, &going.left.batch);
            return (effects, Progress::Done(Confirmed { refused: going.refused, ..confirmed }));
        }
        self.going = Some(going);
        (effects, failed.map_or(Progress::GoesOn, |(topic, error)| Progress::Failed { topic, error }))
    }

    /// Writes what is left, and returns to where some of it could not be written, and why.
    fn write(
        &mut self,
        client: &mut dyn Client,
        going: &mut Going,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<(Arc<str>, BrokerError)> {
        let Going { left: Encoded { batch, records, ticks: unconfirmed, facts }, refused } = going;
        let by = Limits { look_up: now.mono + LOOK_UP, answer: now.mono + ANSWER };
        let mut written: Vec<Written> = Vec::new();
        let mut told: Vec<Fact> = Vec::new();
        let topic = &self.topic;
        let unwritten = self.writer.write_and_tell(
            client,
            std::mem::take(records),
            now.wall.timestamp_millis(),
            by,
            |batch| {
                if *batch.to.topic == **topic {
                    written.push(batch);
                } else {
                    told.extend(batch.records.iter().filter_map(|record| facts.remove(&record.value)));
                }
            },
        );
        for fact in told {
            match self.counting.count(&fact) {
                Count::Missed(count, reason) => effects.push(Effect::Missed(count, reason)),
                Count::Skipped => effects.push(Effect::Skipped),
                Count::Nothing => {}
            }
        }
        // That a run is published is on record before its tick is confirmed, where others depend on it.
        let tick_of = |key: &Bytes| unconfirmed.get(key).and_then(|number| batch.ticks.get(*number));
        *records = written.iter().flat_map(|written| published(written, tick_of, now.wall)).collect();
        let mut failed = None;
        let mut waiting = HashMap::new();
        for Unwritten { records: left, error } in unwritten {
            effects.push(Effect::Unwritten(error.clone()));
            // A tick whose message no broker takes becomes an event. An event becomes nothing smaller: it waits.
            let mut waits = !is_too_large(&error);
            let topic =
                left.first().map_or_else(|| Arc::clone(&self.topic), |record| Arc::clone(&record.topic));
            for record in left {
                match unconfirmed.remove(&record.key) {
                    Some(number) if is_too_large(&error) => {
                        let tick = &batch.ticks[number];
                        refused.push((tick.job.name.clone(), RunId::of(&tick.job.name, tick.at)));
                        effects.push(Effect::TooLarge { job: tick.job.name.clone(), due: tick.at });
                        let record = missed(tick, now.wall);
                        facts.extend(fact_of(&record).map(|fact| (record.value.clone(), fact)));
                        records.push(record);
                    }
                    Some(number) => {
                        waiting.insert(record.key.clone(), number);
                        records.push(record);
                    }
                    None => {
                        waits = true;
                        records.push(record); // an event
                    }
                }
            }
            failed = failed.or(waits.then_some((topic, error)));
        }
        let confirmed = std::mem::replace(unconfirmed, waiting);
        let confirmed: Vec<&Tick> = confirmed.into_values().map(|number| &batch.ticks[number]).collect();
        effects.extend(are_published(confirmed, now));
        failed
    }
}

/// What follows from ticks that are confirmed, if there are any.
fn are_published(mut confirmed: Vec<&Tick>, now: Now) -> Option<Effect> {
    confirmed.sort_by_key(|tick| tick.at);
    let due = confirmed.iter().map(|tick| tick.at).collect();
    (!confirmed.is_empty()).then(|| Effect::Published { due, lines: lines(&confirmed, now.wall) })
}
