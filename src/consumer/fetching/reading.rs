//! Records as attempts: what a record asks for, or why it can never be run here.

use std::ops::Range;

use uuid::Uuid;

use crate::common::broker::{BrokerError, ErrorCode, Fetched, FetchedRecord, Undecodable};
use crate::common::model::{Attempt, ClusterName};
use crate::common::wire::{self, DeadReason, WireError};
use crate::common::{bounds, passing};

/// A message that no consumer has claimed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it asks for.
    pub attempt: Attempt,
    /// When it was written, in milliseconds since the epoch by the writer's clock.
    pub published_ms: i64,
    /// Its size on the wire.
    pub bytes: usize,
}

/// A record as it goes from a fetcher to the claiming thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// An attempt of this cluster.
    Attempt(Held),
    /// No attempt, or not one of this cluster's: it belongs into the dead-letter topic as it is.
    Unreadable(Unreadable),
}

/// A piece of a partition's log, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSlice {
    /// The id of the topic that was read.
    pub topic_id: Uuid,
    /// What lies there, by offset.
    pub records: Vec<(i64, Read)>,
    /// From where was read, and where reading goes on.
    pub span: Range<i64>,
}

/// What a fetch from `offset` brought.
pub fn slice(offset: i64, fetched: Fetched, cluster: &ClusterName) -> LogSlice {
    let (topic_id, span) = (fetched.topic_id, offset..fetched.next_offset);
    LogSlice { topic_id, records: read_all(fetched, cluster), span }
}

/// Whether a refused fetch says that the log is not the one that our position is in: it was cut, its beginning was
/// deleted, or the topic was deleted and perhaps made anew. Then the position must be looked up again.
pub fn loses_position(error: &BrokerError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::OffsetOutOfRange | ErrorCode::UnknownTopicId | ErrorCode::InconsistentTopicId)
    )
}

/// A record that cannot be run and belongs into the dead-letter topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The last offset concerned: more than one where a batch could not be decoded.
    pub last_offset: i64,
    /// The bounded word for why.
    pub reason: DeadReason,
    /// The same in a sentence.
    pub detail: String,
    /// The record, where there is one.
    pub record: Option<FetchedRecord>,
}

/// Everything that was fetched, by offset: records and batches that could not be decoded, in the log's order.
fn read_all(fetched: Fetched, cluster: &ClusterName) -> Vec<(i64, Read)> {
    let mut all: Vec<(i64, Read)> =
        fetched.records.into_iter().map(|record| (record.offset, read(record, cluster))).collect();
    if !fetched.undecodable.is_empty() {
        all.extend(fetched.undecodable.iter().map(undecodable));
        all.sort_by_key(|(offset, _)| *offset);
    }
    all
}

fn undecodable(batch: &Undecodable) -> (i64, Read) {
    let unreadable = Unreadable {
        last_offset: batch.last_offset,
        reason: DeadReason::Undecodable,
        detail: format!(
            "the batch at offsets {} to {} cannot be decoded: {}",
            batch.first_offset, batch.last_offset, batch.reason
        ),
        record: None,
    };
    (batch.first_offset, Read::Unreadable(unreadable))
}

/// One record.
pub fn read(record: FetchedRecord, cluster: &ClusterName) -> Read {
    let value = record.value.as_deref();
    let attempt = match value.map(wire::decode_attempt) {
        Some(Ok(mut attempt)) if attempt.run.cluster == *cluster => {
            let bytes = value.map_or(0, <[u8]>::len);
            attempt.not_before = passing::may_start(&attempt, record.timestamp_ms);
            return Read::Attempt(Held { attempt, published_ms: record.timestamp_ms, bytes });
        }
        other => other,
    };
    let (reason, detail) = match attempt {
        Some(Ok(attempt)) => {
            let theirs = &attempt.run.cluster;
            (DeadReason::WrongCluster, format!("the message is for cluster {theirs}, and this is {cluster}"))
        }
        Some(Err(error @ WireError::UnknownVersion(_))) => (DeadReason::UnknownVersion, brief(&error)),
        Some(Err(error @ WireError::Malformed(_))) => (DeadReason::Malformed, brief(&error)),
        None => (DeadReason::Malformed, "malformed message: no value".to_owned()),
    };
    let last_offset = record.offset;
    Read::Unreadable(Unreadable { last_offset, reason, detail, record: Some(record) })
}

/// What is wrong, cut to a length that fits everywhere: the words may quote all of the message.
fn brief(error: &WireError) -> String {
    let mut words = error.to_string();
    let end = (0..=bounds::DETAIL_BYTES).rev().find(|end| words.is_char_boundary(*end)).unwrap_or_default();
    if words.len() > end {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const GOOD: &str = r#"{"v":1,"run":{"id":"00000000-0000-0000-0000-000000000001","job":"j","cluster":"a",
        "scheduled_at":"2026-11-23T17:00:00Z","command":"true","limits":{"grace_ms":1},
        "retry":{"retries":0,"backoff_ms":1,"backoff_max_ms":1},"revision":"r","later":7},
        "attempt":1,"attempts_left":0,"unknown":[]}"#;

    fn check(value: Option<&str>, expected: Result<(), DeadReason>) {
        let value = value.map(|text| Bytes::from(text.to_owned()));
        let record = FetchedRecord { offset: 3, timestamp_ms: 5, key: None, value };
        let got = match read(record.clone(), &ClusterName::new("a").unwrap()) {
            Read::Attempt(_) => Ok(()),
            Read::Unreadable(unreadable) => {
                assert_eq!(unreadable.record, Some(record), "the bytes are kept as they were");
                Err(unreadable.reason)
            }
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn what_cannot_be_run_here_is_told_apart() {
        check(Some(GOOD), Ok(()));
        check(Some(&GOOD.replace(r#""cluster":"a""#, r#""cluster":"b""#)), Err(DeadReason::WrongCluster));
        check(Some(&GOOD.replace(r#""v":1"#, r#""v":2"#)), Err(DeadReason::UnknownVersion));
        check(Some(&GOOD.replace(r#""v":1,"#, "")), Err(DeadReason::Malformed));
        check(Some(&GOOD.replace(r#""attempt":1"#, r#""attempt":0"#)), Err(DeadReason::Malformed));
        let limits = |resources: &str| {
            GOOD.replace(r#""limits""#, &format!(r#""resources":{{{resources}}},"limits""#))
        };
        check(Some(&limits(r#""nice":19"#)), Ok(()));
        check(Some(&limits(r#""nice":99"#)), Err(DeadReason::Malformed));
        check(Some(&limits(r#""cpu_s":0"#)), Err(DeadReason::Malformed));
        check(Some(r#"{"v":99}"#), Err(DeadReason::UnknownVersion));
        check(Some(r#"{"v":"1"}"#), Err(DeadReason::Malformed));
        check(Some(""), Err(DeadReason::Malformed));
        check(None, Err(DeadReason::Malformed));
    }

    #[test]
    fn what_is_wrong_is_said_briefly_however_much_of_the_message_it_quotes() {
        for text in ["\u{7f}".repeat(200_000), "ä".repeat(200_000)] {
            let value = Some(Bytes::from(format!("\"{text}\"")));
            let record = FetchedRecord { offset: 3, timestamp_ms: 5, key: None, value };
            let Read::Unreadable(unreadable) = read(record, &ClusterName::new("a").unwrap()) else {
                panic!()
            };
            let length = unreadable.detail.len();
            assert!((400..600).contains(&length), "{length}: {}", unreadable.detail);
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_malformed_and_never_a_panic() {
        for end in (0..GOOD.len()).filter(|end| GOOD.is_char_boundary(*end)) {
            check(Some(&GOOD[..end]), Err(DeadReason::Malformed));
        }
    }
}
