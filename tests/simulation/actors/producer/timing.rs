//! The scheduler and publisher threads: they find what is due and publish it. The state machines are the shipped
//! ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use kafka_cron::common::clock;
use kafka_cron::common::membership::Standing;
use kafka_cron::common::model::{JobName, RunId};
use kafka_cron::common::topics::first;
use kafka_cron::consumer::claiming::machine::Now;
use kafka_cron::producer::leadership::{Effect, LeaderLease, Start};
use kafka_cron::producer::publisher::{Batch, Confirmed, Encoded, Progress};
use kafka_cron::producer::run_tracker::messages::RunNews;
use kafka_cron::producer::run_tracker::open_runs::OpenRun;
use kafka_cron::producer::scheduler::machine::Scheduler;

use super::{Producer, Thread, file_of};
use crate::bugs::Bug;
use crate::jobs;
use crate::world::{SESSION, World, cluster};

/// The longest wait of the scheduler.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Producer {
    pub(super) fn timer(&mut self, world: &mut World, now: Now) -> Duration {
        if let Some(by) = self.leaves_by {
            self.confirmed.drain(..).for_each(|confirmed| self.timing.confirmed(confirmed));
            if self.timing.is_busy() && now.mono < by {
                return Duration::from_millis(50);
            }
            self.finish(world, now);
            return LONGEST_WAIT;
        }
        self.look_at_file(world, now);
        while let Some(told) = self.news.pop_front() {
            self.timing.told(&told);
        }
        // One message of one channel, whichever.
        let first = world.random.chance(500);
        if first && let Some(confirmed) = self.confirmed.pop_front() {
            self.timing.confirmed(confirmed);
        } else if let Some(act) = self.told.pop_front() {
            self.led(act, now);
        } else if let Some(confirmed) = self.confirmed.pop_front() {
            self.timing.confirmed(confirmed);
        }
        let is_suspended = self.hand_over(world, now);
        let older = self.keep.take();
        if let Some(keep) = self.timing.keep(now.wall).or(older) {
            if self.kept.is_none() {
                self.kept = Some(keep);
                self.wake(Thread::Lead, now.mono);
            } else {
                self.keep = Some(keep);
            }
        }
        if !self.told.is_empty() || !self.confirmed.is_empty() {
            return Duration::ZERO;
        }
        let soon = LONGEST_WAIT / 10;
        let longest = if self.keep.is_some() { soon } else { LONGEST_WAIT };
        if is_suspended { soon } else { self.timing.wait(now.wall, longest).max(Duration::from_millis(1)) }
    }

    fn led(&mut self, act: Effect, now: Now) {
        match act {
            Effect::Begin { epoch, losses } => {
                self.timing.begin(epoch);
                self.lease.grant(epoch, losses);
                if self.bug == Some(Bug::DecidesBeforeTheEnd) {
                    self.timing.told(&RunNews::ReadToEnd { term: epoch, over: Arc::default() });
                }
                if self.bug == Some(Bug::BlocksByNoRun) {
                    let job = JobName::new("skips").unwrap();
                    let run = RunId::of(&job, jobs::begin() - TimeDelta::minutes(1));
                    self.timing.told(&RunNews::Unfinished(OpenRun { job, run, scheduled_at: None }));
                }
            }
            Effect::Start { epoch, cluster, start } => self.start(epoch, cluster, start, now),
            Effect::End => {
                self.lease.grant(0, 0);
                self.timing.end();
                self.keep = None;
            }
            Effect::Kept(_)
            | Effect::ClockBehind(_)
            | Effect::ClockOff(_)
            | Effect::GiveWay(_)
            | Effect::Clock(_)
            | Effect::Failed(_) => {}
        }
    }

    fn start(&mut self, epoch: u64, cluster: usize, start: Start, now: Now) {
        self.timing.start(epoch, cluster, start, now.wall);
    }

    /// Hands over what is due and has room. Returns whether it must not, although we lead.
    fn hand_over(&mut self, world: &mut World, now: Now) -> bool {
        if !self.lease.holds(self.timing.epoch(), now.mono) {
            return self.timing.epoch() != 0;
        }
        while let Some((cluster, batch)) = self.timing.next_batch(now.wall) {
            let (ticks, events) = (batch.ticks.len(), batch.events.len());
            for event in &batch.events {
                world.oracle.decided(event, now);
            }
            world.say(&self.name, || format!("timer: {ticks} ticks and {events} events are due"));
            if self.bug == Some(Bug::ConfirmsTooEarly) {
                let Batch { epoch, kind, .. } = batch;
                self.confirmed.push_back(Confirmed { epoch, kind, cluster, refused: Vec::new() });
            }
            self.batches.push_back(batch);
            self.wake(Thread::Publish, now.mono);
        }
        false
    }

    /// What was handed over is written, or was waited for: the last cursors are kept, and another one may lead.
    fn finish(&mut self, world: &mut World, now: Now) {
        world.say(&self.name, || "leaves".to_owned());
        let older = self.keep.take();
        if let Some(keep) = self.timing.keep(now.wall).or(older) {
            self.leadership.keep(keep);
        }
        self.leadership.finish(self.leads_client.as_mut(), now);
        self.standing.set(None);
        self.member.leave(self.members_client.as_mut(), now.mono);
        self.is_over = true;
    }

    /// Notices that there is another job file, and makes it active when the unfinished runs of its jobs are known.
    fn look_at_file(&mut self, world: &mut World, now: Now) {
        if self.file != world.file && self.notices_at.is_none() {
            self.notices_at = Some(now.mono + world.random.span(100, 2_000));
        }
        if self.notices_at.take_if(|at| *at <= now.mono).is_some() {
            self.file = world.file;
            let file = file_of(self.file, &self.name, self.bug);
            world.oracle.overlaps.asks(&file.revision, now.mono);
            if self.bug == Some(Bug::ReloadsAtOnce) {
                let of = Scheduler::overlapping(&file);
                self.timing.told(&RunNews::HistoryRead { of, over: Arc::default() });
            }
            self.coming.take(file, &self.timing);
        }
        if let Some(revision) = self.coming.bring_in_force(&mut self.timing, now.wall) {
            world.say(&self.name, || format!("timer: {revision} is in force"));
            world.weather().counts.add("job file swapped", 1);
        }
    }

    pub(super) fn publish(&mut self, world: &mut World, now: Now) -> Duration {
        let at = clock::Now { wall: now.wall, mono: now.mono };
        let lease = self.mandate_of_publisher(now.mono);
        if self.publishes_for(&lease, now.mono) {
            world.oracle.ticks.writes(&self.name);
        }
        match self.publishing.step(self.publishes.as_mut(), &lease, at) {
            Progress::Idle => {
                let Some(batch) = self.batches.pop_front() else { return LONGEST_WAIT };
                self.writing = Some(batch.epoch);
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
                if self.bug != Some(Bug::ConfirmsTooEarly) {
                    self.confirmed.push_back(confirmed);
                }
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
    fn mandate_of_publisher(&self, now: Instant) -> LeaderLease {
        match (self.bug, self.writing) {
            (Some(Bug::WritesWithoutMandate), Some(epoch)) => {
                let standing = Standing::new(now);
                standing.set(Some(now));
                let lease = LeaderLease::new(standing, SESSION);
                lease.grant(epoch, 0);
                lease
            }
            _ => self.lease.clone(),
        }
    }

    fn publishes_for(&self, lease: &LeaderLease, now: Instant) -> bool {
        self.writing.is_some_and(|epoch| lease.holds(epoch, now))
    }
}
