//! The scheduler and publisher threads: they find what is due and publish it. The state machines are the shipped
//! ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use crossbeam_channel::TrySendError;
use kafka_cron::common::clock::Now;
use kafka_cron::common::membership::Standing;
use kafka_cron::common::model::{JobName, RunId};
use kafka_cron::common::topics::first;
use kafka_cron::producer::active_jobs::ActiveJobs;
use kafka_cron::producer::leadership::{self, Effect, LeaderLease, Term};
use kafka_cron::producer::publisher::{Confirmed, Encoded, Progress};
use kafka_cron::producer::run_tracker::messages::{FollowRequest, RunNews};
use kafka_cron::producer::run_tracker::open_runs::OpenRun;
use kafka_cron::producer::scheduler::messages as scheduler;
use kafka_cron::producer::scheduler::messages::{Channels, Event, Report};

use super::{Producer, Thread, file_of};
use crate::bugs::Bug;
use crate::jobs;
use crate::world::{SESSION, World, cluster};

/// The longest wait of the scheduler.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Producer {
    pub(super) fn timer(&mut self, world: &mut World, now: Now) -> Duration {
        if let Some(by) = self.leaves_by {
            self.handle(world, Event::Stop, now);
            while let Ok(confirmed) = self.channels.confirmed.try_recv() {
                self.handle(world, Event::Confirmed(confirmed), now);
            }
            if self.scheduler.is_busy() && now.mono < by {
                return Duration::from_millis(50);
            }
            self.finish(world, now);
            return LONGEST_WAIT;
        }
        let event = self.next_event(world, now);
        self.handle(world, event, now);
        let Channels { leadership, confirmed, runs, .. } = &self.channels;
        if !leadership.is_empty() || !confirmed.is_empty() || !runs.is_empty() {
            return Duration::ZERO;
        }
        let wait = self.scheduler.wait(now).max(Duration::from_millis(1));
        if self.outbox.is_empty() { wait } else { wait.min(LONGEST_WAIT / 10) }
    }

    /// One event of one channel, whichever is ready.
    fn next_event(&mut self, world: &mut World, now: Now) -> Event {
        if let Some(file) = self.look_at_file(world, now) {
            return Event::JobFile(file);
        }
        let first = world.random.index(3);
        for channel in [first, first + 1, first + 2] {
            let event = match channel % 3 {
                0 => self.channels.leadership.try_recv().ok().map(Event::Leadership),
                1 => self.channels.confirmed.try_recv().ok().map(Event::Confirmed),
                _ => {
                    let news: Vec<RunNews> = self.channels.runs.try_iter().collect();
                    (!news.is_empty()).then_some(Event::Runs(news))
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
        Event::Time
    }

    fn handle(&mut self, world: &mut World, event: Event, now: Now) {
        let begins =
            if let Event::Leadership(Effect::Begin { term, .. }) = &event { Some(*term) } else { None };
        self.carry_out(world, event, now);
        let news = begins.map_or(Vec::new(), |term| self.wrong_news(term));
        if !news.is_empty() {
            self.carry_out(world, Event::Runs(news), now);
        }
    }

    /// What a planted bug has the scheduler believe when a term begins.
    fn wrong_news(&self, term: Term) -> Vec<RunNews> {
        match self.bug {
            Some(Bug::DecidesBeforeTheEnd) => vec![RunNews::ReadToEnd { term, over: Arc::default() }],
            Some(Bug::BlocksByNoRun) => {
                let job = JobName::new("skips").unwrap();
                let run = RunId::of(&job, jobs::begin() - TimeDelta::minutes(1));
                vec![RunNews::Unfinished(OpenRun { job, run, scheduled_at: None })]
            }
            _ => Vec::new(),
        }
    }

    fn carry_out(&mut self, world: &mut World, event: Event, now: Now) {
        let effects = self.scheduler.handle(event, now);
        for effect in &effects {
            if let scheduler::Effect::Publish(cluster, batch) = effect {
                batch.events.iter().for_each(|event| world.oracle.decided(event, &self.name, now));
                let (ticks, events) = (batch.ticks.len(), batch.events.len());
                world.say(&self.name, || format!("timer: {ticks} ticks and {events} events are due"));
                if self.bug == Some(Bug::ConfirmsTooEarly) {
                    self.ends.confirmed.try_send(Confirmed::of(*cluster, batch)).unwrap();
                }
            }
        }
        let is_answered = |effect: &scheduler::Effect| {
            self.bug == Some(Bug::ReloadsAtOnce)
                && matches!(effect, scheduler::Effect::Ask(FollowRequest::Follow(_)))
        };
        let (asks, effects): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_answered);
        for report in self.outbox.take(effects) {
            if let Report::FileActive(revision, ..) = &report {
                world.say(&self.name, || format!("timer: {revision} is active"));
                world.weather().counts.add("job file swapped", 1);
            }
        }
        assert!(self.outbox.send(&self.channels), "no receiver is ever gone");
        for (thread, has_news) in [
            (Thread::Publish, !self.ends.batches.is_empty()),
            (Thread::Lead, !self.ends.cursors.is_empty()),
            (Thread::RunTracker, !self.ends.asks.is_empty()),
        ] {
            if has_news {
                self.wake(thread, now.mono);
            }
        }
        for ask in asks {
            if let scheduler::Effect::Ask(FollowRequest::Follow(of)) = ask {
                self.carry_out(
                    world,
                    Event::Runs(vec![RunNews::HistoryRead { of, over: Arc::default() }]),
                    now,
                );
            }
        }
    }

    /// What was handed over is written, or was waited for: the last cursors are committed, and another one may lead.
    fn finish(&mut self, world: &mut World, now: Now) {
        world.say(&self.name, || "leaves".to_owned());
        for cursors in self.ends.cursors.try_iter().chain(self.outbox.last_cursors()) {
            self.leadership.handle(leadership::Event::Cursors(cursors));
        }
        let _not_kept = self.leadership.finish(self.leads_client.as_mut(), now);
        self.standing.set(None);
        self.member.leave(self.members_client.as_mut(), now.mono);
        self.is_over = true;
    }

    /// Notices after a while that there is another job file.
    fn look_at_file(&mut self, world: &mut World, now: Now) -> Option<ActiveJobs> {
        if self.file != world.file && self.notices_at.is_none() {
            self.notices_at = Some(now.mono + world.random.span(100, 2_000));
        }
        self.notices_at.take_if(|at| *at <= now.mono)?;
        self.file = world.file;
        let file = file_of(self.file, &self.name, self.bug);
        world.oracle.overlaps.asks(&file.revision, now.mono);
        Some(file)
    }

    /// Tells the scheduler of the batch that is written, if there is one. Batches of a term that is over may have filled the
    /// channel: the publisher waits for a place.
    fn confirm(&mut self) -> bool {
        let Some(confirmed) = self.unconfirmed.take() else { return true };
        let sent = self.ends.confirmed.try_send(confirmed);
        self.unconfirmed = sent.err().map(TrySendError::into_inner);
        self.unconfirmed.is_none()
    }

    pub(super) fn publish(&mut self, world: &mut World, now: Now) -> Duration {
        let lease = self.lease_of_publisher(now.mono);
        if self.publishes_for(&lease, now.mono) {
            world.oracle.ticks.writes(&self.name);
        }
        if !self.confirm() {
            self.wake(Thread::Scheduler, now.mono);
            return Duration::from_millis(20);
        }
        let (_effects, progress) = self.publishing.step(self.publishes.as_mut(), &lease, now);
        match progress {
            Progress::Idle => {
                let Ok(batch) = self.ends.batches.try_recv() else { return LONGEST_WAIT };
                self.writing = Some(batch.term);
                self.publishing.take(Encoded::new(&first(&cluster()).into(), batch));
                self.rest = Duration::from_millis(50);
                Duration::ZERO
            }
            Progress::Waits => Duration::from_millis(100),
            Progress::GoesOn => Duration::ZERO,
            Progress::Failed { error, .. } => {
                world.say(&self.name, || format!("publish: {error}"));
                let rest = self.rest;
                self.rest = (rest * 2).min(Duration::from_secs(2));
                rest
            }
            Progress::Done(confirmed) => {
                self.writing = None;
                self.unconfirmed = Some(confirmed).filter(|_| self.bug != Some(Bug::ConfirmsTooEarly));
                self.confirm();
                self.wake(Thread::Scheduler, now.mono);
                Duration::ZERO
            }
            Progress::Abandoned => {
                self.writing = None;
                world.say(&self.name, || "publish: a batch is left".to_owned());
                world.weather().counts.add("batch left to the next leader", 1);
                Duration::ZERO
            }
        }
    }

    /// The publisher's, or one that always holds.
    fn lease_of_publisher(&self, now: Instant) -> LeaderLease {
        match (self.bug, self.writing) {
            (Some(Bug::WritesWithoutMandate), Some(term)) => {
                let standing = Standing::new(now);
                standing.set(Some(now));
                let lease = LeaderLease::new(standing, SESSION);
                lease.grant(term, 0);
                lease
            }
            _ => self.lease.clone(),
        }
    }

    fn publishes_for(&self, lease: &LeaderLease, now: Instant) -> bool {
        self.writing.is_some_and(|term| lease.holds(term, now))
    }
}
