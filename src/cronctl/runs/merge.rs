//! Rows in order, of more runs than fit into memory: each part's rows are written to a file that has no name any more, and read
//! back one row of each file at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use uuid::Uuid;

use super::row::Row;

/// Rows that are sorted each for itself.
#[derive(Debug, Default)]
pub struct Merge {
    files: Vec<File>,
}

impl Merge {
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes rows that are in order.
    ///
    /// # Errors
    /// The directory for temporary files (`TMPDIR`) does not take them.
    pub fn write(&mut self, rows: impl Iterator<Item = Row>) -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("cronctl-runs-{}", Uuid::new_v4()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        let mut writer = BufWriter::new(file);
        for row in rows {
            serde_json::to_writer(&mut writer, &row)?;
            writer.write_all(b"\n")?;
        }
        let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        self.files.push(file);
        Ok(())
    }

    /// Hands over all rows in order.
    ///
    /// # Errors
    /// A file cannot be read, or `take` says so.
    pub fn read(self, mut take: impl FnMut(&Row) -> io::Result<()>) -> io::Result<()> {
        let mut sources = Vec::new();
        for file in self.files {
            let mut reader = BufReader::new(file);
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

fn next(reader: &mut impl BufRead) -> io::Result<Option<Row>> {
    let mut line = Vec::new();
    Ok(if reader.read_until(b'\n', &mut line)? == 0 { None } else { Some(serde_json::from_slice(&line)?) })
}
