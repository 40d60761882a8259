//! Whether a group has passed the message of an attempt, by the offset that it has committed. Pure.

use uuid::Uuid;

use crate::common::broker::Committed;
use crate::common::holes;
use crate::common::model::Place;

/// The partition of an attempt's message, as it was found.
#[derive(Debug, Clone, Copy)]
pub struct Partition<'a> {
    /// The id of the topic that has the name now.
    pub topic_id: Uuid,
    /// The first offset that has not been deleted.
    pub start: i64,
    /// What the group has committed.
    pub committed: Option<&'a Committed>,
}

/// What that says of the message of an attempt that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// The claim counted: no other consumer will find the message. An attempt of which nothing was heard for a lease is
    /// lost, if no newer claim of it exists.
    Passed,
    /// The claim did not count, or not yet: the partition's next owner finds the message.
    Left,
    /// The message is gone: no consumer will find it. Whether the claim had counted is not known where the topic was made
    /// anew, and it did not count otherwise.
    Gone,
}

/// Whether the group has passed the message. A text committed with the offset that is empty or cannot be read means
/// that there are no holes, as it does for the partition's next owner.
pub fn passage(place: &Place, present: Partition<'_>) -> Passage {
    if present.topic_id != place.topic_id {
        return Passage::Gone;
    }
    let has_passed = present.committed.is_some_and(|committed| {
        let is_left_out = match holes::decode(&committed.metadata, committed.offset) {
            Ok(Some(holes)) => holes.topic_id != place.topic_id || holes.offsets.contains(&place.offset),
            Ok(None) | Err(_) => false,
        };
        committed.offset > place.offset && !is_left_out
    });
    match has_passed {
        true => Passage::Passed,
        false if present.start > place.offset => Passage::Gone,
        false => Passage::Left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    /// For a message at offset 5.
    fn check(committed: Option<(i64, String)>, (topic_id, start): (Uuid, i64), expected: Passage) {
        let place = Place { topic: "c".to_owned(), topic_id: ID, partition: 0, offset: 5 };
        let committed = committed.map(|(offset, metadata)| Committed { offset, metadata });
        let present = Partition { topic_id, start, committed: committed.as_ref() };
        assert_eq!(passage(&place, present), expected, "{present:?}");
    }

    fn text(id: Uuid, committed: i64, holes: &[i64]) -> Option<(i64, String)> {
        Some((committed, holes::encode(id, committed, &holes.iter().copied().collect()).unwrap()))
    }

    #[test]
    fn only_an_offset_that_has_passed_the_message_and_does_not_leave_it_out_counts() {
        check(text(ID, 6, &[]), (ID, 0), Passage::Passed);
        check(text(ID, 9, &[4, 6]), (ID, 0), Passage::Passed);
        check(text(ID, 9, &[5]), (ID, 0), Passage::Left);
        check(text(ID, 5, &[]), (ID, 0), Passage::Left);
        check(None, (ID, 0), Passage::Left);
        check(Some((6, String::new())), (ID, 0), Passage::Passed);
        check(Some((6, "by hand".to_owned())), (ID, 0), Passage::Passed);
    }

    #[test]
    fn an_offset_of_another_topic_of_the_name_says_nothing() {
        check(text(OTHER, 9, &[]), (ID, 0), Passage::Left);
        check(text(OTHER, 9, &[]), (OTHER, 0), Passage::Gone);
        check(text(ID, 9, &[]), (OTHER, 0), Passage::Gone);
    }

    #[test]
    fn what_is_deleted_can_be_lost_and_cannot_be_found() {
        check(text(ID, 6, &[]), (ID, 6), Passage::Passed);
        check(text(ID, 9, &[5]), (ID, 6), Passage::Gone);
        check(text(ID, 5, &[]), (ID, 6), Passage::Gone);
        check(None, (ID, 6), Passage::Gone);
        check(None, (ID, 5), Passage::Left);
    }
}
