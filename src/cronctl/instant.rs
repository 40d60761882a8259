//! Instants of the command line, given as an instant or as how long ago it was.

use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::common::duration;

/// An instant, or a time ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// As it was written.
    At(DateTime<Utc>),
    /// So long before now.
    Ago(std::time::Duration),
}

/// Why a text is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither an instant (as in `2026-03-01T00:00:00Z`) nor a time ago (as in `90m`)")]
pub struct MomentError;

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        if let Ok(ago) = duration::parse(text) {
            return Ok(Self::Ago(ago));
        }
        let instant = DateTime::parse_from_rfc3339(text).map_err(|_| MomentError)?;
        Ok(Self::At(instant.to_utc()))
    }
}

impl Moment {
    /// The instant that is meant when it is `now`.
    pub fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(instant) => instant,
            Self::Ago(ago) => now - ago,
        }
    }
}

/// `2026-11-23T17:00:00Z`, with a fraction where it has one.
pub fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_given_as_such_or_by_how_long_ago_it_is() {
        let check = |text: &str, expected: &str| {
            let now = "2026-03-01T12:00:00Z".parse().unwrap();
            assert_eq!(shown(text.parse::<Moment>().unwrap().from(now)), expected, "{text}");
        };
        check("90m", "2026-03-01T10:30:00Z");
        check("0s", "2026-03-01T12:00:00Z");
        check("1500ms", "2026-03-01T11:59:58.500Z");
        check("2026-03-01T01:00:00+01:00", "2026-03-01T00:00:00Z");
        for wrong in ["", "yesterday", "90", "2026-03-01"] {
            assert_eq!(wrong.parse::<Moment>(), Err(MomentError), "{wrong}");
        }
    }
}
