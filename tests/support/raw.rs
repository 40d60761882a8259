//! Requests that the product never makes, one a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{
    ApiKey, CreateAclsRequest, CreateAclsResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    DeleteAclsRequest, DeleteAclsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, GroupId, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    JoinGroupRequest, JoinGroupResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

/// Makes one request of a broker and returns its answer.
pub fn ask<Q: Encodable + HeaderVersion, A: Decodable + HeaderVersion>(
    broker: &str,
    key: ApiKey,
    version: i16,
    request: &Q,
) -> A {
    let mut body = BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(key as i16).with_request_api_version(version);
    header.encode(&mut body, Q::header_version(version)).unwrap();
    request.encode(&mut body, version).unwrap();
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len()).unwrap());
    frame.put(body);
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::try_from(length.as_slice().get_i32()).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, A::header_version(version)).unwrap();
    A::decode(&mut answer, version).unwrap()
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Deletes a topic.
pub fn delete_topic(broker: &str, topic: &str) {
    let state = DeleteTopicState::default().with_name(Some(name(topic)));
    let request = DeleteTopicsRequest::default().with_topics(vec![state]).with_timeout_ms(20_000);
    let answer: DeleteTopicsResponse = ask(broker, ApiKey::DeleteTopics, 6, &request);
    assert_eq!(answer.responses[0].error_code, 0, "deleting {topic}");
}

/// Gives a topic more partitions.
pub fn grow_topic(broker: &str, topic: &str, partitions: i32) {
    let topics = vec![
        CreatePartitionsTopic::default().with_name(name(topic)).with_count(partitions).with_assignments(None),
    ];
    let request = CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(20_000);
    let answer: CreatePartitionsResponse = ask(broker, ApiKey::CreatePartitions, 3, &request);
    assert_eq!(answer.results[0].error_code, 0, "growing {topic}");
}

/// Deletes the records of a partition below an offset, as retention does.
pub fn delete_records(broker: &str, topic: &str, partition: i32, below: i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(below);
    let topics = vec![DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition])];
    let request = DeleteRecordsRequest::default().with_topics(topics).with_timeout_ms(20_000);
    let answer: DeleteRecordsResponse = ask(broker, ApiKey::DeleteRecords, 2, &request);
    assert_eq!(answer.topics[0].partitions[0].error_code, 0, "deleting records of {topic}");
}

/// What an access list is about, by Kafka's numbers (`org.apache.kafka.common.resource.ResourceType`).
#[derive(Debug, Clone, Copy)]
pub enum Resource {
    /// A topic.
    Topic = 2,
    /// A group.
    Group = 3,
}

/// `PatternType.LITERAL`, `AclOperation.ALL`, `AclPermissionType.ALLOW`.
const LITERAL: i8 = 3;
const ALL: i8 = 2;
const ALLOW: i8 = 3;
/// Somebody else: with `allow.everyone.if.no.acl.found` the first access list of a resource shuts all others out.
const OTHER: &str = "User:other";

/// Takes all rights on a resource away from those who do not log in.
pub fn shut_out(broker: &str, resource: Resource, name: &str) {
    let list = AclCreation::default()
        .with_resource_type(resource as i8)
        .with_resource_name(StrBytes::from_string(name.to_owned()))
        .with_resource_pattern_type(LITERAL)
        .with_principal(StrBytes::from_static_str(OTHER))
        .with_host(StrBytes::from_static_str("*"))
        .with_operation(ALL)
        .with_permission_type(ALLOW);
    let request = CreateAclsRequest::default().with_creations(vec![list]);
    let answer: CreateAclsResponse = ask(broker, ApiKey::CreateAcls, 3, &request);
    assert_eq!(answer.results[0].error_code, 0, "shutting out of {name}: {:?}", answer.results);
}

/// Gives the rights back that [`shut_out`] took.
pub fn let_in(broker: &str, resource: Resource, name: &str) {
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(resource as i8)
        .with_resource_name_filter(Some(StrBytes::from_string(name.to_owned())))
        .with_pattern_type_filter(LITERAL)
        .with_principal_filter(Some(StrBytes::from_static_str(OTHER)))
        .with_host_filter(Some(StrBytes::from_static_str("*")))
        .with_operation(ALL)
        .with_permission_type(ALLOW);
    let request = DeleteAclsRequest::default().with_filters(vec![filter]);
    let answer: DeleteAclsResponse = ask(broker, ApiKey::DeleteAcls, 3, &request);
    assert_eq!(
        answer.filter_results[0].matching_acls.len(),
        1,
        "letting into {name}: {:?}",
        answer.filter_results
    );
}

/// Sets a topic's setting, or with `None` goes back to the broker's default.
pub fn set_topic(broker: &str, topic: &str, setting: &str, value: Option<&str>) {
    const TOPIC: i8 = 2;
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_string(setting.to_owned()))
        .with_config_operation(i8::from(value.is_none()))
        .with_value(value.map(|value| StrBytes::from_string(value.to_owned())));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_owned()))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer: IncrementalAlterConfigsResponse = ask(broker, ApiKey::IncrementalAlterConfigs, 1, &request);
    assert_eq!(answer.responses[0].error_code, 0, "setting {setting} of {topic}: {:?}", answer.responses);
}

/// Makes a program of another kind a member of a group for two minutes, with a protocol that no other program speaks.
pub fn join_as_stranger(broker: &str, group: &str) {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("strange"))
        .with_metadata(Bytes::from_static(b"?"));
    // Version 3 is the last one that needs no second request for a member id.
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_session_timeout_ms(120_000)
        .with_rebalance_timeout_ms(120_000)
        .with_protocol_type(StrBytes::from_static_str("strangers"))
        .with_protocols(vec![protocol]);
    let answer: JoinGroupResponse = ask(broker, ApiKey::JoinGroup, 3, &request);
    assert_eq!(answer.error_code, 0, "joining {group}");
}
