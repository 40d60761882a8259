//! Rows in order, of more runs than fit into memory: each part's rows are written to a file, and read back one row of each file
//! at a time.

use std::io;
use std::path::Path;

use super::packed::{Packed, Packing, Unpacking};
use super::row::Row;

/// Rows that are sorted each for itself.
#[derive(Debug, Default)]
pub struct Merge {
    files: Vec<Packed>,
}

impl Merge {
    /// Writes rows that are in order to a file in a directory.
    ///
    /// # Errors
    /// The directory does not take them.
    pub fn write(&mut self, directory: &Path, rows: impl Iterator<Item = Row>) -> io::Result<()> {
        let mut packing = Packing::new(directory)?;
        for row in rows {
            packing.add(&[&serde_json::to_vec(&row)?])?;
        }
        self.files.push(packing.finish()?);
        Ok(())
    }

    /// Hands over all rows in order.
    ///
    /// # Errors
    /// A file cannot be read, or `take` says so.
    pub fn read(self, mut take: impl FnMut(&Row) -> io::Result<()>) -> io::Result<()> {
        let mut sources = Vec::new();
        for file in &self.files {
            let mut reader = file.reader()?;
            sources.extend(next(&mut reader)?.map(|row| (row, reader)));
        }
        loop {
            let first = sources
                .iter_mut()
                .enumerate()
                .min_by(|(_, (one, _)), (_, (other, _))| one.place().cmp(&other.place()));
            let Some((number, (row, reader))) = first else { return Ok(()) };
            take(row)?;
            match next(reader)? {
                Some(next) => *row = next,
                None => drop(sources.swap_remove(number)),
            }
        }
    }
}

fn next(reader: &mut Unpacking<'_>) -> io::Result<Option<Row>> {
    Ok(reader.next()?.map(serde_json::from_slice).transpose()?)
}
