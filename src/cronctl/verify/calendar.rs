//! Which instants a schedule names, by brute force: the clock of the zone is watched minute by minute – second by
//! second where the schedule has seconds – and each time that it shows is compared with the fields.
//!
//! A second opinion is worth what it does not share with the first: nothing of `producer/schedule` is used here, neither
//! its reading of the fields nor its search nor its rule for clock changes, and the zones' data has a reader of its own
//! ([`super::tzif`]). It is slow, and simple enough to be believed.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};

use super::tzif::Rules;
use crate::common::duration;

/// The longest time that a clock was ever turned back by is a day. A watch that begins so long before the first instant
/// of interest, and some more, knows how far the clock has got.
const WARM_UP: TimeDelta = TimeDelta::hours(26);

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A period, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first instant.
    pub since: DateTime<Utc>,
    /// The last instant.
    pub until: DateTime<Utc>,
}

impl Period {
    /// Whether an instant lies in it.
    pub fn has(&self, at: DateTime<Utc>) -> bool {
        (self.since..=self.until).contains(&at)
    }
}

/// The words of a schedule that the job file accepts and the calendar does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schedule `{0}` is not understood")]
pub struct NotUnderstood(pub String);

/// The words of a schedule as they were understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calendar {
    /// Multiples of so many milliseconds since the epoch.
    Every(i64),
    /// Local times.
    Local(Box<Fields>),
    /// No instant that the calendar knows: `@reboot`.
    Never,
}

/// Six fields, each as the set of its numbers: bit `n` stands for the number `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    second: u64,
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    /// Neither day field starts with a star: a day that one of them names will do (crontab(5)).
    either_day: bool,
    /// The minute or the hour starts with a star: the job follows elapsed time (cron(8)).
    elapsed: bool,
}

impl Calendar {
    /// Reads the words of a schedule that the job file has accepted; `None` where they cannot be read.
    pub fn read(words: &str) -> Option<Self> {
        let words: Vec<&str> = words.split_ascii_whitespace().collect();
        let fields = match words[..] {
            ["@every", every] => {
                let every = i64::try_from(duration::parse(every).ok()?.as_millis()).ok()?;
                return (every > 0).then_some(Self::Every(every));
            }
            ["@reboot"] => return Some(Self::Never),
            ["@hourly"] => Fields::read(["0", "0", "*", "*", "*", "*"]),
            ["@daily" | "@midnight"] => Fields::read(["0", "0", "0", "*", "*", "*"]),
            ["@weekly"] => Fields::read(["0", "0", "0", "*", "*", "0"]),
            ["@monthly"] => Fields::read(["0", "0", "0", "1", "*", "*"]),
            ["@yearly" | "@annually"] => Fields::read(["0", "0", "0", "1", "1", "*"]),
            [minute, hour, day, month, weekday] => Fields::read(["0", minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => {
                Fields::read([second, minute, hour, day, month, weekday])
            }
            _ => None,
        };
        fields.map(|fields| Self::Local(Box::new(fields)))
    }

    /// The instants from `from` to `to`, both included, in seconds since the epoch.
    pub fn instants(&self, zone: &Rules, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<i64> {
        match self {
            Self::Never => Vec::new(),
            Self::Local(fields) => fields.watch(zone, from, to),
            Self::Every(every) => {
                let within = |second: &i64| DateTime::from_timestamp(*second, 0).is_some_and(|at| at >= from);
                let seconds = (from.timestamp()..=to.timestamp()).filter(within);
                seconds.filter(|second| (second * 1000).rem_euclid(*every) == 0).collect()
            }
        }
    }
}

impl Fields {
    fn read([second, minute, hour, day, month, weekday]: [&str; 6]) -> Option<Self> {
        let star = |word: &str| word.starts_with('*');
        let weekdays = numbers(weekday, 0, 7, &WEEKDAYS, 0)?;
        Some(Self {
            second: numbers(second, 0, 59, &[], 0)?,
            minute: numbers(minute, 0, 59, &[], 0)?,
            hour: numbers(hour, 0, 23, &[], 0)?,
            day: numbers(day, 1, 31, &[], 0)?,
            month: numbers(month, 1, 12, &MONTHS, 1)?,
            // Sunday is 0 and 7.
            weekday: (weekdays | (weekdays >> 7)) & 0x7f,
            either_day: !star(day) && !star(weekday),
            elapsed: star(minute) || star(hour),
        })
    }

    /// Whether the fields, the seconds apart, name the minute that a clock shows.
    fn has_minute(&self, local: NaiveDateTime) -> bool {
        let has = |set: u64, number: u32| set >> number & 1 == 1;
        let day = has(self.day, local.day());
        let weekday = has(self.weekday, local.weekday().num_days_from_sunday());
        let on_the_day = if self.either_day { day || weekday } else { day && weekday };
        has(self.minute, local.minute())
            && has(self.hour, local.hour())
            && has(self.month, local.month())
            && on_the_day
    }

    fn has(&self, local: NaiveDateTime) -> bool {
        self.second >> local.second() & 1 == 1 && self.has_minute(local)
    }

    /// Whether they name a time after `low` and not after `high`. Between two looks at the clock that is a time or two;
    /// where the clock was put forward, all that it left out.
    fn has_between(&self, low: NaiveDateTime, high: NaiveDateTime) -> bool {
        let mut local = low + TimeDelta::seconds(1);
        while local <= high {
            if self.has(local) {
                return true;
            }
            // A minute that is not named has no second that is.
            let step = if self.has_minute(local) { 1 } else { 60 - i64::from(local.second()) };
            local += TimeDelta::seconds(step);
        }
        false
    }

    /// Watches the clock of a zone. A job that follows elapsed time is due whenever the clock shows a time that is
    /// named. Any other is due when the clock *gets past* such a time for the first time, which in a gap is its end, and
    /// in the second pass of an overlap never.
    fn watch(&self, zone: &Rules, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<i64> {
        let local = |at: DateTime<Utc>| {
            let offset = zone.offset(at.timestamp());
            (at.naive_utc() + TimeDelta::seconds(offset), offset)
        };
        let mut found = Vec::new();
        let Some(mut at) = from.checked_sub_signed(WARM_UP).and_then(|at| at.with_nanosecond(0)) else {
            return found;
        };
        let mut farthest = local(at).0;
        while at <= to {
            let (shown, offset) = local(at);
            let due = if self.elapsed { self.has(shown) } else { self.has_between(farthest, shown) };
            if due && at >= from {
                found.push(at.timestamp());
            }
            farthest = farthest.max(shown);
            // The next second where one of this minute may be named, or where clocks had odd seconds; the next minute
            // otherwise.
            let seconds = self.second != 1 && self.has_minute(shown);
            let step = if seconds || offset % 60 != 0 { 1 } else { 60 - i64::from(shown.second()) };
            at += TimeDelta::seconds(step);
        }
        found
    }
}

/// A field: numbers or names, ranges and steps, parted by commas. `first` is the number of the first name.
fn numbers(field: &str, low: u32, high: u32, names: &[&str], first: u32) -> Option<u64> {
    let number = |word: &str| {
        let named = names.iter().zip(first..).find(|(name, _)| name.eq_ignore_ascii_case(word));
        let number = named.map_or_else(|| word.parse().ok(), |(_, number)| Some(number))?;
        (low..=high).contains(&number).then_some(number)
    };
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (start, end) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((start, end)) => (number(start)?, number(end)?),
            None => (number(range)?, number(range)?),
        };
        let step = step.map_or(Some(1), |step| step.parse().ok()).filter(|step| *step > 0)?;
        (start..=end).step_by(step).for_each(|number| set |= 1 << number);
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::zones::Zones;

    fn rules(zone: &str) -> Rules {
        Rules::read(Zones::bundled().get(zone).expect(zone).bytes()).expect(zone)
    }

    /// The rows that the schedules themselves are tested with, each with the ticks that other programs agree on.
    const TABLE: &str = include_str!("../../../tests/data/cron.csv");

    /// The columns of a line: commas part them, except between quotes.
    fn columns(line: &str) -> Vec<String> {
        let mut columns = vec![String::new()];
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => columns.push(String::new()),
                _ => columns.last_mut().unwrap().push(c),
            }
        }
        columns
    }

    /// Ticks that lie farther from the start of their row are left out: a year of minutes takes its time.
    const WATCHED: TimeDelta = TimeDelta::days(40);

    fn check_row(row: &[String]) -> Option<String> {
        let [words, zone, after, expected @ .., _oracle] = row else { panic!("{row:?}") };
        let zone = rules(zone);
        let instant = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let after = instant(after);
        let expected: Vec<i64> =
            expected.iter().filter(|tick| !tick.is_empty()).map(|tick| instant(tick).timestamp()).collect();
        let last =
            expected.last().map_or(after + WATCHED, |last| DateTime::from_timestamp(*last, 0).unwrap());
        let to = last.min(after + WATCHED);
        let expected: Vec<i64> = expected.into_iter().filter(|tick| *tick <= to.timestamp()).collect();
        let calendar = Calendar::read(words).unwrap_or_else(|| panic!("{words}"));
        let found = calendar.instants(&zone, after + TimeDelta::nanoseconds(1), to);
        (found != expected).then(|| format!("{row:?}: {found:?} instead of {expected:?}"))
    }

    #[test]
    fn every_row_of_the_table_holds() {
        // Their `@every` counts from the start of the row, ours from the epoch; these two starts are no multiples.
        let from_the_start = |row: &[String]| row[0].starts_with("@every") && row[2].contains("T12:00:00-0");
        let rows: Vec<Vec<String>> = TABLE.lines().skip(1).map(columns).collect();
        let failures: Vec<String> =
            rows.iter().filter(|row| !from_the_start(row)).filter_map(|row| check_row(row)).collect();
        assert_eq!(rows.iter().filter(|row| from_the_start(row)).count(), 2);
        assert_eq!(rows.len(), 468);
        assert!(failures.is_empty(), "{} rows fail:\n{}", failures.len(), failures.join("\n"));
    }

    #[test]
    fn both_ends_of_a_period_belong_to_it() {
        let check = |words: &str, from: &str, to: &str, expected: &[&str]| {
            let instant = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
            let found = Calendar::read(words).unwrap().instants(&rules("UTC"), instant(from), instant(to));
            let expected: Vec<i64> = expected.iter().map(|tick| instant(tick).timestamp()).collect();
            assert_eq!(found, expected, "{words} from {from} to {to}");
        };
        let (one, two) = ("2026-03-01T00:00:00Z", "2026-03-01T00:01:00Z");
        check("* * * * *", one, two, &[one, two]);
        check("@every 1m", one, two, &[one, two]);
        check("@every 1m", "2026-03-01T00:00:00.001Z", two, &[two]);
        check("*/30 * * * * *", one, two, &[one, "2026-03-01T00:00:30Z", two]);
        check("30 0 0 * * *", one, two, &["2026-03-01T00:00:30Z"]);
        check("* * * * *", "2026-03-01T00:00:00.001Z", two, &[two]);
        check("0 0 * * *", "2026-03-01T00:00:00.001Z", two, &[]);
        check("@reboot", one, two, &[]);
    }

    #[test]
    fn words_that_are_no_schedule_are_not_guessed_at() {
        for words in ["", "* * * *", "60 * * * *", "x * * * *", "*/0 * * * *", "@every 0s", "@often"] {
            assert_eq!(Calendar::read(words), None, "{words}");
        }
    }
}
