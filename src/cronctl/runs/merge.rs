//! Rows in order, of more runs than fit into memory: each part's rows are written to a file that has no name any more, and read
//! back one row of each file at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use uuid::Uuid;

use super::row::Row;

/// Rows that are sorted each for itself.
#[derive(Debug)]
pub struct Merge {
    directory: PathBuf,
    files: Vec<File>,
}

impl Merge {
    /// Creates a merge of no rows yet, whose files stand in a directory.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, files: Vec::new() }
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes rows that are in order.
    ///
    /// # Errors
    /// The directory does not take them.
    pub fn write(&mut self, rows: impl Iterator<Item = Row>) -> io::Result<()> {
        self.try_write(rows).map_err(|error| {
            let directory = self.directory.display();
            let words = format!(
                "cannot write a temporary file to {directory}: {error}; set TMPDIR to a directory with room"
            );
            io::Error::new(error.kind(), words)
        })
    }

    fn try_write(&mut self, rows: impl Iterator<Item = Row>) -> io::Result<()> {
        let path = self.directory.join(format!("cronctl-runs-{}", Uuid::new_v4()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_takes_no_file_is_named_with_what_to_do() {
        let mut merge = Merge::new("/nowhere".into());
        let error = merge.write(std::iter::empty()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write a temporary file to /nowhere: "), "{error}");
        assert!(error.ends_with("set TMPDIR to a directory with room"), "{error}");
    }
}
