//! Batches that a broker has packed: those that we read, and those that we step over.

use kafka_cron::common::broker::Broker as _;

use super::plain::{partition, read_all, record, write};
use super::stored::{codecs, set_codec};
use crate::support::broker::TestBroker;
use crate::support::unique;

/// Has a broker pack batches of three records in these codecs, and returns the offsets that come back and the ranges
/// that could not be decoded.
fn check(packed: &[(&str, u8)], offsets: &[i64], ranges: &[(i64, i64)]) {
    let test = TestBroker::shared();
    let broker = test.brokers().split(',').next().unwrap();
    let topic = unique("codecs");
    test.topic(&topic, 1);
    let mut client = test.broker().client("codecs");
    let to = partition(&topic, 0);
    for (at, (name, _)) in packed.iter().enumerate() {
        set_codec(broker, &topic, name);
        // A broker applies the cluster's changes in order: once it shows a topic that was made after one that was
        // made after the setting, the setting holds.
        for _ in 0..2 {
            test.topic(&unique("after"), 1);
        }
        let three = (0..3).map(|i| record(Some("key"), Some(&format!("{name} {i}")))).collect();
        let first = write(client.as_mut(), &to, three);
        assert_eq!(first, i64::try_from(at * 3).unwrap());
    }
    let numbers: Vec<u8> = packed.iter().map(|(_, number)| *number).collect();
    assert_eq!(codecs(broker, &topic), numbers, "the premise: the batches are stored packed");

    let whole = read_all(client.as_mut(), &to, 1 << 20);
    assert_eq!(whole.records.iter().map(|r| r.offset).collect::<Vec<_>>(), offsets);
    for record in &whole.records {
        let (name, _) = packed[usize::try_from(record.offset / 3).unwrap()];
        assert_eq!(record.value.as_deref(), Some(format!("{name} {}", record.offset % 3).as_bytes()));
        assert_eq!(record.key.as_deref(), Some(b"key".as_slice()));
    }
    let found: Vec<_> = whole.undecodable.iter().map(|u| (u.first_offset, u.last_offset)).collect();
    assert_eq!(found, ranges, "{:?}", whole.undecodable);
}

#[test]
fn gzip_and_snappy_of_a_real_broker_are_read() {
    check(&[("gzip", 1), ("snappy", 2), ("uncompressed", 0)], &[0, 1, 2, 3, 4, 5, 6, 7, 8], &[]);
}

#[test]
fn other_codecs_are_stepped_over_and_what_follows_is_read() {
    check(
        &[("lz4", 3), ("uncompressed", 0), ("zstd", 4), ("lz4", 3), ("gzip", 1)],
        &[3, 4, 5, 12, 13, 14],
        &[(0, 2), (6, 8), (9, 11)],
    );
    // With nothing behind it, its own header says how far it reaches.
    check(&[("gzip", 1), ("lz4", 3)], &[0, 1, 2], &[(3, 5)]);
}
