//! How far our clock is from the broker's: asked before a term begins, because a leader whose clock is wrong would
//! publish at the wrong time, and its cursors would hold up or mislead whoever leads after it.

use std::time::Instant;

use chrono::TimeDelta;

use super::Now;
use crate::common::broker::{BrokerError, Client, ProduceBatch, Record, TopicPartition};
use crate::common::words::Event;
use crate::common::{topics, wire};

/// Further off than this nobody leads.
pub(super) const MOST: TimeDelta = TimeDelta::seconds(30);

/// Writes a beat that counts for nothing (number 0) to `cron-runs`, whose records carry the broker's time, and returns
/// how far ours is ahead of it. The error is at most as long as the call took. `None`: the topic has been set to carry
/// writers' times, so nobody can know.
pub(super) fn measure(
    client: &mut dyn Client,
    name: &str,
    now: Now,
    by: Instant,
) -> Result<Option<TimeDelta>, BrokerError> {
    let timestamp_ms = now.wall.timestamp_millis();
    let beat = Event::Beat { leader: name.to_owned(), number: 0, at: now.wall };
    let record = Record { key: None, value: Some(wire::encode(&beat)), timestamp_ms };
    let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
    let answer = client.produce(&[ProduceBatch { to, records: vec![record] }], by).pop();
    let append_time_ms = answer.transpose()?.and_then(|written| written.append_time_ms);
    Ok(append_time_ms.map(|broker_ms| TimeDelta::milliseconds(timestamp_ms.saturating_sub(broker_ms))))
}
