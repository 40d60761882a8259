//! Turns bytes into lines of text: what a file may hold, whatever it means.

/// The longest line, its end not counted. A command is handed to one `sh -c`, whose arguments Linux bounds at 128 KiB.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The lines of a file with their numbers, or what is wrong with each. A byte order mark and the carriage returns of
/// CRLF are taken off; what is left holds no control characters but tabs.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = (usize, Result<&str, String>)> {
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    (1..).zip(content.split(|byte| *byte == b'\n').map(text))
}

/// Whether the file is in UTF-16, where every line would be wrong for the same reason.
pub(super) fn is_utf16(content: &[u8]) -> bool {
    content.starts_with(b"\xFF\xFE") || content.starts_with(b"\xFE\xFF")
}

fn text(line: &[u8]) -> Result<&str, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("the line has {} bytes (at most {MAX_LINE_BYTES})", line.len()));
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("byte {} is not UTF-8 (the file is UTF-8 text)", error.valid_up_to() + 1))?;
    if line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return Ok(text);
    }
    match text.chars().zip(1_usize..).find(|(c, _)| c.is_control() && *c != '\t') {
        None => Ok(text),
        Some((c, column)) => Err(format!(
            "control character U+{:04X} in column {column} (of those only tabs are text)",
            u32::from(c)
        )),
    }
}

/// The blanks of crontab(5): no others separate words.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// The first word of a text and what follows the word, its blanks included. `None` when only blanks are left.
pub(super) fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(is_blank);
    let end = text.find(is_blank).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8], expected: &[Result<&str, &str>]) {
        let got: Vec<_> = lines(content).map(|(_, line)| line).collect();
        assert_eq!(got.len(), expected.len(), "{got:?}");
        for (got, expected) in got.iter().zip(expected) {
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
                _ => panic!("{got:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn line_ends_and_byte_order_marks_of_other_systems_are_not_text() {
        check(b"a\nb\n", &[Ok("a"), Ok("b"), Ok("")]);
        check(b"a\r\nb", &[Ok("a"), Ok("b")]);
        check(b"\xEF\xBB\xBFa\tb", &[Ok("a\tb")]);
        check(b"", &[Ok("")]);
    }

    #[test]
    fn what_is_not_text_is_an_error_of_its_line_alone() {
        check(b"a\0b\nc", &[Err("control character U+0000 in column 2"), Ok("c")]);
        check(b"a\rb", &[Err("U+000D in column 2")]);
        check("é\u{85}".as_bytes(), &[Err("U+0085 in column 2")]);
        check(b"\x1B[31m", &[Err("U+001B")]);
        check(b"ab\xFF\nc", &[Err("byte 3 is not UTF-8"), Ok("c")]);
        check(b"caf\xE9", &[Err("byte 4 is not UTF-8")]);
    }

    #[test]
    fn a_line_has_at_most_64_kib() {
        let full = "x".repeat(MAX_LINE_BYTES);
        check(format!("{full}\r\n{full}x").as_bytes(), &[Ok(&full), Err("65537 bytes (at most 65536)")]);
        check(&vec![b'x'; 10_000_000], &[Err("10000000 bytes")]);
    }

    #[test]
    fn words_are_told_apart_by_blanks_and_tabs_alone() {
        assert_eq!(word(" \ta  b"), Some(("a", "  b")));
        assert_eq!(word("a\u{a0}b"), Some(("a\u{a0}b", "")));
        assert_eq!(word(" \t"), None);
    }
}
