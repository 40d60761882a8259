//! The threads `worker-0..N`: each takes one attempt at a time, runs it to its end, and always reports it.

use std::any::Any;
use std::io::{self, PipeReader, PipeWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Select, Sender};

use super::process::descriptors::make_room;
use super::process::{self, Ended, Host, Running, StartError, Stops};
use crate::common::clock::Clock;
use crate::common::http::{Duty, Trouble};
use crate::common::model::Outcome;
use crate::common::passing::Fit;
use crate::common::thread::{Joined, spawn};
use crate::consumer::claiming::machine::Claimed;
use crate::consumer::metrics::ConsumerMetrics;
use crate::consumer::orders::desk::{AtWork, Bell, Desk};
use crate::consumer::reporting::messages::Event;
use crate::consumer::reporting::reports::Report;

/// What workers are to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many there are: as many attempts run at a time.
    pub workers: usize,
    /// How attempts are started.
    pub process: process::Settings,
}

/// What workers listen to and talk to.
#[derive(Debug, Clone)]
pub struct Channels {
    /// What to run. The threads end when it is closed and their attempts are done.
    pub jobs: Receiver<Box<Claimed>>,
    /// One message for each time that a worker becomes free, the first at its start. Needs as many places as workers.
    pub idle: Sender<()>,
    /// To the reporting thread. While too many results cannot be written it is full, and workers wait with theirs.
    pub tell: Sender<Event>,
    /// That what is claimed can be started.
    pub starting: Duty,
    /// That the output of commands is kept.
    pub keeping: Duty,
    /// Where it is said which runs are to end.
    pub desk: Desk,
}

/// The handle. Dropping it cancels what is under way and waits for the threads: close `jobs` (by dropping `ClaimingThread`)
/// before, or they wait for more.
#[derive(Debug)]
pub struct Workers {
    /// No thread writes to it: all workers see at once that it closes.
    cancel: Option<PipeWriter>,
    threads: Vec<Joined>,
    /// Outlives the threads, so that the guard is reaped where the handle is dropped.
    host: Arc<Host>,
}

impl Workers {
    /// Starts the guard and the threads.
    ///
    /// # Errors
    /// The system's, when it has no room for them.
    pub fn start(
        options: Options,
        clock: &Arc<dyn Clock>,
        channels: &Channels,
        metrics: &ConsumerMetrics,
    ) -> io::Result<Self> {
        let host = Arc::new(Host::new(options.process, channels.keeping.clone())?);
        let (cancelled, cancel) = io::pipe()?;
        make_room(options.workers, &cancelled);
        let cancelled = Arc::new(cancelled);
        let waiting = Arc::new(AtomicUsize::new(0));
        let start = |number| {
            let worker = Worker {
                bell: Bell::new()?,
                host: host.clone(),
                clock: clock.clone(),
                channels: channels.clone(),
                metrics: metrics.clone(),
                cancelled: cancelled.clone(),
                waiting: waiting.clone(),
            };
            spawn(&format!("worker-{number}"), move || worker.run())
        };
        let threads = (0..options.workers).map(start).collect::<io::Result<_>>()?;
        metrics.workers.set(i64::try_from(options.workers).unwrap_or(i64::MAX));
        Ok(Self { cancel: Some(cancel), threads, host })
    }

    /// Ends what is under way, each attempt with its grace, and starts nothing more: what is still handed over is
    /// reported as cancelled. Doing it twice is harmless.
    pub fn cancel(&mut self) {
        drop(self.cancel.take());
    }

    /// Whether every thread has come to its end.
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(Joined::is_finished)
    }

    /// The process that guards at the moment.
    pub fn guard_pid(&self) -> Option<u32> {
        self.host.guard.pid()
    }
}

struct Worker {
    /// What wakes it when its run is to end.
    bell: Bell,
    host: Arc<Host>,
    clock: Arc<dyn Clock>,
    channels: Channels,
    metrics: ConsumerMetrics,
    cancelled: Arc<PipeReader>,
    /// How many workers wait for what the system lacks.
    waiting: Arc<AtomicUsize>,
}

/// What helps where the system lacks something.
const CURE: &str = "raise the limits of this host or container (descriptors: LimitNOFILE=, processes: TasksMax=, memory) or \
                    run fewer --workers; where it is about a control group, restart the consumer";

/// How long a start is put off at first and at last.
const PUT_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

impl Worker {
    fn run(&self) {
        loop {
            // The claiming thread has ended when it does not listen, and then there is nothing to be free for.
            let _nobody_listens = self.channels.idle.send(());
            let Some(claimed) = self.next() else { return };
            self.metrics.workers_busy.inc();
            self.report(*claimed);
            self.metrics.workers_busy.dec();
            self.host.upkeep.iter().for_each(|upkeep| upkeep.look(self.clock.monotonic()));
        }
    }

    /// Waits for an attempt; `None` when there are no more. `recv` alone would look several times first and let others have the
    /// processor in between: four switches of threads for each run, where all workers wait.
    fn next(&self) -> Option<Box<Claimed>> {
        let mut waits = Select::new();
        waits.recv(&self.channels.jobs);
        waits.select().recv(&self.channels.jobs).ok()
    }

    /// Runs an attempt and reports it. A panic on the way is a way to end, too.
    fn report(&self, claimed: Claimed) {
        let mut started_at = None;
        let ran = catch_unwind(AssertUnwindSafe(|| self.attempt(&claimed, &mut started_at)));
        let ended = ran.unwrap_or_else(|panic| {
            let reason = format!("the worker panicked: {}", message(panic.as_ref()));
            log::error!("run {}: {reason}", claimed.attempt.run.id);
            without_output(Outcome::CouldNotStart { reason })
        });
        let ended_at = self.clock.now();
        let Ended { outcome, output_bytes, output_tail } = ended;
        let started_at = started_at.unwrap_or(ended_at);
        let (fit, is_terse) = (Fit::Whole, false);
        let report =
            Report { claimed, outcome, started_at, ended_at, output_bytes, output_tail, fit, is_terse };
        self.metrics.ended(&report);
        if self.channels.tell.send(Event::Ended(Box::new(report))).is_err() {
            log::error!("the reporter has ended; the lease of an attempt that is over will end it");
        }
    }

    /// Starts an attempt. What the system has none of at the moment is waited for, because the attempt is ours already, and
    /// one that is given up for that is spent for nothing; but not for longer than the claim is good for.
    fn start(&self, claimed: &Claimed, at_work: &AtWork<'_>) -> Result<Result<Running, StartError>, Outcome> {
        let (mut put_off, mut wait) = (None, PUT_OFF.0);
        loop {
            if at_work.is_ordered() {
                return Err(Outcome::Replaced);
            }
            if process::running::is_closed(&self.cancelled) {
                return Err(Outcome::Cancelled);
            }
            // Here and no earlier: what was waiting for a worker may have become too late by that.
            if claimed.attempt.run.is_expired(self.clock.now()) {
                return Err(Outcome::Expired);
            }
            if put_off.is_none() && self.clock.monotonic() >= claimed.start_by {
                let reason =
                    "its claim waited until the lease was nearly over: this host was stopped or overloaded";
                return Err(Outcome::CouldNotStart { reason: reason.to_owned() });
            }
            let started = process::start(&self.host, &claimed.attempt);
            let Err(error @ StartError::Exhausted { .. }) = &started else { return Ok(started) };
            if self.clock.monotonic() + wait >= claimed.start_by {
                return Ok(started);
            }
            let trouble = Trouble::new("exhausted", format!("starting a job: {error}"), CURE);
            if put_off.is_none() {
                put_off = Some(PutOff::new(self));
                log::warn!("run {} waits: {trouble}", claimed.attempt.run.id);
            }
            self.metrics.starts_put_off.inc();
            self.channels.starting.failed(trouble);
            process::running::await_closed(&self.cancelled, wait);
            wait = (wait * 2).min(PUT_OFF.1);
        }
    }

    fn attempt(&self, claimed: &Claimed, started_at: &mut Option<DateTime<Utc>>) -> Ended {
        self.metrics.taken(claimed, self.clock.now());
        let run = claimed.attempt.run.id;
        let published_at = DateTime::from_timestamp_millis(claimed.published_ms).unwrap_or_default();
        let Some(at_work) = self.channels.desk.begin(run, published_at, &self.bell) else {
            return without_output(Outcome::Replaced);
        };
        let started = match self.start(claimed, &at_work) {
            Ok(started) => started,
            Err(not_started) => return without_output(not_started),
        };
        let now = *started_at.insert(self.clock.now());
        self.metrics.started(claimed, now);
        match started {
            Ok(running) => running.wait(Stops { cancel: &self.cancelled, replaced: Some(at_work.hears()) }),
            Err(error) => without_output(Outcome::CouldNotStart { reason: error.to_string() }),
        }
    }
}

/// A worker that waits for what the system lacks.
struct PutOff<'a>(&'a Worker);

impl<'a> PutOff<'a> {
    fn new(worker: &'a Worker) -> Self {
        worker.waiting.fetch_add(1, Ordering::SeqCst);
        Self(worker)
    }
}

impl Drop for PutOff<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.channels.starting.done();
        }
    }
}

fn without_output(outcome: Outcome) -> Ended {
    Ended { outcome, output_bytes: 0, output_tail: String::new() }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}
