//! Instants and spans of time as the view shows them. Pure.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// An instant near to now: without the day where it is the same one.
pub fn instant(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let format = if at.date_naive() == now.date_naive() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    at.format(format).to_string()
}

/// An instant, to the second.
pub fn shown_second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A span of time in two units at most. The clocks of two hosts may make it negative.
pub fn span(span: TimeDelta) -> String {
    let sign = if span < TimeDelta::zero() { "-" } else { "" };
    let millis = span.num_milliseconds().unsigned_abs();
    let seconds = millis / 1_000;
    let text = match seconds {
        0 => format!("{millis}ms"),
        1..10 => format!("{seconds}.{}s", millis % 1_000 / 100),
        10..100 => format!("{seconds}s"),
        100..6_000 => with_rest(seconds / 60, "m", seconds % 60, "s"),
        6_000..172_800 => with_rest(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => with_rest(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    format!("{sign}{text}")
}

fn with_rest(count: u64, unit: &str, rest: u64, smaller: &str) -> String {
    if rest == 0 { format!("{count}{unit}") } else { format!("{count}{unit}{rest}{smaller}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cronctl::top::sample::at;

    #[test]
    fn a_span_is_shown_in_two_units_at_most() {
        let check = |millis: i64, expected: &str| assert_eq!(span(TimeDelta::milliseconds(millis)), expected);
        check(0, "0ms");
        check(999, "999ms");
        check(1_000, "1.0s");
        check(9_999, "9.9s");
        check(10_000, "10s");
        check(99_999, "99s");
        check(100_000, "1m40s");
        check(120_000, "2m");
        check(5_999_000, "99m59s");
        check(6_000_000, "1h40m");
        check(172_799_000, "47h59m");
        check(172_800_000, "2d");
        check(180_000_000, "2d2h");
        check(-1_500, "-1.5s");
    }

    #[test]
    fn an_instant_of_another_day_says_which() {
        let check = |second: i64, expected: &str| assert_eq!(instant(at(second), at(86_400)), expected);
        check(86_400, "00:00:00");
        check(172_799, "23:59:59");
        check(86_399, "1970-01-01 23:59:59");
        check(172_800, "1970-01-03 00:00:00");
    }
}
