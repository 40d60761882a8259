//! The threads `timer` and `publish-CLUSTER`: what is due, and how it comes on record. The timer's state machine is the
//! shipped one. The publisher writes as the program's does, with the shipped writer and mandate.

use std::sync::Arc;
use std::time::Duration;

use kafka_cron::common::outgoing::Outgoing;
use kafka_cron::common::words::{Attempt, Event};
use kafka_cron::common::{topics, wire};
use kafka_cron::consumer::dispatcher::Now;
use kafka_cron::producer::leadership::{Act, Start};
use kafka_cron::producer::publisher::{Batch, Confirmed};

use super::leading::by_both;
use super::{Producer, Thread};
use crate::bugs::Bug;
use crate::world::{CLUSTER, World};

/// A batch that is being written.
pub(super) struct Going {
    batch: Batch,
    left: Vec<Outgoing>,
}

/// The longest wait of the timer.
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
        if let Some(keep) = self.timing.keep(now.wall).or_else(|| self.keep.take()) {
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

    fn led(&mut self, act: Act, now: Now) {
        match act {
            Act::Begin { epoch, losses } => {
                self.timing.begin(epoch);
                self.mandate.grant(epoch, losses);
            }
            Act::Lane { epoch, cluster, start } => self.start(epoch, cluster, start, now),
            Act::End => {
                self.mandate.grant(0, 0);
                self.timing.end();
                self.keep = None;
            }
            Act::Kept(_) | Act::ClockBehind(_) | Act::ClockOff(_) | Act::Clock(_) | Act::Failed(_) => {}
        }
    }

    fn start(&mut self, epoch: u64, cluster: usize, start: Start, now: Now) {
        self.timing.start(epoch, cluster, start, now.wall);
    }

    /// Hands over what is due and has room. Returns whether it must not, although we lead.
    fn hand_over(&mut self, world: &mut World, now: Now) -> bool {
        if !self.mandate.holds(self.timing.epoch(), now.mono) {
            return self.timing.epoch() != 0;
        }
        while let Some((cluster, batch)) = self.timing.next_batch(now.wall) {
            let (ticks, events) = (batch.ticks.len(), batch.events.len());
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
        if let Some(keep) = self.timing.keep(now.wall).or_else(|| self.keep.take()) {
            self.leadership.keep(keep);
        }
        self.leadership.finish(self.leads_client.as_mut(), by_both(now));
        self.standing.set(None);
        self.member.leave(self.members_client.as_mut(), now.mono);
        self.is_over = true;
    }

    pub(super) fn publish(&mut self, world: &mut World, now: Now) -> Duration {
        if self.going.is_none() {
            let Some(batch) = self.batches.pop_front() else { return LONGEST_WAIT };
            let events = batch.events.iter().filter_map(of_event);
            let left = batch.ticks.iter().map(|tick| message(tick, &batch.revision)).chain(events).collect();
            self.going = Some(Going { batch, left });
            self.rest = Duration::from_millis(50);
        }
        let Some(Going { batch, left }) = self.going.take() else { return LONGEST_WAIT };
        if !self.mandate.is_over(batch.epoch) && !self.mandate.holds(batch.epoch, now.mono) {
            self.going = Some(Going { batch, left });
            return Duration::from_millis(100);
        }
        if self.mandate.is_over(batch.epoch) {
            world.say(&self.name, || format!("publish: {} records are left", left.len()));
            world.weather().counts.add("batch left to the next leader", 1);
            return Duration::ZERO;
        }
        world.oracle.ticks.writes(&self.name);
        let by = now.mono + Duration::from_secs(3);
        let timestamp_ms = now.wall.timestamp_millis();
        let unwritten = self.writer.write(self.publishes.as_mut(), left, timestamp_ms, by);
        let left: Vec<Outgoing> = unwritten.into_iter().flat_map(|unwritten| unwritten.records).collect();
        world.say(&self.name, || format!("publish: {} records are not confirmed", left.len()));
        if left.is_empty() {
            let Batch { epoch, kind, .. } = batch;
            if self.bug != Some(Bug::ConfirmsTooEarly) {
                self.confirmed.push_back(Confirmed { epoch, kind, cluster: 0, refused: Vec::new() });
            }
            self.wake(Thread::Timer, now.mono);
            return Duration::ZERO;
        }
        self.going = Some(Going { batch, left });
        let rest = self.rest;
        self.rest = (rest * 2).min(Duration::from_secs(2));
        rest
    }
}

fn message(tick: &kafka_cron::producer::timetable::Tick, revision: &str) -> Outgoing {
    let run = tick.job.run(tick.at, revision);
    let attempts_left = run.retry.retries;
    let key = run.id.to_string().into();
    let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left, not_before: None };
    Outgoing { topic: Arc::from(CLUSTER), key, value: wire::encode(&attempt) }
}

fn of_event(event: &Event) -> Option<Outgoing> {
    let Event::Missed { job, .. } = event else { return None };
    let key = job.as_str().to_owned().into();
    Some(Outgoing { topic: topics::RUNS.into(), key, value: wire::encode(event) })
}
