//! What really lies in a broker's log, by raw requests: the premises of these tests are checked with it.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, FetchResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::support::raw::ask;

/// A stored batch, as far as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBatch {
    pub base_offset: i64,
    /// The lowest three bits of its attributes: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub codec: u8,
    /// Whether the answer ended inside it.
    pub cut: bool,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Fetches from partition 0 of a topic, once, and takes the answer apart without reading records.
pub fn batches(broker: &str, topic: &str, offset: i64, max_bytes: i32) -> Vec<StoredBatch> {
    let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(max_bytes);
    let topics = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![topics]);
    let answer: FetchResponse = ask(broker, ApiKey::Fetch, 12, &request);
    let partition = &answer.responses[0].partitions[0];
    assert_eq!((answer.error_code, partition.error_code), (0, 0));
    split(partition.records.clone().unwrap_or_default())
}

fn split(mut set: Bytes) -> Vec<StoredBatch> {
    let mut found = Vec::new();
    while set.len() >= 23 {
        let length = usize::try_from(i32::from_be_bytes(set[8..12].try_into().unwrap())).unwrap();
        let size = 12 + length;
        let base_offset = i64::from_be_bytes(set[..8].try_into().unwrap());
        found.push(StoredBatch { base_offset, codec: set[22] & 7, cut: size > set.len() });
        set.advance(size.min(set.len()));
    }
    found
}

/// The codecs in which the batches of partition 0 are stored.
pub fn codecs(broker: &str, topic: &str) -> Vec<u8> {
    batches(broker, topic, 0, 1 << 24).iter().map(|batch| batch.codec).collect()
}

/// Has the broker pack what it stores from now on.
pub fn set_codec(broker: &str, topic: &str, codec: &str) {
    const TOPIC: i8 = 2;
    let set = AlterableConfig::default().with_name(text("compression.type")).with_value(Some(text(codec)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(vec![set]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer: IncrementalAlterConfigsResponse = ask(broker, ApiKey::IncrementalAlterConfigs, 1, &request);
    assert_eq!(answer.responses[0].error_code, 0, "compression.type={codec}");
}
