//! What the samples of dead-letter topics say.

use bytes::Bytes;
use kafka_cron::common::model::{Outcome, Place};
use kafka_cron::common::wire::{DeadLetter, DeadReason, DeadRecord, Original, Replayed};

use super::{Message, RUN, attempt, attempt_of, bare, consumer, full, in_cluster, noted, place};

/// A letter about one message that says no more than it must.
fn letter(reason: DeadReason, detail: &str, place: Place) -> DeadLetter {
    DeadLetter {
        reason,
        detail: detail.to_owned(),
        last_offset: place.offset,
        place,
        attempt: None,
        outcome: None,
        output_tail: String::new(),
        original: None,
        consumer: consumer(),
        at: noted(),
    }
}

fn original(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Option<Original> {
    Some(Original { key: key.map(Bytes::from_static), value: value.map(Bytes::from_static) })
}

/// Each sample of a dead-letter topic, with its name.
pub(super) fn letters() -> Vec<(&'static str, Message)> {
    let run = Some(RUN.as_bytes());
    let exhausted = |detail, place| letter(DeadReason::AttemptsExhausted, detail, place);
    let letters = [
        (
            "letter-attempts-exhausted",
            DeadLetter {
                attempt: Some(attempt(full(), 4, 0, Some("2026-11-23T17:05:00Z"))),
                outcome: Some(Outcome::Failed { code: 3 }),
                output_tail: "oops\n".to_owned(),
                ..exhausted("attempt 4 was the last: failed (exit code 3)", place("cluster-a-retry", 0, 9))
            },
        ),
        (
            "letter-first-attempt-exhausted",
            DeadLetter {
                attempt: Some(attempt(bare(), 1, 0, None)),
                outcome: Some(Outcome::Lost),
                ..exhausted("attempt 1 was the last: lost", in_cluster(42))
            },
        ),
        (
            "letter-malformed",
            DeadLetter {
                original: original(Some(b"key\xff"), Some(b"{\"v\":1")),
                ..letter(
                    DeadReason::Malformed,
                    "malformed message: EOF while parsing an object at line 1 column 6",
                    in_cluster(44),
                )
            },
        ),
        (
            "letter-malformed-no-value",
            DeadLetter {
                original: original(None, None),
                ..letter(DeadReason::Malformed, "malformed message: no value", in_cluster(45))
            },
        ),
        (
            "letter-unknown-version",
            DeadLetter {
                original: original(run, Some(b"{\"v\":2}")),
                ..letter(
                    DeadReason::UnknownVersion,
                    "message of version 2, and this program reads version 1",
                    in_cluster(46),
                )
            },
        ),
        (
            "letter-wrong-cluster",
            DeadLetter {
                original: original(run, None),
                ..letter(
                    DeadReason::WrongCluster,
                    "the message is for cluster cluster-b, and this is cluster-a \
                     (too large to be kept in the letter)",
                    in_cluster(47),
                )
            },
        ),
        (
            "letter-undecodable",
            DeadLetter {
                last_offset: 50,
                ..letter(
                    DeadReason::Undecodable,
                    "the batch at offsets 48 to 50 cannot be decoded: its checksum is wrong",
                    in_cluster(48),
                )
            },
        ),
        (
            "letter-deleted",
            DeadLetter {
                outcome: Some(Outcome::Lost),
                ..letter(
                    DeadReason::Deleted,
                    "attempt 1 of a run was lost with consumer host-1/4711, and its message is gone",
                    in_cluster(51),
                )
            },
        ),
    ];
    let replayed = Replayed { attempt: Some(attempt_of(RUN, 5)), letter_offset: 17, at: noted() };
    let letters = letters.into_iter().map(|(name, l)| (name, Message::Dead(DeadRecord::Letter(Box::new(l)))));
    let original = Replayed { attempt: None, letter_offset: 18, at: noted() };
    let marks = [("replayed", replayed), ("replayed-original", original)];
    letters.chain(marks.map(|(name, mark)| (name, Message::Dead(DeadRecord::Replayed(mark))))).collect()
}
