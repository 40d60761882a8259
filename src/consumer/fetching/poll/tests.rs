//! Leaders that move while there is something to read.

use std::time::Instant;

use crossbeam_channel::after;

use super::super::fetcher::What;
use super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{ProduceBatch, Record, TopicPartition};
use crate::common::clock::SystemClock;
use crate::common::http::Health;
use crate::common::metrics::Metrics;
use crate::common::topics::TopicSpec;

/// Records in each partition, and how often the second one's leader moves meanwhile.
const RECORDS: i64 = 1_500;
const MOVES: i32 = 15;

fn of(partition: i32) -> TopicPartition {
    TopicPartition { topic: "c".to_owned(), partition }
}

#[test]
fn nothing_is_left_out_while_a_leader_moves_to_a_broker_that_is_read_from_and_back() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let broker = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
    let faults = broker.faults();
    faults.brokers(2);
    let by = Instant::now() + Duration::from_secs(60);
    let spec = TopicSpec { name: "c".to_owned(), partitions: 2, replication_factor: 1, settings: Vec::new() };
    broker.client("test").create_topic(&spec, by).unwrap();
    faults.lead(&of(0), Some(1));
    faults.lead(&of(1), Some(2));
    let metrics = Metrics::new();
    let health = Health::new(&metrics);
    let options = PollOptions {
        topic: "c".to_owned(),
        cluster: "c".parse().unwrap(),
        metrics: ConsumerMetrics::new(&metrics, "c"),
        beats: Beats::new(&metrics),
        reading: health.duty("reading"),
        transactions: health.duty("transactions"),
    };
    let (poll, chunks) = Poll::start(options, Arc::clone(&broker) as Arc<dyn Broker>, clock).unwrap();
    let track = |partition| Track::new(of(partition), 1, 0, true);
    poll.plans.send(vec![track(0), track(1)]).unwrap();

    let writes = Arc::clone(&broker);
    let writer = spawn("writer", move || {
        let mut client = writes.client("writer");
        for _ in 0..RECORDS {
            for partition in 0..2 {
                let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
                let batch = ProduceBatch { to: of(partition), records: vec![record] };
                while client.produce(std::slice::from_ref(&batch), by).remove(0).is_err() {}
            }
            after(Duration::from_millis(2)).recv().unwrap();
        }
    });
    let mover = spawn("mover", move || {
        for number in 0..MOVES {
            after(Duration::from_millis(200)).recv().unwrap();
            faults.lead(&of(1), Some(1 + number % 2));
        }
    });
    let mut read = [0; 2];
    while read != [RECORDS; 2] {
        let chunk = chunks.recv_timeout(Duration::from_secs(20)).expect("there is more");
        let What::Records { slice, .. } = chunk.what else { panic!("nothing was deleted") };
        let span = slice.span;
        let next = &mut read[usize::try_from(chunk.track.of.partition).unwrap()];
        assert!(span.start <= *next, "{} to {} of {:?} were left out", next, span.start, chunk.track.of);
        *next = span.end.max(*next);
    }
    drop((writer, mover));
}

#[test]
fn a_topic_that_does_not_exist_is_told_with_the_one_that_was_probably_meant() {
    let names = ["cluster-b", "cluster-a-retry", "cluster-a", "cron-runs"].map(str::to_owned);
    let told = missing("clutser-a", &names).to_string();
    assert!(
        told.starts_with("there is no topic clutser-a; did you mean cluster-a?; correct --topic"),
        "{told}"
    );
    assert!(missing("reports", &names).to_string().starts_with("there is no topic reports; correct"));
}

#[test]
fn a_transaction_that_another_program_leaves_open_is_told_of_until_it_is_over() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let broker = Arc::new(MemoryBroker::new(Arc::clone(&clock)));
    let by = Instant::now() + Duration::from_secs(60);
    let spec = TopicSpec { name: "c".to_owned(), partitions: 2, replication_factor: 1, settings: Vec::new() };
    let mut client = broker.client("test");
    client.create_topic(&spec, by).unwrap();
    let metrics = Metrics::new();
    let health = Health::new(&metrics);
    let options = PollOptions {
        topic: "c".to_owned(),
        cluster: "c".parse().unwrap(),
        metrics: ConsumerMetrics::new(&metrics, "c"),
        beats: Beats::new(&metrics),
        reading: health.duty("reading"),
        transactions: health.duty("transactions"),
    };
    let (poll, chunks) = Poll::start(options, Arc::clone(&broker) as Arc<dyn Broker>, clock).unwrap();
    poll.plans.send([0, 1].map(|partition| Track::new(of(partition), 1, 0, true)).to_vec()).unwrap();
    let mut write = || {
        let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
        client.produce(&[ProduceBatch { to: of(1), records: vec![record] }], by).remove(0).unwrap();
    };
    let mut read = 0;
    let mut await_owed = |expected: &str| {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            for chunk in chunks.try_iter() {
                let What::Records { slice, .. } = chunk.what else { panic!("nothing was deleted") };
                read += slice.records.len();
            }
            let owed = health.owed().join("\n");
            if owed == expected || (owed.contains(expected) && !expected.is_empty()) {
                return read;
            }
            assert!(Instant::now() < end, "{owed:?}, not {expected:?}");
            after(Duration::from_millis(20)).recv().unwrap();
        }
    };
    write();
    broker.faults().open_transaction(&of(1));
    write();
    let told = "another program has left a transaction open in c/1 at offset 1: nothing behind it runs";
    assert_eq!(await_owed(told), 1);
    broker.faults().commit_transaction(&of(1));
    await_owed("");
    while await_owed("") < 2 {}
}
