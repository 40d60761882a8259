//! A time zone as schedules see it: what its clock shows at an instant, and at which instants it shows a local time.
//!
//! The crate `jiff` reads the data and knows the years 9999 before and after Christ. The calendar repeats itself every 400
//! years, weekdays included, so that later years are those of an earlier cycle.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeDelta, Utc};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::common::zones::{ZoneData, Zones};

/// Seconds of 400 years of the Gregorian calendar.
const CYCLE: i64 = 146_097 * 86_400;

/// Some years before the last that `jiff` knows.
const LAST: i64 = 253_000_000_000;

/// Long before any clock was changed.
const FIRST: i64 = -300_000_000_000;

/// A zone with its rules. A copy shares them. Two are equal when they have the same name and the same data.
#[derive(Clone)]
pub struct Zone(Arc<Rules>);

struct Rules {
    data: ZoneData,
    clock: Clock,
}

enum Clock {
    /// Never changed: so many seconds ahead of UTC.
    Fixed(i64),
    Changing(TimeZone),
}

/// At which instants a clock shows a local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// At this one.
    Once(DateTime<Utc>),
    /// At these two, because the clock is turned back between them.
    Twice {
        /// The first.
        first: DateTime<Utc>,
        /// The second.
        second: DateTime<Utc>,
        /// When the clock is turned back.
        change: DateTime<Utc>,
    },
    /// At none, because the clock is put forward past it.
    Never {
        /// When that happens: at this instant it shows a later time.
        change: DateTime<Utc>,
    },
}

static UTC: LazyLock<Zone> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a test reads all zones of the program")]
    let zone =
        Zones::bundled().get("UTC").and_then(|data| Zone::read(data).ok()).expect("the program has UTC");
    zone
});

impl Zone {
    /// Reads a zone's data.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(data: &ZoneData) -> Result<Self, String> {
        let zone = TimeZone::tzif(data.name(), data.bytes()).map_err(|error| error.to_string())?;
        let offset = |at: Timestamp| i64::from(zone.to_offset(at).seconds());
        let fixed = zone.following(Timestamp::MIN).next().is_none().then(|| offset(Timestamp::UNIX_EPOCH));
        let clock = fixed.map_or(Clock::Changing(zone), Clock::Fixed);
        Ok(Self(Arc::new(Rules { data: data.clone(), clock })))
    }

    /// Coordinated Universal Time.
    pub fn utc() -> Self {
        UTC.clone()
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.0.data.name()
    }

    /// What it was read from.
    pub fn data(&self) -> &ZoneData {
        &self.0.data
    }

    /// How far the clock is ahead of UTC at an instant, in seconds since the epoch.
    fn ahead(&self, at: i64) -> i64 {
        match &self.0.clock {
            Clock::Fixed(ahead) => *ahead,
            Clock::Changing(zone) => i64::from(zone.to_offset(known(at)).seconds()),
        }
    }

    /// The local time that the clock shows at an instant.
    pub fn local(&self, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        at.naive_utc().checked_add_signed(TimeDelta::seconds(self.ahead(at.timestamp())))
    }

    /// The local time with its offset, to be shown to people.
    pub fn with_offset(&self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
        let ahead = i32::try_from(self.ahead(at.timestamp())).ok().and_then(FixedOffset::east_opt);
        ahead.map_or_else(|| at.fixed_offset(), |ahead| at.with_timezone(&ahead))
    }

    /// At which instants the clock shows a local time; `None` beyond the ends of chrono's time.
    pub fn shows(&self, local: NaiveDateTime) -> Option<Shown> {
        let at = |ahead: i64| Some(local.checked_sub_signed(TimeDelta::seconds(ahead))?.and_utc());
        let zone = match &self.0.clock {
            Clock::Fixed(ahead) => return at(*ahead).map(Shown::Once),
            Clock::Changing(zone) => zone,
        };
        let seconds = |offset: Offset| i64::from(offset.seconds());
        let civil = Offset::UTC.to_datetime(known(local.and_utc().timestamp()));
        Some(match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => Shown::Once(at(seconds(offset))?),
            AmbiguousOffset::Fold { before, after } => {
                let (first, second) = (at(seconds(before))?, at(seconds(after))?);
                Shown::Twice { first, second, change: self.change(first, second)? }
            }
            AmbiguousOffset::Gap { before, after } => {
                Shown::Never { change: self.change(at(seconds(after))?, at(seconds(before))?)? }
            }
        })
    }

    /// The one change of the clock after an instant, up to another, by halves.
    fn change(&self, before: DateTime<Utc>, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (mut before, mut after) = (before.timestamp(), after.timestamp());
        let ahead = self.ahead(before);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.ahead(middle) == ahead { before = middle } else { after = middle }
        }
        DateTime::from_timestamp(after, 0)
    }
}

/// An instant, or an equal one of a cycle that `jiff` knows.
fn known(at: i64) -> Timestamp {
    let at = if at > LAST { at - ((at - LAST) / CYCLE + 1) * CYCLE } else { at.max(FIRST) };
    Timestamp::from_second(at).unwrap_or_default()
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (&self.0.data, &other.0.data);
        Arc::ptr_eq(&self.0, &other.0) || (one.digest() == two.digest() && one.name() == two.name())
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.data.digest().hash(state);
        self.name().hash(state);
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

/// A zone of the program's data: for tests, whose expectations must not depend on the host.
///
/// # Errors
/// The name is none of its zones.
impl std::str::FromStr for Zone {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::read(Zones::bundled().get(name).ok_or_else(|| format!("no zone `{name}`"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_of_the_program_and_of_the_host_can_be_read() {
        let zones = [Zones::bundled(), Zones::of_host()];
        let all: Vec<&ZoneData> =
            zones.iter().flat_map(|zones| zones.names().map(|name| zones.get(name).unwrap())).collect();
        assert!(all.len() > 1_000, "{}", all.len());
        for data in all {
            Zone::read(data).unwrap_or_else(|why| panic!("{}: {why}", data.name()));
        }
    }

    #[test]
    fn zones_are_equal_by_name_and_data() {
        let london = |bytes: &'static str| {
            let name = if bytes.is_empty() { "Europe/London" } else { bytes };
            name.parse::<Zone>().unwrap()
        };
        assert_eq!(london(""), london(""));
        assert_ne!(london(""), london("Europe/Jersey"));
        assert_eq!(Zone::utc(), "UTC".parse().unwrap());
    }

    #[test]
    fn far_years_are_those_of_an_earlier_cycle() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        for year in [2_100, 9_990, 20_000, 200_000] {
            let at = |month, day| {
                chrono::NaiveDate::from_ymd_opt(year, month, day)
                    .unwrap()
                    .and_hms_opt(12, 0, 0)
                    .unwrap()
                    .and_utc()
            };
            let hour = |at: DateTime<Utc>| (berlin.local(at).unwrap() - at.naive_utc()).num_hours();
            assert_eq!((hour(at(1, 15)), hour(at(7, 15))), (1, 2), "{year}");
        }
    }
}
