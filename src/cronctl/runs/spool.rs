//! A copy of a long history, divided by the runs that its events are about: Kafka is read once, and each part of the runs is
//! listed from a file of its own.

use std::io;
use std::path::Path;

use super::packed::{Packed, Packing};
use super::part::Part;
use crate::common::model::RunId;

/// Into how many parts a history is divided, in bits of the runs' ids: an open file and some 200 KiB for each part.
const BITS: u32 = 6;

/// The parts while they are written.
#[derive(Debug)]
pub struct Spool {
    parts: Vec<Packing>,
}

impl Spool {
    /// Creates a spool of files in a directory.
    ///
    /// # Errors
    /// The directory does not take them.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let parts = (0..1 << BITS).map(|_| Packing::new(directory)).collect::<io::Result<_>>()?;
        Ok(Self { parts })
    }

    /// Adds an event, given in pieces, to the part of its run. It was written at `written_ms`, in milliseconds since the epoch.
    ///
    /// # Errors
    /// The directory has no room.
    pub fn add(&mut self, run: RunId, written_ms: i64, event: [&[u8]; 2]) -> io::Result<()> {
        let [one, other] = event;
        self.parts[Part::number_of(BITS, run)].add(&[&written_ms.to_le_bytes(), one, other])
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

/// Reads the events of a part, in the order in which they were added, each with the milliseconds at which it was written.
///
/// # Errors
/// The file cannot be read.
pub fn read(part: &Packed, mut take: impl FnMut(i64, &[u8])) -> io::Result<()> {
    let mut reader = part.reader()?;
    while let Some(item) = reader.next()? {
        if let Some((written_ms, event)) = item.split_first_chunk() {
            take(i64::from_le_bytes(*written_ms), event);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_event_is_in_the_part_of_its_run() {
        let run = |n: i64| RunId(Uuid::from_u128(u128::try_from(n).unwrap()));
        let mut spool = Spool::new(&std::env::temp_dir()).unwrap();
        for n in 0..200 {
            spool.add(run(n), n - 50, [b"n = ", n.to_string().as_bytes()]).unwrap();
        }
        let parts = spool.finish().unwrap();
        assert_eq!(parts.len(), 64);
        for (part, packed) in &parts {
            let expected: Vec<_> = (0..200)
                .filter(|n| part.has(run(*n)))
                .map(|n| (n - 50, format!("n = {n}").into_bytes()))
                .collect();
            assert!(!expected.is_empty());
            let mut found = Vec::new();
            read(packed, |written_ms, event| found.push((written_ms, event.to_vec()))).unwrap();
            assert_eq!(found, expected, "{part:?}");
        }
    }
}
