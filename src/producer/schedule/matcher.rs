//! The next local time that an expression names, in a calendar without zones.
//!
//! The search is the `cron` crate's. It is exact on local time labelled as UTC, and that is all it is given: in a
//! real zone it returns instants that are past and fires twice. Three things are done for it here. Its weekdays count
//! from Sunday = 1. It knows no "either day field", so such an expression becomes two of which the earlier wins. And
//! its years are 1970 to 2100, so any other is looked at in a year of its that has the same calendar.

use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use super::expression::{DayRule, Expression, Pace};
use super::field::{DAY, Numbers};

/// The years that the `cron` crate knows (its `Years`; a test holds it to them).
const KNOWN_YEARS: RangeInclusive<i32> = 1970..=2100;

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// The calendar repeats after this many years; what does not come within them never does.
const CALENDAR_YEARS: usize = 400;

/// An expression, ready to be searched.
#[derive(Debug, Clone)]
pub(super) struct Matcher {
    expression: Expression,
    /// One or two; the earliest of their times counts. A function of the expression.
    searches: Vec<cron::Schedule>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expression.hash(state);
    }
}

impl Matcher {
    pub(super) fn new(expression: Expression) -> Self {
        let any_weekday = Expression { weekdays: 0x7f, ..expression };
        let any_day = Expression { days: DAY.all(), ..expression };
        let searches = match expression.day_rule {
            DayRule::Both => vec![search(&expression)],
            // A date that no year has would be searched for to the end of the crate's years, each time.
            DayRule::Either if !expression.has_dates() => vec![search(&any_day)],
            DayRule::Either => vec![search(&any_weekday), search(&any_day)],
        };
        Self { expression, searches }
    }

    pub(super) fn pace(&self) -> Pace {
        self.expression.pace
    }

    /// The first local time after `after`, in whole seconds; `None` when there is none before chrono's end.
    pub(super) fn next(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        if !KNOWN_YEARS.contains(&after.year()) {
            return self.next_elsewhere(after);
        }
        match self.search(after) {
            None => self.next_elsewhere(new_year(KNOWN_YEARS.end() + 1)? - SECOND),
            found => found,
        }
    }

    /// As [`Self::next`], year by year, each in its twin among the years that the crate knows.
    fn next_elsewhere(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let first = after.checked_add_signed(SECOND)?.year();
        (first..).take(CALENDAR_YEARS + 1).map_while(|year| Some((year, twin(year)?))).find_map(
            |(year, twin)| {
                let start =
                    if after.year() == year { after.with_year(twin)? } else { new_year(twin)? - SECOND };
                self.search(start).filter(|found| found.year() == twin)?.with_year(year)
            },
        )
    }

    fn search(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let after = after.and_utc();
        self.searches
            .iter()
            .filter_map(|search| search.after(&after).next())
            .min()
            .map(|found| found.naive_utc())
    }
}

/// A year with the same calendar, late among those that the crate knows: a search that finds nothing in it is over
/// soon.
fn twin(year: i32) -> Option<i32> {
    let calendar =
        |year| Some((NaiveDate::from_ymd_opt(year, 1, 1)?.weekday(), new_year(year)?.date().leap_year()));
    let wanted = calendar(year)?;
    (2072..2100).find(|twin| calendar(*twin) == Some(wanted))
}

fn new_year(year: i32) -> Option<NaiveDateTime> {
    Some(NaiveDate::from_ymd_opt(year, 1, 1)?.and_time(NaiveTime::MIN))
}

#[expect(clippy::expect_used, reason = "the crate reads every list of numbers within the fields' ranges")]
fn search(expression: &Expression) -> cron::Schedule {
    let source = [
        list(expression.seconds, 0..=59, 0),
        list(expression.minutes, 0..=59, 0),
        list(expression.hours, 0..=23, 0),
        list(expression.days, 1..=31, 0),
        list(expression.months, 1..=12, 0),
        list(expression.weekdays, 0..=6, 1),
    ];
    cron::Schedule::from_str(&source.join(" ")).expect("lists of numbers")
}

/// The numbers as the crate reads them, `shift` higher; `*` for all of them, which it takes a shorter way with.
fn list(numbers: Numbers, all: RangeInclusive<u32>, shift: u32) -> String {
    let named: Vec<u32> = all.clone().filter(|number| numbers & (1 << number) != 0).collect();
    if named.len() == all.count() {
        return "*".to_owned();
    }
    named.iter().map(|number| (number + shift).to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::expression::{Words, read};
    use super::*;

    fn matcher(words: &str) -> Matcher {
        let Ok(Words::Local(expression)) = read(words) else { panic!("{words} was not read") };
        Matcher::new(expression)
    }

    fn check(words: &str, after: &str, expected: Option<&str>) {
        let local = |text: &str| text.parse::<NaiveDateTime>().expect(text);
        assert_eq!(matcher(words).next(local(after)), expected.map(local), "{words} after {after}");
    }

    #[test]
    fn either_day_field_is_enough_where_both_are_restricted() {
        check("0 0 13 * 5", "2026-03-01T00:00:00", Some("2026-03-06T00:00:00"));
        check("0 0 13 * 5", "2026-03-06T00:00:00", Some("2026-03-13T00:00:00"));
        check("0 0 10 * 5", "2026-03-06T00:00:00", Some("2026-03-10T00:00:00"));
        check("0 0 31 2 0", "2026-03-06T00:00:00", Some("2027-02-07T00:00:00"));
        check("0 0 */13 * 5", "2026-03-01T00:00:00", Some("2026-03-27T00:00:00"));
    }

    #[test]
    fn every_number_of_every_field_is_the_crates() {
        for number in 0..60 {
            check(
                &format!("{number} 0 0 1 1 *"),
                "2025-12-31T23:59:59",
                Some(&format!("2026-01-01T00:00:{number:02}")),
            );
            check(
                &format!("{number} 0 1 1 *"),
                "2025-12-31T23:59:59",
                Some(&format!("2026-01-01T00:{number:02}:00")),
            );
        }
        for hour in 0..24 {
            check(
                &format!("0 {hour} 1 1 *"),
                "2025-12-31T23:59:59",
                Some(&format!("2026-01-01T{hour:02}:00:00")),
            );
        }
        for day in 1..32 {
            check(
                &format!("0 0 {day} 1 *"),
                "2025-12-31T23:59:59",
                Some(&format!("2026-01-{day:02}T00:00:00")),
            );
        }
        for month in 1..13 {
            check(
                &format!("0 0 1 {month} *"),
                "2025-12-31T23:59:59",
                Some(&format!("2026-{month:02}-01T00:00:00")),
            );
        }
        // 1 February 2026 is a Sunday.
        for weekday in 0..7 {
            let day = weekday + 1;
            check(&format!("0 0 1-7 2 *,{weekday}"), "2026-01-31T23:59:59", Some("2026-02-01T00:00:00"));
            check(
                &format!("0 0 * 2 {weekday}"),
                "2026-01-31T23:59:59",
                Some(&format!("2026-02-{day:02}T00:00:00")),
            );
        }
    }

    #[test]
    fn the_crate_knows_the_years_that_we_say_it_knows() {
        let years = |after: &str| {
            let search = cron::Schedule::from_str("0 0 0 1 1 *").expect("a schedule");
            search
                .after(&after.parse::<NaiveDateTime>().expect(after).and_utc())
                .next()
                .map(|found| found.year())
        };
        assert_eq!(years("1960-01-01T00:00:00"), Some(*KNOWN_YEARS.start()));
        assert_eq!(years("2099-12-31T00:00:00"), Some(*KNOWN_YEARS.end()));
        assert_eq!(years("2100-12-31T00:00:00"), None);
    }

    #[test]
    fn years_that_the_crate_does_not_know_have_their_times_too() {
        check("0 0 29 2 *", "2096-02-29T00:00:00", Some("2104-02-29T00:00:00"));
        check("0 0 29 2 */6", "2100-12-31T23:59:59", Some("2116-02-29T00:00:00"));
        check("59 59 23 31 12 *", "2100-12-31T23:59:59", Some("2101-12-31T23:59:59"));
        check("0 0 1 1 *", "1969-06-01T00:00:00", Some("1970-01-01T00:00:00"));
        check("30 4 * * *", "1899-12-31T23:59:59", Some("1900-01-01T04:30:00"));
        check("0 0 * * 1", "-0044-03-15T12:00:00", Some("-0044-03-19T00:00:00"));
        check("0 0 * * *", "+262142-12-31T00:00:00", None);
        check("* * * * * *", "+262142-12-31T23:59:58", Some("+262142-12-31T23:59:59"));
        check("* * * * * *", "+262142-12-31T23:59:59", None);
    }

    #[test]
    fn the_rarest_of_dates_is_found() {
        // 29 February on a Sunday, over a century that has no leap day.
        check("0 0 29 2 */7", "2088-02-29T00:00:00", Some("2128-02-29T00:00:00"));
        check("0 0 29 2 */7", "1880-02-29T00:00:00", Some("1920-02-29T00:00:00"));
    }
}
