//! Where a group goes on in a partition that was copied from another Kafka: a rule without Kafka.
//!
//! The committed offset was translated when it was copied; the text beside it was not. It names the topic's id elsewhere, and
//! its holes by their distance from an offset that means nothing here. Their *number* still holds: before the committed offset no
//! more messages wait than the text names. Which they are follows from the attempts that have begun ([`Known`]).

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::known::Known;
use crate::common::broker::Committed;
use crate::common::holes::{self, MAX_METADATA_BYTES};
use crate::common::model::AttemptRef;

/// A message of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its offset here.
    pub offset: i64,
    /// The attempt; `None` where it is not one of the cluster's.
    pub attempt: Option<AttemptRef>,
    /// From when on it may run.
    pub due: DateTime<Utc>,
}

/// What the text beside a committed offset says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// It names this topic: this Kafka's own consumers, or this command, have committed it.
    OfThisTopic,
    /// It names another topic, or none, and so many holes.
    Copied(usize),
}

/// Reads the text beside a committed offset. One that is empty or cannot be read names no holes, as for consumers.
pub fn text(committed: &Committed, topic_id: Uuid) -> Text {
    // The distances are those from another offset than this one, which may be lower.
    match holes::decode(&committed.metadata, i64::MAX) {
        Ok(Some(holes)) if holes.topic_id == topic_id => Text::OfThisTopic,
        Ok(Some(holes)) => Text::Copied(holes.offsets.len()),
        Ok(None) | Err(_) => Text::Copied(0),
    }
}

/// A partition as it was found. Where the text names no holes, messages before the committed offset that have begun may be
/// left out.
#[derive(Debug)]
pub struct Found {
    /// The id of its topic here.
    pub topic_id: Uuid,
    /// What the group has committed.
    pub committed: Option<Committed>,
    /// Its messages, in order.
    pub messages: Vec<Message>,
}

/// What is to be committed, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The offset.
    pub offset: i64,
    /// The text beside it.
    pub text: String,
    /// Messages before the offset that wait; they run when they are due.
    pub waiting: usize,
    /// Messages from the offset on that have not begun; they run.
    pub unread: usize,
    /// Messages that have begun although the copied offset had not passed them; they do not run again.
    pub skipped: usize,
    /// Messages that have begun, and run again: the waiting ones do not fit into the text, and the offset goes back.
    pub again: usize,
    /// Attempts that the committed offset has passed, of which no event says that they have begun, and which do not run: the
    /// copied text names fewer that wait, and these were due first.
    pub left_out: Vec<AttemptRef>,
}

/// Decides where a group goes on. `None` where nothing is to be done: the offset is this topic's own, or there is neither an
/// offset nor a message.
pub fn plan(found: &Found, known: &Known) -> Option<Plan> {
    let named = match found.committed.as_ref().map(|committed| text(committed, found.topic_id)) {
        Some(Text::OfThisTopic) => return None,
        Some(Text::Copied(named)) => named,
        None => 0,
    };
    let first = found.messages.first().map(|message| message.offset);
    let passed = found.committed.as_ref().map(|committed| committed.offset).or(first)?;
    let has_begun = |message: &&Message| message.attempt.is_some_and(|attempt| known.has_begun(attempt));
    let (before, after) =
        found.messages.split_at(found.messages.partition_point(|message| message.offset < passed));
    let (mut waiting, left_out) = wait_before(before, named, known);
    let begun = after.iter().rposition(|message| has_begun(&message)).map_or(0, |last| last + 1);
    let offset = after[..begun].last().map_or(passed, |message| message.offset + 1);
    let between = after[..begun].iter().filter(|message| !has_begun(message));
    let old = before_the_record(found, known);
    let is_old =
        |message: &Message| old.is_some_and(|(offset, at)| message.offset < offset && message.due < at);
    waiting.extend(between.filter(|message| !is_old(message)).map(|message| message.offset));
    let (offset, text, waiting) = fit(found.topic_id, offset, &waiting);
    let from = found.messages.partition_point(|message| message.offset < offset);
    let (begun_before, rest) = (after.iter().filter(has_begun).count(), &found.messages[from..]);
    let again = rest.iter().filter(has_begun).count();
    let skipped = begun_before - rest.iter().filter(|m| m.offset >= passed).filter(has_begun).count();
    Some(Plan { offset, text, waiting, unread: rest.len() - again, skipped, again, left_out })
}

/// The offsets of the messages that wait before the committed offset, at most as many as the text names, and the attempts that
/// are left out for that. These were due first: had they waited, their consumers would have taken them first. What was due before
/// the events begin is not told: its events may have been deleted.
fn wait_before(before: &[Message], named: usize, known: &Known) -> (Vec<i64>, Vec<AttemptRef>) {
    let mut met = HashSet::new();
    let candidate = |message: &Message| {
        let attempt = message.attempt.filter(|attempt| !known.has_begun(*attempt))?;
        // Consumers drop the copies behind the first.
        met.insert(attempt).then_some((message.due, message.offset, attempt))
    };
    let mut candidates: Vec<_> = before.iter().filter_map(candidate).collect();
    candidates.sort_unstable();
    let excess = candidates.len().saturating_sub(named);
    let left_out = candidates.drain(..excess).filter(|(due, _, _)| Some(*due) >= known.begins());
    let left_out = left_out.map(|(_, _, attempt)| attempt).collect();
    let mut waiting: Vec<i64> = candidates.into_iter().map(|(_, offset, _)| offset).collect();
    waiting.sort_unstable();
    (waiting, left_out)
}

/// Without a committed offset, events alone tell what has begun, and the oldest of them may be gone. Then what lies before the
/// first message that is known to have begun, and was due before the events begin, counts as begun. Returns that offset and
/// that instant.
fn before_the_record(found: &Found, known: &Known) -> Option<(i64, DateTime<Utc>)> {
    if found.committed.is_some() {
        return None;
    }
    let has_begun = |message: &&Message| message.attempt.is_some_and(|attempt| known.has_begun(attempt));
    found.messages.iter().find(has_begun).map(|message| message.offset).zip(known.begins())
}

/// The offset and the text that name all that wait, and how many these are. Where they do not fit, the offset goes back to the
/// last one of them before which all do.
fn fit(topic_id: Uuid, offset: i64, waiting: &[i64]) -> (i64, String, usize) {
    let named = |count: usize| {
        let offset = waiting.get(count).copied().unwrap_or(offset);
        let text = holes::encode_within(MAX_METADATA_BYTES, topic_id, offset, &waiting[..count])?;
        Some((offset, text, count))
    };
    let (mut fits, mut too_many) = (0, waiting.len() + 1);
    while too_many - fits > 1 {
        let half = fits + (too_many - fits) / 2;
        if named(half).is_some() { fits = half } else { too_many = half }
    }
    named(fits).unwrap_or_else(|| (offset, String::new(), 0)) // with no hole there is always room
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::common::model::Place;
    use crate::cronctl::offsets::known::tests::{attempt, claimed};

    const HERE: Uuid = Uuid::from_u128(1);
    const THERE: Uuid = Uuid::from_u128(2);

    fn known(begun: &[u128], first_event: i64) -> Known {
        let mut known = Known::new("c".parse().unwrap());
        for run in begun {
            let place = Place { topic: "c".to_owned(), topic_id: THERE, partition: 0, offset: 90 };
            known.event(0, &claimed(attempt(*run, 1), place, first_event));
        }
        known
    }

    /// A message for each run, at ten times its number; each is due at the second of its number.
    fn messages(runs: &[u128]) -> Vec<Message> {
        let message = |run: &u128| {
            let number = i64::try_from(*run).unwrap();
            let due = DateTime::from_timestamp(number, 0).unwrap();
            Message { offset: 10 * number, attempt: Some(attempt(*run, 1)), due }
        };
        runs.iter().map(message).collect()
    }

    /// What another Kafka's consumers have committed at the offset that became this one, with so many holes.
    fn copied(offset: i64, holes: usize) -> Option<Committed> {
        let there = 1_000_000;
        let holes: BTreeSet<i64> = (1..=i64::try_from(holes).unwrap()).map(|hole| there - 7 * hole).collect();
        Some(Committed { offset, metadata: holes::encode(THERE, there, &holes).unwrap() })
    }

    fn check(
        committed: Option<Committed>,
        runs: &[u128],
        begun: &[u128],
        expected: (i64, &[i64], [usize; 4]),
    ) {
        let (offset, holes, [unread, skipped, again, left_out]) = expected;
        let found = Found { topic_id: HERE, committed, messages: messages(runs) };
        let plan = plan(&found, &known(begun, 0)).unwrap();
        let named = holes::decode(&plan.text, plan.offset).unwrap().unwrap();
        assert_eq!((plan.offset, named.topic_id), (offset, HERE));
        assert_eq!(Vec::from_iter(named.offsets), holes);
        assert_eq!(plan.waiting, holes.len());
        assert_eq!(
            [plan.unread, plan.skipped, plan.again, plan.left_out.len()],
            [unread, skipped, again, left_out]
        );
    }

    #[test]
    fn the_offset_stays_and_the_text_names_this_topic() {
        check(copied(55, 0), &[6, 7], &[], (55, &[], [2, 0, 0, 0]));
        check(copied(55, 0), &[], &[], (55, &[], [0; 4]));
        let by_tools = Some(Committed { offset: 55, metadata: String::new() });
        check(by_tools, &[6], &[], (55, &[], [1, 0, 0, 0]));
        let by_others = Some(Committed { offset: 55, metadata: "by hand".to_owned() });
        check(by_others, &[6], &[], (55, &[], [1, 0, 0, 0]));
    }

    #[test]
    fn what_waits_before_the_offset_is_what_has_not_begun() {
        check(copied(55, 2), &[1, 2, 3, 4, 5, 6], &[1, 3, 5], (55, &[20, 40], [1, 0, 0, 0]));
        // One of them has begun since the offset was committed.
        check(copied(55, 2), &[1, 2, 3, 4, 5, 6], &[1, 2, 3, 5], (55, &[40], [1, 0, 0, 0]));
    }

    #[test]
    fn no_more_wait_than_the_copied_text_names_and_those_are_due_last() {
        check(copied(55, 2), &[1, 2, 3, 4, 5, 6], &[5], (55, &[30, 40], [1, 0, 0, 2]));
        check(copied(55, 0), &[1, 2, 3, 4, 5, 6], &[5], (55, &[], [1, 0, 0, 4]));
    }

    #[test]
    fn what_has_begun_behind_the_offset_is_skipped_and_what_lies_between_waits() {
        check(copied(25, 1), &[1, 2, 3, 4, 5, 6, 7], &[2, 3, 5], (51, &[10, 40], [2, 2, 0, 0]));
    }

    #[test]
    fn without_an_offset_what_has_not_begun_is_unread() {
        check(None, &[3, 4, 5, 6], &[3, 5], (51, &[40], [1, 2, 0, 0]));
        check(None, &[3, 4], &[], (30, &[], [2, 0, 0, 0]));
        let nothing = Found { topic_id: HERE, committed: None, messages: Vec::new() };
        assert_eq!(plan(&nothing, &known(&[], 0)), None);
        // Runs 2 and 4 were due before the first event that is left. Run 2 lies before one that has begun, and 4 behind it.
        let found = Found { topic_id: HERE, committed: None, messages: messages(&[2, 3, 4, 5, 6]) };
        let plan = plan(&found, &known(&[3, 6], 5)).unwrap();
        let holes = holes::decode(&plan.text, plan.offset).unwrap().unwrap();
        assert_eq!((plan.offset, Vec::from_iter(holes.offsets)), (61, vec![40, 50]));
    }

    #[test]
    fn an_offset_of_this_topic_is_left_alone() {
        let metadata = holes::encode(HERE, 55, &BTreeSet::from([10])).unwrap();
        let committed = Some(Committed { offset: 55, metadata });
        let found = Found { topic_id: HERE, committed, messages: messages(&[1, 6]) };
        assert_eq!(plan(&found, &known(&[], 0)), None);
    }

    #[test]
    fn a_copy_is_no_second_message_that_waits_and_what_is_no_attempt_stays_unread() {
        let mut messages = messages(&[1, 2, 3, 4, 5, 6]);
        messages[3].attempt = Some(attempt(2, 1));
        messages[4].attempt = None;
        let found = |committed| Found { topic_id: HERE, committed, messages: messages.clone() };
        let holes = |committed| {
            let plan = plan(&found(committed), &known(&[6], 0)).unwrap();
            Vec::from_iter(holes::decode(&plan.text, plan.offset).unwrap().unwrap().offsets)
        };
        assert_eq!(holes(copied(55, 3)), [10, 20, 30]);
        assert_eq!(holes(copied(45, 3)), [10, 20, 30, 50]);
    }

    #[test]
    fn where_the_text_has_no_room_the_offset_goes_back_and_it_is_known_what_runs_again() {
        // Two in three wait, far apart: more than a text can name.
        let runs: Vec<u128> = (1..=3_000).collect();
        let begun: Vec<u128> = runs.iter().copied().filter(|run| run % 3 == 0).collect();
        let found = Found { topic_id: HERE, committed: copied(40_000, 2_000), messages: messages(&runs) };
        let plan = plan(&found, &known(&begun, 0)).unwrap();
        let named = holes::decode(&plan.text, plan.offset).unwrap().unwrap();
        assert!(plan.text.len() > 4_000 && named.offsets.len() == plan.waiting && plan.waiting > 300);
        assert!(plan.offset < 30_000 && plan.offset % 30 != 0, "{}: the next one that waits", plan.offset);
        let from = u128::try_from(plan.offset / 10).unwrap();
        assert_eq!(plan.again, begun.iter().filter(|run| **run >= from).count());
        assert_eq!(plan.waiting + plan.unread, 2_000, "none that waits is lost");
    }
}
