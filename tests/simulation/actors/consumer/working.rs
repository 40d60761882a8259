//! The threads `worker-N`, whose processes are spans of virtual time, and the reporting thread.

use std::time::Duration;

use chrono::DateTime;
use kafka_cron::common::clock::Now;
use kafka_cron::common::model::Outcome;
use kafka_cron::common::passing::Fit;
use kafka_cron::consumer::claiming::machine::Claimed;
use kafka_cron::consumer::reporting::messages::{Effect, Event};
use kafka_cron::consumer::reporting::reports::Report;

use super::{Busy, Consumer, Thread, what};
use crate::bugs::Bug;
use crate::world::World;

impl Consumer {
    pub(super) fn worker(&mut self, world: &mut World, now: Now, number: usize) -> Option<Duration> {
        match self.workers[number].take() {
            Some(mut busy) if self.is_ordered(&busy.claimed) && !busy.is_replaced => {
                // It gets TERM, and ends within its grace.
                busy.is_replaced = true;
                busy.ends = busy.ends.min(now.mono + world.random.span(1, 2_000));
                self.workers[number] = Some(busy);
                return Some(Duration::from_millis(1));
            }
            Some(busy) if busy.ends > now.mono => {
                let wait = busy.ends - now.mono;
                self.workers[number] = Some(busy);
                return Some(wait);
            }
            // The channel is full: it waits with what it has to say.
            Some(busy) if self.tell.is_full() => {
                self.workers[number] = Some(busy);
                return Some(Duration::from_millis(100));
            }
            Some(Busy { claimed, started_at, is_replaced, was_started, .. }) => {
                let good = world.random.chance(550);
                let outcome = match is_replaced {
                    true => Outcome::Replaced,
                    false if good => Outcome::Succeeded,
                    false => Outcome::Failed { code: 1 },
                };
                let writes = world.sizes.are_small() && world.random.chance(300);
                let output_tail = if writes { "x".repeat(400) } else { String::new() };
                let report = Report {
                    claimed,
                    outcome,
                    started_at,
                    ended_at: if was_started { now.wall } else { started_at },
                    output_bytes: 0,
                    output_tail,
                    fit: Fit::Whole,
                    is_terse: false,
                };
                self.tell.try_send(Event::Ended(Box::new(report))).expect("it has room");
                self.wake(Thread::Reporter, now.mono);
                self.idle += 1;
                self.wake(Thread::Claiming, now.mono);
            }
            None => {}
        }
        let claimed = self.jobs.pop_front()?;
        if self.is_ordered(&claimed) {
            world.say(&self.name, || format!("worker-{number}: starts not {}", what(&claimed)));
            let (started_at, ends) = (now.wall, now.mono);
            self.workers[number] =
                Some(Busy { claimed, started_at, ends, is_replaced: true, was_started: false });
            return Some(Duration::ZERO);
        }
        let name = &self.name;
        world.say(name, || format!("worker-{number}: starts {}", what(&claimed)));
        world.oracle.started(&claimed, name);
        let takes = if world.random.chance(80) {
            world.random.span(5_000, 16_000)
        } else {
            world.random.span(20, 4_000)
        };
        self.workers[number] = Some(Busy {
            claimed,
            started_at: now.wall,
            ends: now.mono + takes,
            is_replaced: false,
            was_started: true,
        });
        Some(takes)
    }

    /// Whether the worker knows that the run is to end.
    fn is_ordered(&self, claimed: &Claimed) -> bool {
        let published_at = DateTime::from_timestamp_millis(claimed.published_ms).unwrap_or_default();
        let is_ordered = self.ordered.has(claimed.attempt.run.id, published_at);
        self.seat.bug != Some(Bug::StartsWhatIsReplaced) && is_ordered
    }

    pub(super) fn report(&mut self, world: &mut World, now: Now) -> Duration {
        // An end comes after its start.
        self.starts.drain(..).map(Event::Started).for_each(|event| drop(self.reporting.handle(event)));
        if self.reporting.takes() {
            self.told.try_iter().for_each(|event| drop(self.reporting.handle(event)));
        }
        for effect in self.reporting.step(self.reports_client.as_mut(), now) {
            match effect {
                Effect::PassedOn(report) => world.say(&self.name, || {
                    format!("reporter: {} has {}", what(&report.claimed), report.outcome)
                }),
                Effect::Clock(_) | Effect::ClockUnknown(_) => self.is_clock_settled = true,
                _ => {}
            }
        }
        let is_next = self.reporting.takes() && !self.told.is_empty();
        if is_next { Duration::ZERO } else { self.reporting.wait(now.mono) }
    }
}
