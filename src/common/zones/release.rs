//! Versions of the IANA database, such as `2026f`: which one is newer, and how old it is.

use std::cmp::Ordering;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc};

/// Data older than this is warned of: clocks somewhere are changed by law several times a year.
pub const OLD: TimeDelta = TimeDelta::days(365);

/// A release of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    version: String,
    year: i32,
    letters: String,
    published: NaiveDate,
}

impl Release {
    /// Reads a version. `dated` is the date of the files that hold the release. Packagers and image builders change such
    /// dates, so they count only as far as they lie in the version's own year. Without one, the first day of that year
    /// counts, which is too early rather than too late.
    pub fn read(version: &str, dated: Option<NaiveDate>) -> Option<Self> {
        let version = version.trim();
        let (year, rest) = version.split_at_checked(4)?;
        let letters: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
        let is_whole = rest[letters.len()..].chars().all(|c| c.is_ascii_graphic());
        let year = year.parse::<i32>().ok().filter(|year| (1993..=9999).contains(year))?;
        let first = NaiveDate::from_ymd_opt(year, 1, 1)?;
        let last = NaiveDate::from_ymd_opt(year, 12, 31)?;
        let published = dated.map_or(first, |dated| dated.clamp(first, last));
        (!letters.is_empty() && is_whole && version.len() <= 32).then(|| Self {
            version: version.to_owned(),
            year,
            letters,
            published,
        })
    }

    /// A version that is known to be one.
    pub(super) fn new(version: &str, dated: Option<NaiveDate>) -> Self {
        Self::read(version, dated).unwrap_or_else(|| Self {
            version: version.to_owned(),
            year: dated.map_or(0, |dated| dated.year()),
            letters: String::new(),
            published: dated.unwrap_or_default(),
        })
    }

    /// The version as it was written.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// When it was published, as far as that is known.
    pub fn published(&self) -> DateTime<Utc> {
        self.published.and_time(NaiveTime::MIN).and_utc()
    }

    /// Whether it is older than [`OLD`].
    pub fn is_old(&self, now: DateTime<Utc>) -> bool {
        now - self.published() > OLD
    }
}

impl PartialOrd for Release {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Release {
    /// By the year, then by the letters: after `2026z` comes `2026za`. What stands behind the letters is a packager's note.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |release: &Self| (release.year, release.letters.len(), release.letters.clone());
        key(self).cmp(&key(other)).then_with(|| self.version.cmp(&other.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_year_and_letters() {
        let read = |text: &str| Release::read(text, None).expect(text);
        let order =
            ["1996l", "2025b", "2025c", "2026a", "2026f", "2026f-rearguard", "2026z", "2026za", "2027a"];
        for (older, newer) in order.iter().zip(&order[1..]) {
            assert!(read(older) < read(newer), "{older} {newer}");
        }
        for text in ["", "2026", "unknown", "26f", "2026F", "2026 f", "2026f x", "éé26f", "2026é"] {
            assert_eq!(Release::read(text, None), None, "{text}");
        }
        assert_eq!(read(" 2026f\n").version(), "2026f");
    }

    #[test]
    fn the_date_of_files_counts_within_the_versions_own_year() {
        let check = |version: &str, dated: Option<&str>, expected: &str| {
            let dated = dated.map(|dated| dated.parse().unwrap());
            let published = Release::read(version, dated).unwrap().published;
            assert_eq!(published.to_string(), expected, "{version} {dated:?}");
        };
        check("2025b", Some("2025-03-22"), "2025-03-22");
        check("2025b", Some("2026-05-01"), "2025-12-31");
        check("2025b", Some("1970-01-01"), "2025-01-01");
        check("2025b", None, "2025-01-01");
    }

    #[test]
    fn data_is_old_after_a_year() {
        let release = Release::read("2025b", "2025-03-22".parse().ok()).unwrap();
        assert!(!release.is_old("2026-03-22T00:00:00Z".parse().unwrap()));
        assert!(release.is_old("2026-03-22T00:00:01Z".parse().unwrap()));
    }
}
