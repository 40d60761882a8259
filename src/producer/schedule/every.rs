//! `@every DURATION`: the multiples of the duration since the Unix epoch. Nothing is kept between two of them, so
//! every producer computes the same ones.

use chrono::{DateTime, Utc};

use super::error::{ScheduleError, shown};
use crate::common::duration;

/// The multiples of a number of seconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Every {
    /// At least 1.
    seconds: i64,
}

impl Every {
    /// From the duration that follows `@every`.
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let duration = duration::parse(text)?;
        match i64::try_from(duration.as_secs()) {
            Ok(seconds) if seconds > 0 && duration.subsec_nanos() == 0 => Ok(Self { seconds }),
            _ => Err(ScheduleError::EverySeconds(shown(text))),
        }
    }

    /// The least multiple after `after`.
    pub(super) fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let passed = after.timestamp().div_euclid(self.seconds);
        let next = passed.checked_add(1)?.checked_mul(self.seconds)?;
        DateTime::from_timestamp(next, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, after: &str, next: Option<&str>) {
        let instant = |text: &str| text.parse::<DateTime<Utc>>().expect(text);
        let every = Every::parse(text).expect(text);
        assert_eq!(every.next(instant(after)), next.map(instant), "{text} after {after}");
    }

    #[test]
    fn every_counts_from_the_epoch() {
        check("90s", "1970-01-01T00:00:00Z", Some("1970-01-01T00:01:30Z"));
        check("90s", "1970-01-01T00:01:29.999999999Z", Some("1970-01-01T00:01:30Z"));
        check("90s", "1970-01-01T00:01:30Z", Some("1970-01-01T00:03:00Z"));
        check("90s", "1969-12-31T23:59:59.5Z", Some("1970-01-01T00:00:00Z"));
        check("90s", "1969-12-31T23:58:29Z", Some("1969-12-31T23:58:30Z"));
        check("1d", "2026-03-08T13:00:00Z", Some("2026-03-09T00:00:00Z"));
        check("7d", "2026-03-08T13:00:00Z", Some("2026-03-12T00:00:00Z"));
        check("36500d", "2026-03-08T13:00:00Z", Some("2069-12-07T00:00:00Z"));
    }

    #[test]
    fn every_ends_with_time() {
        let every = Every::parse("1s").expect("1s");
        assert_eq!(every.next(DateTime::<Utc>::MAX_UTC), None);
        assert!(every.next(DateTime::<Utc>::MIN_UTC).is_some());
    }

    #[test]
    fn every_is_whole_seconds() {
        for text in ["0s", "500ms", "1s500ms"] {
            assert_eq!(Every::parse(text), Err(ScheduleError::EverySeconds(text.to_owned())), "{text}");
        }
        assert_eq!(Every::parse("2000ms"), Every::parse("2s"));
    }
}
