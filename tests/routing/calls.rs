//! The calls of these tests, in few words.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_cron::common::broker::{
    BrokerError, Client, Commit, Holder, Position, ProduceBatch, Record, TopicPartition, Want,
};
use kafka_cron::common::topics::TopicSpec;

use crate::support::broker::await_topic;
use crate::support::{soon, unique};

/// How much later than its deadline a call may return on a loaded machine.
pub const SLACK: Duration = Duration::from_millis(800);

pub fn topic(client: &mut dyn Client, copies: i16) -> TopicPartition {
    let name = unique("routing");
    let settings = if copies > 1 { vec![("min.insync.replicas", "2".to_owned())] } else { vec![] };
    let spec = TopicSpec { name: name.clone(), partitions: 1, replication_factor: copies, settings };
    client.create_topic(&spec, soon()).unwrap();
    await_topic(client, &name);
    TopicPartition { topic: name, partition: 0 }
}

pub fn write(
    client: &mut dyn Client,
    to: &TopicPartition,
    value: &str,
    by: Instant,
) -> Result<i64, BrokerError> {
    let record = Record { key: None, value: Some(Bytes::from(value.to_owned())), timestamp_ms: 0 };
    let batch = ProduceBatch { to: to.clone(), records: vec![record] };
    client.produce(&[batch], by).remove(0).map(|written| written.base_offset)
}

/// In nobody's name: what an empty group takes.
pub fn nobody(group: &str) -> Holder {
    Holder { group: group.to_owned(), member_id: String::new(), instance_id: None, generation: -1 }
}

pub fn commit(client: &mut dyn Client, group: &str, of: &TopicPartition, offset: i64) -> Option<()> {
    let commit = Commit { of: of.clone(), offset, metadata: String::new() };
    let answer = client.commit(&nobody(group), &[commit], Instant::now() + Duration::from_secs(2));
    (answer == Ok(vec![None])).then_some(())
}

pub fn committed(client: &mut dyn Client, group: &str, of: &TopicPartition) -> Option<i64> {
    let by = Instant::now() + Duration::from_secs(2);
    client.committed(group, std::slice::from_ref(of), by).ok()?.remove(0).map(|committed| committed.offset)
}

/// All values of a partition, by offset.
pub fn values(client: &mut dyn Client, of: &TopicPartition) -> Vec<String> {
    let mut values = Vec::new();
    let end = client.offset(of, Position::End, soon()).unwrap();
    while i64::try_from(values.len()).unwrap() < end {
        let state = client.topic(&of.topic, soon()).unwrap().unwrap();
        let want = Want { from: of.clone(), offset: values.len().try_into().unwrap(), max_bytes: 1 << 20 };
        let leader = state.partitions[0].leader.unwrap();
        let fetched = client.fetch(leader, &[want], Duration::from_millis(500), soon()).unwrap().remove(0);
        let records = fetched.unwrap().records.into_iter();
        values.extend(records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
    values
}
