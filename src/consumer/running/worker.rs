//! The threads `worker-0..N`: each takes one attempt at a time, runs it to its end, and reports it, whatever happens.

use std::any::Any;
use std::io::{self, PipeReader, PipeWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender};

use super::process::{self, Ended, Host, Output};
use crate::common::clock::Clock;
use crate::common::passing::Fit;
use crate::common::thread::{Joined, spawn};
use crate::common::words::Outcome;
use crate::consumer::claiming::dispatcher::Claimed;
use crate::consumer::measures::Measures;
use crate::consumer::results::reporter::Tell;
use crate::consumer::results::reports::Report;

/// What workers are to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many there are: as many attempts run at a time.
    pub workers: usize,
    /// What is kept of the output.
    pub output: Output,
    /// The program that guards, [`process::guard::THIS_PROGRAM`] where `main` asks for it first.
    pub guard: PathBuf,
}

/// What workers listen to and talk to.
#[derive(Debug, Clone)]
pub struct Lines {
    /// What to run. The threads end when it is closed and their attempts are done.
    pub jobs: Receiver<Box<Claimed>>,
    /// One message for each time that a worker becomes free, the first at its start. Needs as many places as workers.
    pub idle: Sender<()>,
    /// To the reporter. While Kafka is away it is full, and workers wait with what they have to say.
    pub tell: Sender<Tell>,
}

/// The handle. Dropping it cancels what is under way and waits for the threads: close `jobs` (by dropping dispatch)
/// before, or they wait for more.
#[derive(Debug)]
pub struct Workers {
    /// Nobody writes to it: that it closes is what all of them see at once.
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
        lines: &Lines,
        measures: &Measures,
    ) -> io::Result<Self> {
        let host = Arc::new(Host::new(options.output, &options.guard)?);
        let (cancelled, cancel) = io::pipe()?;
        let cancelled = Arc::new(cancelled);
        let start = |number| {
            let worker = Worker {
                host: host.clone(),
                clock: clock.clone(),
                lines: lines.clone(),
                measures: measures.clone(),
                cancelled: cancelled.clone(),
            };
            spawn(&format!("worker-{number}"), move || worker.run())
        };
        let threads = (0..options.workers).map(start).collect::<io::Result<_>>()?;
        measures.workers.set(i64::try_from(options.workers).unwrap_or(i64::MAX));
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
    host: Arc<Host>,
    clock: Arc<dyn Clock>,
    lines: Lines,
    measures: Measures,
    cancelled: Arc<PipeReader>,
}

impl Worker {
    fn run(&self) {
        loop {
            // Nobody listens when dispatch has ended, and then there is nothing to be free for.
            let _nobody_listens = self.lines.idle.send(());
            let Ok(claimed) = self.lines.jobs.recv() else { return };
            self.measures.workers_busy.inc();
            self.report(*claimed);
            self.measures.workers_busy.dec();
        }
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
        self.measures.ended(&report);
        if self.lines.tell.send(Tell::Ended(Box::new(report))).is_err() {
            log::error!("the reporter has ended; the lease of an attempt that is over will end it");
        }
    }

    fn attempt(&self, claimed: &Claimed, started_at: &mut Option<DateTime<Utc>>) -> Ended {
        // Here and no earlier: what was waiting for a worker may have become too late by that.
        let now = self.clock.now();
        self.measures.taken(claimed, now);
        if process::running::is_closed(&self.cancelled) {
            return without_output(Outcome::Cancelled);
        }
        if claimed.attempt.run.is_expired(now) {
            return without_output(Outcome::Expired);
        }
        if self.clock.monotonic() >= claimed.start_by {
            let reason =
                "its claim waited until the lease was nearly over: this host was stopped or overloaded";
            return without_output(Outcome::CouldNotStart { reason: reason.to_owned() });
        }
        let started = process::start(&self.host, &claimed.attempt);
        let now = *started_at.insert(self.clock.now());
        self.measures.started(claimed, now);
        match started {
            Ok(running) => running.wait(&self.cancelled),
            Err(error) => without_output(Outcome::CouldNotStart { reason: error.to_string() }),
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
