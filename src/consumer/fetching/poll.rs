//! The thread `poll` knows what is to be read, looks up who leads it, and keeps one fetcher for each leader.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::fetcher::{Chunk, Fetcher, Options, Outage, Track};
use crate::common::bounds;
use crate::common::broker::{Broker, BrokerError, Client, ErrorCode, NodeId};
use crate::common::clock::Clock;
use crate::common::http::{Duty, Trouble};
use crate::common::metrics::{Beat, Beats};
use crate::common::model::ClusterName;
use crate::common::nearest::nearest;
use crate::common::thread::{Joined, spawn};
use crate::consumer::metrics::ConsumerMetrics;

/// What is to be read from now on; nothing else is.
pub type Plan = Vec<Arc<Track>>;

/// How often fetchers are looked after, and how soon again where something is not read.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often the topic is looked up while nothing of it is ours.
const LOOK_AT_TOPIC: Duration = Duration::from_secs(3);
/// How long a look-up may take.
const CALL: Duration = Duration::from_secs(2);

/// The handle. Dropping it ends the thread and its fetchers; the field order matters for that.
#[derive(Debug)]
pub struct Poll {
    /// Plans; the newest counts. It has one place: a sender that finds it full keeps its newest plan and tries again.
    pub plans: Sender<Plan>,
    _thread: Joined,
}

impl Poll {
    /// Starts the thread. What is read arrives on the receiver, where a fetcher waits when the claiming thread is behind.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: PollOptions,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<(Self, Receiver<Chunk>)> {
        let (plans, planned) = bounded(1);
        let (chunks, read) = bounded(bounds::FETCHED_CHUNKS);
        let thread = spawn("poll", move || {
            let (tell_error, errors) = bounded(1);
            let mut poll = Polling {
                client: broker.client("kafka-cron-poll"),
                look_at_topic: clock.monotonic(),
                options,
                broker,
                clock,
                chunks,
                tell_error,
                errors,
                plan: Vec::new(),
                fetchers: BTreeMap::new(),
                leaving: Vec::new(),
                outages: BTreeMap::new(),
                held_at: BTreeMap::new(),
            };
            let beat = poll.options.beats.thread("poll");
            poll.run(&planned, &beat);
        })?;
        Ok((Self { plans, _thread: thread }, read))
    }
}

/// What poll needs to know, and where it shows how it is.
pub struct PollOptions {
    /// The topic that is read.
    pub topic: String,
    /// The cluster whose attempts may be run.
    pub cluster: ClusterName,
    /// Where fetches and failures are counted.
    pub metrics: ConsumerMetrics,
    /// Where its threads show that they come round.
    pub beats: Beats,
    /// That what is planned is read, and that there is such a topic.
    pub reading: Duty,
    /// That no transaction of another program stands in the way.
    pub transactions: Duty,
}

struct Polling {
    options: PollOptions,
    client: Box<dyn Client>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    chunks: Sender<Chunk>,
    /// The last error that ended a fetcher.
    tell_error: Sender<BrokerError>,
    errors: Receiver<BrokerError>,
    plan: Plan,
    fetchers: BTreeMap<NodeId, Fetcher>,
    /// Fetchers of former plans whose last fetch is under way. A broker that is slow to answer one keeps nothing else from
    /// being read.
    leaving: Vec<Joined>,
    /// Of each broker that has been read from.
    outages: BTreeMap<NodeId, Arc<Outage>>,
    /// When the topic is looked up while nothing of it is to be read.
    look_at_topic: Instant,
    /// Where transactions were open at the last look.
    held_at: BTreeMap<i32, i64>,
}

impl Polling {
    fn run(&mut self, planned: &Receiver<Plan>, beat: &Beat) {
        let mut wait = Duration::from_secs(1);
        loop {
            select! {
                recv(planned) -> plan => {
                    let Ok(plan) = plan else { return };
                    let former = std::mem::take(&mut self.fetchers);
                    self.leaving.extend(former.into_values().map(Fetcher::leave));
                    self.plan = plan;
                }
                recv(self.clock.alarm(wait)) -> _ => {}
            }
            beat.touch(self.clock.now());
            wait = self.keep_reading();
        }
    }

    /// Starts what is missing, and says when to look again.
    fn keep_reading(&mut self) -> Duration {
        // A leader that changed, or is gone, ends its fetcher: what it read goes on where it was, wherever that is led
        // now.
        self.fetchers.retain(|_, fetcher| !fetcher.is_over());
        self.leaving.retain(|thread| !thread.is_finished());
        self.look_for_transactions();
        if self.plan.is_empty() {
            self.look_at_topic();
            return LOOK;
        }
        let unread: Plan = self.plan.iter().filter(|track| !self.is_read(track)).map(Arc::clone).collect();
        if let Some(error) = self.errors.try_iter().last() {
            self.fails(&error);
        }
        if unread.is_empty() {
            if self.fetchers.values().all(Fetcher::works) {
                self.options.reading.done();
            }
            return LOOK;
        }
        match self.start(unread) {
            Ok(()) => LOOK,
            Err(error) => {
                self.fails(&error);
                LOOK_AGAIN
            }
        }
    }

    fn fails(&self, error: &BrokerError) {
        self.options.reading.failed(Trouble::of(&format!("reading topic {}", self.options.topic), error));
    }

    /// Whether what lies in a partition has waited since the last look for the end of a transaction. Our own programs write
    /// none; another program's may have been left open, and then the broker ends it after `transaction.timeout.ms` or never
    /// (KIP-664, "hanging transactions").
    fn look_for_transactions(&mut self) {
        let held_at = self.plan.iter().filter_map(|track| Some((track.of.partition, track.held_at()?)));
        let held_at: BTreeMap<i32, i64> = held_at.collect();
        let mut still =
            held_at.iter().filter(|(partition, offset)| self.held_at.get(*partition) == Some(*offset));
        match still.next() {
            Some((partition, offset)) => {
                self.options.transactions.failed(held(&self.options.topic, *partition, *offset));
            }
            None => self.options.transactions.done(),
        }
        self.held_at = held_at;
    }

    /// Nothing of the topic is ours to read: all of it may be with others, or there may be no such topic.
    fn look_at_topic(&mut self) {
        let now = self.clock.monotonic();
        if now < self.look_at_topic {
            return;
        }
        self.look_at_topic = now + LOOK_AT_TOPIC;
        let (topic, by) = (self.options.topic.as_str(), now + CALL);
        match self.client.topic(topic, by) {
            Ok(Some(_)) => self.options.reading.done(),
            Ok(None) => {
                let names = self.client.topic_names(by).unwrap_or_default();
                self.options.reading.failed(missing(topic, &names));
            }
            Err(error) => self.fails(&error),
        }
    }

    fn is_read(&self, track: &Arc<Track>) -> bool {
        self.fetchers.values().any(|fetcher| fetcher.reads(track))
    }

    /// Starts to read what has a leader, and says why something is still not read.
    fn start(&mut self, unread: Plan) -> Result<(), BrokerError> {
        let topic = self.options.topic.clone();
        let missing = BrokerError::Refused(ErrorCode::UnknownTopicOrPartition);
        let state = self.client.topic(&topic, self.clock.monotonic() + CALL)?.ok_or(missing)?;
        let mut by_leader: BTreeMap<NodeId, Plan> = BTreeMap::new();
        let mut all = Ok(());
        for track in unread {
            let state = state.partitions.iter().find(|p| p.partition == track.of.partition);
            match state.and_then(|p| p.leader) {
                Some(leader) => by_leader.entry(leader).or_default().push(track),
                None => all = Err(BrokerError::Refused(ErrorCode::LeaderNotAvailable)),
            }
        }
        by_leader.into_iter().fold(all, |all, (leader, tracks)| all.and(self.start_fetcher(leader, tracks)))
    }

    /// One fetcher a leader: one that is there already makes room for one that reads more.
    fn start_fetcher(&mut self, leader: NodeId, mut tracks: Plan) -> Result<(), BrokerError> {
        if let Some(before) = self.fetchers.remove(&leader) {
            tracks.extend(before.tracks());
        }
        let (cluster, metrics) = (self.options.cluster.clone(), self.options.metrics.clone());
        let (works, errors) = (Arc::default(), self.tell_error.clone());
        let outage = Arc::clone(self.outages.entry(leader).or_default());
        let options = Options { leader, tracks, cluster, metrics, works, outage, errors };
        let log = self.broker.client("kafka-cron-fetch");
        let beat = self.options.beats.thread("fetch");
        let started = Fetcher::start(options, log, Arc::clone(&self.clock), self.chunks.clone(), beat);
        let fetcher = started.map_err(|error| {
            BrokerError::NotSent(format!("no thread to read from broker {leader}: {error}"))
        })?;
        self.fetchers.insert(leader, fetcher);
        Ok(())
    }
}

/// A transaction of another program is open.
fn held(topic: &str, partition: i32, offset: i64) -> Trouble {
    Trouble::new(
        "open_transaction",
        format!(
            "another program has left a transaction open in {topic}/{partition} at offset {offset}: nothing behind it runs"
        ),
        "stop that program, or end its transaction (kafka-transactions.sh find-hanging, then abort); only producers and consumers \
         should have the right to write to this topic",
    )
}

/// There is no such topic among those that there are.
fn missing(topic: &str, names: &[String]) -> Trouble {
    let meant = nearest(topic, names.iter().map(String::as_str));
    let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Trouble::new(
        ErrorCode::UnknownTopicOrPartition.word(),
        format!("there is no topic {topic}{meant}"),
        "correct --topic, or start a producer whose --clusters name the cluster: it creates the topic",
    )
}

#[cfg(test)]
mod tests;
