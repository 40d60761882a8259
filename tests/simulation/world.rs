//! What all actors share: a cluster in memory, a manual clock, one source of chance, and the oracle that sees
//! everything.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::DateTime;
use kafka_cron::common::bounds::DUPLICATE_WINDOW;
use kafka_cron::common::broker::memory::{Call, MemoryBroker};
use kafka_cron::common::broker::{Broker, Client, ErrorCode, TopicPartition};
use kafka_cron::common::clock::Now;
use kafka_cron::common::clock::{Clock, ManualClock};
use kafka_cron::common::model::ClusterName;
use kafka_cron::common::topics::TopicSpec;

use crate::faults::Weather;
use crate::invariants::Oracle;
use crate::patience::Patient;
use crate::report::Trace;

/// The cluster whose jobs are run, and the topic of its first attempts.
pub const CLUSTER: &str = "c";
/// The topic of later attempts.
pub const RETRY: &str = "c-retry";
/// Partitions of each topic but the dead letters', when a run begins, and how many a topic of attempts may grow to.
pub const PARTITIONS: i32 = 2;
const MOST_PARTITIONS: i32 = 4;
/// More than the records that a run writes to a partition.
const MOST_RECORDS: i64 = 1_000;
/// The most bytes that a batch may have by default.
const USUAL_SIZE: u32 = 1_048_588;
/// The shortest that a broker allows.
pub const SESSION: Duration = Duration::from_secs(6);
/// When a run begins, in seconds since the epoch: 2027-01-15, eight o'clock.
pub const BEGIN: i64 = 1_800_000_000;

/// Numbers that look random and are the same in every run of a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// An index below `bound`.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    /// Whether something happens that does so `of_thousand` times in a thousand.
    pub fn chance(&mut self, of_thousand: u64) -> bool {
        self.below(1000) < of_thousand
    }

    /// A duration from `from_ms` up to `to_ms` milliseconds, short ones more often than long ones.
    pub fn span(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        let reach = self.below(to_ms - from_ms) + 1;
        Duration::from_millis(from_ms + self.below(reach))
    }
}

/// The most bytes that a batch may have in each topic (`max.message.bytes`), where that is not the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    pub first: Option<u32>,
    pub retry: Option<u32>,
    pub dead: Option<u32>,
    pub runs: Option<u32>,
}

impl Sizes {
    /// Those of a seed: in three of four all topics take what they usually do. A tick is too large only where producers
    /// publish it.
    pub fn of_a_seed(mut random: Random, has_producers: bool) -> Self {
        if random.chance(750) {
            return Self::default();
        }
        let mut size =
            |least, most| (!random.chance(400)).then(|| least + u32::try_from(random.below(most)).unwrap());
        Self {
            first: size(900, 1_000).filter(|_| has_producers),
            retry: size(900, 300),
            dead: size(900, 1_900),
            runs: size(900, 900),
        }
    }

    /// Whether any topic takes less than usual.
    pub fn are_small(&self) -> bool {
        [self.first, self.retry, self.dead, self.runs].iter().any(Option::is_some)
    }
}

/// The world.
pub struct World {
    pub broker: MemoryBroker,
    pub clock: Arc<ManualClock>,
    pub random: Random,
    pub oracle: Oracle,
    pub trace: Trace,
    pub began: Instant,
    /// Longer than the session, as the consumer demands.
    pub lease: Duration,
    /// The number of the job file that producers are to have.
    pub file: usize,
    /// How large records may be, where that is less than usual.
    pub sizes: Sizes,
    /// Whether `cron-runs` tells the broker's time.
    pub tells_time: bool,
    /// Partitions in which late requests have arrived far behind what was written in time: once in each, so that no copy is
    /// further from its original than consumers look back.
    far: BTreeSet<TopicPartition>,
    /// Whether late requests arrive so in this seed.
    pub arrives_far: bool,
    /// A topic that was deleted and is not made again yet.
    absent: Option<&'static str>,
    /// A partition in which another program's transaction is open.
    open: Option<TopicPartition>,
    // Shared with the broker, which asks it about each call.
    weather: Arc<Mutex<Weather>>,
}

impl World {
    /// The topics, which no actor reads or writes yet.
    pub fn new(seed: u64, traced: bool) -> Self {
        let clock = Arc::new(ManualClock::new(DateTime::from_timestamp(BEGIN, 0).unwrap()));
        let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
        let began = clock.monotonic();
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let weather = Weather::new(Random(random.below(u64::MAX)), Arc::clone(&clock));
        let weather = Arc::new(Mutex::new(weather));
        let mut client = broker.client("world");
        let own = [("c-dead", 1), ("cron-runs", 2), ("cron-orders", 1), ("cron-leader", 1)];
        for (name, partitions) in [(CLUSTER, PARTITIONS), (RETRY, PARTITIONS)].into_iter().chain(own) {
            client.create_topic(&topic(name, partitions), began + Duration::from_secs(1)).unwrap();
        }
        let decides = Arc::clone(&weather);
        broker.faults().refuse(Call::ClusterTime, "", ErrorCode::Other(31));
        broker.faults().decide(Box::new(move |client, call| decides.lock().unwrap().fate(client, call)));
        let trace = Trace::new(traced);
        let mut oracle = Oracle::new(client, began + Duration::from_secs(1));
        oracle.read = traced.then(Vec::new);
        Self {
            oracle,
            broker,
            clock,
            random,
            trace,
            began,
            lease: Duration::from_secs(12),
            file: 0,
            sizes: Sizes::default(),
            tells_time: false,
            far: BTreeSet::new(),
            arrives_far: false,
            absent: None,
            open: None,
            weather,
        }
    }

    /// From now on topics take no larger batches than these.
    pub fn limit(&mut self, sizes: Sizes) {
        self.sizes = sizes;
        self.oracle.sizes = sizes;
        let Sizes { first, retry, dead, runs } = sizes;
        for (topic, size) in [(CLUSTER, first), (RETRY, retry), ("c-dead", dead), ("cron-runs", runs)] {
            let size = size.unwrap_or(USUAL_SIZE);
            self.broker.faults().set_topic(topic, "max.message.bytes", &size.to_string());
        }
    }

    /// From now on `cron-runs` tells the broker's time, and leaders compare their clocks with it.
    pub fn tell_time(&mut self) {
        self.tells_time = true;
        self.broker.faults().set_topic("cron-runs", "message.timestamp.type", "LogAppendTime");
    }

    /// What goes wrong.
    pub fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap()
    }

    /// The present instant by both clocks.
    pub fn now(&self) -> Now {
        Now { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    /// Notes what happens, for the person who must understand a failure.
    pub fn say(&mut self, who: &str, what: impl FnOnce() -> String) {
        if self.trace.is_on() {
            let at = self.clock.monotonic() - self.began;
            self.trace.push(format!("{:9.3} {who}: {}", at.as_secs_f64(), what()));
        }
    }

    /// Late requests arrive.
    pub fn deliver_late(&mut self) {
        // A topic that holds something, and has no cursor, is one whose cursor was lost.
        let is_safe = !self.oracle.has_producers || self.oracle.has_cursor();
        if self.arrives_far && is_safe && self.broker.faults().late() > 0 {
            let count = DUPLICATE_WINDOW - MOST_RECORDS;
            for topic in [CLUSTER, RETRY] {
                for of in (0..self.oracle.partitions(topic)).map(|number| partition(topic, number)) {
                    if self.far.insert(of.clone()) {
                        self.broker.faults().abort_transaction(&of, count);
                        self.weather().counts.add("late request far behind", 1);
                    }
                }
            }
        }
        self.broker.faults().deliver();
        self.oracle.late = true;
        self.weather().wrote = true;
    }

    /// An operator deletes a topic of attempts, where all are there. What is written to it from now on is refused.
    pub fn delete_topic(&mut self, topic: &'static str) -> bool {
        if self.absent.is_some() {
            return false;
        }
        self.weather().wrote = true;
        self.observe();
        self.broker.faults().delete_topic(topic);
        let now = self.clock.monotonic();
        self.oracle.deleted_topic(topic, now);
        self.absent = Some(topic);
        true
    }

    /// The topic that was deleted is made again, under another id.
    pub fn make_anew(&mut self) {
        let Some(name) = self.absent.take() else { return };
        let by = self.clock.monotonic() + Duration::from_secs(1);
        let mut client = self.client("world");
        client.create_topic(&topic(name, PARTITIONS), by).unwrap();
        self.oracle.made_anew(name, client, by);
        self.limit(self.sizes);
        self.say("operator", || format!("{name} is made anew"));
    }

    /// Another program begins a transaction in a partition: consumers read nothing that is written after this instant.
    pub fn open_transaction(&mut self, of: TopicPartition) {
        self.commit_transaction();
        self.say("stranger", || format!("opens a transaction in {}/{}", of.topic, of.partition));
        self.broker.faults().open_transaction(&of);
        self.open = Some(of);
    }

    /// The transaction that is open is committed.
    pub fn commit_transaction(&mut self) {
        let Some(of) = self.open.take() else { return };
        self.say("stranger", || format!("commits in {}/{}", of.topic, of.partition));
        self.broker.faults().commit_transaction(&of);
    }

    /// An operator adds a partition to a topic of attempts, where there may be more. Returns whether that was so.
    pub fn grow(&mut self, topic: &'static str) -> bool {
        let count = self.oracle.partitions(topic);
        if self.is_absent(topic) || count >= MOST_PARTITIONS {
            return false;
        }
        self.broker.faults().grow_topic(topic, usize::try_from(count + 1).unwrap());
        self.oracle.grown(topic, count);
        self.say("operator", || format!("{topic} has {} partitions", count + 1));
        true
    }

    /// Whether a topic was deleted and is not made again yet.
    pub fn is_absent(&self, topic: &str) -> bool {
        self.absent == Some(topic)
    }

    /// Has the oracle see what was written since it last looked.
    pub fn observe(&mut self) {
        if std::mem::take(&mut self.weather().wrote) {
            let by = self.clock.monotonic() + Duration::from_secs(1);
            let is_late = self.oracle.late;
            self.oracle.ticks.brokers_time = self.tells_time.then(|| self.clock.now());
            self.oracle.observe(by);
            let read: Vec<String> = self.oracle.read.iter_mut().flat_map(std::mem::take).collect();
            let who = if is_late { "written late" } else { "written" };
            read.into_iter().for_each(|line| self.say(who, || line));
        }
    }

    /// A client whose calls have time by the virtual clock although their deadlines are of the machine's own clock: a
    /// topic is read by the latter.
    pub fn patient_client(&self, name: &str) -> Box<dyn Client> {
        Box::new(Patient { inner: self.client(name), clock: Arc::clone(&self.clock) })
    }

    /// A client for an actor.
    pub fn client(&self, name: &str) -> Box<dyn Client> {
        self.broker.client(name)
    }
}

/// A topic as it is made here. Without the broker's time in `cron-runs`, and the right to ask for it, no leader sees that its
/// clock is off: the clocks here jump further than a leader's may, so that ticks become past.
fn topic(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions, replication_factor: 1, settings: Vec::new() }
}

/// A partition by its names.
pub fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

/// The cluster's name.
pub fn cluster() -> ClusterName {
    ClusterName::new(CLUSTER).unwrap()
}
