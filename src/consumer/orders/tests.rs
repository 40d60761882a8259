//! The reader on a broker in memory, on a clock that the test turns.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use uuid::Uuid;

use super::machine::OrderReader;
use super::messages::{Effect, News};
use crate::common::bounds::ORDERS_REMEMBERED;
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, Client, ErrorCode, ProduceBatch, Record, TopicPartition};
use crate::common::clock::{Clock, ManualClock, Now};
use crate::common::model::{Order, OrderReason, RunId};
use crate::common::topics::{ORDERS, TopicSpec};
use crate::common::wire;

struct Bench {
    clock: Arc<ManualClock>,
    broker: MemoryBroker,
    client: Box<dyn Client>,
    reader: OrderReader,
}

fn bench() -> Bench {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
    let (client, reader) = (broker.client("orders"), OrderReader::new("c".parse().unwrap()));
    Bench { clock, broker, client, reader }
}

fn run(number: usize) -> RunId {
    RunId(Uuid::from_u128(number.try_into().unwrap()))
}

impl Bench {
    fn create(&mut self, partitions: i32) {
        let spec =
            TopicSpec { name: ORDERS.to_owned(), partitions, replication_factor: 1, settings: Vec::new() };
        self.client.create_topic(&spec, self.clock.monotonic() + Duration::from_secs(1)).unwrap();
    }

    fn write(&self, partition: i32, values: Vec<bytes::Bytes>) {
        let record = |value| Record { key: None, value: Some(value), timestamp_ms: 0 };
        let to = TopicPartition { topic: ORDERS.to_owned(), partition };
        let batch = ProduceBatch { to, records: values.into_iter().map(record).collect() };
        let by = self.clock.monotonic() + Duration::from_secs(1);
        self.broker.client("leader").produce(&[batch], by).remove(0).unwrap();
    }

    fn order(&self, partition: i32, cluster: &str, runs: impl IntoIterator<Item = usize>) {
        let order = |number| Order::End {
            run: run(number),
            job: "j".parse().unwrap(),
            cluster: cluster.parse().unwrap(),
            reason: OrderReason::Replaced,
            by: "leader".to_owned(),
            at: DateTime::UNIX_EPOCH,
        };
        self.write(partition, runs.into_iter().map(|number| wire::encode(&order(number))).collect());
    }

    fn step(&mut self) -> Vec<Effect> {
        let now = Now { wall: self.clock.now(), mono: self.clock.monotonic() };
        let (effects, wait) = self.reader.step(self.client.as_mut(), now);
        self.clock.turn(wait);
        effects
    }

    /// What is told within so many steps.
    fn told(&mut self, steps: usize) -> Vec<News> {
        let effects = (0..steps).flat_map(|_| self.step()).collect::<Vec<_>>();
        effects
            .into_iter()
            .filter_map(|effect| if let Effect::Tell(news) = effect { Some(news) } else { None })
            .collect()
    }
}

fn ordered(runs: &[usize]) -> News {
    News::Ordered(runs.iter().map(|number| (run(*number), DateTime::UNIX_EPOCH)).collect())
}

#[test]
fn what_stood_in_the_topic_is_told_before_it_is_said_that_it_was_read_and_what_comes_later_as_it_comes() {
    let mut bench = bench();
    bench.create(1);
    bench.order(0, "c", [1, 2]);
    assert_eq!(bench.told(3), [ordered(&[1, 2]), News::ReadToEnd]);
    bench.order(0, "c", [3]);
    bench.order(0, "c", [3]);
    assert_eq!(bench.told(3), [ordered(&[3, 3])]);
}

#[test]
fn of_many_orders_the_newest_are_read_back() {
    let mut bench = bench();
    bench.create(1);
    for thousand in 0..12 {
        bench.order(0, "c", thousand * 1_000..(thousand + 1) * 1_000);
    }
    let told = bench.told(30);
    let runs: Vec<RunId> = told
        .into_iter()
        .flat_map(|news| if let News::Ordered(runs) = news { runs } else { Vec::new() })
        .map(|(run, _)| run)
        .collect();
    assert_eq!(runs, (12_000 - ORDERS_REMEMBERED..12_000).map(run).collect::<Vec<_>>());
}

#[test]
fn a_topic_that_does_not_exist_holds_no_orders_and_is_followed_once_it_is_there() {
    let mut bench = bench();
    assert_eq!(bench.told(2), [News::ReadToEnd]);
    bench.create(1);
    bench.order(0, "c", [1]);
    assert_eq!(bench.told(3), [ordered(&[1])]);
}

#[test]
fn a_topic_that_is_made_anew_and_partitions_that_are_added_are_followed() {
    let mut bench = bench();
    bench.create(1);
    bench.told(3);
    bench.broker.faults().delete_topic(ORDERS);
    bench.create(2);
    bench.order(0, "c", [1]);
    bench.order(1, "c", [2]);
    bench.clock.turn(Duration::from_secs(60));
    let mut told = bench.told(20);
    told.sort_by_key(|news| format!("{news:?}"));
    told.dedup();
    assert_eq!(told, [ordered(&[1]), ordered(&[2])]);
    bench.broker.faults().grow_topic(ORDERS, 3);
    bench.order(2, "c", [3]);
    bench.clock.turn(Duration::from_secs(60));
    assert_eq!(bench.told(3), [ordered(&[3])]);
}

#[test]
fn what_is_no_order_of_this_cluster_is_passed_over() {
    let mut bench = bench();
    bench.create(1);
    let later = br#"{"v":1,"order":"pause","run":"00000000-0000-0000-0000-000000000001"}"#;
    bench.write(0, vec![b"nonsense".as_slice().into(), later.as_slice().into()]);
    bench.order(0, "d", [1]);
    bench.order(0, "c", [2]);
    assert_eq!(bench.told(3), [ordered(&[2]), News::ReadToEnd]);
}

#[test]
fn calls_that_fail_are_made_again_and_nothing_is_said_to_be_read_before_it_is() {
    let check = |call, fate| {
        let mut bench = bench();
        bench.create(1);
        bench.order(0, "c", [1]);
        bench.broker.faults().next(call, fate);
        let first = bench.step();
        assert!(matches!(first.as_slice(), [Effect::Failed(_)]), "{call:?}: {first:?}");
        assert_eq!(bench.told(3), [ordered(&[1]), News::ReadToEnd], "{call:?}");
    };
    check(Call::Topic, Fate::NotSent);
    check(Call::Offset, Fate::RequestLost);
    check(Call::Fetch, Fate::AnswerLost);
    check(Call::Fetch, Fate::Refused(ErrorCode::OffsetOutOfRange));
}
