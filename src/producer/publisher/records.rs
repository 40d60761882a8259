//! The records that ticks and events become.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::common::broker::TopicPartition;
use crate::common::model::{Attempt, Event, MissedReason, Place, RunId};
use crate::common::outgoing::{Outgoing, Written};
use crate::common::{topics, wire};
use crate::producer::job::Overlap;
use crate::producer::plan::timetable::Tick;

/// The record of an event about ticks, or about the job file.
pub(super) fn of_event(event: &Event) -> Option<Outgoing> {
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

/// The first attempt of a tick's run.
pub(super) fn message(topic: &Arc<str>, tick: &Tick, revision: &str) -> Outgoing {
    let run = tick.job.run(tick.at, revision);
    let attempts_left = run.retry.retries;
    let key = run.id.to_string().into();
    let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left, not_before: None };
    Outgoing { topic: Arc::clone(topic), key, value: wire::encode(&attempt) }
}

/// The events for the runs of a batch that is confirmed, of jobs whose runs may not overlap.
pub(super) fn published<'a>(
    batch: &Written,
    tick_of: impl Fn(&Bytes) -> Option<&'a Tick>,
    at: DateTime<Utc>,
) -> Vec<Outgoing> {
    let event = |(offset, record): (i64, &Outgoing)| {
        let tick = tick_of(&record.key).filter(|tick| tick.job.overlap != Overlap::Allow)?;
        let TopicPartition { topic, partition } = batch.to.clone();
        of_event(&Event::Published {
            run: RunId::of(&tick.job.name, tick.at),
            job: tick.job.name.clone(),
            cluster: tick.job.cluster.clone(),
            scheduled_at: tick.at,
            place: Place { topic, topic_id: batch.topic_id, partition, offset },
            at,
        })
    };
    (batch.base_offset..).zip(&batch.records).filter_map(event).collect()
}

/// The event for a tick whose message no broker takes.
pub(super) fn missed(tick: &Tick, now: DateTime<Utc>) -> Outgoing {
    let event = Event::Missed {
        job: tick.job.name.clone(),
        cluster: tick.job.cluster.clone(),
        from: tick.at,
        to: tick.at,
        count: 1,
        reason: MissedReason::TooLarge,
        at: now,
    };
    let key = tick.job.name.as_str().to_owned().into();
    Outgoing { topic: topics::RUNS.into(), key, value: wire::encode(&event) }
}

/// The instant of a tick, for people.
pub(super) fn at(tick: &Tick) -> String {
    tick.at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
