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
    count: usize,
}

/// A file that is written.
#[derive(Debug)]
pub struct Packed {
    file: File,
    count: usize,
}

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
        let packer = FrameEncoder::new(BufWriter::new(file));
        Ok(Self { directory: directory.to_owned(), packer, count: 0 })
    }

    /// Adds an item: these pieces, one behind the other.
    ///
    /// # Errors
    /// The directory has no room for them.
    pub fn add(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let length = u32::try_from(length).map_err(io::Error::other)?.to_le_bytes();
        let mut pieces = std::iter::once(&length[..]).chain(pieces.iter().copied());
        self.count += 1;
        pieces
            .try_for_each(|piece| self.packer.write_all(piece))
            .map_err(|error| worded(&self.directory, &error))
    }

    /// The file, once all is added.
    ///
    /// # Errors
    /// The directory has no room for what is left.
    pub fn finish(self) -> io::Result<Packed> {
        let finish = || self.packer.finish()?.into_inner().map_err(io::IntoInnerError::into_error);
        let file = finish().map_err(|error| worded(&self.directory, &error))?;
        Ok(Packed { file, count: self.count })
    }
}

impl Packed {
    /// Reads from the start; one reader at a time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn reader(&self) -> io::Result<Unpacking<'_>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        Ok(Unpacking { unpacker: FrameDecoder::new(file), bytes: Vec::new(), left: self.count })
    }
}

/// Reads a file.
#[derive(Debug)]
pub struct Unpacking<'a> {
    unpacker: FrameDecoder<&'a File>,
    bytes: Vec<u8>,
    left: usize,
}

impl Unpacking<'_> {
    /// The next item; none at the end.
    ///
    /// # Errors
    /// The file cannot be read, or is shorter than it was written.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let read = self.read();
        let worded =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot read a temporary file: {error}"));
        read.map_err(worded)?;
        Ok(Some(&self.bytes))
    }

    fn read(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.unpacker.read_exact(&mut length)?;
        self.bytes.resize(usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?, 0);
        self.unpacker.read_exact(&mut self.bytes)
    }
}

fn worded(directory: &Path, error: &io::Error) -> io::Error {
    let directory = directory.display();
    let cure = match error.raw_os_error() {
        Some(libc::EMFILE) => "allow more open files (ulimit -n)",
        Some(libc::ENFILE) => "the host has no room for more open files (fs.file-max)",
        _ => "set TMPDIR to a directory with room",
    };
    io::Error::new(error.kind(), format!("cannot write a temporary file to {directory}: {error}; {cure}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_read_as_often_as_one_likes() {
        let mut packing = Packing::new(&std::env::temp_dir()).unwrap();
        let all: Vec<Vec<u8>> = (0..300_usize).map(|n| vec![n.to_le_bytes()[0]; n * 37]).collect();
        all.iter()
            .for_each(|bytes| packing.add(&[&bytes[..bytes.len() / 3], &bytes[bytes.len() / 3..]]).unwrap());
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
    fn a_file_that_was_cut_is_no_shorter_list() {
        let mut packing = Packing::new(&std::env::temp_dir()).unwrap();
        (0..100).for_each(|_| packing.add(&[&random()]).unwrap());
        let packed = packing.finish().unwrap();
        let length = packed.file.metadata().unwrap().len();
        for kept in [length - 100, length / 2, 1, 0] {
            packed.file.set_len(kept).unwrap();
            let mut reader = packed.reader().unwrap();
            let error = loop {
                match reader.next() {
                    Ok(item) => assert!(item.is_some(), "{kept} of {length}"),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(error.starts_with("cannot read a temporary file: "), "{error}");
        }
    }

    #[test]
    fn a_directory_that_takes_no_file_is_named_with_what_to_do() {
        let error = Packing::new(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write a temporary file to /nowhere: "), "{error}");
        assert!(error.ends_with("set TMPDIR to a directory with room"), "{error}");
        let full = || {
            let packer = FrameEncoder::new(BufWriter::new(device_without_room()));
            Packing { directory: "/full".into(), packer, count: 0 }
        };
        let mut adding = full();
        let error = (0..100).find_map(|_| adding.add(&[&random()]).err()).unwrap().to_string();
        assert!(error.starts_with("cannot write a temporary file to /full: "), "{error}");
        let mut finishing = full();
        finishing.add(&[b"a"]).unwrap();
        let error = finishing.finish().unwrap_err().to_string();
        assert!(error.starts_with("cannot write a temporary file to /full: "), "{error}");
    }

    fn device_without_room() -> File {
        OpenOptions::new().write(true).open("/dev/full").unwrap()
    }

    /// Bytes that cannot be packed.
    fn random() -> Vec<u8> {
        (0..4096).flat_map(|_| Uuid::new_v4().into_bytes()).collect()
    }
}
