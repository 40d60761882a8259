//! The records inside a batch of magic 2 (KIP-98), read without believing any count or length.
//!
//! The generated library's own reader allocates what a header count asks for, and takes the first record's time
//! plus a difference where the broker's time of `LogAppendTime` stands elsewhere.

use bytes::Bytes;

use crate::common::broker::FetchedRecord;

/// Seven one-byte fields: length, attributes, time, offset, key, value, header count.
const SMALLEST: usize = 7;

/// What the batch's header says of the records in it.
pub(super) struct Frame {
    pub(super) base_offset: i64,
    pub(super) last_offset: i64,
    pub(super) base_timestamp_ms: i64,
    /// The broker's time, which stands for that of every record.
    pub(super) append_time_ms: Option<i64>,
    pub(super) count: i32,
}

/// All records of a batch, in order.
pub(super) fn read(unpacked: &Bytes, of: &Frame) -> Result<Vec<FetchedRecord>, &'static str> {
    let count = usize::try_from(of.count).map_err(|_| "its record count is negative")?;
    if count > unpacked.len() / SMALLEST {
        return Err("it claims more records than its bytes can hold");
    }
    let mut records = Vec::with_capacity(count);
    let mut rest = Cursor(unpacked);
    let mut expected = of.base_offset;
    for _ in 0..count {
        let length = rest.length()?.ok_or("a record has no length")?;
        let body = rest.take(length)?;
        let record = record(body, of)?;
        if record.offset < expected || record.offset > of.last_offset {
            return Err("a record's offset is not of this batch");
        }
        expected = record.offset + 1;
        records.push(record);
    }
    if rest.0.is_empty() { Ok(records) } else { Err("there are bytes after its last record") }
}

fn record(body: &[u8], of: &Frame) -> Result<FetchedRecord, &'static str> {
    let mut rest = Cursor(body);
    rest.take(1)?; // attributes, unused
    let since_base = rest.number()?;
    let offset = of.base_offset.checked_add(rest.number()?).ok_or("an offset overflows")?;
    let timestamp_ms =
        of.append_time_ms.or(of.base_timestamp_ms.checked_add(since_base)).ok_or("a time overflows")?;
    let content = rest.0;
    let place = |field: Option<&[u8]>, end: usize| field.map(|field| (end - field.len(), end));
    let key = rest.bytes()?;
    let key = place(key, content.len() - rest.0.len());
    let value = rest.bytes()?;
    let value = place(value, content.len() - rest.0.len());
    let fields = &content[..content.len() - rest.0.len()];
    let headers = rest.length()?.ok_or("a record has no header count")?;
    for _ in 0..headers {
        rest.bytes()?.ok_or("a header has no name")?;
        rest.bytes()?;
    }
    if !rest.0.is_empty() {
        return Err("a record is longer than its fields");
    }
    // A copy of its own: a slice would keep the whole fetch in memory as long as one message is held.
    let fields = Bytes::copy_from_slice(fields);
    let part = |place: Option<(usize, usize)>| place.map(|(start, end)| fields.slice(start..end));
    Ok(FetchedRecord { offset, timestamp_ms, key: part(key), value: part(value) })
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("a record is cut")?;
        self.0 = rest;
        Ok(taken)
    }

    /// A variable-length number in zigzag, as in protocol buffers.
    fn number(&mut self) -> Result<i64, &'static str> {
        let mut zigzag = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first().ok_or("a record is cut")?;
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            }
        }
        Err("a number does not end")
    }

    /// A length; `None` for null.
    fn length(&mut self) -> Result<Option<usize>, &'static str> {
        match self.number()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| "a length is negative"),
        }
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        self.length()?.map(|length| self.take(length)).transpose()
    }
}
