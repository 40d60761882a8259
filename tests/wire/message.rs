//! A message of any kind, and the samples as files.

use std::path::PathBuf;

use bytes::Bytes;
use kafka_cron::common::model::{Attempt, Event, Order};
use kafka_cron::common::wire::{self, DeadRecord, WireError};
use serde_json::Value;

/// A message of any kind.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    Attempt(Attempt),
    Event(Event),
    Order(Order),
    Dead(DeadRecord),
}

impl Message {
    /// Reads a message as its kind is read; the sample's name tells the kind.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, WireError> {
        match name.split('-').next() {
            Some("attempt") => wire::decode_attempt(bytes).map(Self::Attempt),
            Some("event") => wire::decode_event(bytes).map(Self::Event),
            Some("order") => wire::decode_order(bytes).map(Self::Order),
            _ => wire::decode_dead(bytes).map(Self::Dead),
        }
    }

    pub fn write(&self) -> Bytes {
        match self {
            Self::Attempt(attempt) => wire::encode(attempt),
            Self::Event(event) => wire::encode(event),
            Self::Order(order) => wire::encode(order),
            Self::Dead(record) => wire::encode(record),
        }
    }
}

/// Where the samples lie.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire/v1")
}

/// A sample as JSON.
pub fn sample(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect(name);
    serde_json::from_str(&text).expect(name)
}

/// JSON as the message that the sample of that name is.
pub fn read(name: &str, message: &Value) -> Result<Message, WireError> {
    Message::read(name, &serde_json::to_vec(message).unwrap())
}
