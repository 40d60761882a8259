//! Where reading a partition begins, and what an offset that makes no sense means.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::common::broker::Committed;
use crate::common::holes::{self, HolesError};

/// A partition's log, as the broker shows it at the assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    /// The topic's present id.
    pub topic_id: Uuid,
    /// The first offset that has not been deleted.
    pub start: i64,
    /// The offset of the next record.
    pub end: i64,
}

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Everything from here on is unread.
    pub unread_from: i64,
    /// Below it, these are unclaimed.
    pub holes: BTreeSet<i64>,
    /// What was odd about the committed offset.
    pub finding: Option<Finding>,
}

/// What was odd about a committed offset. Each is shown: an event, a metric, a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The topic was deleted and made anew, and the committed offset is of the one before: only the claims on record tell
    /// what of it is unread.
    TopicMadeAnew,
    /// Offsets `from` up to, not including, `to` were deleted by retention before a consumer claimed them.
    /// `count` of them were unclaimed.
    DeletedUnread {
        /// The first unclaimed offset that is gone.
        from: i64,
        /// The first offset that is left.
        to: i64,
        /// How many unclaimed ones are gone.
        count: i64,
    },
    /// The log ends at `end`, below the committed offset: it was cut.
    Truncated {
        /// The committed offset.
        committed: i64,
        /// The log's end.
        end: i64,
    },
    /// There is no committed offset and the log was written to: the group's offsets expired, or it is a new group. Only
    /// the claims on record tell what is unread.
    NoOffset,
    /// The text beside the offset is not one of ours; the offset counts, and no holes are known.
    UnreadableHoles(HolesError),
}

/// Where a partition's new owner goes on.
///
/// With [`Finding::NoOffset`] and [`Finding::TopicMadeAnew`] the position is the log's start with nothing claimed; the
/// caller takes out what `cron-runs` says was claimed, see [`without_claimed`].
pub fn resume(committed: Option<&Committed>, log: LogEnds) -> Position {
    let Some(committed) = committed else {
        let finding = (log.end > 0).then_some(Finding::NoOffset);
        return Position { unread_from: log.start, holes: BTreeSet::new(), finding };
    };
    let (holes, mut finding) = match holes::decode(&committed.metadata, committed.offset) {
        Ok(Some(holes)) if holes.topic_id != log.topic_id => {
            return Position {
                unread_from: log.start,
                holes: BTreeSet::new(),
                finding: Some(Finding::TopicMadeAnew),
            };
        }
        Ok(holes) => (holes.map(|h| h.offsets).unwrap_or_default(), None),
        Err(error) => (BTreeSet::new(), Some(Finding::UnreadableHoles(error))),
    };
    if committed.offset > log.end {
        let kept = holes.range(log.start..log.end).copied().collect();
        let finding = Some(Finding::Truncated { committed: committed.offset, end: log.end });
        return Position { unread_from: log.end, holes: kept, finding };
    }
    let gone = holes.range(..log.start).count();
    let passed_over = (log.start - committed.offset).max(0);
    let count = i64::try_from(gone).unwrap_or(0) + passed_over;
    if count > 0 {
        let from = holes.first().copied().unwrap_or(committed.offset).min(committed.offset);
        finding = Some(Finding::DeletedUnread { from, to: log.start, count });
    }
    let holes = holes.range(log.start..).copied().collect();
    Position { unread_from: committed.offset.max(log.start), holes, finding }
}

/// The position of a group that has no offset for this log, from the claims on record: what was claimed was claimed, the
/// rest below the highest claim are holes.
///
/// What was deleted and is not on record as claimed was deleted unread. Where `cron-runs` has lost its own beginning
/// (`is_whole` is false), claims may be gone with it: then what lies below the first claim that is left is taken for
/// claimed, and only a group of which no claim is left is said to have read nothing at all. What lies below `remembered_from`
/// is older than what is left of `cron-runs`, and counts as claimed too.
pub fn without_claimed(
    log: LogEnds,
    claimed: &BTreeSet<i64>,
    (is_whole, remembered_from): (bool, i64),
    finding: Option<Finding>,
) -> Position {
    let remembered_from = remembered_from.clamp(log.start, log.end);
    let highest = claimed.range(log.start..log.end).next_back();
    let unread_from = highest.map_or(log.start, |offset| offset + 1).max(remembered_from);
    let holes = (remembered_from..unread_from).filter(|offset| !claimed.contains(offset)).collect();
    let known_from = claimed.first().copied().filter(|_| !is_whole).unwrap_or(0).min(log.start);
    let gone = log.start - known_from - count(claimed.range(known_from..log.start));
    let first_gone = (known_from..log.start).find(|offset| !claimed.contains(offset));
    let deleted = first_gone.map(|from| Finding::DeletedUnread { from, to: log.start, count: gone });
    Position { unread_from, holes, finding: deleted.or(finding) }
}

fn count<'a>(offsets: impl Iterator<Item = &'a i64>) -> i64 {
    i64::try_from(offsets.count()).unwrap_or(i64::MAX)
}

impl Finding {
    /// Whether the committed offset says nothing about this log.
    pub fn has_no_offset(&self) -> bool {
        matches!(self, Self::NoOffset | Self::TopicMadeAnew)
    }
}

impl Position {
    /// The first offset that is still to be claimed.
    pub fn lowest_unclaimed(&self) -> i64 {
        self.holes.first().copied().unwrap_or(self.unread_from).min(self.unread_from)
    }

    /// Where reading begins so that copies are known: `window` offsets before the first that is unclaimed, as far as
    /// the log still has them.
    pub fn read_from(&self, log: LogEnds, window: i64) -> i64 {
        (self.lowest_unclaimed() - window).max(log.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn check(
        committed: Option<(i64, &[i64], u128)>,
        (start, end): (i64, i64),
        expected: (i64, &[i64], Option<Finding>),
    ) {
        let committed = committed.map(|(offset, holes, id)| Committed {
            offset,
            metadata: holes::encode(Uuid::from_u128(id), offset, &holes.iter().copied().collect()).unwrap(),
        });
        let (unread_from, holes, finding) = expected;
        let expected = Position { unread_from, holes: holes.iter().copied().collect(), finding };
        assert_eq!(resume(committed.as_ref(), LogEnds { topic_id: ID, start, end }), expected);
    }

    #[test]
    fn a_new_owner_goes_on_where_the_last_one_was() {
        check(Some((7, &[2, 3], 1)), (0, 10), (7, &[2, 3], None));
        check(Some((10, &[], 1)), (0, 10), (10, &[], None));
        check(None, (0, 0), (0, &[], None));
    }

    #[test]
    fn offsets_that_make_no_sense_are_explained() {
        check(None, (0, 10), (0, &[], Some(Finding::NoOffset)));
        check(None, (5, 5), (5, &[], Some(Finding::NoOffset)));
        check(Some((7, &[2], 99)), (0, 10), (0, &[], Some(Finding::TopicMadeAnew)));
        check(
            Some((7, &[], 1)),
            (9, 10),
            (9, &[], Some(Finding::DeletedUnread { from: 7, to: 9, count: 2 })),
        );
        check(
            Some((7, &[2, 5], 1)),
            (4, 10),
            (7, &[5], Some(Finding::DeletedUnread { from: 2, to: 4, count: 1 })),
        );
        check(
            Some((7, &[2, 5], 1)),
            (9, 10),
            (9, &[], Some(Finding::DeletedUnread { from: 2, to: 9, count: 4 })),
        );
        check(Some((7, &[2, 5], 1)), (0, 4), (4, &[2], Some(Finding::Truncated { committed: 7, end: 4 })));
    }

    #[test]
    fn an_offset_set_by_kafkas_own_tools_has_no_holes() {
        let log = LogEnds { topic_id: ID, start: 0, end: 9 };
        let set = |metadata: &str| resume(Some(&Committed { offset: 4, metadata: metadata.to_owned() }), log);
        assert_eq!(set(""), Position { unread_from: 4, holes: BTreeSet::new(), finding: None });
        assert!(matches!(set("by hand").finding, Some(Finding::UnreadableHoles(_))));
    }

    #[test]
    fn without_offsets_the_claims_on_record_count() {
        let check = |start, claimed: &[i64], is_whole, expected: (i64, &[i64], Option<(i64, i64)>)| {
            let log = LogEnds { topic_id: ID, start, end: 10 };
            let claimed = claimed.iter().copied().collect();
            let position = without_claimed(log, &claimed, (is_whole, 0), Some(Finding::NoOffset));
            let (unread_from, holes, gone) = expected;
            let gone = gone.map(|(from, count)| Finding::DeletedUnread { from, to: start, count });
            let finding = gone.or(Some(Finding::NoOffset));
            let holes = holes.iter().copied().collect();
            assert_eq!(position, Position { unread_from, holes, finding }, "{start} {claimed:?} {is_whole}");
        };
        check(0, &[], true, (0, &[], None));
        check(0, &[3, 5, 40], true, (6, &[0, 1, 2, 4], None));
        // What was deleted and never claimed is told.
        check(2, &[], true, (2, &[], Some((0, 2))));
        check(2, &[0, 3, 5], true, (6, &[2, 4], Some((1, 1))));
        check(2, &[0, 1, 3], true, (4, &[2], None));
        check(10, &[0, 7], true, (10, &[], Some((1, 8))));
        // Where claims may be gone from cron-runs, what lies below the first that is left counts as claimed.
        check(9, &[4, 6], false, (9, &[], Some((5, 3))));
        check(9, &[9], false, (10, &[], None));
        check(9, &[], false, (9, &[], Some((0, 9))));
    }

    #[test]
    fn without_offsets_what_is_older_than_the_record_is_not_run_again() {
        let check = |start, claimed: &[i64], remembered_from, expected: (i64, &[i64])| {
            let log = LogEnds { topic_id: ID, start, end: 10 };
            let claimed = claimed.iter().copied().collect();
            let finding = Some(Finding::NoOffset);
            let position = without_claimed(log, &claimed, (false, remembered_from), finding);
            let holes: Vec<i64> = position.holes.into_iter().collect();
            assert_eq!((position.unread_from, &holes[..]), expected, "{claimed:?} {remembered_from}");
        };
        check(0, &[5, 8], 4, (9, &[4, 6, 7]));
        check(0, &[2, 8], 4, (9, &[4, 5, 6, 7]));
        check(0, &[2], 4, (4, &[]));
        check(0, &[], 4, (4, &[]));
        check(6, &[8], 4, (9, &[6, 7]));
        check(0, &[3], 99, (10, &[]));
    }

    #[test]
    fn reading_begins_a_window_before_the_first_unclaimed() {
        let log = LogEnds { topic_id: ID, start: 100, end: 50_000 };
        let position = |holes: &[i64]| Position {
            unread_from: 40_000,
            holes: holes.iter().copied().collect(),
            finding: None,
        };
        assert_eq!(position(&[]).read_from(log, 10_000), 30_000);
        assert_eq!(position(&[20_000]).read_from(log, 10_000), 10_000);
        assert_eq!(position(&[150]).read_from(log, 10_000), 100);
    }
}
