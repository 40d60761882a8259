//! Dead letters for messages that could not be read.

use chrono::{DateTime, Utc};

use crate::common::broker::{BrokerError, Client, Deadline, ErrorCode, ProduceBatch, Record, TopicPartition};
use crate::common::model::{ClusterName, Place};
use crate::common::topics;
use crate::common::wire::{self, DeadLetter, DeadRecord, Original};
use crate::consumer::fetching::reading::Unreadable;

/// The letter for a message that could not be read, with its bytes as they were.
pub fn unread(consumer: &str, place: Place, unreadable: &Unreadable, at: DateTime<Utc>) -> DeadLetter {
    let original = unreadable.record.as_ref();
    DeadLetter {
        reason: unreadable.reason,
        detail: unreadable.detail.clone(),
        place,
        last_offset: unreadable.last_offset,
        attempt: None,
        outcome: None,
        output_tail: String::new(),
        original: original.map(|record| Original { key: record.key.clone(), value: record.value.clone() }),
        consumer: consumer.to_owned(),
        at,
    }
}

/// Writes a letter and returns when it is confirmed. One that is too large for the topic is written without the
/// original's value; its place says where that lies as long as the topic keeps it.
///
/// # Errors
/// The broker's refusal, or no answer: write it again.
pub fn write(
    client: &mut dyn Client,
    cluster: &ClusterName,
    mut letter: DeadLetter,
    by: Deadline,
) -> Result<(), BrokerError> {
    match write_once(client, cluster, &letter, by) {
        Err(BrokerError::Refused(ErrorCode::MessageTooLarge)) if letter.original.is_some() => {
            letter.original = letter.original.map(|original| Original { value: None, ..original });
            letter.detail.push_str(" (too large to be kept in the letter)");
            write_once(client, cluster, &letter, by)
        }
        answer => answer,
    }
}

fn write_once(
    client: &mut dyn Client,
    cluster: &ClusterName,
    letter: &DeadLetter,
    by: Deadline,
) -> Result<(), BrokerError> {
    let record = Record {
        key: letter.original.as_ref().and_then(|original| original.key.clone()),
        value: Some(wire::encode(&DeadRecord::Letter(Box::new(letter.clone())))),
        timestamp_ms: letter.at.timestamp_millis(),
    };
    let to = TopicPartition { topic: topics::dead(cluster), partition: 0 };
    client
        .produce(&[ProduceBatch { to, records: vec![record] }], by)
        .into_iter()
        .try_for_each(|a| a.map(drop))
}
