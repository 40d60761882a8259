//! How far our clock is from the broker's. Leadership asks before a term begins and all through it, because a leader
//! whose clock is wrong would publish at the wrong time, and its cursors would delay or mislead the next leader.

use std::time::Instant;

use chrono::TimeDelta;

use crate::common::broker::{BrokerError, Client, ProduceBatch, Record, TopicPartition};
use crate::common::clock::Now;
use crate::common::model::Event;
use crate::common::{topics, wire};

/// A producer whose clock is further off than this does not lead.
#[cfg(test)]
pub(super) const MOST: TimeDelta = crate::common::clock::CLOCK_TOLERANCE;

/// What came of asking for the broker's time.
pub(super) enum Compared {
    /// By so much our clock is ahead.
    Ahead(TimeDelta),
    /// `cron-runs` has been set to carry writers' times. We asked for the cluster's and got this, so we cannot know the
    /// skew.
    Unknown(BrokerError),
}

/// Writes a beat that counts for nothing (number 0) to `cron-runs`, whose records carry the broker's time, and returns
/// how far ours is ahead of it. Where they do not, the cluster is asked for its time. The error is at most as long as the
/// calls took.
pub(super) fn measure(
    client: &mut dyn Client,
    name: &str,
    now: Now,
    by: Instant,
) -> Result<Compared, BrokerError> {
    let timestamp_ms = now.wall.timestamp_millis();
    let beat = Event::Beat { leader: name.to_owned(), number: 0, at: now.wall };
    let record =
        Record { key: Some(topics::beat_key(name, 0)), value: Some(wire::encode(&beat)), timestamp_ms };
    let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
    let answer = client.produce(&[ProduceBatch { to, records: vec![record] }], by).pop();
    let append_time_ms = answer.transpose()?.and_then(|written| written.append_time_ms);
    let brokers_ms = append_time_ms.map_or_else(|| client.cluster_time(by), Ok);
    Ok(match brokers_ms {
        Ok(ms) => Compared::Ahead(TimeDelta::milliseconds(timestamp_ms.saturating_sub(ms))),
        Err(error) => Compared::Unknown(error),
    })
}
