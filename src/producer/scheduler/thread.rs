//! The scheduler's thread, `timer`. It steps [`Scheduler`]: it wakes for the next tick, and hands what is due to the
//! cluster's publisher.
//!
//! In the cycle scheduler → publisher → scheduler, this thread is the one that never waits on a send. It takes from a
//! cluster plan only while that cluster has fewer batches in flight than its channel has places. A tick that is due and
//! not taken costs nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use super::channel_gauges::ChannelGauges;
use super::machine::Scheduler;
pub use super::messages::Channels;
use super::reload::Reload;
use crate::common::clock::{Clock, Now, Skew};
use crate::common::http::{Fact, Health};
use crate::common::metrics::Beat;
use crate::common::thread::{Joined, spawn};
use crate::producer::leadership::{CursorCommit, Effect, LeaderLease};
use crate::producer::metrics::SchedulerMetrics;
use crate::producer::publisher::Batch;

/// The longest wait: the wall clock may jump, so the thread must read it again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How many news of runs the thread takes at a time, so that ticks never wait behind many.
const SWARM: usize = 1_000;

/// How long the thread waits at the end for the next confirmation of a batch in flight.
const LAST_CONFIRMATION: Duration = Duration::from_secs(3);

/// The fact of `/readyz`: nothing is wrong with clocks and cursors.
pub const CLOCK: &str = "clock";

/// What the thread needs, and where it shows how it is.
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The leader lease, granted for each of our terms.
    pub lease: LeaderLease,
    /// What it counts.
    pub measures: SchedulerMetrics,
    /// Where it says that clocks are wrong.
    pub health: Health,
    /// When it last came round.
    pub beat: Beat,
}

/// The handle. Dropping it ends the thread, and with it the channels to the publishers.
#[derive(Debug)]
pub struct SchedulerThread {
    _stop: Sender<()>,
    thread: Joined,
}

impl SchedulerThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(timing: Scheduler, channels: Channels, around: Context) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("timer", move || {
            let mut running = Running {
                coming: Reload::new(&timing),
                timing,
                fills: ChannelGauges::new(&around.measures, &channels),
                channels,
                around,
                keep: None,
                unsent: None,
                is_suspended: false,
                skew: None,
            };
            running.run(&stopped);
        })?;
        Ok(Self { _stop: stop, thread })
    }

    /// Whether the thread has ended by itself: a publisher is gone.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Running {
    timing: Scheduler,
    fills: ChannelGauges,
    channels: Channels,
    around: Context,
    keep: Option<CursorCommit>,
    /// A batch that found no room in its publisher's channel.
    unsent: Option<(usize, Batch)>,
    /// We lead, and our membership has not been proven for too long.
    is_suspended: bool,
    /// While we lead: how our clock stands to the broker's.
    skew: Option<Skew>,
    coming: Reload,
}

impl Running {
    fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            let now = self.around.clock.now();
            self.around.beat.touch(now);
            self.bring_in_force();
            if !self.hand_over() || !self.offer_cursors() {
                return;
            }
            self.fills.look(&self.channels);
            let wait = self.wait();
            select! {
                recv(stopped) -> _ => return self.finish(),
                recv(self.channels.lead) -> act => match act {
                    Ok(act) => self.lead(&act),
                    Err(_) => return,
                },
                recv(self.channels.confirmed) -> confirmed => match confirmed {
                    Ok(confirmed) => self.timing.confirmed(confirmed),
                    Err(_) => return,
                },
                recv(self.channels.files) -> file => match file {
                    Ok(file) => self.coming.take(file.into(), &self.timing),
                    // The file watch has ended; the jobs stay as they are.
                    Err(_) => self.channels.files = crossbeam_channel::never(),
                },
                recv(self.channels.told) -> told => match told {
                    Ok(told) => self.timing.told(&told),
                    // The run tracker has ended, so the program ends; what is in flight is confirmed first.
                    Err(_) => self.channels.told = crossbeam_channel::never(),
                },
                recv(self.around.clock.alarm(wait)) -> _ => {}
            }
            // News of runs come in bursts; each is cheap.
            self.channels.told.try_iter().take(SWARM).for_each(|told| self.timing.told(&told));
        }
    }

    /// The time, as far as our wall clock can be believed.
    fn now(&self) -> DateTime<Utc> {
        let now = Now { wall: self.around.clock.now(), mono: self.around.clock.monotonic() };
        self.skew.map_or(now.wall, |skew| skew.believed(now))
    }

    /// Waits for the batches in flight, and hands on the last cursors.
    fn finish(&mut self) {
        while self.timing.is_busy() {
            // No confirmation came within the time: Kafka is away, or the publishers have ended.
            let Ok(confirmed) = self.channels.confirmed.recv_timeout(LAST_CONFIRMATION) else { break };
            self.timing.confirmed(confirmed);
        }
        if let Some(keep) = self.newest_cursors()
            && self.channels.keeps.send_timeout(keep, Duration::from_secs(1)).is_err()
        {
            log::warn!(
                "the last cursors were not kept; whoever leads next finds what is published by its run ids"
            );
        }
    }

    /// Ticks that are due while our membership is not proven wait for the proof.
    fn wait(&self) -> Duration {
        let soon = LONGEST_WAIT / 10;
        let longest = if self.keep.is_some() { soon } else { LONGEST_WAIT };
        if self.is_suspended || self.unsent.is_some() || self.coming.has_asks() {
            soon
        } else {
            self.timing.wait(self.now(), longest)
        }
    }

    fn lead(&mut self, act: &Effect) {
        match act {
            Effect::Begin { epoch, losses } => {
                log::info!("leading, term {epoch}");
                self.around.measures.leads.inc();
                self.timing.begin(*epoch);
                self.around.lease.grant(*epoch, *losses);
                self.around.health.set(CLOCK, Fact::Ready);
            }
            Effect::Start { epoch, cluster, start } => {
                self.timing.start(*epoch, *cluster, start.clone(), self.now());
            }
            Effect::End => {
                log::info!("another producer leads, or nobody");
                self.around.lease.grant(0, 0);
                self.timing.end();
                (self.keep, self.skew) = (None, None);
            }
            Effect::ClockBehind(by) => {
                log::error!("a cursor lies {} s ahead of our clock: a host's clock is wrong", by.as_secs());
                let why = format!("a cursor lies {} s ahead of our clock", by.as_secs());
                self.around.health.set(CLOCK, Fact::NotReady(why));
            }
            Effect::Clock(skew) => {
                self.skew = Some(*skew);
                self.around.measures.skew(skew.ahead);
                self.around.health.set(CLOCK, Fact::Ready);
            }
            Effect::ClockOff(skew) => {
                self.around.measures.skew(*skew);
                let seconds = skew.abs().num_seconds();
                let side = if *skew > TimeDelta::zero() { "ahead of" } else { "behind" };
                log::error!(
                    "our clock is {seconds} s {side} the broker's: we do not lead until it is set right"
                );
                let why = format!("our clock is {seconds} s {side} the broker's");
                self.around.health.set(CLOCK, Fact::NotReady(why));
            }
            Effect::Kept(cursors) => self.around.measures.kept(cursors),
            Effect::Failed(failure) if failure.call.is_commit() => {
                self.around.measures.not_kept(failure.error.word());
            }
            Effect::Failed(_) | Effect::GiveWay(_) => {}
        }
        self.around.measures.leader.set(i64::from(self.timing.epoch() != 0));
    }

    fn bring_in_force(&mut self) {
        let now = self.now();
        self.coming.bring_in_force(&mut self.timing, now);
        while let Some(ask) = self.coming.next_ask() {
            // Disconnected: the run tracker has ended, and so will the program.
            if let Err(TrySendError::Full(ask)) = self.channels.asks.try_send(ask) {
                return self.coming.put_back(ask);
            }
        }
    }

    /// Hands over what is due and has room. Returns `false` when a publisher is gone.
    fn hand_over(&mut self) -> bool {
        loop {
            let holds = self.around.lease.holds(self.timing.epoch(), self.around.clock.monotonic());
            if !holds {
                let leads = self.timing.epoch() != 0;
                if leads && !self.is_suspended {
                    log::warn!("our membership is not proven at present; nothing is begun");
                }
                self.is_suspended = leads;
                return true;
            }
            self.is_suspended = false;
            let unsent = self.unsent.take().filter(|(_, batch)| batch.epoch == self.timing.epoch());
            let Some((cluster, batch)) = unsent.or_else(|| self.timing.next_batch(self.now())) else {
                return true;
            };
            match self.channels.batches[cluster].try_send(batch) {
                Ok(()) => {}
                // Batches of an earlier term are still there; their publisher abandons them as soon as it looks.
                Err(TrySendError::Full(batch)) => {
                    self.unsent = Some((cluster, batch));
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => {
                    log::error!("a publisher is gone; the timer ends");
                    return false;
                }
            }
        }
    }

    /// Keeps the newest cursors that were not handed on, and forgets the older ones: if the thread offered those
    /// afterwards, the cursors would go back.
    fn newest_cursors(&mut self) -> Option<CursorCommit> {
        let waiting = self.keep.take();
        self.timing.keep(self.now()).or(waiting)
    }

    /// Offers the newest cursors to leadership. Returns `false` when leadership has ended.
    fn offer_cursors(&mut self) -> bool {
        let Some(keep) = self.newest_cursors() else { return true };
        match self.channels.keeps.try_send(keep) {
            Ok(()) => true,
            Err(TrySendError::Full(keep)) => {
                self.keep = Some(keep);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests;
