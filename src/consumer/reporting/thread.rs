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

use super::machine::Reporting;
use super::messages::{Effect, Event, Instead, Options};
use crate::common::broker::{BrokerError, Client};
use crate::common::clock::{Clock, CorrectedClock, Now, Skew};
use crate::common::http::{Duty, Health, Trouble};
use crate::common::metrics::{Beat, ChannelGauge};
use crate::common::model::RunningAttempt;
use crate::common::thread::{Joined, spawn};
use crate::common::{topics, unknown_time};
use crate::consumer::claiming::linger::GLANCE;
use crate::consumer::metrics::ConsumerMetrics;

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
    pub tell: Sender<Event>,
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
        let observed = Observed::new(metrics, health, room, corrected);
        let (give_up, given_up) = bounded(0);
        let takes_all = Arc::new(AtomicBool::new(false));
        let all = Arc::clone(&takes_all);
        let thread = spawn("reporter", move || {
            let reporting = Reporting::new(options, clock.monotonic());
            let takes_all = all;
            let writing = Writing { reporting, client, clock, given_up, takes_all, told, starts, observed };
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
    told: Receiver<Event>,
    starts: Receiver<RunningAttempt>,
    observed: Observed,
}

impl Writing {
    fn run(mut self, beat: &Beat) {
        while !self.reporting.is_over() {
            self.listen();
            if !self.reporting.is_over() {
                beat.touch(self.clock.now());
                self.step();
            }
        }
    }

    /// Waits for what there is to do.
    fn listen(&mut self) {
        self.observed.waiting.is(self.told.len());
        self.take_starts();
        if self.takes_all.load(Ordering::Acquire) {
            self.handle(Event::TakeAll);
        }
        let wait = self.reporting.wait(self.clock.monotonic());
        if wait.is_zero() {
            return self.take_told();
        }
        // What comes while results linger is looked at when they go, or in a moment.
        let lingers = self.reporting.lingers();
        let longest = if lingers { GLANCE } else { LOOK };
        let told = if self.reporting.takes() && !lingers { self.told.clone() } else { never() };
        let given_up = if self.reporting.is_busy() { self.given_up.clone() } else { never() };
        select! {
            recv(told) -> event => match event {
                Ok(event) => {
                    self.take(event);
                    self.take_told();
                }
                Err(_) => self.handle(Event::AllTold),
            },
            recv(given_up) -> _ => self.handle(Event::GiveUp),
            recv(self.clock.alarm(wait.min(longest))) -> _ => {}
        }
        if lingers {
            self.take_told();
        }
    }

    /// Takes everything that is told by now, so that it goes in the same round trips.
    fn take_told(&mut self) {
        if self.reporting.takes() {
            self.told.clone().try_iter().for_each(|event| self.take(event));
        }
    }

    /// An end comes after its start.
    fn take(&mut self, event: Event) {
        self.take_starts();
        self.handle(event);
    }

    fn take_starts(&mut self) {
        self.starts.clone().try_iter().for_each(|running| self.handle(Event::Started(running)));
    }

    fn handle(&mut self, event: Event) {
        for effect in self.reporting.handle(event) {
            self.observed.carry_out(effect);
        }
    }

    fn step(&mut self) {
        let now = Now { wall: self.clock.now(), mono: self.clock.monotonic() };
        if self.reporting.due(now.mono) > 0 {
            self.observed.results.owed();
        }
        for effect in self.reporting.step(self.client.as_mut(), now) {
            self.observed.carry_out(effect);
        }
        if !self.reporting.has_failed() {
            self.observed.is_well();
        }
    }
}

impl Observed {
    /// Creates one that has heard of nothing, for a channel with so much room.
    fn new(metrics: ConsumerMetrics, health: &Health, room: usize, corrected: Arc<CorrectedClock>) -> Self {
        Self {
            waiting: metrics.channel(RESULTS, room),
            results: health.duty("results"),
            clock: health.duty("clock"),
            metrics,
            is_troubled: false,
            corrected,
            is_unknown: false,
        }
    }

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
            Effect::Refused(topic, error, instead) => {
                self.metrics.failed(&self.metrics.report_failures, error.word());
                say_refused(&topic, instead);
            }
            Effect::GivenUp(left) => {
                log::error!("{left} results could not be written; their leases will end them");
            }
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

fn say_refused(topic: &str, instead: Instead) {
    match instead {
        Instead::Smaller(of) => {
            log::warn!("run {}, attempt {}: {topic} does not take it", of.run, of.attempt);
        }
        Instead::EndWithoutOutput(_) => {}
        Instead::NoLetter(run) => {
            log::error!("run {run}: {topic} takes not even a bare letter, and there is none");
        }
        Instead::NoEnd(of) => {
            log::error!("run {}, attempt {}: {topic} does not take its end", of.run, of.attempt);
        }
        Instead::NoEvent(bytes) => {
            log::error!("{topic} takes no event of {bytes} bytes: it is not written");
        }
    }
}
