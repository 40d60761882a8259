//! From local times to instants: what happens to those that a clock change swallows or shows twice.
//!
//! The rule is that of Debian's cron (cron(8), "daylight saving time"). A schedule that follows *elapsed* time runs at
//! each instant at which the clock shows a time that it names: twice in an overlap, not at all in a gap. Any other
//! runs at the first instant at which the clock shows that time *or a later one*: right after a gap that swallowed
//! it, and only in the first pass of an overlap. So it depends on nothing but how far the clock has ever got.
//!
//! One difference is meant: Debian's cron takes a change of more than three hours for somebody setting the clock, and
//! then drops what was swallowed. Here a change comes from the zone's own history, so a zone that skips a whole day
//! (Pacific/Apia, 30 December 2011) is a gap like any other.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use super::expression::Pace;
use super::matcher::Matcher;

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// Local time is at most this far from UTC; the first such stretch of chrono's time has no local time in some zones.
const FARTHEST: TimeDelta = TimeDelta::days(2);

/// The first instant after `after` that the matcher's local times stand for in the zone.
pub(super) fn next(matcher: &Matcher, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let after = after.max(DateTime::<Utc>::MIN_UTC + FARTHEST);
    match matcher.pace() {
        Pace::Elapsed => next_elapsed(matcher, zone, after),
        Pace::Fixed => next_fixed(matcher, zone, after),
    }
}

fn next_elapsed(matcher: &Matcher, zone: Tz, mut after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut local = shown(zone, after)?;
    if let Some(change) = turned_back(zone, local)
        && after < change
    {
        // In the first pass of an overlap: what is left of it, then all of the second.
        let last = change - SECOND;
        match matcher.next(local) {
            Some(found) if found <= shown(zone, last)? => return Some(after + (found - local)),
            _ => (after, local) = (last, shown(zone, change)? - SECOND),
        }
    }
    loop {
        let found = matcher.next(local)?;
        match zone.from_local_datetime(&found) {
            MappedLocalTime::Single(at) => return Some(at.to_utc()),
            MappedLocalTime::Ambiguous(first, second) => {
                let in_first = Some(first.to_utc()).filter(|first| *first > after);
                return Some(in_first.unwrap_or(second.to_utc()));
            }
            // Never shown: go on with what is shown after the gap.
            MappedLocalTime::None => local = shown(zone, gap_end(zone, found)?)? - SECOND,
        }
    }
}

fn next_fixed(matcher: &Matcher, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let local = shown(zone, after)?;
    let furthest = match turned_back(zone, local) {
        Some(change) if change <= after => shown(zone, change - SECOND)?,
        _ => local,
    };
    let found = matcher.next(furthest)?;
    match zone.from_local_datetime(&found) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => Some(at.to_utc()),
        MappedLocalTime::None => gap_end(zone, found),
    }
}

/// The local time that the clock shows.
fn shown(zone: Tz, at: DateTime<Utc>) -> Option<NaiveDateTime> {
    at.naive_utc().checked_add_offset(zone.offset_from_utc_datetime(&at.naive_utc()).fix())
}

/// The first instant after the gap that swallowed a local time.
fn gap_end(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    GapInfo::new(&local, &zone)?.end.map(|end| end.to_utc())
}

/// When the clock is turned back so that it shows a local time again; `None` for one that it does not show twice.
fn turned_back(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let MappedLocalTime::Ambiguous(first, second) = zone.from_local_datetime(&local) else { return None };
    let offset = first.offset().fix();
    let (mut before, mut change) = (first.timestamp(), second.timestamp());
    // The one change between the two, by halves.
    while change - before > 1 {
        let middle = DateTime::from_timestamp(before + (change - before) / 2, 0)?;
        if zone.offset_from_utc_datetime(&middle.naive_utc()).fix() == offset {
            before = middle.timestamp();
        } else {
            change = middle.timestamp();
        }
    }
    DateTime::from_timestamp(change, 0)
}

#[cfg(test)]
mod tests {
    use super::super::Schedule;
    use super::*;

    /// The ticks that follow `after`, in local time with its offset.
    fn check(words: &str, zone: Tz, after: &str, expected: &[&str]) {
        let schedule = Schedule::parse(words, zone).expect(words);
        let mut after = DateTime::parse_from_rfc3339(after).expect(after).to_utc();
        for expected in expected {
            let next = schedule.next(after).expect(words);
            assert_eq!(next.with_timezone(&zone).to_rfc3339(), *expected, "{words} {zone} after {after}");
            after = next;
        }
    }

    #[test]
    fn a_day_that_a_zone_skipped_is_a_gap() {
        let apia = Tz::Pacific__Apia;
        let (before, right_after) = ("2011-12-29T13:00:00-10:00", "2011-12-31T00:00:00+14:00");
        check("0 12 * * *", apia, before, &[right_after, "2011-12-31T12:00:00+14:00"]);
        check("0 12 30 12 *", apia, before, &[right_after, "2012-12-30T12:00:00+14:00"]);
        check("0 */12 * * *", apia, before, &[right_after, "2011-12-31T12:00:00+14:00"]);
        check("30 */12 * * *", apia, before, &["2011-12-31T00:30:00+14:00", "2011-12-31T12:30:00+14:00"]);
        check("30 */12 30 12 *", apia, before, &["2012-12-30T00:30:00+14:00"]);
    }

    #[test]
    fn a_day_that_a_zone_showed_twice_counts_once() {
        // Kwajalein went from +11 to -12 on 30 September 1969.
        let kwajalein = Tz::Pacific__Kwajalein;
        check(
            "0 12 * * *",
            kwajalein,
            "1969-09-29T13:00:00+11:00",
            &["1969-09-30T12:00:00+11:00", "1969-10-01T12:00:00-12:00"],
        );
        check(
            "0 */12 * * *",
            kwajalein,
            "1969-09-29T13:00:00+11:00",
            &[
                "1969-09-30T00:00:00+11:00",
                "1969-09-30T12:00:00+11:00",
                "1969-09-30T12:00:00-12:00",
                "1969-10-01T00:00:00-12:00",
            ],
        );
    }

    #[test]
    fn seconds_cross_a_clock_change_too() {
        let berlin = Tz::Europe__Berlin;
        let spring = "2026-03-29T01:59:58+01:00";
        check("*/30 * * * * *", berlin, spring, &["2026-03-29T03:00:00+02:00", "2026-03-29T03:00:30+02:00"]);
        check("10 30 2 * * *", berlin, spring, &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:10+02:00"]);
        check("* 30 2 * * *", berlin, spring, &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
        let autumn = "2026-10-25T02:59:58+02:00";
        check("*/30 * * * * *", berlin, autumn, &["2026-10-25T02:00:00+01:00", "2026-10-25T02:00:30+01:00"]);
        check("59 59 2 * * *", berlin, autumn, &["2026-10-25T02:59:59+02:00", "2026-10-26T02:59:59+01:00"]);
    }

    #[test]
    fn an_instant_within_a_second_counts_as_that_second() {
        check("* * * * * *", Tz::UTC, "2026-03-01T00:00:00.999999999Z", &["2026-03-01T00:00:01+00:00"]);
        check("0 0 0 1 1 *", Tz::UTC, "1969-12-31T23:59:59.5Z", &["1970-01-01T00:00:00+00:00"]);
        check("* * * * * *", Tz::Europe__Berlin, "2026-10-25T00:59:59.5Z", &["2026-10-25T02:00:00+01:00"]);
        check("0 0 2 * * *", Tz::Europe__Berlin, "2026-10-25T00:59:59.5Z", &["2026-10-26T02:00:00+01:00"]);
    }

    #[test]
    fn offsets_of_odd_seconds_are_followed_to_the_second() {
        // New York left its local mean time, -4:56:02, at noon of 18 November 1883: 3 min 58 s came twice.
        let new_york = Tz::America__New_York;
        let seconds = |words| Schedule::parse(words, new_york).expect(words);
        let instant = |text: &str| text.parse::<DateTime<Utc>>().expect(text);
        let minutely = seconds("* * * * *");
        assert_eq!(minutely.next(instant("1883-11-18T16:58:02Z")), Some(instant("1883-11-18T16:59:02Z")));
        assert_eq!(minutely.next(instant("1883-11-18T16:59:02Z")), Some(instant("1883-11-18T17:00:00Z")));
        let fixed = seconds("58 11 * * *");
        assert_eq!(fixed.next(instant("1883-11-18T16:00:00Z")), Some(instant("1883-11-18T16:54:02Z")));
        assert_eq!(fixed.next(instant("1883-11-18T16:54:02Z")), Some(instant("1883-11-19T16:58:00Z")));
    }

    #[test]
    fn the_ends_of_time_are_no_trap() {
        let (start, end) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
        for zone in [Tz::UTC, Tz::Pacific__Kiritimati, Tz::Pacific__Pago_Pago, Tz::America__St_Johns] {
            for words in ["* * * * * *", "0 0 29 2 *", "0-59 0-23 * * *", "@every 1s", "0 0 29 2 */7"] {
                let next = |after| Schedule::parse(words, zone).expect(words).next(after);
                for distance in [0, 1, 60, 3_600, 86_400, 200_000, 40_000_000].map(TimeDelta::seconds) {
                    let (early, late) = (start + distance, end - distance);
                    assert!(next(early).is_some_and(|next| next > early), "{words} {zone} {early}");
                    assert!(next(late).is_none_or(|next| next > late), "{words} {zone} {late}");
                }
            }
        }
    }
}
