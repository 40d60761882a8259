//! The threads `worker-N`, whose processes are spans of virtual time, and the reporting thread.

use std::time::Duration;

use kafka_cron::common::model::Outcome;
use kafka_cron::common::passing::Fit;
use kafka_cron::consumer::claiming::machine::Now;
use kafka_cron::consumer::reporting::machine as reporting;
use kafka_cron::consumer::reporting::machine::Tell;
use kafka_cron::consumer::reporting::reports::Report;

use super::{Busy, Consumer, Thread, what};
use crate::world::World;

impl Consumer {
    pub(super) fn worker(&mut self, world: &mut World, now: Now, number: usize) -> Option<Duration> {
        match self.workers[number].take() {
            Some(busy) if busy.ends > now.mono => {
                let wait = busy.ends - now.mono;
                self.workers[number] = Some(busy);
                return Some(wait);
            }
            // The channel is full: it waits with what it has to say.
            Some(busy) if self.tells.len() >= self.workers.len() * 2 + 2 => {
                self.workers[number] = Some(busy);
                return Some(Duration::from_millis(100));
            }
            Some(Busy { claimed, started_at, .. }) => {
                let good = world.random.chance(550);
                let outcome = if good { Outcome::Succeeded } else { Outcome::Failed { code: 1 } };
                let writes = world.sizes.are_small() && world.random.chance(300);
                let output_tail = if writes { "x".repeat(400) } else { String::new() };
                let report = Report {
                    claimed,
                    outcome,
                    started_at,
                    ended_at: now.wall,
                    output_bytes: 0,
                    output_tail,
                    fit: Fit::Whole,
                    is_terse: false,
                };
                self.tell(Tell::Ended(Box::new(report)), now);
                self.idle += 1;
                self.wake(Thread::Claiming, now.mono);
            }
            None => {}
        }
        let claimed = self.jobs.pop_front()?;
        let name = &self.name;
        world.say(name, || format!("worker-{number}: starts {}", what(&claimed)));
        world.oracle.started(&claimed, name);
        let takes = if world.random.chance(80) {
            world.random.span(5_000, 16_000)
        } else {
            world.random.span(20, 4_000)
        };
        self.workers[number] = Some(Busy { claimed, started_at: now.wall, ends: now.mono + takes });
        Some(takes)
    }

    pub(super) fn tell(&mut self, tell: Tell, now: Now) {
        self.tells.push_back(tell);
        self.wake(Thread::Reporter, now.mono);
    }

    pub(super) fn report(&mut self, world: &mut World, now: Now) -> Duration {
        self.starts.drain(..).for_each(|running| self.reporting.started(running));
        if self.reporting.has_room() {
            self.tells.drain(..).for_each(|tell| self.reporting.take(tell));
        }
        for effect in self.reporting.step(self.reports_client.as_mut(), now) {
            if let reporting::Effect::PassedOn(report) = effect {
                world.say(&self.name, || {
                    format!("reporter: {} has {}", what(&report.claimed), report.outcome)
                });
            }
        }
        if !self.tells.is_empty() {
            return Duration::ZERO;
        }
        self.reporting.next(now.mono).saturating_duration_since(now.mono)
    }
}
