//! The claiming thread drives the [`Claimer`](kafka_cron::consumer::claiming::machine::Claimer) as the program's does.

use std::time::Duration;

use kafka_cron::common::bounds::DUPLICATE_WINDOW;
use kafka_cron::common::clock::Now;
use kafka_cron::common::membership::{self, Change};
use kafka_cron::consumer::claiming::machine::{Claimed, Effect, Event};
use kafka_cron::consumer::claiming::position::{LogEnds, resume};
use kafka_cron::consumer::fetching::fetcher::{Chunk, What};
use kafka_cron::consumer::orders::messages::News;
use kafka_cron::consumer::reporting::messages as reporting;
use kafka_cron::consumer::reporting::messages::started;

use super::{Consumer, Thread, what};
use crate::bugs::Bug;
use crate::world::{World, partition};

/// How long the thread waits for room where it has ended but for what it has to tell.
const ROOM: Duration = Duration::from_millis(20);

impl Consumer {
    pub(super) fn dispatch(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        if !self.dispatches {
            return None;
        }
        if self.claimer.listens()
            && let Some(event) = self.listen(world)
        {
            self.handle(world, event, now);
        }
        if self.claimer.is_over(now.mono) {
            self.send_notes(now);
            if !self.outbox.is_done(&self.claimer, now.mono) {
                return Some(ROOM);
            }
            self.stop_taking(world, now);
            return None;
        }
        let free = std::mem::take(&mut self.idle);
        self.handle(world, Event::WorkersFree(free), now);
        if self.is_clock_settled {
            self.handle(world, Event::ClockSettled, now);
        }
        self.send_notes(now);
        if self.outbox.lets_step(&self.claimer) {
            for effect in self.claimer.step(self.client.as_mut(), now) {
                self.carry_out(world, effect, now);
            }
            world.oracle.counts(&self.name, self.claimer.counts());
        }
        self.send_notes(now);
        self.outbox.send_plan(&self.plans);
        if !self.planned.is_empty() {
            self.wake(Thread::Fetch, now.mono);
        }
        let has_news = !self.changed.is_empty() || !self.chunks.is_empty() || !self.news.is_empty();
        let has_news = has_news || self.is_asked_to_leave;
        let is_next = has_news && self.claimer.listens();
        Some(if is_next { Duration::ZERO } else { self.outbox.wait(&self.claimer, now) })
    }

    /// Takes one message of one channel, whichever.
    fn listen(&mut self, world: &mut World) -> Option<Event> {
        if std::mem::take(&mut self.is_asked_to_leave) {
            return Some(Event::Leave);
        }
        if let Some(news) = self.news.pop_front() {
            return Some(match news {
                News::Ordered(runs) => Event::Ordered(runs),
                News::ReadToEnd => Event::OrdersKnown,
            });
        }
        let first = world.random.chance(500);
        if first && let Ok(change) = self.changed.try_recv() {
            return Some(Event::Changed(change));
        }
        let Some(Chunk { track, what }) = self.chunks.pop_front() else {
            return self.changed.try_recv().ok().map(Event::Changed);
        };
        let (plan, partition) = (track.plan, track.of.partition);
        Some(match what {
            What::Records { slice, .. } => Event::Read { plan, partition, slice },
            What::NoPosition => Event::LostPosition { plan, partition },
        })
    }

    fn handle(&mut self, world: &mut World, event: Event, now: Now) {
        if let Event::Changed(change) = &event {
            match change {
                Change::Assigned { .. } => {
                    self.assigned = Some(change.clone());
                    world.weather().counts.add("rebalance", 1);
                }
                Change::Fenced => world.weather().counts.add("fenced", 1),
                Change::Lost => {}
            }
        }
        for effect in self.claimer.handle(event, now) {
            self.carry_out(world, effect, now);
        }
    }

    /// The claiming thread ends, and the membership with it. What runs goes on.
    fn stop_taking(&mut self, world: &mut World, now: Now) {
        self.dispatches = false;
        self.is_member = false;
        self.tracks.clear();
        self.member.leave(self.members_client.as_mut(), now.mono);
        self.reporting.handle(reporting::Event::TakeAll);
        world.oracle.left(&self.name);
    }

    fn carry_out(&mut self, world: &mut World, effect: Effect, now: Now) {
        world.say(&self.name, || format!("dispatch: {}", brief(&effect)));
        let effect = match effect {
            Effect::Read { plan, offsets } => {
                let begin = |(partition, told): (i32, i64)| (partition, self.begin(partition, told, now));
                let begins: Vec<_> = offsets.iter().copied().map(begin).collect();
                let pretend =
                    |(told, begins): (&(i32, i64), &(i32, i64))| (begins.1 > told.1).then_some(*told);
                self.pretends = offsets.iter().zip(&begins).filter_map(pretend).collect();
                Effect::Read { plan, offsets: begins }
            }
            other => other,
        };
        match self.outbox.take(effect) {
            Some(Effect::Start(claimed)) => self.hand_over(*claimed, now),
            Some(Effect::JoinAsNew) if self.seat.bug == Some(Bug::KeepsItsMemberId) => {
                if let Some(assigned) = self.assigned.clone() {
                    for effect in self.claimer.handle(Event::Changed(assigned), now) {
                        self.carry_out(world, effect, now);
                    }
                }
            }
            Some(Effect::JoinAsNew) => {
                self.member.handle(membership::Event::JoinAsNew);
                self.rounds.is_asked();
                self.wake(Thread::Membership, now.mono);
            }
            // What operators are told, and what the outbox has taken.
            Some(_) | None => {}
        }
    }

    /// Tells the reporting thread what waits for it.
    fn send_notes(&mut self, now: Now) {
        self.outbox.tell(&self.tell);
        if !self.told.is_empty() {
            self.wake(Thread::Reporter, now.mono);
        }
    }

    fn hand_over(&mut self, claimed: Claimed, now: Now) {
        self.starts.push(started(&claimed));
        self.jobs.push_back(claimed);
        for worker in 0..self.workers.len() {
            self.wake(Thread::Worker(worker), now.mono);
        }
    }

    /// Where reading a partition begins: where it is told to, but for two bugs.
    fn begin(&mut self, number: i32, told: i64, now: Now) -> i64 {
        let back = match self.seat.bug {
            Some(Bug::ForgetsDuplicates) => 0,
            Some(Bug::ForgetsFarCopies) => DUPLICATE_WINDOW / 2,
            _ => return told,
        };
        let by = now.mono + Duration::from_secs(1);
        let of = partition(self.seat.topic, number);
        let Ok(committed) = self.client.committed(self.seat.topic, &[of], by) else { return told };
        let Some(committed) = &committed[0] else { return told };
        let Ok(Some(topic)) = self.client.topic(self.seat.topic, by) else { return told };
        let log = LogEnds { topic_id: topic.id, start: told, end: i64::MAX };
        (resume(Some(committed), log).lowest_unclaimed() - back).max(told)
    }
}

fn brief(effect: &Effect) -> String {
    match effect {
        Effect::Start(claimed) => format!("hands over {}", what(claimed)),
        other => format!("{other:?}"),
    }
}
