//! The end of what a command writes: read without bound, kept with one.

use crate::common::bounds::OUTPUT_TAIL_BYTES;

/// The last [`OUTPUT_TAIL_BYTES`] of a stream, and how long it was in all.
#[derive(Debug, Default)]
pub struct Tail {
    /// At most twice the bound: what is beyond it is cut off once in a while, not for every piece.
    kept: Vec<u8>,
    total: u64,
}

impl Tail {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.total += piece.len() as u64;
        let piece = &piece[piece.len().saturating_sub(OUTPUT_TAIL_BYTES)..];
        if self.kept.len() + piece.len() > 2 * OUTPUT_TAIL_BYTES {
            self.kept.drain(..self.kept.len() - OUTPUT_TAIL_BYTES);
        }
        self.kept.extend_from_slice(piece);
    }

    /// Bytes in all, those not kept included.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The end as text of at most [`OUTPUT_TAIL_BYTES`]. Invalid UTF-8 is replaced; a character that the cut goes
    /// through is left out.
    pub fn text(&self) -> String {
        let mut bytes = &self.kept[self.kept.len().saturating_sub(OUTPUT_TAIL_BYTES)..];
        if self.total > bytes.len() as u64 {
            // A character has at most three bytes that continue it.
            let cut = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
            bytes = &bytes[cut..];
        }
        let text = String::from_utf8_lossy(bytes);
        // A replaced byte becomes three.
        text[text.ceil_char_boundary(text.len().saturating_sub(OUTPUT_TAIL_BYTES))..].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stream: &[u8], text: &str) {
        for piece in [1, 7, OUTPUT_TAIL_BYTES - 1, OUTPUT_TAIL_BYTES, 65_536] {
            let mut tail = Tail::default();
            stream.chunks(piece).for_each(|piece| tail.push(piece));
            assert!(tail.text() == text, "{} bytes in pieces of {piece}", stream.len());
            assert_eq!(tail.total(), stream.len() as u64);
            assert!(tail.kept.len() <= 2 * OUTPUT_TAIL_BYTES);
        }
    }

    #[test]
    fn the_end_is_kept_as_text_within_the_bound() {
        let x = |count: usize| "x".repeat(count);
        check(b"", "");
        check("one\ntwo é\n".as_bytes(), "one\ntwo é\n");
        check(b"a\xFFb", "a\u{FFFD}b");
        check(x(OUTPUT_TAIL_BYTES).as_bytes(), &x(OUTPUT_TAIL_BYTES));
        check(format!("first{}last", x(100_000)).as_bytes(), &format!("{}last", x(OUTPUT_TAIL_BYTES - 4)));
        check(format!("é{}", x(OUTPUT_TAIL_BYTES - 1)).as_bytes(), &x(OUTPUT_TAIL_BYTES - 1));
        check(b"\x80\x80", "\u{FFFD}\u{FFFD}");
        let replaced = "\u{FFFD}".repeat(OUTPUT_TAIL_BYTES / 3);
        check(&[0xFF; OUTPUT_TAIL_BYTES], &replaced);
    }
}
