//! What a fetcher leaves behind for the next one.

use std::time::Instant;

use crossbeam_channel::after;

use super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{Broker, ProduceBatch, Record};
use crate::common::clock::SystemClock;
use crate::common::metrics::Metrics;
use crate::common::topics::TopicSpec;

#[test]
fn what_was_not_handed_over_is_read_again() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let by = Instant::now() + Duration::from_secs(5);
    let mut client = broker.client("test");
    let spec = TopicSpec { name: "c".to_owned(), partitions: 1, replication_factor: 1, settings: Vec::new() };
    client.create_topic(&spec, by).unwrap();
    let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
    let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
    let batch = ProduceBatch { to: of.clone(), records: vec![record] };
    client.produce(&[batch], by).remove(0).unwrap();

    let track = Track::new(of, 1, 0, true);
    let options = Options {
        leader: 1,
        tracks: vec![Arc::clone(&track)],
        cluster: "c".parse().unwrap(),
        metrics: ConsumerMetrics::new(&Metrics::new(), "c"),
        works: Arc::default(),
        outage: Arc::default(),
        errors: bounded(1).0,
    };
    let (to, read) = bounded(0);
    let (stop, stopped) = bounded(0);
    let stops = spawn("stops", move || {
        after(Duration::from_millis(300)).recv().unwrap();
        drop(stop);
    });
    // The test does not take it before the fetcher has to make room for another one.
    assert_eq!(turn(&options, client.as_mut(), &SystemClock, &to, &stopped), Ok(false));
    drop(stops);
    assert_eq!(track.next.load(Ordering::Acquire), 0);

    let (_stop, stopped) = bounded(0);
    let (tell, taken) = bounded(1);
    let _takes = spawn("takes", move || tell.send(read.recv().unwrap()).unwrap()).unwrap();
    assert_eq!(turn(&options, client.as_mut(), &SystemClock, &to, &stopped), Ok(true));
    let What::Records { slice, .. } = taken.recv().unwrap().what else { panic!("records") };
    assert_eq!((slice.records.len(), slice.span, track.next.load(Ordering::Acquire)), (1, 0..1, 1));
}

#[test]
fn a_partition_that_cannot_be_read_keeps_no_other_waiting() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let by = Instant::now() + Duration::from_secs(5);
    let mut client = broker.client("test");
    let spec = TopicSpec { name: "c".to_owned(), partitions: 2, replication_factor: 1, settings: Vec::new() };
    client.create_topic(&spec, by).unwrap();
    let of = |partition| TopicPartition { topic: "c".to_owned(), partition };
    let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
    client.produce(&[ProduceBatch { to: of(1), records: vec![record] }], by).remove(0).unwrap();
    broker.faults().lead(&of(0), None);
    let track = |partition| Track::new(of(partition), 1, 0, true);
    let options = Options {
        leader: 1,
        tracks: vec![track(0), track(1)],
        cluster: "c".parse().unwrap(),
        metrics: ConsumerMetrics::new(&Metrics::new(), "c"),
        works: Arc::default(),
        outage: Arc::default(),
        errors: bounded(1).0,
    };
    let (to, read) = bounded(2);
    let (_stop, stopped) = bounded(0);
    let error = turn(&options, client.as_mut(), &SystemClock, &to, &stopped).unwrap_err();
    assert_eq!(error.word(), "leader_not_available");
    assert_eq!(read.try_recv().unwrap().track.of, of(1));
    assert!(!options.works.load(Ordering::Acquire));
}

#[test]
fn an_outage_begins_once_for_all_fetchers_of_a_broker_and_ends_with_an_answer() {
    let broker = MemoryBroker::new(Arc::new(SystemClock));
    let by = Instant::now() + Duration::from_secs(5);
    let mut client = broker.client("test");
    let spec = TopicSpec { name: "c".to_owned(), partitions: 1, replication_factor: 1, settings: Vec::new() };
    client.create_topic(&spec, by).unwrap();
    let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
    let outage = Arc::new(Outage::default());
    let (to, _read) = bounded(8);
    let (_stop, stopped) = bounded(0);
    let mut turn_of_a_new_fetcher = || {
        let options = Options {
            leader: 1,
            tracks: vec![Track::new(of.clone(), 1, 0, true)],
            cluster: "c".parse().unwrap(),
            metrics: ConsumerMetrics::new(&Metrics::new(), "c"),
            works: Arc::default(),
            outage: Arc::clone(&outage),
            errors: bounded(1).0,
        };
        turn(&options, client.as_mut(), &SystemClock, &to, &stopped).is_ok()
    };
    broker.faults().away();
    for _ in 0..2 {
        assert!(!turn_of_a_new_fetcher());
        assert!(!outage.begins(), "the log has said that already");
    }
    broker.faults().back();
    assert!(turn_of_a_new_fetcher());
    assert!(outage.begins(), "an answer has ended it, so the next failure is said again");
}
