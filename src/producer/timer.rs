//! The thread `timer`: owns the timetables, one a cluster, wakes for the next tick, and hands what is due to the
//! cluster's publisher. It never learns that Kafka exists.
//!
//! In the cycle timer → publisher → timer it is the one that never waits on a send: it takes ticks from a timetable
//! only while that cluster has fewer batches under way than its channel has places. What is due and not taken stays
//! in the timetable, where it costs nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::measures::ClusterMeasures;
use super::publisher::{Batch, Confirmed};
use super::timetable::Timetable;
use crate::common::bounds::{TICK_BATCHES, TICKS_PER_BATCH};
use crate::common::clock::Clock;
use crate::common::metrics::Beat;
use crate::common::thread::{Joined, spawn};

/// The longest wait: the wall clock may jump, so what time it is must be asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// One cluster as the timer sees it.
#[derive(Debug)]
pub struct Lane {
    /// Its ticks.
    pub timetable: Timetable,
    /// To its publisher.
    pub batches: Sender<Batch>,
    /// What is counted of it.
    pub measures: ClusterMeasures,
    /// Batches that were handed over and are not confirmed.
    under_way: usize,
}

impl Lane {
    /// A cluster with nothing under way.
    pub fn new(timetable: Timetable, batches: Sender<Batch>, measures: ClusterMeasures) -> Self {
        Self { timetable, batches, measures, under_way: 0 }
    }

    fn has_room(&self) -> bool {
        self.under_way < TICK_BATCHES
    }
}

/// The handle. Dropping it ends the thread, and with it the channels to the publishers.
#[derive(Debug)]
pub struct Timer {
    _stop: Sender<()>,
    thread: Joined,
}

impl Timer {
    /// Starts the thread. `confirmed` has room for [`TICK_BATCHES`] a lane; a lane's number is its place in `lanes`.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        lanes: Vec<Lane>,
        revision: Arc<str>,
        confirmed: Receiver<Confirmed>,
        clock: Arc<dyn Clock>,
        beat: Beat,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("timer", move || {
            let mut timing = Timing { lanes, revision };
            loop {
                let now = clock.now();
                beat.touch(now);
                if !timing.hand_over(now) {
                    return;
                }
                select! {
                    recv(stopped) -> _ => return,
                    recv(confirmed) -> lane => match lane {
                        Ok(Confirmed { cluster }) => timing.confirmed(cluster),
                        Err(_) => return,
                    },
                    recv(clock.alarm(timing.wait(clock.now()))) -> _ => {}
                }
            }
        })?;
        Ok(Self { _stop: stop, thread })
    }

    /// Whether the thread has ended by itself: a publisher is gone.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Timing {
    lanes: Vec<Lane>,
    revision: Arc<str>,
}

impl Timing {
    /// Hands over what is due and has room. `false` when a publisher is gone.
    fn hand_over(&mut self, now: DateTime<Utc>) -> bool {
        for lane in &mut self.lanes {
            while lane.has_room() {
                let ticks = lane.timetable.take(now, TICKS_PER_BATCH);
                if ticks.is_empty() {
                    break;
                }
                lane.measures.under_way.add(i64::try_from(ticks.len()).unwrap_or(0));
                lane.under_way += 1;
                if lane.batches.try_send(Batch { ticks, revision: Arc::clone(&self.revision) }).is_err() {
                    log::error!("a publisher is gone; the timer ends");
                    return false;
                }
            }
        }
        true
    }

    fn confirmed(&mut self, cluster: usize) {
        if let Some(lane) = self.lanes.get_mut(cluster) {
            lane.under_way = lane.under_way.saturating_sub(1);
        }
    }

    /// How long until the next tick of a lane that has room.
    fn wait(&self, now: DateTime<Utc>) -> Duration {
        let next =
            self.lanes.iter().filter(|lane| lane.has_room()).filter_map(|lane| lane.timetable.next()).min();
        next.map_or(LONGEST_WAIT, |at| (at - now).to_std().unwrap_or_default()).min(LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests;
