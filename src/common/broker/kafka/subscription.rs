//! What members of a group tell each other through the broker, in the form that Kafka's own consumers and tools use
//! (`ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`), with two differences that keep other programs out.
//!
//! A subscription says that it is of version -1. A coordinator that was asked to let a consumer of the newer protocol
//! (KIP-848) into the group must read all subscriptions, cannot read these, and refuses that consumer; it would commit
//! offsets past attempts that are unclaimed. All that a coordinator reads otherwise are the topics, for which it does
//! not look at the version (so that offsets of a group that lives do not expire), and Kafka's tools read assignments
//! only. The user data of both is ours: a member without it is another program's.
//!
//! It is written by the generated types and read by hand: another member may write anything here, and no count of
//! it is believed.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as Assigned;
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition as Held;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::Encodable;

use super::wire::{text, topic_name};
use crate::common::broker::{BrokerError, Owned, Share, Subscription};

/// The layout of subscriptions: the first with the generation in which the partitions were owned (KIP-792).
const SUBSCRIPTION_LAYOUT: i16 = 2;
/// What they say instead, and no coordinator knows.
const SUBSCRIPTION_VERSION: i16 = -1;
const ASSIGNMENT_VERSION: i16 = 1;

/// The user data of our subscriptions. In assignments a space and the number of partitions that were shared out follow.
const MARK: &str = "kafka-cron";

fn encode(says: i16, version: i16, content: &impl Encodable) -> Result<Bytes, BrokerError> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(says);
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
        .with_user_data(Some(Bytes::from_static(MARK.as_bytes())))
        .with_owned_partitions(owned.collect())
        .with_generation_id(subscription.owned_generation);
    encode(SUBSCRIPTION_VERSION, SUBSCRIPTION_LAYOUT, &content)
}

/// For `SyncGroup`.
pub(super) fn write_assignment(share: &Share) -> Result<Bytes, BrokerError> {
    let partitions = share.owned.iter().map(|owned| {
        Assigned::default().with_topic(topic_name(&owned.topic)).with_partitions(owned.partitions.clone())
    });
    let user_data = share.shared_out.map(|count| Bytes::from(format!("{MARK} {count}")));
    let content = ConsumerProtocolAssignment::default()
        .with_assigned_partitions(partitions.collect())
        .with_user_data(user_data);
    // Behind all that Kafka's tools, and members of an earlier version, read.
    let mut bytes = BytesMut::from(encode(ASSIGNMENT_VERSION, ASSIGNMENT_VERSION, &content)?);
    bytes.put_u8(u8::from(share.is_first));
    Ok(bytes.freeze())
}

/// A member's words; `None` when they are another program's. What is to come is added at the end.
pub(super) fn read_subscription(mut bytes: &[u8]) -> Option<Subscription> {
    bytes.try_get_i16().ok().filter(|version| *version == SUBSCRIPTION_VERSION)?;
    let topics = list(&mut bytes, string)?;
    nullable_bytes(&mut bytes).filter(|data| *data == MARK.as_bytes())?;
    let owned = list(&mut bytes, partitions)?;
    let owned_generation = bytes.try_get_i32().ok()?;
    Some(Subscription { topics, owned, owned_generation })
}

/// Our share; `None` when it makes no sense. No bytes at all are an empty share, which no leader has made for us.
pub(super) fn read_assignment(mut bytes: &[u8]) -> Option<Share> {
    if bytes.is_empty() {
        return Some(Share::default());
    }
    bytes.try_get_i16().ok().filter(|version| *version >= 0)?;
    let owned = list(&mut bytes, partitions)?;
    let user_data = nullable_bytes(&mut bytes)?;
    let count = || std::str::from_utf8(user_data).ok()?.strip_prefix(MARK)?.strip_prefix(' ')?.parse().ok();
    let shared_out = count();
    let is_first = shared_out.is_some() && bytes.try_get_u8() == Ok(1);
    Some(Share { owned, shared_out, is_first })
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

fn nullable_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = bytes.try_get_i32().ok()?;
    let (read, rest) = bytes.split_at_checked(usize::try_from(length.max(0)).ok()?)?;
    *bytes = rest;
    Some(read)
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
        let both = vec![owned("cluster-a", &[1]), owned("cron-leader", &[0])];
        for (shared_out, is_first) in [(None, false), (Some(0), false), (Some(9), false), (Some(9), true)] {
            let share = Share { owned: both.clone(), shared_out, is_first };
            assert_eq!(read_assignment(&write_assignment(&share).unwrap()), Some(share));
        }
        assert_eq!(read_assignment(&[]), Some(Share::default()));
    }

    #[test]
    fn members_of_other_programs_are_told_from_ours() {
        let written = write_subscription(&subscription()).unwrap();
        let check = |bytes: &[u8], expected: Option<Subscription>| {
            assert_eq!(read_subscription(bytes), expected, "{bytes:?}");
        };
        check(&[&written, b"to come".as_slice()].concat(), Some(subscription()));
        // Kafka's own consumers write versions from 0 on, and other user data or none.
        for version in [0, 1, 2, 3] {
            check(&[&[0, version], &written[2..]].concat(), None);
        }
        let topics = [0, 0, 0, 1, 0, 1, b't'];
        let nothing = [0xff, 0xff, 0xff, 0xff];
        for data in [nothing.as_slice(), &[0, 0, 0, 0], b"\0\0\0\x02me"] {
            check(&[&[0xff, 0xff], topics.as_slice(), data, &[0; 4], &[0, 0, 0, 5]].concat(), None);
        }
        let foreign = [&[0, 1, 0, 0, 0, 0], nothing.as_slice()].concat();
        assert_eq!(read_assignment(&foreign), Some(Share::default()), "nobody of ours has made this share");
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
