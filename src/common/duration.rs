//! Durations as people write them: `10s`, `500ms`, `1m30s`. One parser serves the command line and the job file.

use std::time::Duration;

/// The longest duration that may be written: 36,500 days. It leaves room for adding durations to any instant.
pub const MAX: Duration = Duration::from_millis(36_500 * DAY_MS);

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Units by their letters, the largest first, with their milliseconds.
const UNITS: [(&str, u64); 5] =
    [("d", DAY_MS), ("h", 60 * 60 * 1000), ("m", 60 * 1000), ("s", 1000), ("ms", 1)];

/// Why a word is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a duration: {why}")]
pub struct DurationError {
    word: String,
    why: String,
}

/// A duration from its text: whole numbers with the units `d`, `h`, `m`, `s`, `ms`, each at most once, the larger
/// before the smaller. `0s` is a duration.
///
/// # Errors
/// What is wrong with the text and what would be right.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let millis = parse_millis(text).map_err(|why| DurationError { word: text.to_owned(), why })?;
    Ok(Duration::from_millis(millis))
}

fn parse_millis(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Err("it is empty (as in `10s` or `1m30s`)".to_owned());
    }
    let mut rest = text;
    let mut allowed = &UNITS[..];
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| c.is_alphabetic());
        if number.is_empty() {
            return Err(no_number(rest));
        }
        if unit.is_empty() {
            return Err(no_unit(number, after));
        }
        let Some(known) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit `{unit}` (the units are d, h, m, s, ms)"));
        };
        let Some(position) = allowed.iter().position(|(name, _)| *name == unit) else {
            return Err(format!(
                "`{unit}` is out of order (each unit once, the largest first, as in `1h30m`)"
            ));
        };
        allowed = &allowed[position + 1..];
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(UNITS[known].1))
            .and_then(|ms| ms.checked_add(total))
            .filter(|ms| Duration::from_millis(*ms) <= MAX)
            .ok_or_else(|| "it is too long (at most 36500d)".to_owned())?;
        rest = after;
    }
    Ok(total)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn no_number(rest: &str) -> String {
    match rest.chars().next() {
        Some('-') => "it is negative (durations are `0s` or longer)".to_owned(),
        Some(' ') => "it holds a space (written together, as in `1m30s`)".to_owned(),
        Some(c) => format!("a number is missing before `{c}` (as in `10s` or `1m30s`)"),
        None => "it is empty (as in `10s` or `1m30s`)".to_owned(),
    }
}

fn no_unit(number: &str, after: &str) -> String {
    match after.chars().next() {
        Some('.' | ',') => "fractions are not known (the smaller unit says it, as in `1s500ms`)".to_owned(),
        _ => format!("`{number}` has no unit (seconds would be `{number}s`)"),
    }
}

/// A duration in the form that [`parse`] reads; what is below a millisecond is cut off.
pub fn format(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if rest >= millis {
            text.push_str(&format!("{}{unit}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, millis: u64) {
        assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
    }

    fn check_error(text: &str, part: &str) {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
        assert!(error.starts_with(&format!("`{text}`")), "{error}");
    }

    #[test]
    fn durations_are_read_as_they_are_written() {
        check("0s", 0);
        check("500ms", 500);
        check("10s", 10_000);
        check("1m30s", 90_000);
        check("90m", 5_400_000);
        check("2h", 7_200_000);
        check("1d2h3m4s5ms", 93_784_005);
        check("36500d", 36_500 * DAY_MS);
        check("007s", 7_000);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        check_error("", "as in `10s`");
        check_error("90", "`90s`");
        check_error("1.5h", "smaller unit");
        check_error("10 s", "no unit");
        check_error("s", "a number is missing");
        check_error("-5s", "negative");
        check_error("5sec", "d, h, m, s, ms");
        check_error("5M", "d, h, m, s, ms");
        check_error("30s1m", "largest first");
        check_error("1s1s", "each unit once");
        check_error("36501d", "at most 36500d");
        check_error("99999999999999999999s", "at most 36500d");
        check_error("18446744073709551615d", "at most 36500d");
        check_error("5\u{0}", "no unit");
        check_error("٣s", "a number is missing");
    }

    #[test]
    fn what_is_formatted_can_be_read_back() {
        for millis in [0, 1, 999, 1_000, 61_001, 3_600_000, 86_400_000, 93_784_005, 36_500 * DAY_MS] {
            check(&format(Duration::from_millis(millis)), millis);
        }
        assert_eq!(format(Duration::from_secs(90)), "1m30s");
    }
}
