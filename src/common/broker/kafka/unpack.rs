//! Undoing the codecs, with a limit: a few kilobytes can stand for gigabytes.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Buf, Bytes};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// What the records of a batch are packed with: the lowest three bits of its attributes.
const NONE: i16 = 0;
const GZIP: i16 = 1;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;

/// The largest window that a zstd frame may ask for: what Kafka's highest level (`compression.zstd.level=22`) names, of
/// which only what the frame holds is ever touched.
const ZSTD_WINDOW: u64 = 128 * 1024 * 1024;

/// The frame that snappy-java, and with it Kafka, puts around blocks: magic, version and lowest version.
const SNAPPY_FRAME: &[u8] = b"\x82SNAPPY\x00";
const SNAPPY_FRAME_BYTES: usize = 16;

/// The unpacked records of a batch, or why they cannot be had.
pub(super) fn unpack(packed: Bytes, codec: i16, limit: usize) -> Result<Bytes, String> {
    match codec {
        NONE => Ok(packed),
        GZIP => read("gzip", flate2::read::MultiGzDecoder::new(&*packed), limit),
        SNAPPY => snappy(packed, limit),
        LZ4 => read("lz4", Lz4(lz4_flex::frame::FrameDecoder::new(&*packed)), limit),
        ZSTD => read("zstd", Frames::new(&packed), limit),
        other => Err(format!("it is packed with an unknown codec ({other})")),
    }
}

fn too_large(limit: usize) -> String {
    format!("unpacked it is larger than {limit} bytes")
}

/// Reads a decoder to its end. One that panics at what a client wrote has met a batch that cannot be read, like any
/// other: it must not end the thread, which would meet the same batch again.
fn read(codec: &str, decoder: impl Read, limit: usize) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    let mut reader = decoder.take(limit as u64 + 1);
    let read = catch_unwind(AssertUnwindSafe(|| reader.read_to_end(&mut unpacked)));
    read.map_err(|_| format!("{codec}: the decoder panicked"))?.map_err(|e| format!("{codec}: {e}"))?;
    if unpacked.len() > limit { Err(too_large(limit)) } else { Ok(unpacked.into()) }
}

/// The frames of lz4, one behind the other: its decoder ends at the end of each.
struct Lz4<'a>(lz4_flex::frame::FrameDecoder<&'a [u8]>);

impl Read for Lz4<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.0.get_ref().len();
            let count = self.0.read(into)?;
            if count > 0 || left == 0 {
                return Ok(count);
            }
            if self.0.get_ref().len() == left {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The frames of zstd (RFC 8878), one behind the other.
struct Frames<'a> {
    rest: &'a [u8],
    decoder: FrameDecoder,
    is_inside: bool,
}

impl<'a> Frames<'a> {
    fn new(packed: &'a [u8]) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW);
        Self { rest: packed, decoder, is_inside: false }
    }

    /// Begins the next frame; `false` when it was one to be skipped.
    fn begin(&mut self) -> io::Result<bool> {
        let skip = match self.decoder.init(&mut self.rest) {
            Ok(()) => return Ok(true),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => length,
            Err(error) => return Err(io::Error::other(error)),
        };
        let skip = usize::try_from(skip).ok().and_then(|skip| self.rest.split_at_checked(skip));
        self.rest = skip.ok_or(io::ErrorKind::UnexpectedEof)?.1;
        Ok(false)
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_inside {
                if self.rest.is_empty() {
                    return Ok(0);
                }
                self.is_inside = self.begin()?;
                continue;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(into);
            }
            if self.decoder.is_finished() {
                self.is_inside = false;
            } else {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.rest, one).map_err(io::Error::other)?;
            }
        }
    }
}

fn snappy(mut packed: Bytes, limit: usize) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    if !packed.starts_with(SNAPPY_FRAME) {
        block(&packed, &mut unpacked, limit)?;
        return Ok(unpacked.into());
    }
    if packed.len() < SNAPPY_FRAME_BYTES {
        return Err("snappy: the frame is cut".to_owned());
    }
    packed.advance(SNAPPY_FRAME_BYTES);
    while packed.has_remaining() {
        let length = packed.try_get_u32().map_err(|_| "snappy: a block's length is cut")?;
        let length = usize::try_from(length).ok().filter(|length| *length <= packed.len());
        let length = length.ok_or("snappy: a block is cut")?;
        block(&packed.split_to(length), &mut unpacked, limit)?;
    }
    Ok(unpacked.into())
}

fn block(packed: &[u8], onto: &mut Vec<u8>, limit: usize) -> Result<(), String> {
    let length = snap::raw::decompress_len(packed).map_err(|e| format!("snappy: {e}"))?;
    let start = onto.len();
    if length > limit - start.min(limit) {
        return Err(too_large(limit));
    }
    onto.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(packed, &mut onto[start..]).map_err(|e| format!("snappy: {e}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzipped(plain: &[u8]) -> Bytes {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap().into()
    }

    fn lz4(plain: &[u8]) -> Bytes {
        let mut packer = lz4_flex::frame::FrameEncoder::new(Vec::new());
        packer.write_all(plain).unwrap();
        packer.finish().unwrap().into()
    }

    fn zstd(plain: &[u8]) -> Bytes {
        ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest).into()
    }

    fn snapped(plain: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(plain).unwrap()
    }

    fn framed(blocks: &[&[u8]]) -> Bytes {
        let mut frame = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
        for plain in blocks {
            let packed = snapped(plain);
            frame.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
            frame.extend(packed);
        }
        frame.into()
    }

    #[test]
    fn what_was_packed_comes_out_within_the_limit() {
        let check = |packed: Bytes, codec: i16, unpacked: Option<&[u8]>| {
            assert_eq!(unpack(packed, codec, 64).ok().as_deref(), unpacked, "codec {codec}");
        };
        check(Bytes::from_static(b"plain"), NONE, Some(b"plain"));
        check(gzipped(b"twelve bytes"), GZIP, Some(b"twelve bytes"));
        check(snapped(b"raw block").into(), SNAPPY, Some(b"raw block"));
        check(framed(&[b"one, ", b"two"]), SNAPPY, Some(b"one, two"));
        check(gzipped(&[7; 64]), GZIP, Some(&[7; 64]));
        check(lz4(b"a frame of lz4"), LZ4, Some(b"a frame of lz4"));
        check(lz4(&[7; 64]), LZ4, Some(&[7; 64]));
        check(zstd(b"a frame of zstd"), ZSTD, Some(b"a frame of zstd"));
        check(zstd(&[7; 64]), ZSTD, Some(&[7; 64]));
        check([lz4(b"one, "), lz4(b"two")].concat().into(), LZ4, Some(b"one, two"));
        // Of zstd also frames that are to be skipped: a magic number, a length, and that many bytes.
        let skipped = Bytes::from_static(b"\x50\x2a\x4d\x18\x03\x00\x00\x00any");
        check([zstd(b"one, "), skipped.clone(), zstd(b"two")].concat().into(), ZSTD, Some(b"one, two"));
        check(skipped.slice(..10), ZSTD, None);
        // Bombs.
        check(lz4(&[0; 1 << 20]), LZ4, None);
        check(zstd(&[0; 1 << 20]), ZSTD, None);
        check(gzipped(&[0; 1 << 20]), GZIP, None);
        check(snapped(&[0; 1 << 20]).into(), SNAPPY, None);
        check(framed(&[&[0; 40], &[0; 40]]), SNAPPY, None);
        check(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]), SNAPPY, None); // says that it holds 4 GB
        // Cut, garbage, unknown.
        check(gzipped(b"twelve bytes").slice(..20), GZIP, None);
        check(framed(&[b"one", b"two"]).slice(..30), SNAPPY, None);
        check(Bytes::from_static(b"\x82SNAPPY\x00"), SNAPPY, None);
        check(Bytes::from_static(b"garbage"), GZIP, None);
        check(zstd(b"twelve bytes").slice(..15), ZSTD, None);
        check(Bytes::from_static(b"plain"), LZ4, None);
        check(Bytes::from_static(b"plain"), ZSTD, None);
        check(Bytes::from_static(b"plain"), 7, None);
    }
    #[test]
    fn bent_bytes_are_no_panic() {
        let plain: Vec<u8> = (0..600).map(|i: u32| u8::try_from(i * i % 251).unwrap()).collect();
        let packed = [
            (GZIP, gzipped(&plain)),
            (SNAPPY, snapped(&plain).into()),
            (LZ4, lz4(&plain)),
            (ZSTD, zstd(&plain)),
        ];
        for (codec, packed) in packed {
            for at in 0..packed.len() {
                for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                    let mut bent = packed.to_vec();
                    bent[at] = byte;
                    if let Err(why) = unpack(bent.into(), codec, 1 << 20) {
                        assert!(!why.contains("panicked"), "codec {codec}, byte {at}: {why}");
                    }
                }
                unpack(packed.slice(..at), codec, 1 << 20).ok();
            }
        }
    }
}
