//! The requests that are made, each in one version, and what may be concluded from losing one.

use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{self, ApiKey, BrokerId, GroupId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use crate::common::bounds::{ANSWER_BYTES, FETCH_ANSWER_BYTES};
use crate::common::broker::{PartitionState, TopicState};

/// A request as this client makes it.
///
/// All versions are *flexible* ones (KIP-482): [`super::frame`] relies on their lengths being variable-length
/// numbers.
pub(super) trait Asked: Encodable + HeaderVersion {
    /// Its number.
    const KEY: ApiKey;
    /// What answers it.
    type Response: Decodable + HeaderVersion;
    /// The version.
    const VERSION: i16;
    /// Whether making it twice is the same as making it once, so that it may be repeated on a new connection when
    /// an old one turns out to be closed.
    const REPEATABLE: bool;
    /// How large its answer may be, in bytes.
    const ANSWER_BYTES: usize;

    /// For how many milliseconds the broker will not listen to this connection (see [`super::quotas`]).
    fn throttle_ms(answer: &Self::Response) -> i32;
}

macro_rules! asked {
    ($($key:ident: $request:ident -> $response:ident = $version:literal, $repeatable:literal, $bytes:expr;)*) => {
        $(impl Asked for messages::$request {
            const KEY: ApiKey = ApiKey::$key;
            type Response = messages::$response;
            const VERSION: i16 = $version;
            const REPEATABLE: bool = $repeatable;
            const ANSWER_BYTES: usize = $bytes;

            fn throttle_ms(answer: &Self::Response) -> i32 {
                answer.throttle_time_ms
            }
        })*
    };
}
asked! {
    Metadata: MetadataRequest -> MetadataResponse = 12, true, ANSWER_BYTES;
    // From 4 on it asks for several groups at once.
    FindCoordinator: FindCoordinatorRequest -> FindCoordinatorResponse = 3, true, ANSWER_BYTES;
    ListOffsets: ListOffsetsRequest -> ListOffsetsResponse = 7, true, ANSWER_BYTES;
    // 7 brought require_stable; from 8 on it asks for several groups at once.
    OffsetFetch: OffsetFetchRequest -> OffsetFetchResponse = 7, true, ANSWER_BYTES;
    // From 6 on a group that there is none of is an error.
    DescribeGroups: DescribeGroupsRequest -> DescribeGroupsResponse = 5, true, ANSWER_BYTES;
    // Groups of the newer protocol (KIP-848).
    ConsumerGroupDescribe: ConsumerGroupDescribeRequest -> ConsumerGroupDescribeResponse = 0, true, ANSWER_BYTES;
    DescribeConfigs: DescribeConfigsRequest -> DescribeConfigsResponse = 4, true, ANSWER_BYTES;
    Heartbeat: HeartbeatRequest -> HeartbeatResponse = 4, true, ANSWER_BYTES;
    // From 13 on topics go by id (KIP-516), so that one that was made anew is never taken for the one before.
    Fetch: FetchRequest -> FetchResponse = 13, true, FETCH_ANSWER_BYTES;
    Produce: ProduceRequest -> ProduceResponse = 9, false, ANSWER_BYTES;
    CreateTopics: CreateTopicsRequest -> CreateTopicsResponse = 7, false, ANSWER_BYTES;
    // 5 brought static members.
    JoinGroup: JoinGroupRequest -> JoinGroupResponse = 9, false, ANSWER_BYTES;
    SyncGroup: SyncGroupRequest -> SyncGroupResponse = 5, false, ANSWER_BYTES;
    // From 3 on members are a list.
    LeaveGroup: LeaveGroupRequest -> LeaveGroupResponse = 5, false, ANSWER_BYTES;
    OffsetCommit: OffsetCommitRequest -> OffsetCommitResponse = 8, false, ANSWER_BYTES;
}

impl Asked for messages::DescribeQuorumRequest {
    const KEY: ApiKey = ApiKey::DescribeQuorum;
    type Response = messages::DescribeQuorumResponse;
    // 1 brought the times at which voters were up to date (KIP-836).
    const VERSION: i16 = 1;
    const REPEATABLE: bool = true;
    const ANSWER_BYTES: usize = ANSWER_BYTES;

    fn throttle_ms(_: &Self::Response) -> i32 {
        0 // the answer has no such field
    }
}

/// A string of the wire.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name of the wire.
pub(super) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A group's name of the wire.
pub(super) fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A topic as metadata describes it.
pub(super) fn topic_state(topic: &MetadataResponseTopic) -> TopicState {
    let mut partitions: Vec<PartitionState> = topic
        .partitions
        .iter()
        .map(|partition| PartitionState {
            partition: partition.partition_index,
            leader: Some(partition.leader_id).filter(|BrokerId(id)| *id >= 0).map(|BrokerId(id)| id),
            replicas: partition.replica_nodes.len(),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    TopicState { id: topic.topic_id, partitions }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::error::ResponseError;

    use crate::common::broker::code_names::name;

    #[test]
    fn every_code_that_the_protocols_crate_knows_has_its_name() {
        for code in (-1..=1000).filter(|code| *code != 0) {
            let theirs = ResponseError::try_from_code(code).unwrap().to_string();
            match name(code) {
                Some(ours) => assert_eq!(ours.replace('_', ""), theirs.to_lowercase(), "{code}"),
                None => assert!(theirs.contains("Unknown error code"), "{code}: {theirs}"),
            }
        }
    }
}
