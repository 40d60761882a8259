//! A backlog that does not fit into one fetch.

use kafka_cron::common::broker::{Broker as _, Client};

use super::plain::{partition, read_all, record, write};
use super::stored::batches;
use crate::support::broker::TestBroker;
use crate::support::unique;

const BATCHES: i64 = 200;
const RECORDS: i64 = 50;

#[test]
fn a_backlog_larger_than_a_fetch_is_read_to_its_end_whatever_batch_is_cut() {
    let test = TestBroker::shared();
    let topic = unique("backlog");
    test.topic(&topic, 1);
    let mut client = test.broker().client("backlog");
    let of = partition(&topic, 0);
    for batch in 0..BATCHES {
        let value = |i: i64| format!("{:0>100}", batch * RECORDS + i);
        let records = (0..RECORDS).map(|i| record(Some("key"), Some(&value(i)))).collect();
        assert_eq!(write(client.as_mut(), &of, records), batch * RECORDS);
    }

    // Between two and three batches a fetch, so the last one is cut each time; then less than one batch, which is
    // sent whole all the same.
    let check = |max_bytes: i32, cut: bool, least_fetches: usize, client: &mut dyn Client| {
        let broker = test.brokers().split(',').next().unwrap();
        let sent = batches(broker, &topic, 0, max_bytes);
        assert_eq!(sent.last().unwrap().cut, cut, "the premise: {sent:?}");
        let whole = read_all(client, &of, max_bytes);
        assert!(whole.fetches >= least_fetches, "{} fetches", whole.fetches);
        let values = whole.records.iter().map(|record| record.value.clone().unwrap());
        assert!(values.eq((0..BATCHES * RECORDS).map(|i| format!("{i:0>100}"))), "each once, in order");
    };
    check(15_000, true, 100, client.as_mut());
    check(1_000, false, 200, client.as_mut());
    check(1 << 20, true, 2, client.as_mut());
}
