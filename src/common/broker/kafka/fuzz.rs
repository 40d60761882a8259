//! Answers of a broker that were bent on their way: they are read or refused.

use bytes::Bytes;
use kafka_protocol::messages;
use kafka_protocol::protocol::Decodable;

use super::frame::{self, Guarded};
use super::transactions::Aborted;
use super::wire::Asked;
use super::{batch, produce};
use crate::common::broker::Record;
use crate::common::mutation::{Random, cases};

const PIECES: [&[u8]; 8] = [
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\0\0\0\0",
    b"\xff\xff\xff\xff\x0f",
    b"\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    b"\x7f\xff",
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
        let Ok(decoded) = batch::decode(bent.into(), from, end, &mut Aborted::default(), &mut { usize::MAX })
        else {
            continue;
        };
        assert!(decoded.next_offset >= from);
        assert!(decoded.records.iter().all(|record| (from..=decoded.next_offset).contains(&record.offset)));
        assert!(decoded.undecodable.iter().all(|range| range.first_offset <= range.last_offset));
        read += decoded.records.len();
    }
    assert!(read > 1_000, "{read}: too few are read for this to show anything");
}

/// Answers with something in their lists: to a commit, a fetch and a question for metadata. The library writes no answers.
fn answers() -> [Bytes; 3] {
    let set = records(2);
    let id = [7; 16];
    let length = u8::try_from(set.len() + 1).unwrap();
    let fetched: [&[u8]; 9] = [
        &[0; 10], // throttle time, error, session
        &[2],     // one topic
        &id,
        &[2], // one partition: its number, no error, high watermark, last stable offset, start
        &[0; 30],
        &[2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0], // an aborted transaction
        &[0xff, 0xff, 0xff, 0xff, 0x80 | (length & 0x7f), length >> 7],
        &set,
        &[0, 0, 0],
    ];
    let metadata: [&[u8]; 8] = [
        &[0, 0, 0, 0],
        &[2, 0, 0, 0, 1, 2, b'h', 0, 0, 0x23, 0x84, 0, 0], // a broker: number, host, port, no rack
        &[0, 0, 0, 0, 1],                                  // no cluster id, controller
        &[2, 0, 0, 2, b't'],                               // a topic
        &id,
        &[0, 2, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 5], // a partition: number, leader, epoch
        &[2, 0, 0, 0, 1, 1, 1, 0],                         // replicas
        &[0, 0, 0, 0, 0, 0],
    ];
    let committed = Bytes::from_static(&[0, 0, 0, 0, 2, 2, b't', 2, 0, 0, 0, 7, 0, 0, 0, 0, 0]);
    [committed, fetched.concat().into(), metadata.concat().into()]
}

fn read<A: Asked>(bytes: &Bytes) -> u64 {
    u64::from(A::Response::decode(&mut Guarded::new(bytes.clone()), A::VERSION).is_ok())
}

#[test]
fn bent_answers_are_read_or_refused() {
    let answers = answers();
    assert_eq!(read::<messages::OffsetCommitRequest>(&answers[0]), 1);
    assert_eq!(read::<messages::FetchRequest>(&answers[1]), 1);
    assert_eq!(read::<messages::MetadataRequest>(&answers[2]), 1);
    let (mut random, mut whole) = (Random(0xD1B5_4A32_D192_ED03), 0);
    for _ in 0..cases(2_000) {
        let good = &answers[random.below(answers.len())];
        let bytes: Bytes = match random.below(4) {
            0 => random.bytes(60).into(),
            _ => random.bend(good, &PIECES).into(),
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
    assert!(whole > 200, "{whole}: too few are read for this to show anything");
}
