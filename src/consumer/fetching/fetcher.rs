//! The threads `fetch-N`: each reads from one leader, on a connection of its own, into the channel to the claiming thread.
//!
//! A fetcher that meets an error ends; `poll` looks up who leads now and starts another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::reading::{LogSlice, loses_position, slice};
use crate::common::bounds;
use crate::common::broker::{BrokerError, Log, NodeId, TopicPartition, Want};
use crate::common::clock::Clock;
use crate::common::metrics::Beat;
use crate::common::model::ClusterName;
use crate::common::thread::{Joined, spawn};
use crate::consumer::metrics::ConsumerMetrics;

/// What was read from a partition under a generation.
#[derive(Debug)]
pub struct Chunk {
    /// Which partition it is, under which generation, and by which plan it was read.
    pub track: Arc<Track>,
    /// What came.
    pub what: What,
}

/// What came from a partition.
#[derive(Debug)]
pub enum What {
    /// Records in order, and where the log ends.
    Records {
        /// What was read.
        slice: LogSlice,
        /// The offset after the last record that may be read.
        end: i64,
    },
    /// The offset lies outside the log, or the topic is not the one that it belongs to: it must be looked up anew.
    NoPosition,
}

/// A partition that is being read. Shared between the claiming thread, which opens and shuts it, and the thread that reads it:
/// two numbers that are read at every turn, for which a message would always come a fetch too late.
#[derive(Debug)]
pub struct Track {
    /// Topic and partition.
    pub of: TopicPartition,
    /// The generation under which it is read.
    pub generation: i32,
    /// The next offset to read: the claiming thread has, or is about to have, all before it.
    pub next: AtomicI64,
    /// Whether the claiming thread has room for more.
    pub open: AtomicBool,
}

/// A fetcher's thread. Dropping the handle ends it, at the latest when the present fetch returns.
#[derive(Debug)]
pub struct Fetcher {
    _stop: Sender<()>,
    thread: Joined,
    tracks: Vec<Arc<Track>>,
    works: Arc<AtomicBool>,
}

/// What a fetcher needs to know.
pub struct Options {
    /// The leader that it reads from.
    pub leader: NodeId,
    /// What it reads.
    pub tracks: Vec<Arc<Track>>,
    /// The cluster whose attempts may be run.
    pub cluster: ClusterName,
    /// Where fetches and failures are counted.
    pub metrics: ConsumerMetrics,
    /// Whether a fetch has been answered, or nothing is to be fetched: until then it is unknown whether reading works.
    pub works: Arc<AtomicBool>,
    /// Where the error is told that ends it. Full while an earlier one was not taken, which says as much.
    pub errors: Sender<BrokerError>,
}

impl Fetcher {
    /// Starts a thread that reads until it meets an error or its handle is dropped.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        mut log: Box<dyn Log>,
        clock: Arc<dyn Clock>,
        to: Sender<Chunk>,
        beat: Beat,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let (tracks, works) = (options.tracks.clone(), Arc::clone(&options.works));
        let thread = spawn(&format!("fetch-{}", options.leader), move || {
            loop {
                match turn(&options, log.as_mut(), clock.as_ref(), &to, &stopped) {
                    Ok(true) => beat.touch(clock.now()),
                    Ok(false) => return,
                    Err(error) => return drop(options.errors.try_send(error)),
                }
            }
        })?;
        Ok(Self { _stop: stop, thread, tracks, works })
    }

    /// What it reads.
    pub fn tracks(&self) -> Vec<Arc<Track>> {
        self.tracks.clone()
    }

    /// Whether it reads this.
    pub fn reads(&self, track: &Arc<Track>) -> bool {
        self.tracks.iter().any(|mine| Arc::ptr_eq(mine, track))
    }

    /// Whether it has read, or has nothing to read, since it was started.
    pub fn works(&self) -> bool {
        self.works.load(Ordering::Acquire)
    }

    /// Whether it has met an error.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// One fetch and what came of it. `Ok(false)` when the handle was dropped.
fn turn(
    options: &Options,
    log: &mut dyn Log,
    clock: &dyn Clock,
    to: &Sender<Chunk>,
    stopped: &Receiver<()>,
) -> Result<bool, BrokerError> {
    let open: Vec<&Arc<Track>> =
        options.tracks.iter().filter(|track| track.open.load(Ordering::Acquire)).collect();
    let pause = if open.is_empty() { Duration::from_millis(5) } else { Duration::ZERO };
    if !matches!(stopped.recv_timeout(pause), Err(crossbeam_channel::RecvTimeoutError::Timeout)) {
        return Ok(false);
    }
    if open.is_empty() {
        options.works.store(true, Ordering::Release);
        return Ok(true);
    }
    let want = |track: &&Arc<Track>| Want {
        from: track.of.clone(),
        offset: track.next.load(Ordering::Acquire),
        max_bytes: bounds::FETCH_PARTITION_BYTES,
    };
    let wants: Vec<Want> = open.iter().map(want).collect();
    // While others are shut the fetch must not outwait their opening.
    let all_open = open.len() == options.tracks.len();
    let max_wait = if all_open { bounds::FETCH_MAX_WAIT } else { Duration::from_millis(20) };
    let by = clock.monotonic() + max_wait + Duration::from_secs(2);
    let answers = match log.fetch_committed(options.leader, &wants, max_wait, by) {
        Ok(answers) => answers,
        Err(error) => {
            options.metrics.failed(&options.metrics.fetch_failures, error.word());
            if matches!(error, BrokerError::Throttled(_)) {
                return Ok(true); // the call has waited, and another fetcher would find the same
            }
            log::warn!("reading from broker {}: {error}", options.leader);
            return Err(error);
        }
    };
    options.metrics.fetches.inc();
    let mut failed = None;
    for ((track, want), answer) in open.into_iter().zip(wants).zip(answers) {
        let what = match answer {
            Ok(fetched) => {
                let end = fetched.end_offset;
                What::Records { slice: slice(want.offset, fetched, &options.cluster), end }
            }
            Err(error) if loses_position(&error) => {
                log::info!("{}/{}: {error}", track.of.topic, track.of.partition);
                track.open.store(false, Ordering::Release);
                What::NoPosition
            }
            Err(error) => {
                options.metrics.failed(&options.metrics.fetch_failures, error.word());
                log::info!("{}/{}: {error}", track.of.topic, track.of.partition);
                // What came of the others is handed over first: one bad partition must not keep them waiting for ever.
                failed = Some(error);
                continue;
            }
        };
        let next = match &what {
            What::Records { slice, .. } => Some(slice.span.end),
            What::NoPosition => None,
        };
        let chunk = Chunk { track: Arc::clone(track), what };
        select! {
            send(to, chunk) -> sent => if sent.is_err() { return Ok(false) },
            recv(stopped) -> _ => return Ok(false),
        }
        // Not before it is on its way: another fetcher may go on here.
        next.into_iter().for_each(|next| track.next.store(next, Ordering::Release));
    }
    match failed {
        Some(error) => Err(error),
        None => {
            options.works.store(true, Ordering::Release);
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests;
