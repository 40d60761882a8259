//! Letters put back into the topics of an in-memory broker.

use clap::Parser;
use uuid::Uuid;

use super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{Broker, Client, Position};
use crate::common::clock::ManualClock;
use crate::common::model::{Place, Run};
use crate::common::scan::scan;
use crate::common::topics::TopicSpec;
use crate::common::wire::DeadLetter;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn letter(reason: DeadReason, place: Place, last_offset: i64) -> DeadLetter {
    DeadLetter {
        reason,
        detail: String::new(),
        place,
        last_offset,
        attempt: None,
        outcome: None,
        output_tail: String::new(),
        original: None,
        consumer: "p".to_owned(),
        at: chrono::DateTime::UNIX_EPOCH,
    }
}

/// A broker with the topics of the cluster `c`, and a client of it.
struct Bench {
    broker: MemoryBroker,
    client: Box<dyn Client>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
        let broker = MemoryBroker::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let mut client = broker.client("test");
        for name in ["c", "c-retry", "c-dead"] {
            let (name, settings) = (name.to_owned(), vec![]);
            let spec = TopicSpec { name, partitions: 1, replication_factor: 1, settings };
            client.create_topic(&spec, soon()).unwrap();
        }
        Self { broker, client, clock }
    }

    /// Writes a letter, and returns its offset.
    fn write(&mut self, letter: DeadLetter) -> i64 {
        let value = Some(wire::encode(&DeadRecord::Letter(Box::new(letter))));
        let to = TopicPartition { topic: "c-dead".to_owned(), partition: 0 };
        let records = vec![Record { key: None, value, timestamp_ms: 5 }];
        let end = self.client.offset(&to, Position::End, soon()).unwrap();
        self.client.produce(&[ProduceBatch { to, records }], soon()).remove(0).unwrap();
        end
    }

    fn replay(&mut self, words: &[&str]) -> Exit {
        let line = Line::parse_from(["replay", "--cluster", "c"].iter().chain(words));
        let mut screen = Screen::new(std::io::sink(), std::io::sink());
        let letters = Letters::of(self.client.as_mut(), &"c".parse().unwrap()).unwrap();
        run(&line.args, letters, self.client.as_mut(), self.clock.as_ref(), &mut screen).unwrap()
    }

    /// The numbers of the attempts in the retry topic, by run.
    fn retried(&mut self) -> Vec<(RunId, u32)> {
        let mut retried = Vec::new();
        scan(self.client.as_mut(), "c-retry", |_, record| {
            let attempt = wire::decode_attempt(&record.value.unwrap()).unwrap();
            retried.push((attempt.run.id, attempt.attempt));
        })
        .unwrap();
        retried.sort_unstable();
        retried
    }

    fn marks(&mut self) -> usize {
        let mut marks = 0;
        scan(self.client.as_mut(), "c-dead", |_, record| {
            let record = wire::decode_dead(&record.value.unwrap()).unwrap();
            marks += usize::from(matches!(record, DeadRecord::Replayed(_)));
        })
        .unwrap();
        marks
    }
}

fn given_up(number: u128, command: &str) -> DeadLetter {
    let place = Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
    let (job, cluster) = ("j".parse().unwrap(), "c".parse().unwrap());
    let sample = Run::sample(RunId(Uuid::from_u128(number)), job, cluster);
    let run = Arc::new(Run { command: command.to_owned(), ..sample });
    let attempt = Some(Attempt { run, attempt: 3, attempts_left: 0, not_before: None });
    DeadLetter { attempt, ..letter(DeadReason::AttemptsExhausted, place, 4) }
}

#[test]
fn many_letters_are_put_back_once_each() {
    let mut bench = Bench::new();
    let many = u128::try_from(2 * TOGETHER + 1).unwrap();
    let numbers: Vec<u128> = (1..=many).collect();
    for number in &numbers {
        bench.write(given_up(*number, "x"));
    }
    let expected: Vec<_> = numbers.iter().map(|number| (RunId(Uuid::from_u128(*number)), 4)).collect();
    for _ in 0..2 {
        assert_eq!(bench.replay(&["--all"]), Exit::Done);
        assert_eq!(bench.retried(), expected);
        assert_eq!(bench.marks(), expected.len());
    }
}

#[test]
fn an_attempt_that_no_consumer_would_run_is_not_put_back() {
    let mut bench = Bench::new();
    let with = |number: u128, change: &dyn Fn(&mut Attempt)| {
        let mut letter = given_up(number, "x");
        letter.attempt.iter_mut().for_each(change);
        letter
    };
    bench.write(with(1, &|attempt| Arc::make_mut(&mut attempt.run).resources.nice = Some(99)));
    bench.write(with(2, &|attempt| attempt.attempt = u32::MAX));
    bench.write(given_up(3, "x"));
    assert_eq!(bench.replay(&["--all"]), Exit::Found);
    assert_eq!((bench.retried(), bench.marks()), (vec![(RunId(Uuid::from_u128(3)), 4)], 1));
}

#[test]
fn of_the_letters_of_a_run_the_newest_is_put_back() {
    let mut bench = Bench::new();
    let [older, newer] = [3, 8].map(|attempt| {
        let mut letter = given_up(1, "x");
        letter.attempt.as_mut().unwrap().attempt = attempt;
        letter
    });
    bench.write(older);
    bench.write(newer);
    bench.write(given_up(2, "x"));
    let run = RunId(Uuid::from_u128(1));
    for _ in 0..2 {
        assert_eq!(bench.replay(&["--run", &run.to_string()]), Exit::Done);
        assert_eq!(bench.retried(), [(run, 9)]);
    }
    assert_eq!(bench.replay(&["--run", &RunId(Uuid::from_u128(7)).to_string()]), Exit::Found);
}

#[test]
fn a_letter_that_the_retry_topic_never_takes_holds_up_no_other() {
    let mut bench = Bench::new();
    let commands = ["x".to_owned(), "y".repeat(5_000), "z".to_owned()];
    for (number, command) in (1..).zip(&commands) {
        bench.write(given_up(number, command));
    }
    bench.broker.faults().set_topic("c-retry", "max.message.bytes", "4000");
    for _ in 0..2 {
        assert_eq!(bench.replay(&["--all"]), Exit::Found);
        let put_back = bench.retried().iter().map(|(run, _)| run.0.as_u128()).collect::<Vec<_>>();
        assert_eq!((put_back, bench.marks()), (vec![1, 3], 2));
    }
}

#[test]
fn a_letter_that_holds_nothing_to_put_back_is_no_success() {
    let mut bench = Bench::new();
    let place = Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
    bench.write(letter(DeadReason::Deleted, place, 4));
    for offset in ["0", "8"] {
        assert_eq!(bench.replay(&["--offset", offset]), Exit::Found, "offset {offset}");
    }
}

#[test]
fn what_could_not_be_decoded_is_read_again_where_it_lies_and_put_back_once() {
    let mut bench = Bench::new();
    let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
    let record =
        |text: &'static str| Record { key: Some(text.into()), value: Some(text.into()), timestamp_ms: 5 };
    for records in [vec!["before", "a", "b"], vec!["after"]] {
        let records = records.into_iter().map(record).collect();
        bench.client.produce(&[ProduceBatch { to: of.clone(), records }], soon()).remove(0).unwrap();
    }
    let topic_id = bench.client.topic("c", soon()).unwrap().unwrap().id;
    let place = |topic_id, offset| Place { topic: "c".to_owned(), topic_id, partition: 0, offset };
    let check = |bench: &mut Bench, place: Place, last: i64, exit: Exit, said: &str, end: i64| {
        let undecodable = letter(DeadReason::Undecodable, place, last);
        let why = reread(&undecodable, bench.client.as_mut()).unwrap().err().unwrap_or_default();
        assert!(why.contains(said) && why.is_empty() == said.is_empty(), "{why}");
        let offset = bench.write(undecodable).to_string();
        assert_eq!(bench.replay(&["--offset", &offset]), exit, "{why}");
        assert_eq!(bench.client.offset(&of, Position::End, soon()), Ok(end));
    };
    bench.broker.faults().spoil(&of, 3);
    let why = "still cannot be decoded: its checksum is wrong";
    check(&mut bench, place(topic_id, 3), 3, Exit::Found, why, 4);
    check(&mut bench, place(Uuid::nil(), 1), 2, Exit::Found, "not the one any more", 4);
    check(&mut bench, place(topic_id, 1), 2, Exit::Done, "", 6);
    bench.broker.faults().delete_records(&of, 2);
    check(&mut bench, place(topic_id, 1), 2, Exit::Found, "deleted", 6);
    let mut values = Vec::new();
    scan(bench.client.as_mut(), "c", |_, record| values.push(record.value.unwrap())).unwrap();
    assert_eq!(values, ["b", "a", "b"]);
    assert_eq!(bench.marks(), 1);
}

#[test]
fn letters_of_one_offset_in_several_partitions_are_told_apart() {
    let mut bench = Bench::new();
    bench.broker.faults().grow_topic("c-dead", 3);
    for partition in 0..3 {
        let letter = given_up(u128::try_from(partition + 1).unwrap(), "x");
        let value = Some(wire::encode(&DeadRecord::Letter(Box::new(letter))));
        let to = TopicPartition { topic: "c-dead".to_owned(), partition };
        let records = vec![Record { key: None, value, timestamp_ms: 5 }];
        bench.client.produce(&[ProduceBatch { to, records }], soon()).remove(0).unwrap();
    }
    let runs = |numbers: &[u128]| numbers.iter().map(|n| (RunId(Uuid::from_u128(*n)), 4)).collect::<Vec<_>>();
    assert_eq!(bench.replay(&["--offset", "0"]), Exit::Done);
    assert_eq!(bench.retried(), runs(&[1]));
    assert_eq!(bench.replay(&["--offset", "0", "--partition", "2"]), Exit::Done);
    assert_eq!(bench.retried(), runs(&[1, 3]));
    for _ in 0..2 {
        assert_eq!(bench.replay(&["--all"]), Exit::Done);
        assert_eq!((bench.retried(), bench.marks()), (runs(&[1, 2, 3]), 3));
    }
    assert_eq!(bench.replay(&["--offset", "0", "--partition", "9"]), Exit::Found);
}
