//! Messages that were bent on their way: they are read or refused, and what is read is written back as the same.

use super::*;
use crate::common::mutation::{Random, cases};

/// Pieces that mean something somewhere.
const PIECES: [&[u8]; 16] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"null",
    b"-1",
    b"1e400",
    b"18446744073709551616",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\"v\":2",
    b"9999-12-31T23:59:60.999999999Z",
];

fn check<T: Serialize + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> u64 {
    let Ok(read) = decode(bytes) else { return 0 };
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(decode(&encode(&read)).as_ref(), Ok(&read), "{shown}");
    1
}

#[test]
fn bent_messages_are_read_or_refused_and_written_back() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wire/v1");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let samples: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let (mut random, mut read) = (Random(0x9E37_79B9_7F4A_7C15), 0);
    for _ in 0..cases(5_000) {
        let sample = &samples[random.below(samples.len())];
        let bytes = random.bend(sample, &PIECES);
        read += check(&bytes, decode_attempt) + check(&bytes, decode_event);
        read += check(&bytes, decode_dead) + check(&bytes, decode_order);
    }
    assert!(read > 100, "{read}: too few are read for this to show anything");
}
