//! The membership, leadership and run-tracker threads: they know whether we lead, and what has become of attempts.

use std::time::Duration;

use kafka_cron::common::clock::Now;
use kafka_cron::producer::leadership::{Effect, Event};
use kafka_cron::producer::run_tracker as tracker;
use kafka_cron::producer::run_tracker::messages::{FollowRequest, RunNews};

use super::{Producer, Thread};
use crate::bugs::Bug;
use crate::world::World;

impl Producer {
    pub(super) fn membership(&mut self, world: &mut World, now: Now) -> Duration {
        if self.rounds.is_due(now.mono) {
            let (change, wait) = self.member.step(self.members_client.as_mut(), now.mono);
            self.standing.tell(self.member.proven_holder());
            if let Some(change) = &change {
                world.say(&self.name, || format!("membership: {change:?}"));
            }
            self.rounds.stepped(change, now.mono, wait);
        }
        self.rounds.send(&self.changes);
        if !self.changed.is_empty() {
            self.wake(Thread::Lead, now.mono);
        }
        self.rounds.wait(now.mono)
    }

    pub(super) fn lead(&mut self, world: &mut World, now: Now) -> Duration {
        let (effects, wait) = self.leadership.step(self.leads_client.as_mut(), now);
        for effect in effects {
            if let Some(event) = effect.for_membership() {
                self.member.handle(event);
                self.rounds.is_asked();
                self.wake(Thread::Membership, now.mono);
            }
            self.say(world, effect, now);
        }
        let cursors = || self.ends.cursors.try_recv().ok().map(Event::Cursors);
        if let Some(event) = self.changed.try_recv().ok().map(Event::Membership).or_else(cursors) {
            for effect in self.leadership.handle(event) {
                self.say(world, effect, now);
            }
            return Duration::ZERO;
        }
        wait
    }

    fn say(&mut self, world: &mut World, effect: Effect, now: Now) {
        match &effect {
            Effect::Begin { term, .. } => {
                world.oracle.ticks.begins(&self.name);
                world.oracle.overlaps.begins(&self.name, *term, now.mono);
                world.weather().counts.add("term begun", 1);
            }
            Effect::ClockBehind(_) => world.weather().counts.add("cursor ahead", 1),
            _ => {}
        }
        match &effect {
            Effect::Kept(_) => {}
            Effect::Start { start, .. } => world.say(&self.name, || format!("lead: from {}", start.cursor)),
            effect => world.say(&self.name, || format!("lead: {effect:?}")),
        }
        if self.bug == Some(Bug::BelievesAnyClock) && matches!(effect, Effect::Clock(_)) {
            return;
        }
        self.ends.leadership.try_send(effect).expect("the scheduler takes them at once");
        self.wake(Thread::Scheduler, now.mono);
    }

    pub(super) fn tracker(&mut self, world: &mut World, now: Now) -> Duration {
        let leads = self.lease.held(now.mono);
        while let Ok(ask) = self.ends.asks.try_recv() {
            let is_dropped = self.bug == Some(Bug::AsksForNoEnd) && matches!(ask, FollowRequest::End(_));
            if !is_dropped {
                self.tracker.handle(ask);
            }
        }
        let (effects, wait) = self.tracker.step(self.tails_client.as_mut(), now, leads);
        for effect in effects {
            match effect {
                tracker::Effect::Lost(_, then) => {
                    world.say(&self.name, || format!("tail: an attempt is lost, {then:?}"));
                    world.weather().counts.add("declared lost", 1);
                }
                tracker::Effect::Unclaimable(_) => world.weather().counts.add("unclaimable", 1),
                tracker::Effect::Failed(..) | tracker::Effect::Note(_) => {}
                tracker::Effect::Tell(told) => {
                    if let RunNews::ReadToEnd { term, .. } = &told {
                        world.oracle.overlaps.read_to_end(&self.name, *term);
                        world.weather().counts.add("read to the end in a term", 1);
                    }
                    self.ends.runs.try_send(told).expect("the scheduler takes them at once");
                }
            }
        }
        if !self.channels.runs.is_empty() {
            self.wake(Thread::Scheduler, now.mono);
        }
        // As long as the fetch in a step waits, and longer where the machine is busy.
        if wait.is_zero() { Duration::from_millis(5) } else { wait.max(world.random.span(100, 700)) }
    }
}
