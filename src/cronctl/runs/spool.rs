//! A copy of a long history, divided by the runs that its records are about: Kafka is read once, and each part of the runs is
//! listed from a file of its own.

use std::io;
use std::path::Path;

use super::packed::{Packed, Packing};
use super::part::Part;
use super::peek;
use crate::common::model::RunId;

/// Into how many parts a history is divided, in bits of the runs' ids: an open file and some 200 KiB for each part.
const BITS: u32 = 6;

/// A record as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Whether it is an event of `cron-runs`, and not a message of a cluster's topic.
    pub is_event: bool,
    /// When it was written, in milliseconds since the epoch.
    pub written_ms: i64,
    /// What it holds.
    pub value: &'a [u8],
}

impl<'a> Listed<'a> {
    /// The run that it is about, as far as that shows before it is decoded.
    pub fn run(&self) -> Option<RunId> {
        if self.is_event { peek::event(self.value) } else { peek::message(self.value) }
    }

    /// The job that it is about, as far as that shows before it is decoded.
    pub fn job(&self) -> Option<&'a str> {
        if self.is_event { peek::job_of_event(self.value) } else { peek::job_of_message(self.value) }
    }
}

/// The parts while they are written.
#[derive(Debug)]
pub struct Spool {
    parts: Vec<Packing>,
    bytes: Vec<u8>,
}

impl Spool {
    /// Creates a spool of files in a directory.
    ///
    /// # Errors
    /// The directory does not take them.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let parts = (0..1 << BITS).map(|_| Packing::new(directory)).collect::<io::Result<_>>()?;
        Ok(Self { parts, bytes: Vec::new() })
    }

    /// Adds a record to the part of its run, or to every part where it is about no single run.
    ///
    /// # Errors
    /// The directory has no room.
    pub fn add(&mut self, run: Option<RunId>, record: &Listed<'_>) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.push(u8::from(record.is_event));
        self.bytes.extend(record.written_ms.to_le_bytes());
        self.bytes.extend(record.value);
        match run {
            Some(run) => self.parts[Part::number_of(BITS, run)].add(&self.bytes),
            None => self.parts.iter_mut().try_for_each(|part| part.add(&self.bytes)),
        }
    }

    /// The parts, once all is added.
    ///
    /// # Errors
    /// The directory has no room.
    pub fn finish(self) -> io::Result<Vec<(Part, Packed)>> {
        let parts = (0..).zip(self.parts);
        parts.map(|(number, part)| Ok((Part::numbered(BITS, number), part.finish()?))).collect()
    }
}

/// Reads the records of a part, in the order in which they were added.
///
/// # Errors
/// The file cannot be read.
pub fn read(part: &Packed, mut take: impl FnMut(&Listed<'_>)) -> io::Result<()> {
    let mut reader = part.reader()?;
    while let Some(bytes) = reader.next()? {
        let Some((is_event, rest)) = bytes.split_first() else { continue };
        let Some((written_ms, value)) = rest.split_first_chunk() else { continue };
        let written_ms = i64::from_le_bytes(*written_ms);
        take(&Listed { is_event: *is_event == 1, written_ms, value });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_record_is_in_the_part_of_its_run_and_what_is_about_no_run_is_in_each() {
        let record =
            |n: u64| (n.is_multiple_of(2), i64::try_from(n).unwrap() - 50, format!("{n}").into_bytes());
        let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
        for n in 0..100 {
            let run = (n != 42).then(|| RunId(Uuid::from_u128(n.into())));
            let (is_event, written_ms, value) = record(n);
            spool.add(run, &Listed { is_event, written_ms, value: &value }).unwrap();
        }
        let parts = spool.finish().unwrap();
        assert_eq!(parts.len(), 64);
        for (part, packed) in &parts {
            let has = |n: &u64| *n == 42 || part.has(RunId(Uuid::from_u128((*n).into())));
            let expected: Vec<_> = (0..100).filter(has).map(record).collect();
            let mut found = Vec::new();
            read(packed, |listed| found.push((listed.is_event, listed.written_ms, listed.value.to_vec())))
                .unwrap();
            assert_eq!(found, expected, "{part:?}");
        }
    }
}
