//! The claiming thread, whose name is `dispatch`: it feeds the [`Claimer`] with what arrives and carries out its effects.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};

use super::channels::{Channels, MEMBER, Observe};
use super::duties::Duties;
use super::lag::Ends;
use super::linger::GLANCE;
use super::log_lines::{say, say_failed};
use super::machine::{Call, Claimed, Claimer, Counts, Effect, Event, FIRST_REST, Options, Report};
use super::outbox::Outbox;
use super::position::Finding;
use super::pressure_watch::PressureWatch;
use super::runs_topic::RunsTopic;
use crate::common::broker::Client;
use crate::common::clock::{Clock, CorrectedClock, Now};
use crate::common::http::Fact;
use crate::common::membership::Change;
use crate::common::thread::{Joined, spawn};
use crate::consumer::channel_gauges::ChannelGauges;
use crate::consumer::fetching::fetcher::{Chunk, What};
use crate::consumer::orders::messages::News;
use crate::consumer::reporting::messages::started;

/// The handle. Dropping it stops the taking: workers that are busy go on, and end when they are done.
#[derive(Debug)]
pub struct ClaimingThread {
    _stop: Sender<()>,
    thread: Joined,
}

impl ClaimingThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        client: Box<dyn Client>,
        clock: Arc<CorrectedClock>,
        channels: Channels,
        observe: Observe,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("dispatch", move || {
            Claiming::new(options, client, clock, channels, observe).run(&stopped);
        })?;
        Ok(Self { _stop: stop, thread })
    }

    /// Whether the thread has ended by itself: the instance id is in use elsewhere.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The state of the thread, around that of the [`Claimer`].
struct Claiming {
    claimer: Claimer,
    client: Box<dyn Client>,
    clock: Arc<CorrectedClock>,
    channels: Channels,
    outbox: Outbox,
    observe: Observe,
    gauges: ChannelGauges,
    topic: String,
    ends: Ends,
    duties: Duties,
    runs_topic: RunsTopic,
    pressure: Option<PressureWatch>,
    counted: Counts,
}

impl Claiming {
    /// Creates a thread's state that has received nothing yet.
    fn new(
        options: Options,
        client: Box<dyn Client>,
        clock: Arc<CorrectedClock>,
        channels: Channels,
        observe: Observe,
    ) -> Self {
        Self {
            topic: options.topic.clone(),
            duties: Duties::new(&observe.health, &options),
            runs_topic: RunsTopic::new(clock.monotonic()),
            pressure: PressureWatch::new(observe.pressure, clock.monotonic()),
            outbox: Outbox::new(options.topic.clone()),
            claimer: Claimer::new(options),
            client,
            gauges: ChannelGauges::new(&observe.metrics, &channels),
            ends: Ends::new(clock.monotonic()),
            clock,
            counted: Counts::default(),
            channels,
            observe,
        }
    }

    /// Runs until the other end of `stopped` is gone, or the thread cannot go on.
    fn run(&mut self, stopped: &Receiver<()>) {
        while !self.is_over() {
            let (idle, wait) = self.attention();
            let event = select! {
                recv(self.channels.changes) -> change => match change {
                    Ok(change) => Some(Event::Changed(change)),
                    Err(_) => return,
                },
                recv(self.channels.chunks) -> chunk => match chunk {
                    Ok(chunk) => Some(self.read(chunk)),
                    Err(_) => return,
                },
                recv(idle) -> _ => Some(Event::WorkersFree(1)),
                recv(self.channels.orders) -> news => Some(match news {
                    Ok(News::Ordered(runs)) => Event::Ordered(runs),
                    // Without the thread of orders, none become known any more.
                    Ok(News::ReadToEnd) => Event::OrdersKnown,
                    Err(_) => {
                        self.channels.orders = never();
                        Event::OrdersKnown
                    }
                }),
                recv(stopped) -> _ => Some(Event::Leave),
                recv(self.clock.alarm(wait)) -> _ => None,
            };
            event.into_iter().for_each(|event| self.handle(event));
            if !self.is_over() {
                self.turn();
            }
        }
        self.tell_the_rest();
        self.hand_over_while_jobs_run();
    }

    /// A consumer that waits for its jobs is away for longer than a restart takes. Its partitions must not wait for it, as they
    /// otherwise would with an instance id.
    fn hand_over_while_jobs_run(&mut self) {
        let free = self.channels.idle.try_iter().count();
        self.handle(Event::WorkersFree(free));
        if self.claimer.has_busy_workers() {
            self.channels.membership.hand_over();
        }
    }

    fn is_over(&self) -> bool {
        self.claimer.is_over(self.clock.monotonic())
    }

    /// The work that follows each message, whichever it was.
    fn turn(&mut self) {
        let free = self.channels.idle.try_iter().count();
        if free > 0 {
            self.handle(Event::WorkersFree(free));
        }
        if self.clock.is_settled() {
            self.handle(Event::ClockSettled);
        }
        let now = self.clock.monotonic();
        let turn = self.pressure.as_mut().and_then(|watch| watch.look(now, &self.observe.metrics));
        if let Some(admits) = turn {
            self.handle(Event::Admits(admits));
        }
        // By the host's clock, so that the metric shows how wrong it is.
        self.observe.beat.touch(self.clock.host().now());
        self.tell();
        if self.outbox.lets_step(&self.claimer) {
            self.step();
            while !self.claimer.listens() && !self.is_over() {
                self.step();
            }
        }
        self.tell();
        self.outbox.send_plan(&self.channels.poll.plans);
        if self.claimer.listens() {
            self.look();
        }
        self.measure();
    }

    fn handle(&mut self, event: Event) {
        if let Event::Changed(change) = &event {
            self.show(change);
        }
        for effect in self.claimer.handle(event, self.now()) {
            self.carry_out(effect);
        }
    }

    /// Shows what has become of our share.
    fn show(&mut self, change: &Change) {
        if let Change::Assigned { holder, partitions, .. } = change {
            let numbers: Vec<i32> = partitions.iter().map(|p| p.partition).collect();
            log::info!("{}: generation {}, partitions {numbers:?}", self.topic, holder.generation);
            self.observe.metrics.rebalances.inc();
            self.observe.health.set(MEMBER, Fact::Ready);
        } else {
            self.observe.health.set(MEMBER, Fact::NotReady("no member at present".to_owned()));
        }
        self.observe.metrics.lag.reset();
        self.ends.clear();
    }

    /// What a fetcher tells, as an event.
    fn read(&mut self, Chunk { track, what }: Chunk) -> Event {
        let (plan, partition) = (track.plan, track.of.partition);
        match what {
            What::Records { slice, end } => {
                if self.claimer.reads_by(plan) {
                    self.ends.told(partition, end);
                    self.claimer.log_ends(partition, end);
                }
                Event::Read { plan, partition, slice }
            }
            What::NoPosition => Event::LostPosition { plan, partition },
        }
    }

    fn step(&mut self) {
        let now = self.now();
        let mut failed = Vec::new();
        for effect in self.claimer.step(self.client.as_mut(), now) {
            if let Effect::Failed(failure) = &effect {
                failed.push(failure.call);
            }
            self.carry_out(effect);
        }
        self.duties.look(&self.claimer, &failed);
    }

    fn carry_out(&mut self, effect: Effect) {
        let metrics = &self.observe.metrics;
        match self.outbox.take(effect) {
            Some(Effect::Start(claimed)) => self.hand_over(claimed),
            Some(Effect::JoinAsNew) => {
                log::warn!(
                    "a commit may still be under way; joining under a new member id before the next claim"
                );
                self.channels.membership.join_as_new();
            }
            Some(Effect::Failed(failure)) => {
                let failures = match failure.call {
                    Call::Load | Call::Claim | Call::Letter => &metrics.claim_failures,
                    Call::ReadAgain => &metrics.fetch_failures,
                    Call::Commit => &metrics.commit_failures,
                };
                metrics.failed(failures, failure.error.word());
                say_failed(&failure);
                self.duties.failed(&failure);
            }
            Some(Effect::Letter(reason)) => metrics.dead_letter(reason.word()),
            Some(Effect::Report(report)) => {
                match &report {
                    Report::Gone(_, count) => metrics.gone("topic_deleted", *count),
                    Report::Found(_, Finding::DeletedUnread { count, .. }) => {
                        metrics.gone("retention", u64::try_from(*count).unwrap_or_default());
                    }
                    _ => {}
                }
                say(&self.topic, &report);
            }
            // The outbox has taken these.
            Some(Effect::Read { .. } | Effect::Open { .. } | Effect::Note(_)) | None => {}
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    fn hand_over(&self, claimed: Box<Claimed>) {
        let sent = self.channels.report.started.send(started(&claimed)).is_ok();
        if !sent || self.channels.jobs.send(claimed).is_err() {
            log::error!(
                "an attempt was claimed and there is no worker left to run it; its lease will end it"
            );
        }
    }

    /// Which workers wake the thread by becoming free, and how long it waits: while a claim lingers for more of them, none does.
    fn attention(&self) -> (Receiver<()>, Duration) {
        if self.claimer.lingers(self.now()) {
            (never(), self.wait().min(GLANCE))
        } else {
            (self.channels.idle.clone(), self.wait())
        }
    }

    fn wait(&self) -> Duration {
        self.outbox.wait(&self.claimer, self.now())
    }

    /// Tells the reporting thread what waits for it.
    fn tell(&mut self) {
        if !self.outbox.tell(&self.channels.report.tell) {
            log::debug!("the reporter has ended; an event is not written");
        }
    }

    /// Looks up what is only shown.
    fn look(&mut self) {
        if let Err((of, error)) =
            self.ends.look(self.client.as_mut(), self.outbox.tracks(), self.clock.monotonic())
        {
            log::debug!("where {}/{} ends: {error}", of.topic, of.partition);
        }
        if let Some(found) = self.runs_topic.look(self.client.as_mut(), self.clock.monotonic()) {
            self.duties.found_runs(found);
        }
    }

    fn measure(&mut self) {
        self.gauges.look(&self.channels);
        let Observe { metrics, .. } = &self.observe;
        let now = self.claimer.counts();
        metrics.duplicates.inc_by(now.copies - self.counted.copies);
        metrics.claims_refused.inc_by(now.refused - self.counted.refused);
        metrics.claims_too_late.inc_by(now.too_late - self.counted.too_late);
        self.counted = now;
        metrics.held.set(i64::try_from(self.claimer.waiting()).unwrap_or(i64::MAX));
        for (partition, end) in self.ends.iter() {
            let labels = [self.topic.as_str(), &partition.to_string()];
            metrics.lag.with_label_values(&labels).set(self.claimer.unclaimed(partition, end));
        }
    }

    /// Tells the reporting thread what was found and not told yet, if it takes that in time.
    fn tell_the_rest(&mut self) {
        self.tell();
        while !self.outbox.is_done(&self.claimer, self.clock.monotonic()) {
            // Whichever message it is, there may be room by then.
            let _rung = self.clock.alarm(FIRST_REST).recv();
            self.tell();
        }
    }
}

#[cfg(test)]
mod tests;
