//! The reader of `cron-orders` as a state machine: it looks up where the topic is, reads the newest orders back, and follows
//! it from there. The thread and the simulation step it.
//!
//! A topic that does not exist holds no orders: producers create it, and an older producer does not know it. What cannot
//! be read is tried again; the leader writes an order that still matters every few seconds, so nothing has to be caught up
//! that was deleted meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::messages::{Effect, News};
use crate::common::bounds::{FETCH_MAX_WAIT, FETCH_PARTITION_BYTES, ORDERS_REMEMBERED};
use crate::common::broker::{
    BrokerError, Client, Deadline, ErrorCode, Fetched, NodeId, Position, TopicPartition, TopicState, Want,
};
use crate::common::clock::Now;
use crate::common::model::{ClusterName, Order, RunId};
use crate::common::rests::Rests;
use crate::common::{topics, wire};

/// How often the reader looks up where the topic is: its leader moves, and partitions are added.
const LOOK_UP: Duration = Duration::from_secs(30);
/// How often it looks whether a topic exists that did not.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a call may take.
const CALL: Duration = Duration::from_secs(2);
/// How much longer than it was asked to wait a broker may take to answer a fetch. A broker that has stopped is given up
/// earlier: the client waits this long only where the broker has been slow before.
const SLOW_BROKER: Duration = Duration::from_secs(10);
/// The pause between two steps, for brokers that answer at once.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause after a step in which a call failed, at first and at most.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
const LONGEST_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// A partition that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Track {
    next: i64,
    /// Where the log ended when reading began.
    until: i64,
    leader: Option<NodeId>,
}

/// The reader.
#[derive(Debug)]
pub struct OrderReader {
    cluster: ClusterName,
    topic_id: Option<Uuid>,
    tracks: BTreeMap<i32, Track>,
    look_up_at: Option<Instant>,
    has_read_to_end: bool,
    rests: Rests,
}

impl OrderReader {
    /// Creates a reader of the orders about runs of a cluster.
    pub fn new(cluster: ClusterName) -> Self {
        Self {
            cluster,
            topic_id: None,
            tracks: BTreeMap::new(),
            look_up_at: None,
            has_read_to_end: false,
            rests: Rests::new(AFTER_FAILURE, LONGEST_AFTER_FAILURE),
        }
    }

    /// Makes the next step, and says after how long to step again.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> (Vec<Effect>, Duration) {
        let mut effects = Vec::new();
        if let Err(error) = self.advance(client, now.mono, &mut effects) {
            self.look_up_at = None;
            effects.push(Effect::Failed(error));
        }
        let is_behind = |track: &Track| track.next < track.until;
        if !self.has_read_to_end && self.look_up_at.is_some() && !self.tracks.values().any(is_behind) {
            self.has_read_to_end = true;
            effects.push(Effect::Tell(News::ReadToEnd));
        }
        if effects.iter().any(|effect| matches!(effect, Effect::Failed(_))) {
            return (effects, self.rests.failed(now.mono));
        }
        self.rests.succeeded();
        (effects, if self.tracks.is_empty() { LOOK_AGAIN } else { PAUSE })
    }

    fn advance(
        &mut self,
        client: &mut dyn Client,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BrokerError> {
        if self.look_up_at.is_none_or(|at| at <= now) {
            match client.topic(topics::ORDERS, now + CALL)? {
                Some(state) => self.follow(client, &state, now + CALL)?,
                None => (self.topic_id, self.tracks) = (None, BTreeMap::new()),
            }
            self.look_up_at = Some(now + if self.tracks.is_empty() { LOOK_AGAIN } else { LOOK_UP });
        }
        let mut by_leader: BTreeMap<NodeId, Vec<Want>> = BTreeMap::new();
        for (partition, track) in &self.tracks {
            let leader = track.leader.ok_or_else(|| {
                BrokerError::NotSent(format!("{}/{partition} has no leader", topics::ORDERS))
            })?;
            let want = Want { from: place(*partition), offset: track.next, max_bytes: FETCH_PARTITION_BYTES };
            by_leader.entry(leader).or_default().push(want);
        }
        // A fetch waits at the broker, so of several brokers none may keep the orders of another waiting for long.
        let wait = FETCH_MAX_WAIT / u32::try_from(by_leader.len()).unwrap_or(1).max(1);
        for (leader, wants) in by_leader {
            let answers = client.fetch(leader, &wants, wait, now + wait + SLOW_BROKER)?;
            for (want, answer) in wants.iter().zip(answers) {
                self.take(want.from.partition, answer, effects)?;
            }
        }
        Ok(())
    }

    /// Begins with partitions that are not read yet, at the newest orders; with all of them, where the topic was made anew.
    fn follow(
        &mut self,
        client: &mut dyn Client,
        state: &TopicState,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        if self.topic_id != Some(state.id) {
            self.tracks.clear();
        }
        for partition in &state.partitions {
            let of = place(partition.partition);
            let track = match self.tracks.get(&partition.partition) {
                Some(track) => *track,
                None => {
                    let start = client.offset(&of, Position::Start, by)?;
                    let until = client.offset(&of, Position::End, by)?;
                    let back = i64::try_from(ORDERS_REMEMBERED).unwrap_or(i64::MAX);
                    Track { next: start.max(until.saturating_sub(back)), until, leader: None }
                }
            };
            self.tracks.insert(partition.partition, Track { leader: partition.leader, ..track });
        }
        self.topic_id = Some(state.id);
        Ok(())
    }

    fn take(
        &mut self,
        partition: i32,
        answer: Result<Fetched, BrokerError>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BrokerError> {
        let fetched = match answer {
            // The log was cut, or retention deleted what was to be read: the newest orders are all that counts.
            Err(error @ BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => {
                self.tracks.remove(&partition);
                return Err(error);
            }
            answer => answer?,
        };
        if self.topic_id != Some(fetched.topic_id) {
            self.tracks.clear();
            self.look_up_at = None;
            return Ok(());
        }
        let values = fetched.records.iter().filter_map(|record| record.value.as_deref());
        let orders = values.filter_map(|value| wire::decode_order(value).ok());
        let runs: Vec<(RunId, DateTime<Utc>)> = orders.filter_map(|order| self.concerns(&order)).collect();
        if !runs.is_empty() {
            effects.push(Effect::Tell(News::Ordered(runs)));
        }
        if let Some(track) = self.tracks.get_mut(&partition) {
            track.next = fetched.next_offset;
        }
        Ok(())
    }

    /// The run that an order is about, and when it was written. Another fleet on the same Kafka may have jobs of the same names, and then its runs
    /// have the same ids.
    fn concerns(&self, order: &Order) -> Option<(RunId, DateTime<Utc>)> {
        let Order::End { run, cluster, at, .. } = order;
        (*cluster == self.cluster).then_some((*run, *at))
    }
}

fn place(partition: i32) -> TopicPartition {
    TopicPartition { topic: topics::ORDERS.to_owned(), partition }
}
