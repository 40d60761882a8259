//! The wire format turns the model into bytes and back, as `docs/PROTOCOL.md` says: JSON objects with a field `v`.
//!
//! Unknown fields are ignored; an unknown `v` is an error of its own, because a newer program can read it.

use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::model::{Attempt, AttemptRef, Event, Order, Outcome, Place};

/// The version that this program writes, and the only one that it reads.
pub const VERSION: u64 = 1;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not JSON, or not the JSON that the version asks for.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A version that this program does not know.
    #[error("message of version {0}, and this program reads version {VERSION}")]
    UnknownVersion(u64),
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u64,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: Option<u64>,
}

/// Room for most messages, so that one is not moved while it grows.
const ROOM: usize = 1000;

/// A message as bytes, with no room to spare: thousands of them wait at a time.
pub fn encode<T: Serialize>(body: &T) -> Bytes {
    let mut bytes = Vec::with_capacity(ROOM);
    #[expect(
        clippy::expect_used,
        reason = "our words are maps with string keys, which serde_json always writes"
    )]
    serde_json::to_writer(&mut bytes, &Versioned { v: VERSION, body }).expect("words are JSON");
    Bytes::copy_from_slice(&bytes)
}

/// Bytes as an attempt, whose fields are what the job file allows ([`super::model::rules`]), whichever program wrote it.
///
/// # Errors
/// [`WireError`] when they are none.
pub fn decode_attempt(bytes: &[u8]) -> Result<Attempt, WireError> {
    let attempt: Attempt = decode(bytes)?;
    attempt.check().map_err(|error| WireError::Malformed(error.to_string()))?;
    Ok(attempt)
}

/// Bytes as an event of `cron-runs`.
///
/// # Errors
/// [`WireError`] when they are none.
pub fn decode_event(bytes: &[u8]) -> Result<Event, WireError> {
    decode(bytes)
}

/// Bytes as an order of `cron-orders`.
///
/// # Errors
/// [`WireError`] when they are none.
pub fn decode_order(bytes: &[u8]) -> Result<Order, WireError> {
    decode(bytes)
}

/// Bytes as a record of a dead-letter topic.
///
/// # Errors
/// [`WireError`] when they are none.
pub fn decode_dead(bytes: &[u8]) -> Result<DeadRecord, WireError> {
    decode(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let malformed = |error: serde_json::Error| WireError::Malformed(error.to_string());
    match serde_json::from_slice::<VersionOnly>(bytes).map_err(malformed)?.v {
        Some(VERSION) => serde_json::from_slice(bytes).map_err(malformed),
        Some(other) => Err(WireError::UnknownVersion(other)),
        None => Err(WireError::Malformed("no field `v`".to_owned())),
    }
}

/// A record of a dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum DeadRecord {
    /// What will not be tried again, with the reason. Key: run id, where there is one.
    Letter(Box<DeadLetter>),
    /// An operator put a letter back. Key: run id, or the letter's offset where there is none.
    Replayed(Replayed),
}

/// What will not be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The bounded word for why.
    pub reason: DeadReason,
    /// The same in a sentence.
    pub detail: String,
    /// The message that it is about.
    pub place: Place,
    /// The last offset that it is about: more than one message where a batch could not be decoded.
    pub last_offset: i64,
    /// The attempt after which the run was given up, where the message was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// How that attempt ended, where it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The end of its output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output_tail: String,
    /// The message's key and value as they were, where they could not be read as an attempt of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Original>,
    /// The consumer that wrote it.
    pub consumer: String,
    /// When it was written, by that consumer's clock.
    pub at: DateTime<Utc>,
}

/// Why a message is in the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The last attempt failed.
    AttemptsExhausted,
    /// The message is not what the wire format says.
    Malformed,
    /// The message is of a version that the consumer does not know.
    UnknownVersion,
    /// The message is for another cluster.
    WrongCluster,
    /// A batch could not be decoded at all.
    Undecodable,
    /// The message of a lost attempt was deleted before the attempt could be passed on.
    Deleted,
}

impl DeadReason {
    /// The word of the wire format, also used as a metric label.
    pub fn word(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Malformed => "malformed",
            Self::UnknownVersion => "unknown_version",
            Self::WrongCluster => "wrong_cluster",
            Self::Undecodable => "undecodable",
            Self::Deleted => "deleted",
        }
    }
}

/// The bytes of a message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// The record's key; absent where it had none.
    #[serde(default, with = "base64_bytes", skip_serializing_if = "Option::is_none")]
    pub key: Option<Bytes>,
    /// The record's value; absent where it had none or where it does not fit into a letter (then `place` tells).
    #[serde(default, with = "base64_bytes", skip_serializing_if = "Option::is_none")]
    pub value: Option<Bytes>,
}

/// The mark that a letter was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The new attempt; absent where the message is no attempt and went back to where it came from, as it was.
    #[serde(flatten)]
    pub attempt: Option<AttemptRef>,
    /// The letter's place in the dead-letter topic.
    pub letter_offset: i64,
    /// When, by the operator's clock.
    pub at: DateTime<Utc>,
}

mod base64_bytes {
    //! Bytes as base64 text (RFC 4648, section 4).
    use super::{BASE64, Bytes};
    use base64::Engine as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Option<Bytes>, to: S) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => to.serialize_some(&BASE64.encode(bytes)),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let decode = |text: String| BASE64.decode(text).map(Bytes::from).map_err(serde::de::Error::custom);
        text.map(decode).transpose()
    }
}

#[cfg(test)]
mod fuzz;
