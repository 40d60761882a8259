//! The reporting thread (`reporter`) has [`Reporting`] write everything but claims: next attempts, dead letters, `finished`,
//! and `alive`.
//!
//! While something cannot be written, the thread keeps its results and writes others. Only when too many wait
//! (`RESULTS_WAITING_BYTES`), the channel fills and workers wait.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::machine::{Effect, Reporting};
use crate::common::broker::{BrokerError, Client};
use crate::common::clock::{Clock, CorrectedClock, Skew};
use crate::common::http::{Duty, Health, Trouble};
use crate::common::metrics::{Beat, ChannelGauge};
use crate::common::model::RunningAttempt;
use crate::common::thread::{Joined, spawn};
use crate::common::{topics, unknown_time};
use crate::consumer::claiming::linger::Linger;
use crate::consumer::claiming::machine::Now;
use crate::consumer::metrics::ConsumerMetrics;

pub use super::machine::{Options, Tell, started};

/// The name of the channel to this thread. The claiming thread looks at it too, for it may be the one that waits there.
pub(in crate::consumer) const RESULTS: &str = "results";

/// The handle. The thread ends when every sender of the channel is gone and all is written; dropping the handle ends
/// the wait for a Kafka that is away.
#[derive(Debug)]
pub struct Reporter {
    _give_up: Sender<()>,
    takes_all: Arc<AtomicBool>,
    thread: Joined,
}

/// The channels to the reporting thread.
#[derive(Debug, Clone)]
pub struct Channels {
    /// Ends of attempts, and what else is to be told. While too much cannot be written it is full, and the thread that
    /// has something to say waits.
    pub tell: Sender<Tell>,
    /// Attempts that are handed to workers. It is emptied whatever waits: what runs must be said to be alive.
    pub started: Sender<RunningAttempt>,
}

impl Reporter {
    /// Starts the thread. It compares the host's clock with the broker's, and tells `corrected`.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        client: Box<dyn Client>,
        corrected: Arc<CorrectedClock>,
        metrics: ConsumerMetrics,
        health: &Health,
        beat: Beat,
    ) -> io::Result<(Self, Channels)> {
        // An end that waits and one that is written for each worker.
        let room = options.workers * 2 + 2;
        let (tell, told) = bounded(room);
        // The one thread that must know how wrong the host's clock is.
        let clock = Arc::clone(corrected.host());
        // Between two looks no more are started than there is room for their ends, and as many again that run.
        let (started, starts) = bounded(room * 2);
        let observed = Observed {
            waiting: metrics.channel(RESULTS, room),
            results: health.duty("results"),
            clock: health.duty("clock"),
            metrics,
            is_troubled: false,
            corrected,
            is_unknown: false,
        };
        let (give_up, given_up) = bounded(0);
        let pace = Linger::new(options.workers / 2);
        let takes_all = Arc::new(AtomicBool::new(false));
        let all = Arc::clone(&takes_all);
        let thread = spawn("reporter", move || {
            let reporting = Reporting::new(options, clock.monotonic());
            let (takes_all, is_all_told) = (all, false);
            let writing = Writing {
                reporting,
                client,
                clock,
                given_up,
                takes_all,
                told,
                is_all_told,
                starts,
                pace,
                observed,
            };
            writing.run(&beat);
        })?;
        Ok((Self { _give_up: give_up, takes_all, thread }, Channels { tell, started }))
    }

    /// From now on all that is told is taken, also while something cannot be written: nothing more is claimed, and no
    /// worker is to wait with its last result for ever.
    pub fn take_all(&self) {
        self.takes_all.store(true, Ordering::Release);
    }

    /// Whether all is written and the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// How long the thread waits at most before it looks whether it is to take everything.
const LOOK: Duration = Duration::from_secs(1);

/// Who hears of what cannot be written.
struct Observed {
    metrics: ConsumerMetrics,
    results: Duty,
    clock: Duty,
    waiting: ChannelGauge,
    is_troubled: bool,
    corrected: Arc<CorrectedClock>,
    /// The log says that the broker does not tell its time.
    is_unknown: bool,
}

struct Writing {
    reporting: Reporting,
    client: Box<dyn Client>,
    clock: Arc<dyn Clock>,
    given_up: Receiver<()>,
    takes_all: Arc<AtomicBool>,
    told: Receiver<Tell>,
    /// Every sender of `told` is gone.
    is_all_told: bool,
    starts: Receiver<RunningAttempt>,
    pace: Linger,
    observed: Observed,
}

impl Writing {
    fn run(mut self, beat: &Beat) {
        while self.listen() {
            beat.touch(self.clock.now());
            self.step();
        }
    }

    /// Waits for what there is to do. `false` when that is nothing any more, or there is no waiting any longer.
    fn listen(&mut self) -> bool {
        self.observed.waiting.is(self.told.len());
        self.take_starts();
        let now = self.clock.monotonic();
        let wait = self.reporting.next(now).saturating_duration_since(now);
        if wait.is_zero() {
            if self.takes() {
                self.told.clone().try_iter().for_each(|tell| self.take(tell));
            }
            return true;
        }
        if self.is_all_told && !self.reporting.is_busy() {
            return false;
        }
        let told = if self.takes() && !self.is_all_told { self.told.clone() } else { never() };
        // Only what waits can be given up.
        let given_up = if self.reporting.is_busy() { self.given_up.clone() } else { never() };
        select! {
            recv(told) -> tell => match tell {
                Ok(tell) => {
                    self.take(tell);
                    self.gather();
                }
                Err(_) => self.is_all_told = true,
            },
            recv(given_up) -> _ => {
                let left = self.reporting.waiting();
                log::error!("{left} results could not be written; their leases will end them");
                return false;
            }
            recv(self.clock.alarm(wait.min(LOOK))) -> _ => {}
        }
        true
    }

    fn takes(&self) -> bool {
        self.reporting.has_room() || self.takes_all.load(Ordering::Acquire)
    }

    fn take_starts(&mut self) {
        self.starts.try_iter().for_each(|running| self.reporting.started(running));
    }

    /// An end comes after its start.
    fn take(&mut self, tell: Tell) {
        self.take_starts();
        self.reporting.take(tell);
    }

    /// Takes what goes in the same round trips: everything that waits, and what comes while the thread lingers.
    fn gather(&mut self) {
        let told = self.told.clone();
        loop {
            told.try_iter().for_each(|tell| self.take(tell));
            let now = self.clock.monotonic();
            let wait = self.pace.wait(self.reporting.due(now), now);
            if wait.is_zero() || !self.takes() {
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

    fn step(&mut self) {
        let now = Now { wall: self.clock.now(), mono: self.clock.monotonic() };
        let writes = self.reporting.due(now.mono) > 0;
        if writes {
            self.observed.results.owed();
        }
        let effects = self.reporting.step(self.client.as_mut(), now);
        if writes {
            self.pace.went(self.clock.monotonic());
        }
        effects.into_iter().for_each(|effect| self.observed.carry_out(effect));
        if !self.reporting.has_failed() {
            self.observed.is_well();
        }
    }
}

impl Observed {
    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::PassedOn(report) => {
                self.metrics.passed_on(&report);
                log::info!("{}", report.line());
            }
            Effect::Failed(topic, error) => {
                self.metrics.failed(&self.metrics.report_failures, error.word());
                let trouble = Trouble::of(&format!("writing results to {topic}"), &error);
                if !std::mem::replace(&mut self.is_troubled, true) {
                    log::warn!("results wait to be written: {trouble}");
                }
                self.results.failed(trouble);
            }
            Effect::Refused(_, error) => self.metrics.failed(&self.metrics.report_failures, error.word()),
            Effect::Clock(skew) => self.tell_clock(skew),
            Effect::ClockUnknown(error) => self.tell_unknown(&error),
            Effect::NotCompared(error) => {
                let attempt =
                    format!("comparing this host's clock with the broker's by topic {}", topics::RUNS);
                self.clock.failed(Trouble::of(&attempt, &error));
            }
        }
    }

    fn is_well(&mut self) {
        self.results.done();
        if std::mem::take(&mut self.is_troubled) {
            log::info!("the results that waited are written");
        }
    }

    fn tell_clock(&mut self, skew: Skew) {
        self.corrected.learn(skew);
        self.metrics.skew(skew.ahead);
        if std::mem::take(&mut self.is_unknown) {
            log::info!("the broker's time is known again");
        }
        if !skew.is_off(skew.at) {
            return self.clock.done();
        }
        let (ahead, side) = (skew.ahead, if skew.ahead > TimeDelta::zero() { "ahead of" } else { "behind" });
        let cause = format!("this host's clock is {} s {side} the broker's", ahead.abs().num_seconds());
        let cure = "set it (NTP): until then retries, deadlines and results go by the broker's clock";
        self.clock.failed(Trouble::new("clock", cause, cure));
    }

    /// The program works, as far as this thread can know.
    fn tell_unknown(&mut self, error: &BrokerError) {
        self.corrected.cannot_know();
        self.clock.done();
        if !std::mem::replace(&mut self.is_unknown, true) {
            log::warn!("{}", unknown_time::said(error));
        }
    }
}
