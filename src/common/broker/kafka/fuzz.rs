//! Answers of a broker that were bent on their way: they are read or refused.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self, JoinGroupResponse, MetadataResponse, fetch_response, join_group_response};
use kafka_protocol::messages::{metadata_response, offset_fetch_response};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::frame::{self, Guarded};
use super::transactions::Aborted;
use super::wire::{Asked, text, topic_name};
use super::{batch, produce};
use crate::common::broker::Record;
use crate::common::mutation::{Random, cases};

const PIECES: [&[u8]; 8] = [
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x80\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\x0f", b"\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", b"\x7f\xff",
];

/// The end of a log that a broker may tell.
const ENDS: [i64; 5] = [i64::MIN, -1, 0, 100, i64::MAX];

fn records(count: usize) -> Vec<u8> {
    let record = |n: usize| Record {
        key: Some(n.to_string().into()),
        value: Some("value ".repeat(n).into()),
        timestamp_ms: 1_700_000_000_000,
    };
    produce::encode(&(0..count).map(record).collect::<Vec<_>>()).unwrap().to_vec()
}

#[test]
fn bent_batches_are_read_or_refused() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut read = 0;
    for _ in 0..cases(20_000) {
        let mut good = records(1 + random.below(5));
        let follower = records(1 + random.below(2));
        if random.below(4) == 0 {
            good[22] = random.byte();
        }
        let mut bent = random.bend(&good, &PIECES);
        if random.below(4) > 0 && bent.len() > 21 {
            // What the checksum would stop at the door is to come in.
            if random.below(2) == 0 {
                let length = i32::try_from(bent.len() - 12).unwrap();
                bent[8..12].copy_from_slice(&length.to_be_bytes());
            }
            let sum = crc32c::crc32c(&bent[21..]);
            bent[17..21].copy_from_slice(&sum.to_be_bytes());
        }
        bent.extend(follower);
        let from = i64::try_from(random.below(3)).unwrap();
        let end = ENDS[random.below(ENDS.len())];
        let Ok(decoded) = batch::decode(bent.into(), from, end, &mut Aborted::default()) else { continue };
        assert!(decoded.next_offset >= from);
        assert!(decoded.records.iter().all(|record| (from..=decoded.next_offset).contains(&record.offset)));
        assert!(decoded.undecodable.iter().all(|range| range.first_offset <= range.last_offset));
        read += decoded.records.len();
    }
    assert!(read > 1_000, "{read}: too few are read for this to show anything");
}

fn encoded<T: Encodable>(answer: &T, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes, version).unwrap();
    bytes.to_vec()
}

/// Answers with something in their lists.
fn answers() -> [Vec<u8>; 4] {
    let partition = metadata_response::MetadataResponsePartition::default().with_replica_nodes(vec![1.into(), 2.into()]);
    let topic = metadata_response::MetadataResponseTopic::default()
        .with_name(Some(topic_name("t")))
        .with_partitions(vec![partition.clone(), partition]);
    let data = fetch_response::PartitionData::default()
        .with_aborted_transactions(Some(vec![fetch_response::AbortedTransaction::default()]))
        .with_records(Some(records(2).into()));
    let fetched = fetch_response::FetchableTopicResponse::default().with_partitions(vec![data]);
    let member = join_group_response::JoinGroupResponseMember::default()
        .with_member_id(text("member"))
        .with_metadata(Bytes::from_static(b"metadata"));
    let offset = offset_fetch_response::OffsetFetchResponsePartition::default().with_metadata(Some(text("1;;")));
    let offsets = offset_fetch_response::OffsetFetchResponseTopic::default()
        .with_name(topic_name("t"))
        .with_partitions(vec![offset]);
    [
        encoded(&MetadataResponse::default().with_topics(vec![topic]), messages::MetadataRequest::VERSION),
        encoded(&messages::FetchResponse::default().with_responses(vec![fetched]), messages::FetchRequest::VERSION),
        encoded(&JoinGroupResponse::default().with_members(vec![member]), messages::JoinGroupRequest::VERSION),
        encoded(&messages::OffsetFetchResponse::default().with_topics(vec![offsets]), messages::OffsetFetchRequest::VERSION),
    ]
}

fn read<A: Asked>(bytes: &Bytes) -> u64 {
    u64::from(A::Response::decode(&mut Guarded::new(bytes.clone()), A::VERSION).is_ok())
}

#[test]
fn bent_answers_are_read_or_refused() {
    let answers = answers();
    let (mut random, mut whole) = (Random(0xD1B5_4A32_D192_ED03), 0);
    for _ in 0..cases(10_000) {
        let bytes: Bytes = match random.below(4) {
            0 => random.bytes(60).into(),
            _ => random.bend(&answers[random.below(answers.len())], &PIECES).into(),
        };
        whole += read::<messages::MetadataRequest>(&bytes)
            + read::<messages::FindCoordinatorRequest>(&bytes)
            + read::<messages::ListOffsetsRequest>(&bytes)
            + read::<messages::OffsetFetchRequest>(&bytes)
            + read::<messages::DescribeConfigsRequest>(&bytes)
            + read::<messages::HeartbeatRequest>(&bytes)
            + read::<messages::FetchRequest>(&bytes)
            + read::<messages::ProduceRequest>(&bytes)
            + read::<messages::CreateTopicsRequest>(&bytes)
            + read::<messages::JoinGroupRequest>(&bytes)
            + read::<messages::SyncGroupRequest>(&bytes)
            + read::<messages::LeaveGroupRequest>(&bytes)
            + read::<messages::OffsetCommitRequest>(&bytes)
            + read::<messages::DescribeQuorumRequest>(&bytes);
        // As a stream: no more is taken than has come, whatever length is announced.
        if let Ok(body) = frame::read(&mut &*bytes, 1 << 30) {
            assert!(body.len() + 4 <= bytes.len());
        }
    }
    assert!(whole > 1_000, "{whole}: too few are read for this to show anything");
}
