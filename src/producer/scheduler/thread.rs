//! The scheduler's thread, `timer`: it waits for the next event or the next tick, hands that to [`Scheduler`], and
//! carries out what follows.
//!
//! In the cycle scheduler → publisher → scheduler, this thread is the one that never waits on a send. The scheduler
//! takes from a cluster plan only while that cluster has fewer batches in flight than its channel has places. A tick
//! that is due and not taken costs nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::channel_gauges::ChannelGauges;
use super::machine::Scheduler;
pub use super::messages::Channels;
use super::messages::{Event, Report, SOON};
use super::outbox::Outbox;
use crate::common::clock::{Clock, Now};
use crate::common::http::{Fact, Health};
use crate::common::metrics::Beat;
use crate::common::thread::{Joined, spawn};
use crate::producer::leadership;
use crate::producer::metrics::SchedulerMetrics;

/// How many news of runs the thread takes at a time, so that ticks never wait behind many.
const SWARM: usize = 1_000;

/// How long the thread waits at the end for the next confirmation of a batch in flight.
const LAST_CONFIRMATION: Duration = Duration::from_secs(3);

/// How long the thread waits at the end until leadership takes the last cursors.
const LAST_CURSORS: Duration = Duration::from_secs(1);

/// The fact of `/readyz`: nothing is wrong with clocks and cursors.
pub const CLOCK: &str = "clock";

/// What the thread needs, and where it shows how it is.
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What it counts.
    pub metrics: SchedulerMetrics,
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
    pub fn start(scheduler: Scheduler, channels: Channels, context: Context) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("timer", move || {
            let gauges = ChannelGauges::new(&context.metrics, &channels);
            Running { scheduler, outbox: Outbox::default(), gauges, channels, context }.run(&stopped);
        })?;
        Ok(Self { _stop: stop, thread })
    }

    /// Whether the thread has ended by itself: a publisher is gone.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Running {
    scheduler: Scheduler,
    outbox: Outbox,
    gauges: ChannelGauges,
    channels: Channels,
    context: Context,
}

impl Running {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut event = Event::Time;
        loop {
            self.context.beat.touch(self.context.clock.now());
            self.handle(event);
            if !self.outbox.send(&self.channels) {
                return log::error!("a publisher or leadership is gone; the timer ends");
            }
            self.gauges.look(&self.channels);
            let wait = self.scheduler.wait(self.now());
            let wait = if self.outbox.is_empty() { wait } else { wait.min(SOON) };
            event = select! {
                recv(stopped) -> _ => return self.finish(),
                recv(self.channels.leadership) -> told => match told {
                    Ok(told) => Event::Leadership(told),
                    Err(_) => return,
                },
                recv(self.channels.confirmed) -> confirmed => match confirmed {
                    Ok(confirmed) => Event::Confirmed(confirmed),
                    Err(_) => return,
                },
                recv(self.channels.files) -> file => match file {
                    Ok(file) => Event::JobFile(file.into()),
                    // The file watch has ended; the jobs stay as they are.
                    Err(_) => {
                        self.channels.files = crossbeam_channel::never();
                        Event::Time
                    }
                },
                recv(self.channels.runs) -> news => match news {
                    Ok(first) => Event::Runs([first].into_iter().chain(self.channels.runs.try_iter().take(SWARM)).collect()),
                    // The run tracker has ended, so the program ends; what is in flight is confirmed first.
                    Err(_) => {
                        self.channels.runs = crossbeam_channel::never();
                        Event::Time
                    }
                },
                recv(self.context.clock.alarm(wait)) -> _ => Event::Time,
            };
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.context.clock.now(), mono: self.context.clock.monotonic() }
    }

    fn handle(&mut self, event: Event) {
        if let Event::Leadership(told) = &event {
            self.report_leadership(told);
        }
        let effects = self.scheduler.handle(event, self.now());
        for report in self.outbox.take(effects) {
            say(&report);
        }
        self.context.metrics.levels(self.scheduler.term().is_some(), self.scheduler.levels());
    }

    /// Waits for the batches in flight, and hands on the last cursors.
    fn finish(&mut self) {
        self.handle(Event::Stop);
        while self.scheduler.is_busy() {
            // No confirmation came within the time: Kafka is away, or the publishers have ended.
            let Ok(confirmed) = self.channels.confirmed.recv_timeout(LAST_CONFIRMATION) else { break };
            self.handle(Event::Confirmed(confirmed));
        }
        if let Some(cursors) = self.outbox.last_cursors()
            && self.channels.cursors.send_timeout(cursors, LAST_CURSORS).is_err()
        {
            log::warn!(
                "the last cursors were not kept; the next leader finds what is published by its run ids"
            );
        }
    }

    /// Shows what leadership tells.
    fn report_leadership(&self, told: &leadership::Effect) {
        let Context { metrics, health, .. } = &self.context;
        let not_ready = |why: String| health.set(CLOCK, Fact::NotReady(why));
        match told {
            leadership::Effect::Begin { term, .. } => {
                log::info!("leading, term {term}");
                metrics.leads.inc();
                health.set(CLOCK, Fact::Ready);
            }
            leadership::Effect::Start { cluster, start, .. } => {
                let (name, cursor) = (&metrics.clusters()[*cluster], start.cursor);
                log::info!("{name}: leading from {cursor}");
                if start.is_gap {
                    log::error!(
                        "{name}: the cursor is gone although the topic has records; what was due before {cursor} is \
                         given up"
                    );
                }
            }
            leadership::Effect::End => log::info!("this producer leads no more"),
            leadership::Effect::ClockBehind(by) => {
                log::error!("a cursor lies {} s ahead of our clock: a host's clock is wrong", by.as_secs());
                not_ready(format!("a cursor lies {} s ahead of our clock", by.as_secs()));
            }
            leadership::Effect::Clock(skew) => {
                metrics.skew(skew.ahead);
                health.set(CLOCK, Fact::Ready);
            }
            leadership::Effect::ClockOff(skew) => {
                metrics.skew(*skew);
                let seconds = skew.abs().num_seconds();
                let side = if *skew > TimeDelta::zero() { "ahead of" } else { "behind" };
                log::error!(
                    "our clock is {seconds} s {side} the broker's: we do not lead until it is set right"
                );
                not_ready(format!("our clock is {seconds} s {side} the broker's"));
            }
            leadership::Effect::Kept(cursors) => metrics.kept(cursors),
            leadership::Effect::Failed(failure) if failure.call.is_commit() => {
                metrics.not_kept(failure.error.word());
            }
            leadership::Effect::Failed(_) | leadership::Effect::GiveWay(_) | leadership::Effect::Warn(_) => {}
        }
    }
}

fn say(report: &Report) {
    match report {
        Report::TermEnded => {}
        Report::Suspended => log::warn!("our membership is not proven at present; nothing is begun"),
        Report::FileWaits(revision) => log::info!(
            "revision {revision} of the job file waits until it is known which runs are not finished"
        ),
        Report::FileActive(revision, jobs, tzdata) => {
            log::info!("revision {revision} of the job file is active: {jobs} jobs, tzdata {tzdata}");
        }
    }
}

#[cfg(test)]
mod tests;
