//! What a fetch brings for one partition: batches one behind the other, the last one perhaps cut.

use bytes::Bytes;

use super::records::{self, Frame};
use super::transactions::Aborted;
use super::unpack::unpack;
use crate::common::bounds;
use crate::common::broker::{FetchedRecord, Undecodable};

/// Base offset and length stand before what the length counts.
const PREFIX: usize = 12;
/// The header of a batch of magic 2.
const HEADER: usize = 61;
/// Where the magic number stands, in every format that Kafka ever had.
const MAGIC: usize = 16;
/// The smallest thing with a magic number: an empty message of magic 0.
const SMALLEST: usize = 26;

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const CODEC: i16 = 0b111;

/// What could be made of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) records: Vec<FetchedRecord>,
    pub(super) undecodable: Vec<Undecodable>,
    pub(super) next_offset: i64,
}

/// Decodes batch by batch, from an offset that may lie inside the first, up to the end of the log, and passes over what was
/// written in transactions that were aborted. It stops where there is no `room` left, in bytes: many small batches may
/// unpack to far more than a process has.
///
/// # Errors
/// When not even the length of the first batch makes sense: then there is no way past it.
pub(super) fn decode(
    mut set: Bytes,
    from: i64,
    end: i64,
    aborted: &mut Aborted,
    room: &mut usize,
) -> Result<Decoded, &'static str> {
    let mut decoded = Decoded { records: Vec::new(), undecodable: Vec::new(), next_offset: from };
    while let Some((base_offset, size)) = split(&set) {
        let Some(size) = size else {
            // Read what came before it; it will be the first one next time.
            let stuck = decoded.next_offset == from;
            return if stuck { Err("a batch whose length makes no sense") } else { Ok(decoded) };
        };
        if set.len() < size {
            break; // cut: it is not here yet
        }
        if *room == 0 {
            break;
        }
        let batch = set.split_to(size);
        let follower = split(&set).map(|(base_offset, _)| base_offset);
        let next = decoded.next_offset;
        match read(&batch, base_offset, aborted) {
            Ok(Batch { last_offset, .. }) if last_offset < next => {}
            Ok(Batch { last_offset, records, bytes }) => {
                *room = room.saturating_sub(bytes);
                decoded.records.extend(records.into_iter().filter(|record| record.offset >= next));
                decoded.next_offset = last_offset.saturating_add(1);
            }
            Err(reason) => {
                let last_offset = last_offset(&batch, base_offset, follower, end);
                if last_offset >= next {
                    let first_offset = base_offset.max(next);
                    decoded.undecodable.push(Undecodable { first_offset, last_offset, reason });
                    decoded.next_offset = last_offset.saturating_add(1);
                }
            }
        }
    }
    Ok(decoded)
}

/// Base offset and size of what comes first; `None` when not even these are there, no size when it makes no sense.
fn split(set: &Bytes) -> Option<(i64, Option<usize>)> {
    let base_offset = i64::from_be_bytes(field(set, 0)?);
    let length = i32::from_be_bytes(field(set, 8)?);
    let size = usize::try_from(length).ok().map(|length| PREFIX + length).filter(|size| *size >= SMALLEST);
    Some((base_offset, size))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

struct Batch {
    last_offset: i64,
    records: Vec<FetchedRecord>,
    /// How large it is unpacked.
    bytes: usize,
}

fn read(batch: &Bytes, base_offset: i64, aborted: &mut Aborted) -> Result<Batch, String> {
    let magic = batch.get(MAGIC).copied().unwrap_or_default();
    if magic != 2 {
        return Err(format!("it is of magic {magic}, which is not read here"));
    }
    let header = "its header is cut";
    let crc = u32::from_be_bytes(field(batch, 17).ok_or(header)?);
    let checked = batch.get(21..).ok_or(header)?;
    if batch.len() < HEADER {
        return Err(header.to_owned());
    }
    if crc32c::crc32c(checked) != crc {
        return Err("its checksum is wrong".to_owned());
    }
    let attributes = i16::from_be_bytes(field(batch, 21).ok_or(header)?);
    let span = i32::from_be_bytes(field(batch, 23).ok_or(header)?);
    let last_offset = base_offset.checked_add(span.into()).filter(|last| *last >= base_offset);
    let last_offset = last_offset.ok_or("its last offset makes no sense")?;
    let producer = i64::from_be_bytes(field(batch, 43).ok_or(header)?);
    let is_control = attributes & CONTROL != 0;
    if attributes & TRANSACTIONAL != 0 && !is_control && aborted.holds(producer, last_offset) {
        return Ok(Batch { last_offset, records: Vec::new(), bytes: 0 });
    }
    let max_timestamp = i64::from_be_bytes(field(batch, 35).ok_or(header)?);
    let frame = Frame {
        base_offset,
        last_offset,
        base_timestamp_ms: i64::from_be_bytes(field(batch, 27).ok_or(header)?),
        append_time_ms: (attributes & LOG_APPEND_TIME != 0).then_some(max_timestamp),
        count: i32::from_be_bytes(field(batch, 57).ok_or(header)?),
    };
    let unpacked = unpack(batch.slice(HEADER..), attributes & CODEC, bounds::UNPACKED_BATCH_BYTES)?;
    let records = records::read(&unpacked, &frame);
    if is_control {
        // The end of a transaction, for brokers and for us: it is no record. One that cannot be read ends none.
        aborted.marker(producer, last_offset, &records.unwrap_or_default());
        return Ok(Batch { last_offset, records: Vec::new(), bytes: 0 });
    }
    Ok(Batch { last_offset, records: records?, bytes: unpacked.len() })
}

/// The last offset of a batch that cannot be read. Where its header may be what is broken, what follows it in the
/// log is the better witness, and nothing lies beyond the end of the log.
fn last_offset(batch: &Bytes, base_offset: i64, follower: Option<i64>, end: i64) -> i64 {
    if let Some(follower) = follower.filter(|follower| *follower > base_offset && *follower <= end) {
        return follower - 1;
    }
    // The older formats name their last offset and no other.
    let span = if batch.get(MAGIC) == Some(&2) { field(batch, 23).map_or(0, i32::from_be_bytes) } else { 0 };
    base_offset.saturating_add(span.max(0).into()).min(end.saturating_sub(1)).max(base_offset)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::AbortedTransaction;

    use super::*;
    use crate::common::broker::Record;
    use crate::common::broker::kafka::produce;

    /// A batch of three records, as this client writes it and a broker numbers it.
    fn batch(base_offset: i64) -> Vec<u8> {
        let record = |key: Option<&'static str>, value: Option<&'static str>| Record {
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
            timestamp_ms: 1_700_000_000_000,
        };
        let records = [record(Some("k"), Some("v")), record(None, Some("")), record(Some(""), None)];
        let mut bytes = produce::encode(&records).unwrap().to_vec();
        bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes
    }

    /// The same with some bytes of its checked part bent, and the checksum made right again.
    fn bent(base_offset: i64, at: usize, with: &[u8]) -> Vec<u8> {
        let mut bytes = batch(base_offset);
        bytes[at..at + with.len()].copy_from_slice(with);
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn corrupt(base_offset: i64) -> Vec<u8> {
        let mut bytes = batch(base_offset);
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    }

    /// Offsets read, ranges that cannot be decoded, and where to go on.
    type Seen = (Vec<i64>, Vec<(i64, i64)>, i64);

    fn seen(set: &[u8], from: i64) -> Option<Seen> {
        let decoded =
            decode(Bytes::copy_from_slice(set), from, 100, &mut Aborted::default(), &mut { usize::MAX })
                .ok()?;
        let offsets = decoded.records.iter().map(|record| record.offset).collect();
        let ranges = decoded.undecodable.iter().map(|u| (u.first_offset, u.last_offset)).collect();
        Some((offsets, ranges, decoded.next_offset))
    }

    #[test]
    fn keys_values_and_nulls_come_back_as_they_were() {
        let decoded = decode(batch(5).into(), 5, 8, &mut Aborted::default(), &mut { usize::MAX }).unwrap();
        let check = |i: usize, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>| {
            let record = &decoded.records[i];
            assert_eq!((record.offset, record.key.as_deref(), record.value.as_deref()), (offset, key, value));
        };
        check(0, 5, Some(b"k"), Some(b"v"));
        check(1, 6, None, Some(b""));
        check(2, 7, Some(b""), None);
        assert!(decoded.records.iter().all(|record| record.timestamp_ms == 1_700_000_000_000));
    }

    #[test]
    fn what_has_no_room_when_it_is_unpacked_is_left_to_the_next_fetch() {
        let set: Bytes = [batch(0), batch(3), batch(6)].concat().into();
        let unpacked = batch(0).len() - HEADER;
        let check = |room: usize, count: usize, left: usize| {
            let mut left_over = room;
            let decoded = decode(set.clone(), 0, 9, &mut Aborted::default(), &mut left_over).unwrap();
            let next = i64::try_from(count).unwrap();
            assert_eq!(
                (decoded.records.len(), decoded.next_offset, left_over),
                (count, next, left),
                "{room}"
            );
        };
        check(0, 0, 0);
        check(1, 3, 0);
        check(unpacked, 3, 0);
        check(unpacked + 1, 6, 0);
        check(4 * unpacked, 9, unpacked);
    }

    #[test]
    fn nothing_stands_in_the_way_of_what_is_behind_it() {
        let check = |parts: &[&[u8]], from: i64, offsets: &[i64], ranges: &[(i64, i64)], next: i64| {
            let expected = (offsets.to_vec(), ranges.to_vec(), next);
            assert_eq!(seen(&parts.concat(), from), Some(expected));
        };
        check(&[], 7, &[], &[], 7);
        check(&[&batch(0), &batch(3)], 0, &[0, 1, 2, 3, 4, 5], &[], 6);
        // Records below the offset asked for, and whole batches of them.
        check(&[&batch(0), &batch(3)], 2, &[2, 3, 4, 5], &[], 6);
        check(&[&batch(0), &batch(3)], 4, &[4, 5], &[], 6);
        // A cut last batch is not here yet, wherever it is cut.
        for cut in 0..batch(3).len() {
            check(&[&batch(0), &batch(3)[..cut]], 0, &[0, 1, 2], &[], 3);
        }
        // A gap, as compaction and transactions leave them.
        check(&[&batch(0), &batch(50)], 0, &[0, 1, 2, 50, 51, 52], &[], 53);
        // A wrong checksum; in the middle the batch behind it tells where it ends.
        check(&[&batch(0), &corrupt(3), &batch(10)], 0, &[0, 1, 2, 10, 11, 12], &[(3, 9)], 13);
        check(&[&corrupt(3)], 4, &[], &[(4, 5)], 6);
        // A codec that is unknown, and bytes that are of none of the others.
        for codec in [7, 1, 2, 3, 4] {
            check(&[&bent(0, 22, &[codec]), &batch(3)], 0, &[3, 4, 5], &[(0, 2)], 6);
        }
        // The end of a transaction is for brokers only.
        check(&[&bent(0, 22, &[0x20]), &batch(3)], 0, &[3, 4, 5], &[], 6);
        // Record counts that the bytes cannot hold, or do not; a count below zero.
        for count in [i32::MAX, 4, 2, -1] {
            check(&[&bent(0, 57, &count.to_be_bytes()), &batch(3)], 0, &[3, 4, 5], &[(0, 2)], 6);
        }
        // A last offset before the first, and records beyond it.
        check(&[&bent(0, 23, &(-5_i32).to_be_bytes()), &batch(3)], 0, &[3, 4, 5], &[(0, 2)], 6);
        check(&[&bent(0, 23, &1_i32.to_be_bytes()), &batch(3)], 0, &[3, 4, 5], &[(0, 2)], 6);
        // A format of long ago.
        let mut old = batch(0);
        old[MAGIC] = 1;
        check(&[&old, &batch(3)], 0, &[3, 4, 5], &[(0, 2)], 6);
    }

    #[test]
    fn what_was_written_in_an_aborted_transaction_is_not_delivered() {
        // A batch or a marker of a writer, in a transaction.
        let of = |base_offset: i64, producer: i64, control: u8, key: &'static [u8]| {
            let record = Record { key: Some(Bytes::from_static(key)), value: None, timestamp_ms: 1 };
            let mut bytes = produce::encode(&[record]).unwrap().to_vec();
            bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
            bytes[22] |= 0x10 | control;
            bytes[43..51].copy_from_slice(&producer.to_be_bytes());
            let crc = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            bytes
        };
        let data = |at, producer| of(at, producer, 0, b"k");
        let [abort, commit] = [&[0, 0, 0, 0], &[0, 0, 0, 1]]
            .map(|key: &'static [u8; 4]| move |at, producer| of(at, producer, 0x20, key));
        let set = [
            data(0, 7),
            data(1, 8),
            batch(2), // 2 to 4, in no transaction
            data(5, 7),
            abort(6, 7),
            data(7, 7), // another transaction of the same writer
            commit(8, 8),
            data(9, 8),
            commit(10, 7),
            abort(11, 8),
            data(12, 9), // not ended yet: of those that are not told of here
        ]
        .concat();
        let check = |named: &[(i64, i64)], from: i64, offsets: &[i64]| {
            let named: Vec<AbortedTransaction> = named
                .iter()
                .map(|(producer, first)| {
                    AbortedTransaction::default()
                        .with_producer_id((*producer).into())
                        .with_first_offset(*first)
                })
                .collect();
            let start = usize::try_from(from).unwrap();
            let all = Bytes::from(set.clone());
            let decoded = decode(all, from, 100, &mut Aborted::new(&named), &mut { usize::MAX }).unwrap();
            let found: Vec<i64> = decoded.records.iter().map(|record| record.offset).collect();
            assert_eq!((found.as_slice(), decoded.next_offset), (offsets, 13), "{named:?} from {start}");
        };
        check(&[], 0, &[0, 1, 2, 3, 4, 5, 7, 9, 12]);
        check(&[(7, 0), (8, 9)], 0, &[1, 2, 3, 4, 7, 12]);
        check(&[(8, 9), (7, 0)], 3, &[3, 4, 7, 12]);
    }

    #[test]
    fn a_broken_last_offset_skips_nothing_beyond_the_log() {
        let mut last = corrupt(95);
        last[23..27].copy_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(seen(&last, 95), Some((vec![], vec![(95, 99)], 100)));
    }

    #[test]
    fn a_length_that_makes_no_sense_is_reported_once_nothing_else_is_left() {
        let mut broken = batch(3);
        broken[8..12].copy_from_slice(&(-1_i32).to_be_bytes());
        assert_eq!(seen(&broken, 3), None);
        assert_eq!(seen(&[batch(0), broken].concat(), 0), Some((vec![0, 1, 2], vec![], 3)));
    }

    #[test]
    fn the_brokers_time_stands_for_that_of_every_record() {
        let mut bytes = batch(0);
        bytes[22] |= 8;
        bytes[35..43].copy_from_slice(&1_800_000_000_000_i64.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let decoded = decode(bytes.into(), 0, 3, &mut Aborted::default(), &mut { usize::MAX }).unwrap();
        assert!(decoded.records.iter().all(|record| record.timestamp_ms == 1_800_000_000_000));
    }

    #[test]
    fn bent_records_are_no_panic() {
        let whole = batch(0);
        for at in 21..whole.len() {
            for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let (offsets, ranges, next) = seen(&bent(0, at, &[byte]), 0).unwrap();
                assert!(
                    next > 0 && (offsets.is_empty() || ranges.is_empty()),
                    "byte {at}: {offsets:?} {ranges:?}"
                );
            }
        }
    }
}
