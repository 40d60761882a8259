//! Topics and their settings.

use std::time::Duration;

use kafka_cron::common::broker::{BrokerError, Commit, ErrorCode, Holder, Position, TopicPartition, Want};
use kafka_cron::common::topics::TopicSpec;

use crate::ends::End;
use crate::log::{batch, record};
use crate::support::{soon, unique, wait_until};

fn spec(name: &str) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: 1, replication_factor: 1, settings: Vec::new() }
}

pub fn a_topic_that_exists_is_not_created_again(end: &impl End) {
    let (topic, state) = end.topic(2, &[]);
    let mut client = end.client();
    let refused = client.create_topic(&spec(&topic), soon());
    assert_eq!(refused, Err(BrokerError::Refused(ErrorCode::TopicAlreadyExists)));
    assert_eq!(client.topic(&topic, soon()).unwrap(), Some(state.clone()));
    let numbers: Vec<i32> = state.partitions.iter().map(|partition| partition.partition).collect();
    assert_eq!(numbers, [0, 1]);
    assert!(state.partitions.iter().all(|partition| partition.replicas == 1));
    assert_eq!(client.broker_count(soon()).unwrap(), 1);
}

pub fn a_topic_made_anew_has_another_id_and_no_offsets(end: &impl End) {
    let (topic, before) = end.topic(1, &[]);
    let of = TopicPartition { topic: topic.clone(), partition: 0 };
    let mut client = end.client();
    client.produce(&[batch(&of, &[record("v")])], soon()).remove(0).unwrap();
    let group = unique("group");
    let holder = Holder { group: group.clone(), member_id: String::new(), instance_id: None, generation: -1 };
    let commit = Commit { of: of.clone(), offset: 1, metadata: String::new() };
    assert_eq!(client.commit(&holder, &[commit], soon()).unwrap(), [None]);
    end.delete_topic(&topic);
    wait_until("the topic is gone", Duration::from_secs(20), || {
        client.topic(&topic, soon()).unwrap().is_none().then_some(())
    });
    let after = end.topic_named(&topic, 1, &[]);
    assert_ne!(after.id, before.id);
    let next = wait_until("the new topic's log", Duration::from_secs(20), || {
        client.offset(&of, Position::End, soon()).ok()
    });
    assert_eq!(next, 0);
    wait_until("the offsets are gone too", Duration::from_secs(20), || {
        client.committed(&group, std::slice::from_ref(&of), soon()).unwrap()[0].is_none().then_some(())
    });
}

pub fn a_fetch_never_takes_a_topic_made_anew_for_the_one_before(end: &impl End) {
    let (topic, before) = end.topic(1, &[]);
    let (mut reader, mut other) = (end.client(), end.client());
    let want =
        Want { from: TopicPartition { topic: topic.clone(), partition: 0 }, offset: 0, max_bytes: 1 << 20 };
    let leader = before.partitions[0].leader.unwrap();
    let mut read = || {
        let wants = std::slice::from_ref(&want);
        reader.fetch(leader, wants, Duration::ZERO, soon()).unwrap().remove(0)
    };
    assert_eq!(read().unwrap().topic_id, before.id);
    end.delete_topic(&topic);
    wait_until("the topic is gone", Duration::from_secs(20), || {
        other.topic(&topic, soon()).unwrap().is_none().then_some(())
    });
    let after = end.topic_named(&topic, 1, &[]);
    assert_eq!(read(), Err(BrokerError::Refused(ErrorCode::UnknownTopicId)));
    let id = wait_until("the new topic is read", Duration::from_secs(20), || match read() {
        Ok(fetched) => Some(fetched.topic_id),
        Err(BrokerError::Refused(ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition)) => None,
        Err(error) => panic!("{error}"),
    });
    assert_eq!(id, after.id);
}

pub fn settings_are_read_back(end: &impl End) {
    let given = [("retention.ms", "-1"), ("message.timestamp.type", "LogAppendTime")];
    let (topic, _) = end.topic(1, &given);
    let mut client = end.client();
    let names = ["retention.ms", "no.such.setting", "max.message.bytes", "message.timestamp.type"];
    let read = client.topic_settings(&topic, &names, soon()).unwrap();
    let expected = [
        ("retention.ms", "-1"),
        ("max.message.bytes", "1048588"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(read, expected);
    let missing = client.topic_settings(&unique("missing"), &names, soon());
    assert_eq!(missing, Err(BrokerError::Refused(ErrorCode::UnknownTopicOrPartition)));
}

pub fn wishes_that_cannot_be_granted_are_refused(end: &impl End) {
    let mut client = end.client();
    let mut check = |wish: TopicSpec, code: ErrorCode| {
        assert_eq!(client.create_topic(&wish, soon()), Err(BrokerError::Refused(code)), "{wish:?}");
        assert_eq!(client.topic(&unique("missing"), soon()).unwrap(), None);
    };
    let name = unique("contract");
    check(TopicSpec { replication_factor: 2, ..spec(&name) }, ErrorCode::InvalidReplicationFactor);
    check(TopicSpec { partitions: 0, ..spec(&name) }, ErrorCode::Other(37));
    check(TopicSpec { settings: vec![("no.such", "1".to_owned())], ..spec(&name) }, ErrorCode::Other(40));
    check(spec("no spaces"), ErrorCode::Other(17));
}
