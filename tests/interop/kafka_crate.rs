//! The `kafka` crate as a second opinion, on the newest broker that it can speak to: it knows version 0 of each
//! request, which Kafka 4.0 removed.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka::client::{Compression, RequiredAcks};
use kafka::consumer::{Consumer, FetchOffset};
use kafka::producer::{Producer, Record};
use kafka_cron::common::broker::{Broker as _, Client};
use kafka_cron::common::topics::TopicSpec;

use super::plain::{partition, read_all, record, text_of, write};
use super::stored::codecs;
use crate::support::broker::{OwnBroker, await_topic};
use crate::support::{soon, unique, wait_until};

const VERSION: &str = "3.9.2";

fn topic(client: &mut dyn Client, compression: &str) -> String {
    let name = unique("second");
    let settings = vec![("compression.type", compression.to_owned())];
    let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: 1, settings };
    client.create_topic(&spec, soon()).unwrap();
    await_topic(client, &name);
    name
}

/// What the crate reads from the start of a topic: (offset, key, value).
fn read_by_the_crate(broker: &str, topic: &str, count: usize) -> Vec<(i64, Vec<u8>, Vec<u8>)> {
    let mut consumer = Consumer::from_hosts(vec![broker.to_owned()])
        .with_topic_partitions(topic.to_owned(), &[0])
        .with_fallback_offset(FetchOffset::Earliest)
        .create()
        .unwrap();
    let mut read = BTreeMap::new();
    wait_until("the crate has read all", Duration::from_secs(20), || {
        for set in consumer.poll().unwrap().iter() {
            let each = set.messages().iter().map(|m| (m.offset, (m.key.to_vec(), m.value.to_vec())));
            read.extend(each);
        }
        (read.len() >= count).then_some(())
    });
    read.into_iter().map(|(offset, (key, value))| (offset, key, value)).collect()
}

fn write_by_the_crate(broker: &str, topic: &str, compression: Compression) {
    let mut producer = Producer::from_hosts(vec![broker.to_owned()])
        .with_ack_timeout(Duration::from_secs(5))
        .with_required_acks(RequiredAcks::All)
        .with_compression(compression)
        .create()
        .unwrap();
    let values: Vec<String> = (0..3).map(|i| format!("value {i} {}", "x".repeat(200))).collect();
    let records: Vec<_> = values
        .iter()
        .map(|value| Record::from_key_value(topic, "key", value.as_str()).with_partition(0))
        .collect();
    producer.send_all(&records).unwrap();
}

#[test]
fn the_kafka_crate_and_we_read_what_the_other_writes() {
    let own = OwnBroker::start(VERSION);
    let broker = own.brokers();
    let mut client = own.broker().client("second");
    let client = client.as_mut();

    let name = topic(client, "uncompressed");
    let ours = [(Some("key"), Some("value")), (None, Some("")), (Some("é"), None)];
    write(client, &partition(&name, 0), ours.map(|(key, value)| record(key, value)).to_vec());
    write(client, &partition(&name, 0), vec![record(Some("last"), Some("batch"))]);
    // It does not tell null from empty.
    let bytes =
        |offset: i64, key: &str, value: &str| (offset, key.as_bytes().to_vec(), value.as_bytes().to_vec());
    let expected = [bytes(0, "key", "value"), bytes(1, "", ""), bytes(2, "é", ""), bytes(3, "last", "batch")];
    assert_eq!(read_by_the_crate(&broker, &name, 4), expected);

    // A topic that keeps the producer's codec, and one of ours, where the broker undoes it.
    let mut check = |compression: Compression, keeps: &str, stored: u8| {
        let name = topic(client, keeps);
        write_by_the_crate(&broker, &name, compression);
        assert!(
            codecs(&broker, &name).iter().all(|codec| *codec == stored),
            "the premise: {:?}",
            codecs(&broker, &name)
        );
        let whole = read_all(client, &partition(&name, 0), 1 << 20);
        assert_eq!(whole.undecodable, []);
        let read: Vec<_> = whole.records.iter().map(text_of).collect();
        let value = |i: usize| Some(format!("value {i} {}", "x".repeat(200)));
        assert_eq!(read, [0, 1, 2].map(|i| (Some("key".to_owned()), value(i))));
    };
    check(Compression::NONE, "producer", 0);
    check(Compression::GZIP, "producer", 1);
    check(Compression::SNAPPY, "producer", 2);
    check(Compression::GZIP, "uncompressed", 0);
    check(Compression::SNAPPY, "uncompressed", 0);
}
