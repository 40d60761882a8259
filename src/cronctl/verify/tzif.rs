//! How far the clock of a zone is ahead of UTC, read from the zone's data (TZif, RFC 9636) without the producer's reader: a
//! list of changes, and a rule (POSIX `TZ`) for the time after the last of them.

/// The rules of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Before the first change, in seconds.
    first: i64,
    /// Since when, in seconds since the epoch, and how far. In order.
    changes: Vec<(i64, i64)>,
    after: Option<Yearly>,
}

/// A rule for all years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Yearly {
    standard: i64,
    /// How far in summer, and when summer begins and ends.
    summer: Option<(i64, Day, Day)>,
}

/// A day of the year with the local time of a change, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// Month, week (5: the last), weekday (0: Sunday).
    Weekday(i64, i64, i64, i64),
    /// Of the year, counted from 0; 29 February is counted.
    Counted(i64, i64),
    /// Of the year, counted from 1; 29 February is never counted.
    Julian(i64, i64),
}

const DAY: i64 = 86_400;

/// Up to this year the rule for all years is worked out beforehand.
const WORKED_OUT: i64 = 2100;

impl Rules {
    /// Reads TZif. `None` where it is none, or counts leap seconds.
    pub fn read(data: &[u8]) -> Option<Self> {
        let first = Header::read(data)?;
        // The first block has 32-bit instants; versions 2 and later repeat all with 64 bits.
        let rest = data.get(first.length(4)?..)?;
        let header = Header::read(rest)?;
        if first.version < b'2' || header.leaps != 0 {
            return None;
        }
        let block = rest.get(Header::LENGTH..)?;
        let (instants, block) = block.split_at_checked(header.changes * 8)?;
        let (kinds, block) = block.split_at_checked(header.changes)?;
        let (types, _) = block.split_at_checked(header.types * 6)?;
        let ahead = |kind: u8| {
            let of = types.get(usize::from(kind) * 6..)?.first_chunk::<4>()?;
            Some(i64::from(i32::from_be_bytes(*of)))
        };
        let (instants, _) = instants.as_chunks::<8>();
        let changes =
            instants.iter().zip(kinds).map(|(at, kind)| Some((i64::from_be_bytes(*at), ahead(*kind)?)));
        let footer = rest.get(header.length(8)?..)?.strip_prefix(b"\n")?;
        let footer = std::str::from_utf8(footer.split(|byte| *byte == b'\n').next()?).ok()?;
        let after = if footer.is_empty() { None } else { Some(Yearly::read(footer)?) };
        let mut changes: Vec<(i64, i64)> = changes.collect::<Option<_>>()?;
        // The rule is worked out once for the years that are asked for, as the same few instants are looked at very often.
        let known = changes.last().map_or(0, |(since, _)| *since);
        if let Some(after) = after {
            let mut ruled: Vec<_> =
                (year_of(known)..=WORKED_OUT).flat_map(|year| after.changes(year)).collect();
            ruled.sort_unstable();
            changes.extend(ruled.into_iter().filter(|(since, _)| *since > known));
        }
        Some(Self { first: ahead(0)?, changes, after })
    }

    /// How many seconds the clock is ahead of UTC at an instant in seconds since the epoch.
    pub fn offset(&self, at: i64) -> i64 {
        match (self.changes.partition_point(|(since, _)| *since <= at), self.after) {
            (number, Some(after)) if number == self.changes.len() => after.offset(at),
            (0, _) => self.first,
            (number, _) => self.changes[number - 1].1,
        }
    }

    /// Whether the clock was never changed: then all versions of the data agree, as far as one can know.
    pub fn is_fixed(&self) -> bool {
        let all = self.changes.iter().all(|(_, ahead)| *ahead == self.first);
        all && self.after.is_none_or(|after| after.summer.is_none() && after.standard == self.first)
    }
}

/// How much there is of each kind.
struct Header {
    version: u8,
    /// Sizes of what comes behind the types.
    is_ut: usize,
    is_standard: usize,
    leaps: usize,
    changes: usize,
    types: usize,
    names: usize,
}

impl Header {
    const LENGTH: usize = 44;

    fn read(data: &[u8]) -> Option<Self> {
        let version = *data.strip_prefix(b"TZif")?.first()?;
        let count = |number: usize| {
            let four = data.get(20 + number * 4..)?.first_chunk::<4>()?;
            usize::try_from(u32::from_be_bytes(*four)).ok().filter(|count| *count < 1_000_000)
        };
        Some(Self {
            version,
            is_ut: count(0)?,
            is_standard: count(1)?,
            leaps: count(2)?,
            changes: count(3)?,
            types: count(4)?,
            names: count(5)?,
        })
    }

    /// Bytes of the header and its block, whose instants have `instant` bytes.
    fn length(&self, instant: usize) -> Option<usize> {
        let parts = [
            self.changes * (instant + 1),
            self.types * 6,
            self.names,
            self.leaps * (instant + 4),
            self.is_standard,
            self.is_ut,
            Self::LENGTH,
        ];
        Some(parts.iter().sum())
    }
}

impl Yearly {
    /// Reads `CET-1CEST,M3.5.0,M10.5.0/3` and the like.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let rest = after_name(parts.next()?)?;
        let (standard, rest) = hours(rest)?;
        if rest.is_empty() {
            return Some(Self { standard: -standard, summer: None });
        }
        let rest = after_name(rest)?;
        let ahead = if rest.is_empty() { 3600 - standard } else { -hours(rest)?.0 };
        let (begins, ends) = (Day::read(parts.next()?)?, Day::read(parts.next()?)?);
        Some(Self { standard: -standard, summer: Some((ahead, begins, ends)) })
    }

    /// The changes of a year, each at a local time of the clock as it was before, and how far it is ahead then.
    fn changes(self, year: i64) -> Vec<(i64, i64)> {
        let Some((summer, begins, ends)) = self.summer else { return Vec::new() };
        vec![(begins.at(year) - self.standard, summer), (ends.at(year) - summer, self.standard)]
    }

    fn offset(self, at: i64) -> i64 {
        let year = year_of(at + self.standard);
        // A change may lie in the year beside.
        let changes = (year - 1..=year + 1).flat_map(|year| self.changes(year));
        let last = changes.filter(|(since, _)| *since <= at).max_by_key(|(since, _)| *since);
        last.map_or(self.standard, |(_, ahead)| ahead)
    }
}

impl Day {
    fn read(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let (time, "") = hours(time)? else { return None };
        if let Some(numbers) = day.strip_prefix('M') {
            let numbers: Vec<i64> = numbers.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
            let [month @ 1..=12, week @ 1..=5, weekday @ 0..=6] = numbers[..] else { return None };
            return Some(Self::Weekday(month, week, weekday, time));
        }
        match day.strip_prefix('J') {
            Some(day) => Some(Self::Julian(day.parse().ok()?, time)),
            None => Some(Self::Counted(day.parse().ok()?, time)),
        }
    }

    /// The local time in a year, as seconds since the epoch of that clock.
    fn at(self, year: i64) -> i64 {
        let (day, time) = match self {
            Self::Counted(day, time) => (days_to(year, 1) + day, time),
            Self::Julian(day, time) => {
                let counts = is_leap(year) && day > 59;
                (days_to(year, 1) + day - 1 + i64::from(counts), time)
            }
            Self::Weekday(month, week, weekday, time) => {
                let (first, next) = (days_to(year, month), days_to(year, month + 1));
                // 1 January 1970 was a Thursday.
                let before = (weekday - (first + 4)).rem_euclid(7);
                let mut day = first + before + (week - 1) * 7;
                if day >= next {
                    day -= 7;
                }
                (day, time)
            }
        };
        day * DAY + time
    }
}

/// What stands behind an abbreviation, which stands in angle brackets where it is not of letters alone.
fn after_name(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').map(|(_, rest)| rest),
        None => Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic())).filter(|rest| *rest != text),
    }
}

/// Hours, and minutes and seconds where they are given, as seconds; and what stands behind them.
fn hours(text: &str) -> Option<(i64, &str)> {
    let (sign, bare) = match text.strip_prefix('-') {
        Some(bare) => (-1, bare),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = bare.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(bare.len());
    let (time, rest) = bare.split_at(end);
    let mut seconds = 0;
    for (part, unit) in time.split(':').zip([3600, 60, 1]) {
        seconds += part.parse::<i64>().ok()? * unit;
    }
    Some((sign * seconds, rest))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from the epoch to the first day of a month; month 13 is January of the year after.
fn days_to(year: i64, month: i64) -> i64 {
    const BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    let past = year - 1;
    let leaps = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    let before = usize::try_from(month - 1).ok().and_then(|month| BEFORE.get(month)).copied().unwrap_or(0);
    past * 365 + leaps - 719_162 + before + i64::from(month > 2 && is_leap(year))
}

fn year_of(at: i64) -> i64 {
    let day = at.div_euclid(DAY);
    let mut year = 1970 + day.div_euclid(366);
    while days_to(year + 1, 1) <= day {
        year += 1;
    }
    while days_to(year, 1) > day {
        year -= 1;
    }
    year
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::zones::Zones;
    use crate::producer::zone::Zone;

    #[test]
    fn both_readers_agree_on_every_zone() {
        let mut looked = 0;
        for zones in [Zones::bundled(), Zones::of_host()] {
            for name in zones.names() {
                let data = zones.get(name).unwrap();
                let rules = Rules::read(data.bytes()).expect(name);
                let zone = Zone::read(data).unwrap();
                // From 1850 to 2110, at an odd distance that meets all hours of the day.
                let mut at = -3_786_825_600;
                while at < 4_417_977_600 {
                    let utc = chrono::DateTime::from_timestamp(at, 0).unwrap();
                    let theirs = (zone.local(utc).unwrap() - utc.naive_utc()).num_seconds();
                    assert_eq!(rules.offset(at), theirs, "{name} at {utc}");
                    looked += 1;
                    at += 26_367_777;
                }
                for (since, _) in &rules.changes {
                    for at in [since - 1, *since] {
                        let utc = chrono::DateTime::from_timestamp(at, 0).unwrap();
                        let theirs = (zone.local(utc).unwrap() - utc.naive_utc()).num_seconds();
                        assert_eq!(rules.offset(at), theirs, "{name} at {utc}");
                    }
                }
            }
        }
        assert!(looked > 200_000, "{looked}");
    }

    #[test]
    fn rules_for_all_years_are_read_as_posix_has_them() {
        let check = |text: &str, at: &str, expected: i64| {
            let at = at.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
            assert_eq!(Yearly::read(text).expect(text).offset(at), expected, "{text} {at}");
        };
        check("CET-1CEST,M3.5.0,M10.5.0/3", "2040-03-25T00:59:59Z", 3600);
        check("CET-1CEST,M3.5.0,M10.5.0/3", "2040-03-25T01:00:00Z", 7200);
        check("CET-1CEST,M3.5.0,M10.5.0/3", "2040-10-28T00:59:59Z", 7200);
        check("CET-1CEST,M3.5.0,M10.5.0/3", "2040-10-28T01:00:00Z", 3600);
        check("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2040-12-31T23:00:00Z", 39_600);
        check("IST-1GMT0,M10.5.0,M3.5.0/1", "2040-01-01T00:00:00Z", 0);
        check("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2040-07-01T00:00:00Z", -3600);
        check("EST5EDT,J60,300", "2040-03-01T06:59:59Z", -18_000);
        check("EST5EDT,J60,300", "2040-03-01T07:00:00Z", -14_400);
        for wrong in ["", "5", "EST", "EST5EDT", "EST5EDT,M3.2", "EST5EDT,M13.1.0,M1.1.0"] {
            assert_eq!(Yearly::read(wrong), None, "{wrong}");
        }
    }
}
