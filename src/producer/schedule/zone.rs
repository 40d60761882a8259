//! From local times to instants: what happens to those that a clock change swallows or shows twice.
//!
//! The rule is that of Debian's cron (cron(8), "daylight saving time"). A schedule that follows *elapsed* time runs at
//! each instant at which the clock shows a time that it names: twice in an overlap, not at all in a gap. Any other
//! schedule runs at the first instant at which the clock shows that time *or a later one*: right after a gap that
//! swallowed it, and only in the first pass of an overlap. So it depends only on how far the clock has ever got.
//!
//! One difference is deliberate: Debian's cron takes a change of more than three hours for an operator who sets the
//! clock, and then drops what was swallowed. Here a change comes from the zone's own history, so a zone that skips a
//! whole day (Pacific/Apia, 30 December 2011) is a gap like any other.

use chrono::{DateTime, TimeDelta, Utc};

use super::expression::Pace;
use super::matcher::Matcher;
use crate::producer::zone::{Shown, Zone};

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// Local time is at most this far from UTC; the first such stretch of chrono's time has no local time in some zones.
const FARTHEST: TimeDelta = TimeDelta::days(2);

/// The first instant after `after` that the matcher's local times stand for in the zone.
pub(super) fn next(matcher: &Matcher, zone: &Zone, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let after = after.max(DateTime::<Utc>::MIN_UTC + FARTHEST);
    match matcher.pace() {
        Pace::Elapsed => next_elapsed(matcher, zone, after),
        Pace::Fixed => next_fixed(matcher, zone, after),
    }
}

fn next_elapsed(matcher: &Matcher, zone: &Zone, mut after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut local = zone.local(after)?;
    if let Some(Shown::Twice { change, .. }) = zone.shows(local)
        && after < change
    {
        // In the first pass of an overlap: what is left of it, then all of the second.
        let last = change - SECOND;
        match matcher.next(local) {
            Some(found) if found <= zone.local(last)? => return Some(after + (found - local)),
            _ => (after, local) = (last, zone.local(change)? - SECOND),
        }
    }
    loop {
        let found = matcher.next(local)?;
        match zone.shows(found)? {
            Shown::Once(at) => return Some(at),
            Shown::Twice { first, second, .. } => return Some(if first > after { first } else { second }),
            // Go on with what is shown after the gap.
            Shown::Never { change } => local = zone.local(change)? - SECOND,
        }
    }
}

fn next_fixed(matcher: &Matcher, zone: &Zone, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let local = zone.local(after)?;
    let furthest = match zone.shows(local) {
        Some(Shown::Twice { change, .. }) if change <= after => zone.local(change - SECOND)?,
        _ => local,
    };
    let found = matcher.next(furthest)?;
    Some(match zone.shows(found)? {
        Shown::Once(at) | Shown::Twice { first: at, .. } | Shown::Never { change: at } => at,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Schedule;
    use super::*;

    /// The ticks that follow `after`, in local time with its offset.
    fn check(words: &str, zone: &str, after: &str, expected: &[&str]) {
        let zone: Zone = zone.parse().expect(zone);
        let schedule = Schedule::parse(words, &zone).expect(words);
        let mut after = DateTime::parse_from_rfc3339(after).expect(after).to_utc();
        for expected in expected {
            let next = schedule.next(after).expect(words);
            assert_eq!(zone.with_offset(next).to_rfc3339(), *expected, "{words} {zone} after {after}");
            after = next;
        }
    }

    #[test]
    fn a_day_that_a_zone_skipped_is_a_gap() {
        let apia = "Pacific/Apia";
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
        let kwajalein = "Pacific/Kwajalein";
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
        let berlin = "Europe/Berlin";
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
        check("* * * * * *", "UTC", "2026-03-01T00:00:00.999999999Z", &["2026-03-01T00:00:01+00:00"]);
        check("0 0 0 1 1 *", "UTC", "1969-12-31T23:59:59.5Z", &["1970-01-01T00:00:00+00:00"]);
        check("* * * * * *", "Europe/Berlin", "2026-10-25T00:59:59.5Z", &["2026-10-25T02:00:00+01:00"]);
        check("0 0 2 * * *", "Europe/Berlin", "2026-10-25T00:59:59.5Z", &["2026-10-26T02:00:00+01:00"]);
    }

    #[test]
    fn offsets_of_odd_seconds_are_followed_to_the_second() {
        // New York left its local mean time, -4:56:02, at noon of 18 November 1883: 3 min 58 s came twice.
        let new_york: Zone = "America/New_York".parse().unwrap();
        let seconds = |words| Schedule::parse(words, &new_york).expect(words);
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
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/St_Johns"] {
            let zone: Zone = zone.parse().expect(zone);
            for words in ["* * * * * *", "0 0 29 2 *", "0-59 0-23 * * *", "@every 1s", "0 0 29 2 */7"] {
                let next = |after| Schedule::parse(words, &zone).expect(words).next(after);
                for distance in [0, 1, 60, 3_600, 86_400, 200_000, 40_000_000].map(TimeDelta::seconds) {
                    let (early, late) = (start + distance, end - distance);
                    assert!(next(early).is_some_and(|next| next > early), "{words} {zone} {early}");
                    assert!(next(late).is_none_or(|next| next > late), "{words} {zone} {late}");
                }
            }
        }
    }
}
