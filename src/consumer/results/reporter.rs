//! The thread `reporter`: has [`Reporting`] write everything but claims: next attempts, dead letters, `finished`,
//! `alive`.
//!
//! While Kafka is away results are held on to; the channel fills, and workers wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::reporting::{Act, Reporting};
use crate::common::broker::Client;
use crate::common::clock::Clock;
use crate::common::metrics::{Beat, Fill};
use crate::common::thread::{Joined, spawn};
use crate::common::words::RunningAttempt;
use crate::consumer::claiming::dispatcher::Now;
use crate::consumer::claiming::pace::Pace;
use crate::consumer::fills::RESULTS;
use crate::consumer::measures::Measures;

pub use super::reporting::{Options, Tell, started};

/// The handle. The thread ends when every sender of the channel is gone and all is written; dropping the handle ends
/// the wait for a Kafka that is away.
#[derive(Debug)]
pub struct Reporter {
    _give_up: Sender<()>,
    takes_all: Arc<AtomicBool>,
    thread: Joined,
}

/// What is told to the reporter.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Ends of attempts, and what else is to be told. While something cannot be written it is full, and whoever has
    /// something to say waits.
    pub tell: Sender<Tell>,
    /// Attempts that are handed to workers. It is emptied whatever waits: what runs must be said to be alive.
    pub started: Sender<RunningAttempt>,
}

impl Reporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        client: Box<dyn Client>,
        clock: Arc<dyn Clock>,
        measures: Measures,
        beat: Beat,
    ) -> io::Result<(Self, Lines)> {
        // An end that waits and one that is written for each worker.
        let room = options.workers * 2 + 2;
        let (tell, told) = bounded(room);
        // Between two looks no more are started than there is room for their ends, and as many again that run.
        let (started, starts) = bounded(room * 2);
        let waiting = measures.channel(RESULTS, room);
        let (give_up, given_up) = bounded(0);
        let pace = Pace::new(options.workers / 2);
        let takes_all = Arc::new(AtomicBool::new(false));
        let all = Arc::clone(&takes_all);
        let thread = spawn("reporter", move || {
            let reporting = Reporting::new(options, clock.monotonic());
            let rest = Duration::ZERO;
            let takes_all = all;
            let writing = Writing {
                reporting,
                client,
                clock,
                given_up,
                takes_all,
                starts,
                measures,
                waiting,
                pace,
                rest,
            };
            writing.run(&told, &beat);
        })?;
        Ok((Self { _give_up: give_up, takes_all, thread }, Lines { tell, started }))
    }

    /// From now on all that is told is taken, also while something cannot be written: nothing more is claimed, and no
    /// worker is to wait with its last word for ever.
    pub fn take_all(&self) {
        self.takes_all.store(true, Ordering::Release);
    }

    /// Whether all is written and the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// How long the thread waits after something could not be written, doubled with each failure that follows.
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

struct Writing {
    reporting: Reporting,
    client: Box<dyn Client>,
    clock: Arc<dyn Clock>,
    given_up: Receiver<()>,
    takes_all: Arc<AtomicBool>,
    starts: Receiver<RunningAttempt>,
    measures: Measures,
    waiting: Fill,
    pace: Pace,
    /// How long to wait after a failure; none while all is well.
    rest: Duration,
}

impl Writing {
    fn run(mut self, told: &Receiver<Tell>, beat: &Beat) {
        while self.listen(told) {
            beat.touch(self.clock.now());
            self.step();
        }
    }

    /// Waits for what there is to do. `false` when that is nothing any more, or there is no waiting any longer.
    fn listen(&mut self, told: &Receiver<Tell>) -> bool {
        self.waiting.is(told.len());
        self.take_starts();
        if self.reporting.is_busy() {
            if self.takes_all.load(Ordering::Acquire) {
                told.try_iter().for_each(|tell| self.take(tell));
            }
            return self.rest.is_zero() || self.rest_a_while();
        }
        let wait = self.reporting.next_alive().saturating_duration_since(self.clock.monotonic());
        select! {
            recv(told) -> tell => {
                let Ok(tell) = tell else { return false };
                self.take(tell);
                self.gather(told);
            }
            recv(self.clock.alarm(wait.min(Duration::from_secs(1)))) -> _ => {}
        }
        true
    }

    fn take_starts(&mut self) {
        self.starts.try_iter().for_each(|running| self.reporting.started(running));
    }

    /// An end comes after its start.
    fn take(&mut self, tell: Tell) {
        self.take_starts();
        self.reporting.take(tell);
    }

    /// Takes what goes in the same round trips: everything that waits, and what comes in the moment that the pace gives.
    fn gather(&mut self, told: &Receiver<Tell>) {
        loop {
            told.try_iter().for_each(|tell| self.take(tell));
            let wait = self.pace.wait(self.reporting.waiting(), self.clock.monotonic());
            if wait.is_zero() {
                return;
            }
            select! {
                recv(told) -> tell => match tell {
                    Ok(tell) => self.take(tell),
                    Err(_) => return,
                },
                recv(self.clock.alarm(wait)) -> _ => {}
            }
        }
    }

    fn rest_a_while(&self) -> bool {
        select! {
            recv(self.given_up) -> _ => {
                let left = self.reporting.waiting();
                log::error!("{left} results could not be written; their leases will end them");
                false
            }
            recv(self.clock.alarm(self.rest)) -> _ => true,
        }
    }

    fn step(&mut self) {
        let now = Now { wall: self.clock.now(), mono: self.clock.monotonic() };
        let mut failed = None;
        let writes = self.reporting.is_busy();
        let acts = self.reporting.step(self.client.as_mut(), now);
        if writes {
            self.pace.went(self.clock.monotonic());
        }
        for act in acts {
            match act {
                Act::PassedOn(report) => {
                    self.measures.passed_on(&report);
                    log::info!("{}", report.line());
                }
                Act::Failed(reason) => {
                    self.measures.failed(&self.measures.report_failures, reason);
                    failed = Some(reason);
                }
            }
        }
        match failed {
            Some(reason) if self.reporting.is_busy() => {
                if self.rest.is_zero() {
                    log::warn!("results wait to be written: {reason}; trying again");
                }
                self.rest = (self.rest * 2).clamp(FIRST_REST, LONGEST_REST);
            }
            _ if self.reporting.is_busy() => {}
            _ => {
                if !self.rest.is_zero() {
                    log::info!("what waited is written");
                }
                self.rest = Duration::ZERO;
            }
        }
    }
}
