//! Batches that a broker has packed, in every codec that Kafka has.

use kafka_cron::common::broker::Broker as _;

use super::plain::{partition, read_all, record, write};
use super::stored::{codecs, set_codec};
use crate::support::broker::TestBroker;
use crate::support::unique;

/// Has a broker pack batches of three records in these codecs, with so many bytes of text each, and reads them back.
fn check(packed: &[(&str, u8)], filler: usize) {
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
        let three = (0..3).map(|i| record(Some("key"), Some(&value(name, i, filler)))).collect();
        let first = write(client.as_mut(), &to, three);
        assert_eq!(first, i64::try_from(at * 3).unwrap());
    }
    let numbers: Vec<u8> = packed.iter().map(|(_, number)| *number).collect();
    assert_eq!(codecs(broker, &topic), numbers, "the premise: the batches are stored packed");

    let whole = read_all(client.as_mut(), &to, 1 << 20);
    assert_eq!(whole.undecodable, []);
    assert_eq!(whole.records.len(), packed.len() * 3);
    for (record, at) in whole.records.iter().zip(0..) {
        assert_eq!(record.offset, at);
        let (name, _) = packed[usize::try_from(at / 3).unwrap()];
        let expected = value(name, usize::try_from(at % 3).unwrap(), filler);
        assert!(record.value.as_deref() == Some(expected.as_bytes()), "offset {at}, {name}");
        assert_eq!(record.key.as_deref(), Some(b"key".as_slice()));
    }
}

/// A text that a codec can make something of, and not everything.
fn value(name: &str, number: usize, filler: usize) -> String {
    let words = (0..).map(|i: usize| format!("{:x} of {name} ", i * i % 9_973));
    let mut text = format!("{name} {number}: ");
    text.extend(words.take(filler / 10));
    text
}

const ALL: [(&str, u8); 5] = [("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4), ("uncompressed", 0)];

#[test]
fn every_codec_of_a_real_broker_is_read() {
    check(&ALL, 0);
    check(&[("zstd", 4), ("lz4", 3), ("zstd", 4), ("gzip", 1)], 20);
}

#[test]
fn batches_of_many_blocks_are_read_in_every_codec() {
    check(&ALL, 100_000);
}
