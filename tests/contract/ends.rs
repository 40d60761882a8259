//! The two ends of the port, with what a test does to them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kafka_cron::common::broker::kafka::KafkaBroker;
use kafka_cron::common::broker::memory::{Call, Fate, MemoryBroker};
use kafka_cron::common::broker::{Broker, Client, TopicPartition, TopicState};
use kafka_cron::common::clock::SystemClock;
use kafka_cron::common::topics::TopicSpec;

use crate::support::broker::{OwnBroker, TestBroker, await_groups, await_topic, connect, free_port, version};
use crate::support::proxy::Proxy;
use crate::support::{raw, soon, unique};

/// An end of the port.
pub trait End {
    /// A broker's clients.
    fn broker(&self) -> &dyn Broker;

    /// Deletes the records of a partition below an offset.
    fn delete_records(&self, of: &TopicPartition, below: i64);

    /// Deletes a topic.
    fn delete_topic(&self, name: &str);

    /// Gives a topic more partitions.
    fn grow_topic(&self, name: &str, partitions: i32);

    /// Runs what makes `commits` commits whose requests come late: they get no answer now.
    fn late(&self, commits: usize, make: &mut dyn FnMut());

    /// The late requests arrive, in order.
    fn deliver(&self);

    /// A client.
    fn client(&self) -> Box<dyn Client> {
        self.broker().client("contract")
    }

    /// Creates a topic of the test's own that can be written at once.
    fn topic(&self, partitions: i32, settings: &[(&'static str, &str)]) -> (String, TopicState) {
        let name = unique("contract");
        (name.clone(), self.topic_named(&name, partitions, settings))
    }

    /// As [`End::topic`], by name.
    fn topic_named(&self, name: &str, partitions: i32, settings: &[(&'static str, &str)]) -> TopicState {
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let spec = TopicSpec { name: name.to_owned(), partitions, replication_factor: 1, settings };
        let mut client = self.client();
        client.create_topic(&spec, soon()).unwrap();
        await_topic(&mut *client, name)
    }
}

/// The in-memory broker, one for each test.
pub struct Memory(MemoryBroker);

impl Memory {
    pub fn new() -> Self {
        Self(MemoryBroker::new(Arc::new(SystemClock)))
    }
}

impl End for Memory {
    fn broker(&self) -> &dyn Broker {
        &self.0
    }

    fn delete_records(&self, of: &TopicPartition, below: i64) {
        self.0.faults().delete_records(of, below);
    }

    fn grow_topic(&self, name: &str, partitions: i32) {
        self.0.faults().grow_topic(name, usize::try_from(partitions).unwrap());
    }

    fn delete_topic(&self, name: &str) {
        self.0.faults().delete_topic(name);
    }

    fn late(&self, commits: usize, make: &mut dyn FnMut()) {
        let faults = self.0.faults();
        let before = faults.late();
        (0..commits).for_each(|_| faults.next(Call::Commit, Fate::Late));
        make();
        assert_eq!(faults.late() - before, commits);
    }

    fn deliver(&self) {
        self.0.faults().deliver();
    }
}

/// Real Kafka, one broker for all tests.
pub struct Kafka(KafkaBroker);

impl Kafka {
    pub fn shared() -> Self {
        Self(TestBroker::shared().broker())
    }
}

impl End for Kafka {
    fn broker(&self) -> &dyn Broker {
        &self.0
    }

    fn delete_records(&self, of: &TopicPartition, below: i64) {
        raw::delete_records(TestBroker::shared().brokers(), &of.topic, of.partition, below);
    }

    fn grow_topic(&self, name: &str, partitions: i32) {
        raw::grow_topic(TestBroker::shared().brokers(), name, partitions);
        await_topic(&mut *self.client(), name);
    }

    fn delete_topic(&self, name: &str) {
        raw::delete_topic(TestBroker::shared().brokers(), name);
    }

    fn late(&self, _: usize, _: &mut dyn FnMut()) {
        panic!("this takes a proxy");
    }

    fn deliver(&self) {
        panic!("this takes a proxy");
    }
}

/// Real Kafka behind a proxy that keeps requests back. What is kept back is kept back for all, so one test at a time
/// has it.
pub struct Proxied {
    shared: &'static Behind,
    _turn: MutexGuard<'static, ()>,
}

struct Behind {
    broker: KafkaBroker,
    proxy: Proxy,
    turn: Mutex<()>,
    _own: OwnBroker,
}

impl Proxied {
    pub fn shared() -> Self {
        static SHARED: OnceLock<Behind> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let port = free_port();
            let advertised = format!("advertised.listeners=PLAINTEXT://localhost:{port}");
            let own = OwnBroker::start_with(version(), &[&advertised]);
            let proxy = Proxy::start(port, own.port());
            let broker = connect(&format!("localhost:{port}"));
            await_groups(&mut *broker.client("test"));
            Behind { broker, proxy, turn: Mutex::new(()), _own: own }
        });
        // A test that failed has said so.
        Self { shared, _turn: shared.turn.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl End for Proxied {
    fn broker(&self) -> &dyn Broker {
        &self.shared.broker
    }

    fn delete_records(&self, _: &TopicPartition, _: i64) {
        panic!("not needed here");
    }

    fn grow_topic(&self, _: &str, _: i32) {
        panic!("not needed here");
    }

    fn delete_topic(&self, _: &str) {
        panic!("not needed here");
    }

    fn late(&self, _: usize, make: &mut dyn FnMut()) {
        let before = self.shared.proxy.held();
        self.shared.proxy.hold();
        make();
        assert!(self.shared.proxy.held() > before, "nothing was kept back");
        self.shared.proxy.pass();
    }

    fn deliver(&self) {
        self.shared.proxy.deliver();
    }
}
