//! The claiming thread, whose name is `dispatch`: it feeds the [`Claimer`] with what arrives and carries out its effects.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use super::channels::{Channels, MEMBER, Observe};
use super::duties::Duties;
use super::lag::Ends;
use super::linger::Linger;
use super::machine::{Call, Claimed, Claimer, Counts, Effect, FIRST_REST, Now, Options};
use crate::common::broker::{Client, TopicPartition};
use crate::common::clock::{Clock, CorrectedClock};
use crate::common::http::Fact;
use crate::common::membership::Change;
use crate::common::model::Event;
use crate::common::thread::{Joined, spawn};
use crate::common::topics;
use crate::consumer::channel_gauges::ChannelGauges;
use crate::consumer::fetching::fetcher::{Chunk, Track, What};
use crate::consumer::fetching::poll::Plan;
use crate::consumer::reporting::thread as reporter;
use crate::consumer::reporting::thread::Tell;

/// How long a claim that is under way when we stop may still be answered.
const LAST_ANSWER: Duration = Duration::from_secs(3);

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
    /// Until then the first claim waits for the reporting thread to compare the clock with the broker's.
    claims_by: Option<Instant>,
    channels: Channels,
    observe: Observe,
    gauges: ChannelGauges,
    topic: String,
    generation: i32,
    ends: Ends,
    duties: Duties,
    /// When the topic of claims is looked up next.
    look_at_runs: Instant,
    counted: Counts,
    tracks: Plan,
    /// A plan that `poll` has not taken yet.
    plan: Option<Plan>,
    free: usize,
    /// The linger of claims.
    pace: Linger,
    /// What this thread still has to tell the reporting thread.
    notes: VecDeque<Event>,
}

/// How often the topic of claims is looked up, and how long that may take.
const LOOK_AT_RUNS: Duration = Duration::from_secs(5);
const RUNS_PATIENCE: Duration = Duration::from_secs(1);

/// How long the first claim waits for the comparison of clocks. What keeps it from being made mostly keeps claims from being
/// written as well, and the duty `clock` tells of it.
const CLOCK_PATIENCE: Duration = Duration::from_secs(15);

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
            look_at_runs: clock.monotonic(),
            claimer: Claimer::new(options),
            client,
            gauges: ChannelGauges::new(&observe.metrics, &channels),
            generation: -1,
            ends: Ends::new(clock.monotonic()),
            clock,
            claims_by: None,
            counted: Counts::default(),
            tracks: Vec::new(),
            plan: None,
            free: 0,
            // Half of the workers run attempts while the thread claims for the others.
            pace: Linger::new(channels.jobs.capacity().unwrap_or(0) / 2),
            channels,
            observe,
            notes: VecDeque::new(),
        }
    }

    /// Runs until the other end of `stopped` is gone, or the thread cannot go on.
    fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            select! {
                recv(self.channels.changes) -> change => match change {
                    Ok(change) => if !self.changed(&change) { return },
                    Err(_) => return,
                },
                recv(self.channels.chunks) -> chunk => match chunk {
                    Ok(chunk) => self.read(chunk),
                    Err(_) => return,
                },
                recv(self.channels.idle) -> _ => self.free += 1,
                recv(stopped) -> _ => return self.finish(),
                recv(self.clock.alarm(self.wait())) -> _ => {}
            }
            self.turn();
        }
    }

    /// The work that follows each message, whichever it was.
    fn turn(&mut self) {
        self.free += self.channels.idle.try_iter().count();
        // By the host's clock, so that the metric shows how wrong it is.
        self.observe.beat.touch(self.clock.host().now());
        // Nothing more is claimed while the reporting thread has no room for what was found.
        if self.tell() {
            self.step();
        }
        self.set_gates();
        self.ends.look(self.client.as_mut(), &self.tracks, self.clock.monotonic());
        self.look_at_runs();
        self.measure();
    }

    /// Returns `false` when the thread cannot go on.
    fn changed(&mut self, change: &Change) -> bool {
        if let Change::Assigned { holder, partitions, .. } = change {
            self.generation = holder.generation;
            let numbers: Vec<i32> = partitions.iter().map(|p| p.partition).collect();
            log::info!("{}: generation {}, partitions {numbers:?}", self.topic, holder.generation);
            self.observe.metrics.rebalances.inc();
            self.observe.health.set(MEMBER, Fact::Ready);
        } else {
            self.observe.health.set(MEMBER, Fact::NotReady("no member at present".to_owned()));
        }
        self.observe.metrics.lag.reset();
        self.ends.clear();
        self.claimer.changed(change);
        self.tracks.clear();
        self.plan = Some(Vec::new());
        *change != Change::Fenced
    }

    /// Only what was read by the newest plan counts. A chunk of an older one may lie behind a gap, or be of a log that
    /// was made anew since, even under the same generation.
    fn read(&mut self, chunk: Chunk) {
        let Chunk { track, what } = chunk;
        if !is_of(&track, &self.tracks) {
            return;
        }
        match what {
            What::Records { slice, end } => {
                self.ends.told(track.of.partition, end);
                self.claimer.read(track.generation, track.of.partition, slice);
            }
            What::NoPosition => self.claimer.lost_position(track.generation, track.of.partition),
        }
    }

    fn step(&mut self) {
        self.step_once();
        if self.claimer.has_granted() {
            // With the time as it is after the answer.
            self.pace.went(self.clock.monotonic());
            self.step_once();
        }
    }

    fn step_once(&mut self) {
        let now = self.now();
        let mut failed = Vec::new();
        if self.free > 0 && self.claims_by.is_none() {
            self.claims_by = Some(now.mono + CLOCK_PATIENCE);
        }
        let claims = self.pace.wait(self.free, now.mono).is_zero() && !self.waits_for_clock(now.mono);
        let free = if claims { self.free } else { 0 };
        for effect in self.claimer.step(self.client.as_mut(), now, free) {
            match effect {
                Effect::Start(claimed) => self.hand_over(claimed),
                Effect::JoinAsNew => {
                    log::warn!(
                        "a commit may still be under way; joining under a new member id before the next claim"
                    );
                    self.channels.membership.join_as_new();
                }
                Effect::Read(offsets) => self.read_from(&offsets),
                Effect::Failed(failure) => {
                    let metrics = &self.observe.metrics;
                    let failures = match failure.call {
                        Call::Load | Call::Claim | Call::Letter => &metrics.claim_failures,
                        Call::ReadAgain => &metrics.fetch_failures,
                        Call::Commit => &metrics.commit_failures,
                    };
                    metrics.failed(failures, failure.error.word());
                    self.duties.failed(&failure);
                    failed.push(failure.call);
                }
                Effect::Letter(reason) => self.observe.metrics.dead_letter(reason.word()),
                Effect::Note(event) => self.notes.push_back(event),
            }
        }
        self.duties.look(&self.claimer, &failed);
        if let Some(plan) = self.plan.take() {
            match self.channels.poll.plans.try_send(plan) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                Err(TrySendError::Full(plan)) => self.plan = Some(plan),
            }
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    /// Whether the clock has not been compared yet, and that has not been waited for long enough.
    fn waits_for_clock(&self, now: Instant) -> bool {
        !self.clock.is_settled() && self.claims_by.is_none_or(|by| now < by)
    }

    fn hand_over(&mut self, claimed: Box<Claimed>) {
        self.free = self.free.saturating_sub(1);
        let sent = self.channels.report.started.send(reporter::started(&claimed)).is_ok();
        if !sent || self.channels.jobs.send(claimed).is_err() {
            log::error!(
                "an attempt was claimed and there is no worker left to run it; its lease will end it"
            );
        }
    }

    /// Sends the reporting thread what waits for it. Returns `false` while there is no room for it.
    fn tell(&mut self) -> bool {
        while let Some(event) = self.notes.pop_front() {
            match self.channels.report.tell.try_send(Tell::Note(event)) {
                Ok(()) => {}
                Err(TrySendError::Full(Tell::Note(event))) => {
                    self.notes.push_front(event);
                    return false;
                }
                Err(_) => log::debug!("the reporter has ended; an event is not written"),
            }
        }
        true
    }

    fn read_from(&mut self, offsets: &[(i32, i64)]) {
        let track = |(partition, next): &(i32, i64)| {
            Arc::new(Track {
                of: TopicPartition { topic: self.topic.clone(), partition: *partition },
                generation: self.generation,
                next: AtomicI64::new(*next),
                open: AtomicBool::new(true),
            })
        };
        self.tracks = offsets.iter().map(track).collect();
        self.plan = Some(self.tracks.clone());
    }

    /// Looks up the topic of claims now and then: where it is gone, nothing that comes can be run.
    fn look_at_runs(&mut self) {
        let now = self.clock.monotonic();
        if now >= self.look_at_runs {
            let found = self.client.topic(topics::RUNS, now + RUNS_PATIENCE).map(|topic| topic.is_some());
            self.duties.found_runs(found);
            self.look_at_runs = self.clock.monotonic() + LOOK_AT_RUNS;
        }
    }

    fn set_gates(&self) {
        for track in &self.tracks {
            track.open.store(!self.claimer.is_full(track.of.partition), Ordering::Release);
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

    /// The thread wakes at least once a second, because the wall clock may jump, and waits a moment after a failure.
    fn wait(&self) -> Duration {
        if !self.notes.is_empty() {
            return FIRST_REST;
        }
        let now = self.now();
        let wait = self.claimer.wait(now, self.free);
        if self.claimer.is_busy() || self.claimer.is_resting() {
            return wait;
        }
        if self.plan.is_some() || (self.free > 0 && self.waits_for_clock(now.mono)) {
            return FIRST_REST;
        }
        let linger = self.pace.wait(self.free, now.mono);
        if linger.is_zero() { wait } else { wait.min(linger) }
    }

    /// A claim that is under way is still ours if its answer comes now.
    fn finish(&mut self) {
        let until = self.clock.monotonic() + LAST_ANSWER;
        while self.claimer.has_pending() && self.clock.monotonic() < until {
            self.step();
        }
        while !self.tell() && self.clock.monotonic() < until {
            // Whichever message it is, there may be room by then.
            let _rung = self.clock.alarm(FIRST_REST).recv();
        }
    }
}

fn is_of(track: &Arc<Track>, plan: &Plan) -> bool {
    plan.iter().any(|planned| Arc::ptr_eq(planned, track))
}

#[cfg(test)]
mod tests;
