//! Undoing the codecs, with a limit: a few kilobytes can stand for gigabytes.

use std::io::Read;

use bytes::{Buf, Bytes};

/// What the records of a batch are packed with: the lowest three bits of its attributes.
const NONE: i16 = 0;
const GZIP: i16 = 1;
const SNAPPY: i16 = 2;

/// The frame that snappy-java, and with it Kafka, puts around blocks: magic, version and lowest version.
const SNAPPY_FRAME: &[u8] = b"\x82SNAPPY\x00";
const SNAPPY_FRAME_BYTES: usize = 16;

/// The unpacked records of a batch, or why they cannot be had.
pub(super) fn unpack(packed: Bytes, codec: i16, limit: usize) -> Result<Bytes, String> {
    match codec {
        NONE => Ok(packed),
        GZIP => gzip(&packed, limit),
        SNAPPY => snappy(packed, limit),
        3 => Err("it is packed with lz4, which is not read here".to_owned()),
        4 => Err("it is packed with zstd, which is not read here".to_owned()),
        other => Err(format!("it is packed with an unknown codec ({other})")),
    }
}

fn too_large(limit: usize) -> String {
    format!("unpacked it is larger than {limit} bytes")
}

fn gzip(packed: &[u8], limit: usize) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(packed).take(limit as u64 + 1);
    reader.read_to_end(&mut unpacked).map_err(|e| format!("gzip: {e}"))?;
    if unpacked.len() > limit { Err(too_large(limit)) } else { Ok(unpacked.into()) }
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
        // Bombs.
        check(gzipped(&[0; 1 << 20]), GZIP, None);
        check(snapped(&[0; 1 << 20]).into(), SNAPPY, None);
        check(framed(&[&[0; 40], &[0; 40]]), SNAPPY, None);
        check(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2]), SNAPPY, None); // says that it holds 4 GB
        // Cut, garbage, unknown.
        check(gzipped(b"twelve bytes").slice(..20), GZIP, None);
        check(framed(&[b"one", b"two"]).slice(..30), SNAPPY, None);
        check(Bytes::from_static(b"\x82SNAPPY\x00"), SNAPPY, None);
        check(Bytes::from_static(b"garbage"), GZIP, None);
        check(Bytes::from_static(b"plain"), 3, None);
        check(Bytes::from_static(b"plain"), 4, None);
        check(Bytes::from_static(b"plain"), 7, None);
    }
}
