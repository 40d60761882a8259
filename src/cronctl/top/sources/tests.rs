//! What is read of Kafka, on the in-memory broker.

use std::sync::Arc;

use super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{Broker, Commit, Holder, ProduceBatch, Record};
use crate::common::clock::{Clock, ManualClock};
use crate::common::model::Outcome;
use crate::common::model::Then;
use crate::common::wire::{DeadReason, Replayed};
use crate::cronctl::top::sample::{at, cluster, finished, message, place, run_of};

struct Bench {
    clock: Arc<ManualClock>,
    broker: MemoryBroker,
    client: Box<dyn Client>,
    sources: Sources,
}

impl Bench {
    /// The topics of the cluster, with one partition each, read from second 100 on.
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(at(0)));
        let broker = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>);
        let client = broker.client("test");
        let mut bench = Self { clock, broker, client, sources: Sources::new(&[cluster()], 100_000) };
        for spec in topics::all(&[cluster()], 1, 1) {
            bench.client.create_topic(&spec, soon()).unwrap();
        }
        bench
    }

    fn write(&mut self, topic: &str, second: i64, value: bytes::Bytes) -> i64 {
        self.clock.jump_to(at(second));
        let to = TopicPartition { topic: topic.to_owned(), partition: 0 };
        let record = Record { key: None, value: Some(value), timestamp_ms: second * 1_000 };
        let written = self.client.produce(&[ProduceBatch { to, records: vec![record] }], soon());
        written.into_iter().next().unwrap().unwrap().base_offset
    }

    fn commit(&mut self, topic: &str, offset: i64, open: &[i64]) {
        let id = self.client.topic(topic, soon()).unwrap().unwrap().id;
        let metadata = holes::encode(id, offset, &open.iter().copied().collect()).unwrap();
        let of = TopicPartition { topic: topic.to_owned(), partition: 0 };
        let nobody =
            Holder { group: topic.to_owned(), member_id: String::new(), instance_id: None, generation: -1 };
        let codes = self.client.commit(&nobody, &[Commit { of, offset, metadata }], soon()).unwrap();
        assert_eq!(codes, [None]);
    }

    /// The jobs of what is read.
    fn read(&mut self) -> Vec<String> {
        let mut jobs = Vec::new();
        self.sources.read(self.client.as_mut(), |told| jobs.push(job(&told))).unwrap();
        jobs
    }

    fn stand(&mut self) -> (Standing, Vec<String>) {
        let mut jobs = Vec::new();
        let mut found = self.sources.stand(self.client.as_mut(), |told| jobs.push(job(&told))).unwrap();
        (found.remove(&cluster()).unwrap(), jobs)
    }
}

fn job(told: &Told) -> String {
    match told {
        Told::Message(attempt) => attempt.run.job.to_string(),
        Told::Event(Event::Finished { job, output_tail, .. }, _) => format!("{job}{output_tail}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_in_the_window_is_read_once_and_without_output() {
    let mut bench = Bench::new();
    for (job, second) in [("before", 99), ("first", 100), ("second", 101)] {
        bench.write("c", second, wire::encode(&message(job, second)));
    }
    let mut event = finished("first", 100, 1, Outcome::Succeeded, Then::Done);
    if let Event::Finished { output_tail, .. } = &mut event {
        *output_tail = "much".to_owned();
    }
    bench.write(topics::RUNS, 102, wire::encode(&event));
    bench.write(topics::RUNS, 102, "no event".into());
    assert_eq!(bench.read(), ["first", "second", "first"]);
    assert_eq!(bench.read(), [""; 0]);
    bench.write("c", 103, wire::encode(&message("third", 103)));
    assert_eq!(bench.read(), ["third"]);
}

#[test]
fn a_topic_that_is_made_anew_is_read_anew() {
    let mut bench = Bench::new();
    for second in 100..110 {
        bench.write("c", second, wire::encode(&message("old", second)));
    }
    bench.write("c-dead", 110, letter("old", 100));
    assert_eq!((bench.read().len(), bench.stand().0.letters), (10, 1));
    for topic in ["c", "c-dead"] {
        bench.broker.faults().delete_topic(topic);
        let spec = topics::all(&[cluster()], 1, 1).into_iter().find(|spec| spec.name == topic).unwrap();
        assert!(bench.read().is_empty());
        assert_eq!((bench.stand().0.is_missing, bench.stand().0.letters == 0), (topic == "c", topic != "c"));
        bench.client.create_topic(&spec, soon()).unwrap();
    }
    bench.write("c", 120, wire::encode(&message("new", 120)));
    assert_eq!(bench.read(), ["new"]);
}

#[test]
fn what_no_consumer_has_claimed_is_the_lag_and_the_first_of_it_is_told() {
    let mut bench = Bench::new();
    for number in 0..6 {
        bench.write("c", 10 + number, wire::encode(&message(&format!("j{number}"), 10 + number)));
    }
    let mut check = |commit: Option<(i64, &[i64])>, lag: i64, first: &[&str]| {
        if let Some((offset, open)) = commit {
            bench.commit("c", offset, open);
        }
        let (standing, told) = bench.stand();
        assert_eq!(
            (standing.lag, told),
            (lag, first.iter().map(|job| (*job).to_owned()).collect()),
            "{commit:?}"
        );
    };
    check(None, 6, &["j0"]);
    check(None, 6, &[]);
    check(Some((2, &[])), 4, &["j2"]);
    check(Some((5, &[1, 3])), 3, &["j1"]);
    check(Some((6, &[])), 0, &[]);
    check(Some((4, &[])), 2, &["j4"]);
}

#[test]
fn a_commit_counts_for_the_topic_that_it_names_and_for_what_is_still_there() {
    let id = Uuid::from_u128(7);
    let check = |offset: i64, open: &[i64], of: Uuid, expected: (i64, Option<i64>)| {
        let metadata = holes::encode(of, offset, &open.iter().copied().collect()).unwrap();
        assert_eq!(between(Some(&Committed { offset, metadata }), id, 10, 20), expected, "{offset} {open:?}");
    };
    check(15, &[], id, (5, Some(15)));
    check(15, &[], Uuid::nil(), (10, Some(10)));
    check(5, &[], id, (10, Some(10)));
    check(25, &[], id, (0, None));
    check(20, &[9, 12], id, (1, Some(12)));
    let set_by_hand = Committed { offset: 12, metadata: String::new() };
    assert_eq!(between(Some(&set_by_hand), id, 10, 20), (8, Some(12)));
    assert_eq!(between(None, id, 10, 10), (0, None));
}

#[test]
fn retries_that_wait_are_counted_apart() {
    let mut bench = Bench::new();
    for second in 0..3 {
        bench.write("c-retry", second, wire::encode(&message("j", second)));
    }
    bench.commit("c-retry", 3, &[0, 2]);
    let (standing, told) = bench.stand();
    assert_eq!((standing.lag, standing.retry_lag, told.len()), (0, 2, 0));
}

fn letter(job: &str, due: i64) -> bytes::Bytes {
    wire::encode(&wire::DeadRecord::Letter(Box::new(wire::DeadLetter {
        reason: DeadReason::AttemptsExhausted,
        detail: "\"letter_offset\"".to_owned(),
        place: place(),
        last_offset: 0,
        attempt: Some(message(job, due)),
        outcome: None,
        output_tail: String::new(),
        original: None,
        consumer: String::new(),
        at: at(due),
    })))
}

#[test]
fn letters_are_counted_until_they_are_put_back_or_deleted() {
    let mut bench = Bench::new();
    let write = |bench: &mut Bench, job: &str| bench.write("c-dead", 5, letter(job, 5));
    let offsets = ["a", "b", "c"].map(|job| write(&mut bench, job));
    assert_eq!(bench.stand().0.letters, 3);
    for _ in 0..2 {
        let replayed = Replayed { attempt: None, letter_offset: offsets[1], at: at(6) };
        bench.write("c-dead", 6, wire::encode(&wire::DeadRecord::Replayed(replayed)));
        assert_eq!(bench.stand().0.letters, 2);
    }
    write(&mut bench, "d");
    bench.write("c-dead", 7, "cannot be read".into());
    assert_eq!(bench.stand().0.letters, 4);
    let of = TopicPartition { topic: "c-dead".to_owned(), partition: 0 };
    bench.broker.faults().delete_records(&of, 2);
    assert_eq!(bench.stand().0.letters, 3);
}

#[test]
fn the_message_of_an_attempt_is_found_where_it_lies_and_nowhere_else() {
    let mut bench = Bench::new();
    bench.write("c", 5, wire::encode(&message("other", 5)));
    let offset = bench.write("c", 6, wire::encode(&message("long", 6)));
    let id = bench.client.topic("c", soon()).unwrap().unwrap().id;
    let place = Place { topic: "c".to_owned(), topic_id: id, partition: 0, offset };
    let mut check = |place: &Place, expected: bool| {
        let run = run_of("long", 6);
        let found = find(bench.client.as_mut(), run, place).unwrap();
        let attempt = Some(message("long", 6)).filter(|_| expected);
        assert_eq!(found, Told::Found(run, attempt), "{place:?}");
    };
    check(&place, true);
    check(&Place { topic_id: Uuid::nil(), ..place.clone() }, false);
    check(&Place { topic: "d".to_owned(), ..place.clone() }, false);
    check(&Place { partition: 1, ..place.clone() }, false);
    check(&Place { offset: 7, ..place.clone() }, false);
}
