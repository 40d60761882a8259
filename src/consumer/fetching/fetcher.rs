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
use crate::common::broker::{BrokerError, Fetched, Log, NodeId, TopicPartition, Want};
use crate::common::clock::Clock;
use crate::common::metrics::Beat;
use crate::common::model::ClusterName;
use crate::common::thread::{Joined, spawn};
use crate::consumer::metrics::ConsumerMetrics;

/// How much longer than it was asked to wait a broker may take to answer a fetch. A broker that has stopped is given up
/// earlier: the client waits this long only where the broker has been slow before.
const SLOW_BROKER: Duration = Duration::from_secs(10);

/// What was read from a partition.
#[derive(Debug)]
pub struct Chunk {
    /// Which partition it is, and by which plan it was read.
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
        /// Where the log ends, also where the last of it may not be read yet.
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
    /// The number of the plan by which it is read. What an older plan brings is dropped.
    pub plan: u64,
    /// The next offset to read: the claiming thread has, or is about to have, all before it.
    pub next: AtomicI64,
    /// Whether the claiming thread has room for more.
    pub open: AtomicBool,
    /// Where another program's transaction is open that nothing can be read behind; [`NOWHERE`] where none is.
    held_at: AtomicI64,
}

/// No offset.
const NOWHERE: i64 = -1;

impl Track {
    /// A partition that is read by the plan of this number, from an offset on.
    pub fn new(of: TopicPartition, plan: u64, next: i64, open: bool) -> Arc<Self> {
        let (next, held_at) = (AtomicI64::new(next), AtomicI64::new(NOWHERE));
        Arc::new(Self { of, plan, next, open: AtomicBool::new(open), held_at })
    }

    /// Where another program's transaction was open at the last fetch, with records behind it. Nothing is known of that while
    /// nothing is fetched.
    pub fn held_at(&self) -> Option<i64> {
        let held_at = Some(self.held_at.load(Ordering::Acquire)).filter(|offset| *offset != NOWHERE);
        held_at.filter(|_| self.open.load(Ordering::Acquire))
    }

    /// What is to be fetched of it next; `None` while there is no room for more.
    pub fn want(&self) -> Option<Want> {
        self.open.load(Ordering::Acquire).then(|| Want {
            from: self.of.clone(),
            offset: self.next.load(Ordering::Acquire),
            max_bytes: bounds::FETCH_PARTITION_BYTES,
        })
    }

    /// What an answer from `offset` on means. Where the position is lost, nothing more is read.
    ///
    /// # Errors
    /// Why nothing came: another fetcher is to try again.
    pub fn take(
        &self,
        offset: i64,
        answer: Result<Fetched, BrokerError>,
        cluster: &ClusterName,
    ) -> Result<What, BrokerError> {
        match answer {
            Ok(fetched) => {
                let end = fetched.log_end;
                let is_held = fetched.next_offset == fetched.end_offset && fetched.end_offset < end;
                self.held_at.store(if is_held { fetched.end_offset } else { NOWHERE }, Ordering::Release);
                Ok(What::Records { slice: slice(offset, fetched, cluster), end })
            }
            Err(error) if loses_position(&error) => {
                self.open.store(false, Ordering::Release);
                Ok(What::NoPosition)
            }
            Err(error) => Err(error),
        }
    }

    /// What was read is on its way to the claiming thread: the next fetch begins behind it.
    pub fn read_to(&self, next: Option<i64>) {
        next.into_iter().for_each(|next| self.next.store(next, Ordering::Release));
    }
}

impl What {
    /// Where reading goes on behind it.
    pub fn next(&self) -> Option<i64> {
        match self {
            Self::Records { slice, .. } => Some(slice.span.end),
            Self::NoPosition => None,
        }
    }
}

/// Whether a broker cannot be read from at present. It outlives the fetchers of the broker, of which each ends with the
/// error that it meets: the log says once that reading fails, and once that it works again.
#[derive(Debug, Default)]
pub struct Outage(AtomicBool);

impl Outage {
    /// Reading has failed; tells whether it worked before.
    fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Reading works; tells whether it failed before.
    fn ends(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
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
    /// Whether the fetchers of this leader before it could not read.
    pub outage: Arc<Outage>,
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

    /// Ends it without waiting for its present fetch: the thread ends when that returns.
    pub fn leave(self) -> Joined {
        self.thread
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
    let wants = options.tracks.iter().filter_map(|track| Some((track, track.want()?)));
    let (open, wants): (Vec<&Arc<Track>>, Vec<Want>) = wants.unzip();
    let pause = if open.is_empty() { Duration::from_millis(5) } else { Duration::ZERO };
    if !matches!(stopped.recv_timeout(pause), Err(crossbeam_channel::RecvTimeoutError::Timeout)) {
        return Ok(false);
    }
    if open.is_empty() {
        options.works.store(true, Ordering::Release);
        return Ok(true);
    }
    // While others are shut the fetch must not outwait their opening.
    let all_open = open.len() == options.tracks.len();
    let max_wait = if all_open { bounds::FETCH_MAX_WAIT } else { Duration::from_millis(20) };
    let by = clock.monotonic() + max_wait + SLOW_BROKER;
    let answers = match log.fetch_committed(options.leader, &wants, max_wait, by) {
        Ok(answers) => answers,
        Err(error) => {
            options.metrics.failed(&options.metrics.fetch_failures, error.word());
            if matches!(error, BrokerError::Throttled(_)) {
                return Ok(true); // the call has waited, and another fetcher would find the same
            }
            if options.outage.begins() {
                log::warn!("reading from broker {}: {error}; trying again", options.leader);
            }
            return Err(error);
        }
    };
    options.metrics.fetches.inc();
    if options.outage.ends() {
        log::info!("reading from broker {} works again", options.leader);
    }
    let mut failed = None;
    for ((track, want), answer) in open.into_iter().zip(wants).zip(answers) {
        if let Err(error) = &answer {
            log::info!("{}/{}: {error}", track.of.topic, track.of.partition);
        }
        let what = match track.take(want.offset, answer, &options.cluster) {
            Ok(what) => what,
            Err(error) => {
                options.metrics.failed(&options.metrics.fetch_failures, error.word());
                // What came of the others is handed over first: one bad partition must not keep them waiting for ever.
                failed = Some(error);
                continue;
            }
        };
        let next = what.next();
        let chunk = Chunk { track: Arc::clone(track), what };
        select! {
            send(to, chunk) -> sent => if sent.is_err() { return Ok(false) },
            recv(stopped) -> _ => return Ok(false),
        }
        // Not before it is on its way: another fetcher may go on here.
        track.read_to(next);
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
