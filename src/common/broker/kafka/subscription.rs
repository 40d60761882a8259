//! What members of a group tell each other through the broker, in the form that Kafka's own consumers and tools use
//! (`ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`).
//!
//! It is written by the generated types and read by hand: another member may write anything here, and no count of
//! it is believed.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as Held;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::Encodable;

use super::wire::{text, topic_name};
use crate::common::broker::{BrokerError, Owned, Subscription};

/// The first version with the generation in which the partitions were owned (KIP-792).
const SUBSCRIPTION_VERSION: i16 = 2;
const ASSIGNMENT_VERSION: i16 = 1;

fn encode(version: i16, content: &impl Encodable) -> Result<Bytes, BrokerError> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    let encoded = content.encode(&mut bytes, version);
    encoded.map_err(|e| BrokerError::NotSent(format!("membership cannot be encoded: {e}")))?;
    Ok(bytes.freeze())
}

/// For `JoinGroup`.
pub(super) fn write_subscription(subscription: &Subscription) -> Result<Bytes, BrokerError> {
    let owned = subscription.owned.iter().map(|owned| {
        Held::default().with_topic(topic_name(&owned.topic)).with_partitions(owned.partitions.clone())
    });
    let content = ConsumerProtocolSubscription::default()
        .with_topics(subscription.topics.iter().map(|topic| text(topic)).collect())
        .with_owned_partitions(owned.collect())
        .with_generation_id(subscription.owned_generation);
    encode(SUBSCRIPTION_VERSION, &content)
}

/// For `SyncGroup`.
pub(super) fn write_assignment(assigned: &[Owned]) -> Result<Bytes, BrokerError> {
    let partitions = assigned.iter().map(|owned| {
        Assigned::default().with_topic(topic_name(&owned.topic)).with_partitions(owned.partitions.clone())
    });
    encode(
        ASSIGNMENT_VERSION,
        &ConsumerProtocolAssignment::default().with_assigned_partitions(partitions.collect()),
    )
}

/// A member's words; `None` when they make no sense. Versions to come add fields at the end.
pub(super) fn read_subscription(mut bytes: &[u8]) -> Option<Subscription> {
    let version = bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    let topics = list(&mut bytes, string)?;
    nullable_bytes(&mut bytes)?;
    let owned = if version >= 1 { list(&mut bytes, partitions)? } else { Vec::new() };
    let owned_generation = if version >= 2 { bytes.try_get_i32().ok()? } else { -1 };
    Some(Subscription { topics, owned, owned_generation })
}

/// Our share; `None` when it makes no sense. No bytes at all are an empty share.
pub(super) fn read_assignment(mut bytes: &[u8]) -> Option<Vec<Owned>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    list(&mut bytes, partitions)
}

/// Elements are pushed as they are read, so a count that lies ends at the last byte.
fn list<T>(bytes: &mut &[u8], element: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = bytes.try_get_i32().ok().filter(|count| *count >= 0)?;
    let mut elements = Vec::new();
    for _ in 0..count {
        elements.push(element(bytes)?);
    }
    Some(elements)
}

fn string(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    let (string, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(string.to_vec()).ok()
}

fn nullable_bytes(bytes: &mut &[u8]) -> Option<()> {
    let length = bytes.try_get_i32().ok()?;
    *bytes = bytes.get(usize::try_from(length.max(0)).ok()?..)?;
    Some(())
}

fn partitions(bytes: &mut &[u8]) -> Option<Owned> {
    let topic = string(bytes)?;
    let partitions = list(bytes, |bytes| bytes.try_get_i32().ok())?;
    Some(Owned { topic, partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(topic: &str, partitions: &[i32]) -> Owned {
        Owned { topic: topic.to_owned(), partitions: partitions.to_vec() }
    }

    fn subscription() -> Subscription {
        Subscription {
            topics: vec!["cluster-a".to_owned(), "cluster-a-retry".to_owned()],
            owned: vec![owned("cluster-a", &[0, 1]), owned("cluster-a-retry", &[])],
            owned_generation: 7,
        }
    }

    #[test]
    fn what_one_member_writes_another_reads() {
        let written = write_subscription(&subscription()).unwrap();
        assert_eq!(read_subscription(&written), Some(subscription()));
        let share = vec![owned("cluster-a", &[1]), owned("cron-leader", &[0])];
        assert_eq!(read_assignment(&write_assignment(&share).unwrap()), Some(share));
        assert_eq!(read_assignment(&[]), Some(Vec::new()));
    }

    #[test]
    fn older_and_newer_members_are_understood() {
        let topics = [0, 0, 0, 1, 0, 1, b't'];
        let nothing = [0xff, 0xff, 0xff, 0xff];
        let check = |version: u8, parts: &[&[u8]], expected: Option<(usize, i32)>| {
            let bytes = [&[0, version], parts.concat().as_slice()].concat();
            let read = read_subscription(&bytes).map(|s| (s.owned.len(), s.owned_generation));
            assert_eq!(read, expected, "version {version}");
        };
        check(0, &[&topics, &nothing], Some((0, -1)));
        check(1, &[&topics, &nothing, &[0; 4]], Some((0, -1)));
        check(3, &[&topics, &[0, 0, 0, 2, 9, 9], &[0; 4], &[0, 0, 0, 5], &[0xff, 0xff]], Some((0, 5)));
        check(9, &[&topics, &nothing, &[0; 4], &[0, 0, 0, 5], b"to come"], Some((0, 5)));
    }

    #[test]
    fn garbage_of_another_member_is_no_panic() {
        let written = write_subscription(&subscription()).unwrap();
        for cut in 0..written.len() {
            assert_eq!(read_subscription(&written[..cut]), None, "cut at {cut}");
        }
        for at in 0..written.len() {
            for byte in [0x00, 0x7f, 0x80, 0xff] {
                let mut bent = written.to_vec();
                bent[at] = byte;
                drop(read_subscription(&bent));
                drop(read_assignment(&bent));
            }
        }
    }
}
