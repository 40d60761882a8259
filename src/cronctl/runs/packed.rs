//! Temporary files for what is too much for memory: they have no name any more, and what is in them is packed (LZ4 frames).

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lz4_flex::frame::{FrameDecoder, FrameEncoder};
use uuid::Uuid;

/// A file that is being written.
#[derive(Debug)]
pub struct Packing {
    directory: PathBuf,
    packer: FrameEncoder<BufWriter<File>>,
}

/// A file that is written.
#[derive(Debug)]
pub struct Packed(File);

impl Packing {
    /// Creates a file in a directory.
    ///
    /// # Errors
    /// The directory does not take it.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let create = || {
            let path = directory.join(format!("cronctl-{}", Uuid::new_v4()));
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        };
        let file = create().map_err(|error| worded(directory, &error))?;
        Ok(Self { directory: directory.to_owned(), packer: FrameEncoder::new(BufWriter::new(file)) })
    }

    /// Adds bytes, and the length of them before.
    ///
    /// # Errors
    /// The directory has no room for them.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes();
        let added = self.packer.write_all(&length).and_then(|()| self.packer.write_all(bytes));
        added.map_err(|error| worded(&self.directory, &error))
    }

    /// The file, once all is added.
    ///
    /// # Errors
    /// The directory has no room for what is left.
    pub fn finish(self) -> io::Result<Packed> {
        let finish = || self.packer.finish()?.into_inner().map_err(io::IntoInnerError::into_error);
        finish().map(Packed).map_err(|error| worded(&self.directory, &error))
    }
}

impl Packed {
    /// Reads from the start; one reader at a time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn reader(&self) -> io::Result<Unpacking<'_>> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0))?;
        Ok(Unpacking { unpacker: FrameDecoder::new(file), bytes: Vec::new() })
    }
}

/// Reads a file.
#[derive(Debug)]
pub struct Unpacking<'a> {
    unpacker: FrameDecoder<&'a File>,
    bytes: Vec<u8>,
}

impl Unpacking<'_> {
    /// The next bytes that were added; none at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut length = [0; 4];
        let first = self.unpacker.read(&mut length)?;
        if first == 0 {
            return Ok(None);
        }
        self.unpacker.read_exact(&mut length[first..])?;
        self.bytes.resize(usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?, 0);
        self.unpacker.read_exact(&mut self.bytes)?;
        Ok(Some(&self.bytes))
    }
}

fn worded(directory: &Path, error: &io::Error) -> io::Error {
    let directory = directory.display();
    let words =
        format!("cannot write a temporary file to {directory}: {error}; set TMPDIR to a directory with room");
    io::Error::new(error.kind(), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_read_as_often_as_one_likes() {
        let mut packing = Packing::new(&std::env::temp_dir()).unwrap();
        let all: Vec<Vec<u8>> = (0..300_usize).map(|n| vec![n.to_le_bytes()[0]; n * 37]).collect();
        all.iter().for_each(|bytes| packing.add(bytes).unwrap());
        let packed = packing.finish().unwrap();
        for _ in 0..2 {
            let mut reader = packed.reader().unwrap();
            for bytes in &all {
                assert_eq!(reader.next().unwrap(), Some(&bytes[..]));
            }
            assert_eq!(reader.next().unwrap(), None);
        }
    }

    #[test]
    fn a_directory_that_takes_no_file_is_named_with_what_to_do() {
        let error = Packing::new(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write a temporary file to /nowhere: "), "{error}");
        assert!(error.ends_with("set TMPDIR to a directory with room"), "{error}");
        let mut full =
            Packing { directory: "/full".into(), packer: FrameEncoder::new(BufWriter::new(full())) };
        let error = (0..100).find_map(|_| full.add(&random()).err()).unwrap().to_string();
        assert!(error.starts_with("cannot write a temporary file to /full: "), "{error}");
    }

    /// A device that has no room.
    fn full() -> File {
        OpenOptions::new().write(true).open("/dev/full").unwrap()
    }

    /// Bytes that cannot be packed.
    fn random() -> Vec<u8> {
        (0..4096).flat_map(|_| Uuid::new_v4().into_bytes()).collect()
    }
}
