//! Messages that could not be decoded when their letter was written, read again from where they lie.

use std::time::Duration;

use super::{Kafka, soon};
use crate::common::bounds::FETCH_BYTES;
use crate::common::broker::{BrokerError, ErrorCode, FetchedRecord, TopicPartition, Want};
use crate::common::wire::{DeadLetter, Original};

/// The messages that a letter is about, in order, as they can be read now; or why they cannot be had.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub(super) fn reread(
    letter: &DeadLetter,
    client: Kafka<'_>,
) -> Result<Result<Vec<Original>, String>, BrokerError> {
    let place = &letter.place;
    let of = TopicPartition { topic: place.topic.clone(), partition: place.partition };
    let gone = || Ok(Err(format!("topic {} is not the one any more that held its messages", place.topic)));
    let Some(state) = client.topic(&place.topic, soon())?.filter(|state| state.id == place.topic_id) else {
        return gone();
    };
    let partition = state.partitions.iter().find(|partition| partition.partition == place.partition);
    let leader = partition.and_then(|partition| partition.leader);
    let mut found: Vec<Original> = Vec::new();
    let mut next = place.offset;
    while next <= letter.last_offset {
        let want = Want { from: of.clone(), offset: next, max_bytes: FETCH_BYTES };
        let fetched = match client.fetch_one(leader, want, Duration::from_millis(100), soon()) {
            Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => {
                return Ok(Err("its messages were deleted".to_owned()));
            }
            fetched => fetched?,
        };
        let Some(fetched) = fetched else {
            return Ok(Err("the broker says nothing about its messages".to_owned()));
        };
        if let Some(batch) = fetched.undecodable.iter().find(|batch| batch.first_offset <= letter.last_offset)
        {
            return Ok(Err(format!("its messages still cannot be decoded: {}", batch.reason)));
        }
        if fetched.next_offset <= next {
            return Ok(Err("its messages are not there".to_owned()));
        }
        let concerned = |record: &FetchedRecord| record.offset <= letter.last_offset;
        let original = |record: FetchedRecord| Original { key: record.key, value: record.value };
        found.extend(fetched.records.into_iter().filter(concerned).map(original));
        next = fetched.next_offset;
    }
    Ok(if found.is_empty() { Err("its messages are not there".to_owned()) } else { Ok(found) })
}
