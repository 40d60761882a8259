//! The threads `publish-CLUSTER`: each steps the publishing of one cluster, and tells the scheduler what is confirmed.
//! Each cluster has a thread and a connection of its own, so that a topic that cannot be written delays no other
//! cluster.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::machine::Publishing;
use super::records::instant;
use super::{Confirmed, Effect, Encoded, Progress, encoding};
use crate::common::bounds::TICK_BATCHES;
use crate::common::broker::{BrokerError, Client};
use crate::common::clock::{Clock, Now};
use crate::common::http::{Duty, Fact, Health, Trouble};
use crate::common::metrics::Beat;
use crate::common::model::ClusterName;
use crate::common::rests::Rests;
use crate::common::thread::{Joined, spawn};
use crate::common::topics;
use crate::producer::leadership::LeaderLease;
use crate::producer::metrics::ClusterMetrics;
use crate::producer::plan::Batch;
use crate::producer::topics::Missing;

/// What a publisher is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its cluster.
    pub cluster: ClusterName,
    /// The cluster's number in the scheduler's list.
    pub number: usize,
}

/// What a publisher needs: what it talks to.
pub struct Context {
    /// A connection of its own.
    pub client: Box<dyn Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The leader lease, which the publisher checks before each write.
    pub lease: LeaderLease,
    /// To the scheduler. The channel has room for all the batches that can be in flight, so a publisher never waits
    /// here.
    pub confirmed: Sender<Confirmed>,
    /// What it counts.
    pub metrics: ClusterMetrics,
    /// Is told whether Kafka takes our writes.
    pub health: Health,
    /// Is told when a topic is missing.
    pub missing: Missing,
    /// When it last came round.
    pub beat: Beat,
}

/// The handle. It ends when the sender of its batches is gone and all are written; dropping it ends it although
/// Kafka is away.
#[derive(Debug)]
pub struct Publisher {
    _give_up: Sender<()>,
    thread: Joined,
    /// Ends before or with the other one.
    _encoding: Joined,
}

impl Publisher {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(options: Options, context: Context) -> io::Result<(Self, Sender<Batch>)> {
        let (batches, queue) = bounded(TICK_BATCHES);
        let (encoding, encoded) = encoding::start(&options.cluster, queue)?;
        let (give_up, given_up) = bounded(0);
        let thread = spawn(&format!("publish-{}", options.cluster), move || {
            let Options { cluster, number } = options;
            let publishing = Publishing::new(&cluster, number);
            let duty = context.health.duty(&format!("publishing {cluster}"));
            context.health.set(cluster.as_str(), Fact::Ready);
            Thread { cluster, context, duty, publishing, given_up, is_away: false }.run(&encoded);
        })?;
        Ok((Self { _give_up: give_up, thread, _encoding: encoding }, batches))
    }

    /// Whether all is written and the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Thread {
    cluster: ClusterName,
    context: Context,
    duty: Duty,
    publishing: Publishing,
    given_up: Receiver<()>,
    is_away: bool,
}

/// Waits between attempts to reach Kafka.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Thread {
    fn run(&mut self, queue: &Receiver<Encoded>) {
        loop {
            self.context.beat.touch(self.context.clock.now());
            self.context.metrics.encoded.is(queue.len());
            select! {
                recv(queue) -> batch => {
                    let Ok(batch) = batch else { return };
                    self.publishing.take(batch);
                    if !self.publish() {
                        return;
                    }
                }
                recv(self.context.clock.alarm(Duration::from_secs(1))) -> _ => {
                    let now = self.now();
                    self.publishing.look_ahead(self.context.client.as_mut(), now);
                }
            }
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.context.clock.now(), mono: self.context.clock.monotonic() }
    }

    /// Steps until the batch is done, or abandoned. Returns `false` when the publisher ends while Kafka is away.
    fn publish(&mut self) -> bool {
        let mut rests = Rests::new(FIRST_WAIT, LONGEST_WAIT);
        // Owed from here on, so that a call that hangs is told as well.
        self.duty.owed();
        loop {
            let now = self.now();
            let (effects, progress) =
                self.publishing.step(self.context.client.as_mut(), &self.context.lease, now);
            carry_out(effects, &self.cluster, &self.context.metrics, now);
            match progress {
                Progress::Idle | Progress::Abandoned => {
                    self.duty.done();
                    return true;
                }
                Progress::Done(confirmed) => {
                    self.reached();
                    if self.context.confirmed.send(confirmed).is_err() {
                        log::debug!("the scheduler has ended; a confirmation is dropped");
                    }
                    return true;
                }
                Progress::GoesOn => {
                    self.reached();
                    self.duty.owed();
                    continue;
                }
                Progress::Failed { topic, error } => self.failed(&topic, &error),
                Progress::Waits => self.duty.failed(Trouble::new(
                    "unproven",
                    "the membership in the group of producers is not proven at present, so nothing is written",
                    "the duty `group` says why",
                )),
            }
            if !self.pause(&mut rests) {
                let (cluster, left) = (&self.cluster, self.publishing.left());
                log::warn!("{cluster}: {left} ticks are due and could not be published before the end");
                return false;
            }
        }
    }

    fn reached(&mut self) {
        if std::mem::take(&mut self.is_away) {
            log::info!("{}: Kafka takes our writes again", self.cluster);
        }
        self.duty.done();
        self.context.health.set(self.cluster.as_str(), Fact::Ready);
    }

    /// Reports an outage once, not a thousand times.
    fn failed(&mut self, topic: &str, error: &BrokerError) {
        let what = format!("ticks wait to be published: writing to {topic}");
        if !std::mem::replace(&mut self.is_away, true) {
            log::warn!("{}: {what}: {error}; trying again", self.cluster);
        }
        self.context.missing.hear(error);
        self.duty.failed(Trouble::of(&format!("writing to {topic}"), error));
        self.context.health.set(self.cluster.as_str(), Fact::NotReady(format!("{what}: {error}")));
    }

    /// Waits before the next try. Returns `false` when the publisher was told to give up.
    fn pause(&self, rests: &mut Rests) -> bool {
        self.context.beat.touch(self.context.clock.now());
        let rest = rests.failed(self.context.clock.monotonic());
        select! {
            recv(self.given_up) -> _ => false,
            recv(self.context.clock.alarm(rest)) -> _ => true,
        }
    }
}

/// Logs and counts what follows from a step of a cluster's publishing.
pub(super) fn carry_out(effects: Vec<Effect>, cluster: &ClusterName, metrics: &ClusterMetrics, now: Now) {
    let topic = topics::first(cluster);
    for effect in effects {
        match effect {
            Effect::Published { due, lines } => {
                due.into_iter().for_each(|due| metrics.published(due, now.wall));
                lines.iter().for_each(|line| log::info!("{topic}: {line}"));
            }
            Effect::Missed(count, reason) => metrics.missed(count, reason.word()),
            Effect::Skipped => metrics.skipped(),
            Effect::TooLarge { job, due } => log::error!(
                "{cluster}: the message of job {job} is larger than topic {topic} takes; its tick at {} is missed",
                instant(due)
            ),
            Effect::Unwritten(error) => metrics.failed(error.word()),
            Effect::Left(records) => log::info!("{cluster}: {records} records are left to the new leader"),
        }
    }
}
