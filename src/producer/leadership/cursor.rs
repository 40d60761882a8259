//! What a committed cursor means, and what it means when there is none.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::common::broker::Committed;

/// A cursor may lie this far ahead of our clock: hosts' clocks differ, and the one before us was a little fast.
const AHEAD: Duration = Duration::from_secs(30);

/// What the broker knows of a cluster's cursor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    /// What is committed.
    pub committed: Option<&'a Committed>,
    /// Whether the cluster's topic holds, or held, a record.
    pub is_used: bool,
}

/// Where a cluster goes on in a new term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StartingPoint {
    pub cursor: DateTime<Utc>,
    /// The broker, or its copy, has the cursor.
    pub is_kept: bool,
    /// A reboot whose jobs are still owed their tick.
    pub reboot: Option<DateTime<Utc>>,
    /// The cursor was lost, and that is not on record yet.
    pub is_gap: bool,
    /// How far the cursor lies ahead of our clock, where that is too far.
    pub ahead: Duration,
}

/// Judges what was found by a term that began at an instant. No cursor and an unused topic is a first start: nothing is
/// owed from before the term. No cursor and a topic that was used means that it expired (offsets do, seven days after their
/// group is empty) or was deleted.
pub(super) fn judge(
    found: Found<'_>,
    window: Duration,
    began: DateTime<Utc>,
    now: DateTime<Utc>,
) -> StartingPoint {
    let begin = |cursor, is_gap| StartingPoint {
        cursor,
        is_kept: found.committed.is_some(),
        reboot: None,
        is_gap,
        ahead: Duration::ZERO,
    };
    let known = found.committed.and_then(|c| Some((DateTime::from_timestamp_millis(c.offset)?, c)));
    let Some((cursor, committed)) = known else {
        let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::MAX);
        let lost = now.checked_sub_signed(window).unwrap_or(DateTime::UNIX_EPOCH);
        return if found.is_used { begin(second(lost), true) } else { begin(second(began), false) };
    };
    let ahead = (cursor - now).to_std().unwrap_or_default();
    let ahead = if ahead > AHEAD { ahead } else { Duration::ZERO };
    // Both are done when the cursor has passed them.
    let [reboot, gap] = read(&committed.metadata).map(|at| at.filter(|at| *at >= cursor));
    StartingPoint { reboot, ahead, ..begin(cursor, gap.is_some()) }
}

/// The whole second that an instant is in.
pub(super) fn second(at: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at)
}

/// The first whole second that does not lie before the instant.
pub(super) fn second_from(at: DateTime<Utc>) -> DateTime<Utc> {
    let second = second(at);
    if second == at { at } else { second.checked_add_signed(TimeDelta::seconds(1)).unwrap_or(at) }
}

/// The text that is committed with a cursor: `1;` and the milliseconds of the last reboot, where there was one; and
/// where the cursor before it was lost, `;` and those of the one at which it goes on.
pub(super) fn metadata(reboot: Option<DateTime<Utc>>, gap: Option<DateTime<Utc>>) -> String {
    let millis = |at: DateTime<Utc>| at.timestamp_millis().to_string();
    let gap = gap.map_or_else(String::new, |at| format!(";{}", millis(at)));
    format!("1;{}{gap}", reboot.map_or_else(String::new, millis))
}

fn read(metadata: &str) -> [Option<DateTime<Utc>>; 2] {
    let mut fields = metadata.strip_prefix("1;").unwrap_or_default().split(';');
    [(); 2].map(|()| DateTime::from_timestamp_millis(fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn check(
        committed: Option<(&str, Option<&str>)>,
        is_used: bool,
        (cursor, reboot, is_gap, ahead): (&str, Option<&str>, bool, u64),
    ) {
        let committed = committed.map(|(cursor, reboot)| Committed {
            offset: at(cursor).timestamp_millis(),
            metadata: metadata(reboot.map(at), None),
        });
        let found = Found { committed: committed.as_ref(), is_used };
        let judged = judge(found, DAY, at("2026-11-24T11:59:50.100Z"), at("2026-11-24T12:00:00.700Z"));
        let ahead = Duration::from_millis(ahead);
        let (cursor, is_kept) = (at(cursor), found.committed.is_some());
        assert_eq!(judged, StartingPoint { cursor, is_kept, reboot: reboot.map(at), is_gap, ahead });
    }

    #[test]
    fn a_cursor_counts_and_a_lost_one_is_told_from_a_first_start() {
        check(None, false, ("2026-11-24T11:59:50Z", None, false, 0));
        check(None, true, ("2026-11-23T12:00:00Z", None, true, 0));
        let eleven = "2026-11-24T11:00:00Z";
        check(Some((eleven, None)), true, (eleven, None, false, 0));
        check(Some((eleven, None)), false, (eleven, None, false, 0));
    }

    #[test]
    fn that_a_cursor_was_lost_is_not_forgotten_before_it_is_on_record() {
        let (now, lost) = (at("2026-11-24T12:00:00Z"), at("2026-11-23T12:00:00Z"));
        let judged = |cursor: DateTime<Utc>, reboot| {
            let metadata = metadata(reboot, Some(lost));
            let committed = Committed { offset: cursor.timestamp_millis(), metadata };
            judge(Found { committed: Some(&committed), is_used: true }, DAY, now, now)
        };
        for reboot in [None, Some(now)] {
            let of = judged(lost, reboot);
            assert_eq!((of.cursor, of.reboot, of.is_gap), (lost, reboot, true));
            assert!(!judged(lost + TimeDelta::milliseconds(1), reboot).is_gap);
        }
    }

    #[test]
    fn a_cursor_from_the_future_is_waited_for() {
        let soon = "2026-11-24T12:00:20Z";
        check(Some((soon, None)), true, (soon, None, false, 0));
        let just = "2026-11-24T12:00:30.700Z";
        check(Some((just, None)), true, (just, None, false, 0));
        let beyond = "2026-11-24T12:00:30.701Z";
        check(Some((beyond, None)), true, (beyond, None, false, 30_001));
        let late = "2026-11-24T13:00:00Z";
        check(Some((late, None)), true, (late, None, false, 3_599_300));
    }

    #[test]
    fn a_reboot_is_owed_until_the_cursor_has_passed_it() {
        let (eleven, later) = ("2026-11-24T11:00:00Z", "2026-11-24T11:00:05Z");
        check(Some((eleven, Some(later))), true, (eleven, Some(later), false, 0));
        check(Some((later, Some(eleven))), true, (later, None, false, 0));
        check(Some((eleven, Some(eleven))), true, (eleven, Some(eleven), false, 0));
    }
}
