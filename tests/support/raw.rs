//! Requests that the product never makes, one a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreatePartitionsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, RequestHeader, ResponseHeader, TopicName,
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
