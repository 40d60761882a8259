//! One partition's log: batches of records, whole or not at all.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::common::broker::{ErrorCode, Fetched, FetchedRecord, NodeId, Record, Undecodable};

/// The header of a batch in Kafka's format (magic 2, KIP-98).
const BATCH_HEADER: usize = 61;

/// A partition as its leader keeps it.
#[derive(Debug)]
pub(super) struct PartitionLog {
    /// Which broker leads it; `None` while none does.
    pub(super) leader: Option<NodeId>,
    /// From where on a transaction is open.
    pub(super) open_from: Option<i64>,
    start: i64,
    end: i64,
    batches: VecDeque<Batch>,
}

#[derive(Debug)]
struct Batch {
    base: i64,
    last: i64,
    bytes: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Records(Vec<FetchedRecord>),
    /// It is whole, and its content makes no sense.
    Spoiled(String),
    /// The end of a transaction, or what was written in one that was aborted: takes offsets and holds nothing to read.
    Marker,
}

impl PartitionLog {
    pub(super) fn new(leader: Option<NodeId>) -> Self {
        Self { leader, open_from: None, start: 0, end: 0, batches: VecDeque::new() }
    }

    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The next record's offset. All copies have everything, so it is the high watermark too.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The first offset whose record is of that time or later; the end where there is none.
    pub(super) fn since(&self, ms: i64) -> i64 {
        let records = self.batches.iter().flat_map(|batch| match &batch.content {
            Content::Records(records) => records.as_slice(),
            Content::Spoiled(_) | Content::Marker => &[],
        });
        let mut left = records.filter(|record| record.offset >= self.start);
        left.find(|record| record.timestamp_ms >= ms).map_or(self.end, |record| record.offset)
    }

    /// Writes a batch and returns its first offset.
    pub(super) fn append(&mut self, records: &[Record], append_time_ms: Option<i64>) -> i64 {
        let bytes = batch_bytes(records);
        let fetched = |(offset, record): (i64, &Record)| FetchedRecord {
            offset,
            timestamp_ms: append_time_ms.unwrap_or(record.timestamp_ms),
            key: record.key.clone(),
            value: record.value.clone(),
        };
        let records: Vec<FetchedRecord> = (self.end..).zip(records).map(fetched).collect();
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        self.push(count, bytes, Content::Records(records))
    }

    /// Writes the mark that ends a transaction.
    pub(super) fn append_marker(&mut self) -> i64 {
        self.push(1, BATCH_HEADER + 16, Content::Marker)
    }

    /// Writes what a transaction that is aborted wrote: so many offsets.
    pub(super) fn append_aborted(&mut self, count: i64) -> i64 {
        self.push(count, BATCH_HEADER, Content::Marker)
    }

    fn push(&mut self, count: i64, bytes: usize, content: Content) -> i64 {
        let base = self.end;
        self.end += count;
        self.batches.push_back(Batch { base, last: self.end - 1, bytes, content });
        base
    }

    /// Makes the batch that holds `offset` one that cannot be decoded.
    pub(super) fn spoil(&mut self, offset: i64, reason: &str) {
        if let Some(batch) = self.batches.iter_mut().find(|b| (b.base..=b.last).contains(&offset)) {
            batch.content = Content::Spoiled(reason.to_owned());
        }
    }

    /// Deletes what lies below `offset`, as retention does. A batch goes when all of it is below.
    pub(super) fn delete_below(&mut self, offset: i64) {
        self.start = offset.clamp(self.start, self.end);
        while self.batches.front().is_some_and(|batch| batch.last < self.start) {
            self.batches.pop_front();
        }
    }

    /// Cuts the log so that it ends at `end` or, where that lies inside a batch, before the batch: what a leader that
    /// had less than its predecessor does to it.
    pub(super) fn cut(&mut self, end: i64) {
        while let Some(batch) = self.batches.pop_back_if(|batch| batch.last >= end) {
            self.end = batch.base;
        }
        self.start = self.start.min(self.end);
    }

    /// Reads whole batches from `offset` on, as far as `limit` bytes allow; the first is taken whatever its size
    /// where `first_whole` says so. Returns what was read and its size; the topic's id is the cluster's to add.
    ///
    /// # Errors
    /// The code when the offset lies outside the log.
    pub(super) fn read(
        &self,
        offset: i64,
        limit: usize,
        first_whole: bool,
    ) -> Result<(Fetched, usize), ErrorCode> {
        if !(self.start..=self.end).contains(&offset) {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let (start_offset, end_offset, log_end) = (self.start, self.end, self.end);
        let (records, undecodable) = (Vec::new(), Vec::new());
        let (topic_id, next_offset) = (Uuid::nil(), offset);
        let mut fetched =
            Fetched { topic_id, records, undecodable, next_offset, start_offset, end_offset, log_end };
        let mut taken = 0;
        for batch in self.batches.iter().filter(|batch| batch.last >= offset) {
            if taken + batch.bytes > limit && !(first_whole && taken == 0) {
                break;
            }
            taken += batch.bytes;
            match &batch.content {
                Content::Records(all) => {
                    fetched.records.extend(all.iter().filter(|record| record.offset >= offset).cloned());
                }
                Content::Spoiled(reason) => fetched.undecodable.push(Undecodable {
                    first_offset: batch.base.max(offset),
                    last_offset: batch.last,
                    reason: reason.clone(),
                }),
                Content::Marker => {}
            }
            fetched.next_offset = batch.last + 1;
        }
        Ok((fetched, taken))
    }
}

/// How many bytes a batch takes in Kafka's format, uncompressed and without headers. This is what
/// `max.message.bytes` and the limits of a fetch count.
pub(super) fn batch_bytes(records: &[Record]) -> usize {
    let first = records.first().map_or(0, |record| record.timestamp_ms);
    let record = |(i, record): (usize, &Record)| {
        let field = |field: &Option<bytes::Bytes>| {
            field.as_ref().map_or(varint_bytes(-1), |field| varint_bytes(signed(field.len())) + field.len())
        };
        // Attributes and a count of headers take a byte each.
        let body = 2
            + varint_bytes(record.timestamp_ms.wrapping_sub(first))
            + varint_bytes(signed(i))
            + field(&record.key)
            + field(&record.value);
        varint_bytes(signed(body)) + body
    };
    BATCH_HEADER + records.iter().enumerate().map(record).sum::<usize>()
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The length of a variable-length number in zigzag, as in protocol buffers.
fn varint_bytes(number: i64) -> usize {
    let zigzag = ((number << 1) ^ (number >> 63)).cast_unsigned();
    let bits = usize::try_from(64 - zigzag.leading_zeros()).unwrap_or(64);
    bits.div_ceil(7).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(value: &'static str) -> Record {
        Record { key: None, value: Some(Bytes::from_static(value.as_bytes())), timestamp_ms: 7 }
    }

    fn log(batches: &[usize]) -> PartitionLog {
        let mut log = PartitionLog::new(Some(1));
        for count in batches {
            log.append(&vec![record("x"); *count], None);
        }
        log
    }

    fn check(log: &PartitionLog, offset: i64, limit: usize, expected: Result<(&[i64], i64), ErrorCode>) {
        let read = log.read(offset, limit, true).map(|(fetched, _)| {
            (fetched.records.iter().map(|r| r.offset).collect::<Vec<_>>(), fetched.next_offset)
        });
        assert_eq!(read, expected.map(|(offsets, next)| (offsets.to_vec(), next)), "from {offset}");
    }

    #[test]
    fn a_fetch_brings_whole_batches_and_at_least_one() {
        let log = log(&[2, 2, 2]);
        let two = 2 * batch_bytes(&[record("x"), record("x")]);
        check(&log, 0, 1, Ok((&[0, 1], 2)));
        check(&log, 0, two, Ok((&[0, 1, 2, 3], 4)));
        check(&log, 0, two - 1, Ok((&[0, 1], 2)));
        check(&log, 1, two, Ok((&[1, 2, 3], 4)));
        check(&log, 6, two, Ok((&[], 6)));
        check(&log, 7, two, Err(ErrorCode::OffsetOutOfRange));
        assert_eq!(log.read(0, 1, false).unwrap().0.next_offset, 0, "not the first of its request");
    }

    #[test]
    fn what_is_deleted_or_cut_is_out_of_range() {
        let mut log = log(&[2, 2, 2]);
        log.delete_below(3);
        check(&log, 2, 999, Err(ErrorCode::OffsetOutOfRange));
        check(&log, 3, 999, Ok((&[3, 4, 5], 6)));
        log.cut(5);
        assert_eq!((log.start(), log.end()), (3, 4), "the batch of 4 and 5 is gone");
        log.cut(0);
        assert_eq!((log.start(), log.end()), (2, 2));
    }

    #[test]
    fn reading_goes_past_what_holds_nothing_to_read() {
        let mut log = log(&[2]);
        log.append_marker();
        check(&log, 0, 999, Ok((&[0, 1], 3)));
        log.spoil(1, "bits");
        check(&log, 1, 999, Ok((&[], 3)));
        let spoiled = log.read(1, 999, true).unwrap().0.undecodable;
        assert_eq!((spoiled[0].first_offset, spoiled[0].last_offset), (1, 1));
    }
}
