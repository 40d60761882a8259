//! The thread `poll`: knows what is to be read, looks up who leads it, and keeps one fetcher for each leader.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::fetcher::{Chunk, Fetcher, Options, Track};
use crate::common::bounds;
use crate::common::broker::{Broker, Client, NodeId};
use crate::common::clock::Clock;
use crate::common::metrics::{Beat, Beats};
use crate::common::thread::{Joined, spawn};
use crate::common::words::ClusterName;
use crate::consumer::measures::Measures;

/// What is to be read from now on; nothing else is.
pub type Plan = Vec<Arc<Track>>;

/// How often fetchers are looked after, and how soon again where something is not read.
const LOOK: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The handle. Dropping it ends the thread and its fetchers; the field order matters for that.
#[derive(Debug)]
pub struct Poll {
    /// Plans; the newest counts. A place for one: whoever finds it full waits with its newest and tries again.
    pub plans: Sender<Plan>,
    _thread: Joined,
}

impl Poll {
    /// Starts the thread. What is read arrives on the receiver, where a fetcher waits when dispatch is behind.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        cluster: ClusterName,
        measures: Measures,
        beats: Beats,
    ) -> io::Result<(Self, Receiver<Chunk>)> {
        let (plans, planned) = bounded(1);
        let (chunks, read) = bounded(bounds::FETCHED_CHUNKS);
        let thread = spawn("poll", move || {
            let mut poll = Polling {
                client: broker.client("kafka-cron-poll"),
                broker,
                clock,
                cluster,
                chunks,
                measures,
                beats,
                plan: Vec::new(),
                fetchers: BTreeMap::new(),
            };
            let beat = poll.beats.thread("poll");
            poll.run(&planned, &beat);
        })?;
        Ok((Self { plans, _thread: thread }, read))
    }
}

struct Polling {
    client: Box<dyn Client>,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    cluster: ClusterName,
    chunks: Sender<Chunk>,
    measures: Measures,
    beats: Beats,
    plan: Plan,
    fetchers: BTreeMap<NodeId, Fetcher>,
}

impl Polling {
    fn run(&mut self, planned: &Receiver<Plan>, beat: &Beat) {
        let mut wait = Duration::from_secs(1);
        loop {
            select! {
                recv(planned) -> plan => {
                    let Ok(plan) = plan else { return };
                    self.fetchers.clear();
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
        let unread: Plan = self.plan.iter().filter(|track| !self.is_read(track)).map(Arc::clone).collect();
        if unread.is_empty() || self.start(unread) { LOOK } else { LOOK_AGAIN }
    }

    fn is_read(&self, track: &Arc<Track>) -> bool {
        self.fetchers.values().any(|fetcher| fetcher.reads(track))
    }

    /// Starts to read what has a leader. `false` when something is still not read.
    fn start(&mut self, unread: Plan) -> bool {
        let Some(topic) = unread.first().map(|track| track.of.topic.clone()) else { return true };
        let by = self.clock.monotonic() + Duration::from_secs(2);
        let state = match self.client.topic(&topic, by) {
            Ok(Some(state)) => state,
            Ok(None) => return false,
            Err(error) => {
                log::debug!("looking up who leads {topic}: {error}");
                return false;
            }
        };
        let mut by_leader: BTreeMap<NodeId, Plan> = BTreeMap::new();
        let mut all = true;
        for track in unread {
            let state = state.partitions.iter().find(|p| p.partition == track.of.partition);
            match state.and_then(|p| p.leader) {
                Some(leader) => by_leader.entry(leader).or_default().push(track),
                None => all = false,
            }
        }
        by_leader.into_iter().fold(all, |all, (leader, tracks)| self.start_fetcher(leader, tracks) && all)
    }

    /// One fetcher a leader: one that is there already makes room for one that reads more.
    fn start_fetcher(&mut self, leader: NodeId, mut tracks: Plan) -> bool {
        if let Some(before) = self.fetchers.remove(&leader) {
            tracks.extend(before.tracks());
        }
        let (cluster, measures) = (self.cluster.clone(), self.measures.clone());
        let options = Options { leader, tracks, cluster, measures };
        let log = self.broker.client("kafka-cron-fetch");
        let beat = self.beats.thread("fetch");
        match Fetcher::start(options, log, Arc::clone(&self.clock), self.chunks.clone(), beat) {
            Ok(fetcher) => {
                self.fetchers.insert(leader, fetcher);
                true
            }
            Err(error) => {
                log::error!("no thread to read from broker {leader}: {error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
