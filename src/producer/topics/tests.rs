//! The state machine on a cluster in memory, on a clock that the test turns.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;

use super::machine::Upkeep;
use super::messages::{Failure, Looked, Told};
use super::*;
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, Client, ErrorCode};
use crate::common::clock::{Clock, ManualClock};
use crate::common::http::Health;
use crate::common::metrics::{Beats, Metrics};
use crate::common::topics;
use crate::common::topics::{LEADER, ORDERS, RUNS};

const ALL: [&str; 6] = ["c", "c-retry", "c-dead", RUNS, ORDERS, LEADER];
const OPTIONS: Options = Options { partitions: 2, replication_factor: None };

/// A cluster in memory and the machine that looks after the topics of cluster `c`.
struct Bench {
    clock: Arc<ManualClock>,
    broker: MemoryBroker,
    client: Box<dyn Client>,
    upkeep: Upkeep,
}

fn bench(brokers: i32) -> Bench {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
    broker.faults().brokers(brokers);
    let client = broker.client("topics");
    Bench { clock, broker, client, upkeep: Upkeep::new(vec!["c".parse().unwrap()], OPTIONS) }
}

impl Bench {
    fn look(&mut self) -> Looked {
        self.upkeep.look(self.client.as_mut(), self.clock.monotonic())
    }

    /// Lets so much time pass, and looks whenever that is due.
    fn pass(&mut self, mut left: Duration) -> Vec<Looked> {
        let mut all = Vec::new();
        loop {
            let wait = self.upkeep.wait(self.clock.monotonic());
            if wait > left {
                self.clock.turn(left);
                return all;
            }
            self.clock.turn(wait);
            left -= wait;
            all.push(self.look());
        }
    }

    /// What is told within so much time.
    fn told(&mut self, within: Duration) -> Vec<Told> {
        self.pass(within).into_iter().flat_map(|looked| looked.told).collect()
    }

    fn exists(&mut self, topic: &str) -> bool {
        let by = self.clock.monotonic() + Duration::from_secs(1);
        self.client.topic(topic, by).unwrap().is_some()
    }

    fn create(&mut self, topic: &str, copies: i16) {
        let by = self.clock.monotonic() + Duration::from_secs(1);
        let specs = topics::all(&["c".parse().unwrap()], 2, copies);
        self.client.create_topic(specs.iter().find(|spec| spec.name == topic).unwrap(), by).unwrap();
    }
}

fn anew(topic: &str) -> Told {
    Told::Anew { topic: topic.to_owned() }
}

#[test]
fn all_topics_are_created_as_the_promises_need_them() {
    let mut bench = bench(3);
    let looked = bench.look();
    let created = |topic: &str| Told::Created { topic: topic.to_owned(), copies: 3 };
    assert_eq!((looked.told, looked.failure), (ALL.map(created).to_vec(), None));
    assert_eq!(bench.told(Duration::from_secs(300)), []);
}

#[test]
fn a_topic_that_is_deleted_while_the_producer_runs_is_made_anew_and_that_is_told() {
    let mut bench = bench(1);
    bench.look();
    for topic in ALL {
        // Known or just created.
        for _ in 0..2 {
            bench.broker.faults().delete_topic(topic);
            assert_eq!(bench.told(Duration::from_secs(5)), [anew(topic)]);
            assert!(bench.exists(topic));
        }
        assert_eq!(bench.told(Duration::from_secs(20)), []);
    }
    ALL.iter().for_each(|topic| bench.broker.faults().delete_topic(topic));
    assert_eq!(bench.told(Duration::from_secs(5)), ALL.map(anew));
}

#[test]
fn a_topic_that_another_one_has_made_anew_is_told_too() {
    let mut bench = bench(1);
    bench.look();
    bench.look();
    bench.broker.faults().delete_topic("c-retry");
    bench.create("c-retry", 1);
    assert_eq!(bench.told(Duration::from_secs(30)), [anew("c-retry")]);
    // It creates it at the very moment.
    bench.broker.faults().delete_topic("c");
    bench.broker.faults().next(Call::CreateTopic, Fate::AppliedButRefused(ErrorCode::TopicAlreadyExists));
    assert_eq!(bench.told(Duration::from_secs(30)), [anew("c")]);
}

#[test]
fn who_finds_a_topic_missing_has_it_looked_for_at_once_but_not_again_and_again() {
    let mut bench = bench(1);
    bench.look();
    bench.clock.turn(Duration::from_secs(2));
    bench.broker.faults().delete_topic("c");
    bench.upkeep.called(bench.clock.monotonic());
    assert_eq!(bench.told(Duration::ZERO), [anew("c")]);
    let before = bench.broker.faults().made(Call::Topic);
    for _ in 0..100 {
        bench.upkeep.called(bench.clock.monotonic());
        bench.pass(Duration::from_millis(100));
    }
    let made = bench.broker.faults().made(Call::Topic) - before;
    assert!(made <= 11 * ALL.len(), "{made} calls in 10 s");
}

#[test]
fn a_refusal_about_one_topic_holds_up_no_other_and_lasts_without_a_storm() {
    for call in [Call::CreateTopic, Call::Topic] {
        let mut bench = bench(1);
        bench.broker.faults().refuse(call, "c-retry", ErrorCode::TopicAuthorizationFailed);
        let looked = bench.pass(Duration::from_secs(60));
        assert!(ALL.iter().filter(|topic| **topic != "c-retry").all(|topic| bench.exists(topic)));
        for looked in &looked {
            let Some(Failure::Call(what, _)) = &looked.failure else { panic!("{looked:?}") };
            assert!(what.contains("c-retry"), "{what}");
        }
        assert!(looked.len() < 25, "{call:?}: {} looks in a minute", looked.len());
        bench.broker.faults().allow(call, "c-retry");
        bench.pass(Duration::from_secs(5));
        assert!(bench.exists("c-retry") && bench.look().failure.is_none());
    }
}

#[test]
fn a_kafka_that_is_away_is_asked_with_rests() {
    let mut bench = bench(1);
    bench.broker.faults().away();
    let looked = bench.pass(Duration::from_secs(60));
    let calls: usize = [Call::BrokerCount, Call::Topic, Call::CreateTopic, Call::TopicSettings]
        .iter()
        .map(|call| bench.broker.faults().made(*call))
        .sum();
    assert!(looked.len() < 25 && calls < 50, "{} looks, {calls} calls", looked.len());
    assert!(looked.iter().all(|looked| matches!(looked.failure, Some(Failure::Call(..)))));
    bench.broker.faults().back();
    bench.pass(Duration::from_secs(5));
    assert!(ALL.iter().all(|topic| bench.exists(topic)));
}

#[test]
fn settings_that_may_not_be_read_are_told_once_and_keep_nobody_from_working() {
    let mut bench = bench(1);
    bench.broker.faults().refuse(Call::TopicSettings, "c", ErrorCode::TopicAuthorizationFailed);
    let told = bench.told(Duration::from_secs(600));
    let error = crate::common::broker::BrokerError::Refused(ErrorCode::TopicAuthorizationFailed);
    let incomparable = Told::Incomparable { topic: "c".to_owned(), error };
    assert_eq!(
        told.iter().filter(|told| !matches!(told, Told::Created { .. })).collect::<Vec<_>>(),
        [&incomparable]
    );
    assert_eq!(bench.look().failure, None);
}

#[test]
fn what_differs_is_told_once_and_again_when_it_is_mended() {
    let mut bench = bench(1);
    bench.look();
    bench.broker.faults().set_topic("c-dead", "retention.bytes", "1024");
    let told = bench.told(Duration::from_secs(300));
    let [Told::Differs { topic, difference }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (topic.as_str(), difference.setting, difference.is_fatal),
        ("c-dead", "retention.bytes", false)
    );
    assert_eq!(bench.look().failure, None, "a risk keeps nobody from working");
    bench.broker.faults().set_topic("c-dead", "retention.bytes", "-1");
    let mended = Told::Mended { topic: "c-dead".to_owned(), setting: "retention.bytes" };
    assert_eq!(bench.told(Duration::from_secs(300)), [mended]);
    bench.broker.faults().set_topic(RUNS, "cleanup.policy", "compact");
    bench.told(Duration::from_secs(61));
    let failure = bench.look().failure;
    assert!(matches!(&failure, Some(Failure::Setting(topic, _)) if topic == RUNS), "{failure:?}");
    bench.broker.faults().set_topic(RUNS, "cleanup.policy", "delete");
    bench.told(Duration::from_secs(5));
    assert_eq!(bench.look().failure, None, "what keeps it from working is looked at often");
    bench.broker.faults().set_topic(RUNS, "cleanup.policy", "compact");
    bench.told(Duration::from_secs(61));
    // Made anew it is as it should be.
    bench.broker.faults().delete_topic(RUNS);
    let mended = Told::Mended { topic: RUNS.to_owned(), setting: "cleanup.policy" };
    assert_eq!(bench.told(Duration::from_secs(20)), [mended, anew(RUNS)]);
    assert_eq!(bench.look().failure, None);
}

#[test]
fn topics_that_were_created_while_brokers_were_down_have_too_few_copies_when_these_are_back() {
    let mut bench = bench(2);
    bench.look();
    assert_eq!(bench.told(Duration::from_secs(120)), []);
    bench.broker.faults().brokers(3);
    let told = bench.told(Duration::from_secs(120));
    let short: Vec<(&str, &str)> = told
        .iter()
        .map(|told| match told {
            Told::Differs { topic, difference } => (topic.as_str(), difference.setting),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(short, ["c", "c-retry", "c-dead", RUNS, ORDERS].map(|topic| (topic, "replication.factor")));
}

#[test]
fn the_thread_shows_what_differs_and_is_ready_when_all_topics_are_there() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
    broker.faults().away();
    let metrics = Metrics::new();
    let context = Context {
        client: broker.client("topics"),
        clock: Arc::<ManualClock>::clone(&clock),
        health: Health::new(&metrics),
        metrics: TopicMetrics::new(&metrics),
        beat: Beats::new(&metrics).thread("topics"),
    };
    let (_topics, missing) =
        Topics::start(Upkeep::new(vec!["c".parse().unwrap()], OPTIONS), context).unwrap();
    let await_line = |line: &str, is_there: bool| {
        let shows = || String::from_utf8(metrics.page().unwrap()).unwrap().lines().any(|l| l == line);
        while shows() != is_there {
            assert!(clock.ring_next(PATIENCE), "the thread does not look any more");
        }
    };
    assert!(clock.ring_next(PATIENCE));
    await_line("cron_ready{fact=\"topics\"} 0", true);
    broker.faults().back();
    await_line("cron_ready{fact=\"topics\"} 1", true);
    broker.faults().set_topic("c", "retention.bytes", "9");
    await_line("cron_topic_settings_differ{setting=\"retention.bytes\",topic=\"c\"} 1", true);
    broker.faults().set_topic("c", "retention.bytes", "-1");
    await_line("cron_topic_settings_differ{setting=\"retention.bytes\",topic=\"c\"} 1", false);
    // The writers are gone; the thread goes on.
    drop(missing);
    broker.faults().set_topic("c", "retention.bytes", "9");
    await_line("cron_topic_settings_differ{setting=\"retention.bytes\",topic=\"c\"} 1", true);
}
