//! Amounts of memory as people write them: `512m`, `2g`, `64Mi`. One parser serves the command line and the job file.

/// Units by their letter, each 1,024 times the one before it, as systemd and docker read them.
const UNITS: [(char, u64); 4] = [('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)];

/// Why a word is not an amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not an amount of memory: {why}")]
pub struct ByteSizeError {
    word: String,
    why: &'static str,
}

/// Reads bytes from their text: a whole number with the unit `k`, `m`, `g` or `t` (1,024 bytes, 1,024 k, and so on), in
/// either case and with an `i` after it if one likes.
///
/// # Errors
/// What is wrong with the text and what would be right.
pub fn parse(text: &str) -> Result<u64, ByteSizeError> {
    read(text).map_err(|why| ByteSizeError { word: text.to_owned(), why })
}

fn read(text: &str) -> Result<u64, &'static str> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a whole number (as in `512m` or `2g`)");
    }
    let mut letters = unit.chars();
    let Some(letter) = letters.next() else { return Err("its unit is missing (k, m, g or t, as in `512m`)") };
    let known = UNITS.iter().find(|(known, _)| *known == letter.to_ascii_lowercase());
    let Some((_, bytes)) = known.filter(|_| matches!(letters.as_str(), "" | "i")) else {
        return Err("its unit is unknown (the units are k, m, g, t, as in `512m`)");
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*bytes));
    bytes.filter(|bytes| *bytes <= i64::MAX as u64).ok_or("it is more than any host has")
}

/// Writes bytes in the largest unit of which they are a whole number: `512m`.
pub fn format(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, of)| bytes >= *of && bytes.is_multiple_of(*of));
    unit.map_or_else(|| format!("{bytes} bytes"), |(letter, of)| format!("{}{letter}", bytes / of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_numbers_with_a_unit() {
        let check = |text: &str, bytes: u64, written: &str| {
            assert_eq!(parse(text), Ok(bytes), "{text}");
            assert_eq!(format(bytes), written);
        };
        check("1k", 1_024, "1k");
        check("512m", 536_870_912, "512m");
        check("512Mi", 536_870_912, "512m");
        check("1024M", 1_073_741_824, "1g");
        check("2G", 2_147_483_648, "2g");
        check("1t", 1_099_511_627_776, "1t");
        check("0k", 0, "0 bytes");
        assert_eq!(format(1_500), "1500 bytes");
    }

    #[test]
    fn anything_else_is_an_error_that_says_what_is_right() {
        let check = |text: &str, part: &str| {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("", "does not begin with a whole number");
        check("m", "does not begin with a whole number");
        check("-1m", "does not begin with a whole number");
        check("512", "its unit is missing");
        check("512q", "its unit is unknown");
        check("512mb", "its unit is unknown");
        check("1.5g", "its unit is unknown");
        check("512 m", "its unit is unknown");
        check("9999999999t", "more than any host has");
        check("99999999999999999999k", "more than any host has");
    }
}
