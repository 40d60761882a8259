//! Frames: how much of an answer is believed before its bytes are there.

use std::io::Read;

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::protocol::buf::ByteBuf;

/// Grows with what has arrived, so that a length that lies costs nothing.
const STEP: usize = 1024 * 1024;

/// Why no frame could be read.
pub(super) enum Broken {
    /// The stream's own error, end of file included.
    Stream(std::io::Error),
    /// The length makes no sense.
    Length(i32),
}

/// What a length that makes no sense is, where another protocol begins with the same four bytes.
pub(super) fn foreign(length: i32) -> Option<String> {
    match length.to_be_bytes() {
        // An alert or a handshake of TLS (RFC 8446, section 5.1).
        [0x15 | 0x16, 3, ..] => Some(
            "it speaks TLS and was spoken to in plain text: give --tls-ca, or the port of a listener without TLS"
                .to_owned(),
        ),
        [b'H', b'T', b'T', b'P'] => {
            Some("it answers in HTTP: this is the port of a web server, and not that of a broker".to_owned())
        }
        text if text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
            let text = String::from_utf8_lossy(&text).into_owned();
            Some(format!("it answers with a text, \"{text}...\": this is not the port of a broker"))
        }
        _ => None,
    }
}

/// Reads one frame: four bytes of length, then that many.
pub(super) fn read(stream: &mut impl Read, limit: usize) -> Result<Bytes, Broken> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).map_err(Broken::Stream)?;
    let announced = i32::from_be_bytes(head);
    let length = usize::try_from(announced).ok().filter(|length| (4..=limit).contains(length));
    let length = length.ok_or(Broken::Length(announced))?;
    let mut body = Vec::new();
    while body.len() < length {
        let filled = body.len();
        body.resize((filled + STEP).min(length), 0);
        stream.read_exact(&mut body[filled..]).map_err(Broken::Stream)?;
    }
    Ok(body.into())
}

/// An answer being decoded, which refuses absurd lengths.
///
/// The generated decoders allocate what an array's length asks for before they look at its elements. In flexible
/// versions every length is an unsigned variable-length number, those are the only multi-byte values read one
/// `u8` at a time, and each element takes a byte at least: a number beyond what is left of the frame is a lie.
pub(super) struct Guarded {
    bytes: Bytes,
    /// The last bytes that were read one at a time, the newest last; so many of them count since a number ended.
    recent: [u8; 5],
    known: usize,
}

impl Guarded {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, recent: [0; 5], known: 0 }
    }
}

impl Buf for Guarded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.bytes.copy_to_bytes(length)
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        // The decoders end a number after its fifth byte, whatever that says, and a truth value is one byte of any kind: so a
        // number may begin with any of the last five. Where it begins later than it does here, it is smaller.
        self.recent.rotate_left(1);
        self.recent[4] = byte;
        self.known = (self.known + 1).min(self.recent.len());
        let available = self.bytes.remaining() + 1;
        let (mut requested, mut most) = (0, 0);
        for byte in self.recent[5 - self.known..].iter().rev() {
            requested = requested << 7 | usize::from(byte & 0x7f);
            most = most.max(requested);
        }
        // Lengths are sent as length + 1; zero stands for null.
        if most > available {
            return Err(TryGetError { requested: most, available });
        }
        if byte < 0x80 {
            self.known = 0;
        }
        Ok(byte)
    }
}

impl ByteBuf for Guarded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{MetadataResponse, OffsetCommitResponse};
    use kafka_protocol::protocol::Decodable;

    use super::*;

    #[test]
    fn a_count_beyond_the_frame_is_refused_before_anything_is_allocated() {
        // Throttle time, then an array of 2^32 - 2 elements: as one allocation it would end the process.
        let frame = Bytes::from_static(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
        assert!(OffsetCommitResponse::decode(&mut Guarded::new(frame.clone()), 8).is_err());
        assert!(MetadataResponse::decode(&mut Guarded::new(frame), 12).is_err());
        // The same of a number that announces a sixth byte.
        let endless = Bytes::from_static(&[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(OffsetCommitResponse::decode(&mut Guarded::new(endless.clone()), 8).is_err());
        assert!(MetadataResponse::decode(&mut Guarded::new(endless), 12).is_err());
    }

    #[test]
    fn an_honest_answer_passes() {
        // One topic "t" with one partition, no error.
        let frame = Bytes::from_static(&[0, 0, 0, 0, 2, 2, b't', 2, 0, 0, 0, 7, 0, 0, 0, 0, 0]);
        let answer = OffsetCommitResponse::decode(&mut Guarded::new(frame), 8).unwrap();
        assert_eq!(answer.topics[0].partitions[0].partition_index, 7);
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        let check = |head: [u8; 4], part: Option<&str>| {
            let found = foreign(i32::from_be_bytes(head));
            assert_eq!(found.is_some(), part.is_some(), "{head:?}");
            let found = found.unwrap_or_default();
            assert!(found.contains(part.unwrap_or_default()), "{found}");
        };
        check([0x15, 3, 3, 0], Some("--tls-ca"));
        check([0x16, 3, 1, 2], Some("--tls-ca"));
        check(*b"HTTP", Some("web server"));
        check(*b"SSH-", Some("\"SSH-...\""));
        check([0xff; 4], None);
        check([0, 0, 0, 3], None);
    }

    #[test]
    fn a_frame_is_read_whole_or_not_at_all() {
        let check = |bytes: &[u8], limit: usize, whole: Option<&[u8]>| {
            assert_eq!(read(&mut &*bytes, limit).ok().as_deref(), whole, "{bytes:?}");
        };
        check(&[0, 0, 0, 4, 1, 2, 3, 4, 9], 64, Some(&[1, 2, 3, 4]));
        check(&[0, 0, 0, 4, 1, 2, 3], 64, None); // cut
        check(&[0, 0, 0, 65, 0], 64, None); // over the limit
        check(b"HTTP/1.1 400 Bad Request", 1 << 24, None); // not a broker at all
        check(&[0xff, 0xff, 0xff, 0xff], 64, None); // negative
        check(&[0, 0, 0, 3, 1, 2, 3], 64, None); // no room for a correlation id
    }
}
