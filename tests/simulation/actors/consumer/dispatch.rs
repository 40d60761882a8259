//! The claiming thread drives the [`Claimer`](kafka_cron::consumer::claiming::machine::Claimer) as the program's does.

use std::time::Duration;

use kafka_cron::common::bounds::DUPLICATE_WINDOW;
use kafka_cron::common::membership::Change;
use kafka_cron::consumer::claiming::machine::{Claimed, Effect, Now};
use kafka_cron::consumer::claiming::position::{LogEnds, resume};
use kafka_cron::consumer::reporting::machine::{Tell, started};

use super::{Consumer, Thread, Track, what};
use crate::bugs::Bug;
use crate::world::{World, partition};

impl Consumer {
    pub(super) fn dispatch(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        if !self.dispatches {
            return None;
        }
        if let Some(by) = self.leaves_by {
            if !self.claimer.has_pending() || now.mono >= by {
                self.stop_taking(world, now);
                return None;
            }
        } else if !self.claimer.has_granted() {
            // What is granted is started by the same turn: nothing is listened to before.
            self.listen(world, now);
            if !self.dispatches {
                return None;
            }
        }
        self.free += std::mem::take(&mut self.idle);
        self.step_dispatcher(world, now);
        for track in &mut self.tracks {
            track.is_open = !self.claimer.is_full(track.partition);
        }
        let has_news = self.change.is_some() || !self.chunks.is_empty();
        Some(if has_news { Duration::ZERO } else { self.claimer.wait(now, self.free) })
    }

    /// Takes one message of one channel, whichever.
    fn listen(&mut self, world: &mut World, now: Now) {
        let first = world.random.chance(500);
        if first && let Some(change) = self.change.take() {
            self.changed(world, now, &change);
        } else if let Some(chunk) = self.chunks.pop_front() {
            if chunk.plan == self.plan {
                match chunk.what {
                    Some(slice) => self.claimer.read(self.generation, chunk.partition, slice),
                    None => self.claimer.lost_position(self.generation, chunk.partition),
                }
            }
        } else if let Some(change) = self.change.take() {
            self.changed(world, now, &change);
        }
    }

    fn changed(&mut self, world: &mut World, now: Now, change: &Change) {
        if let Change::Assigned { holder, .. } = change {
            self.generation = holder.generation;
            self.assigned = Some(change.clone());
            world.weather().counts.add("rebalance", 1);
        }
        self.claimer.changed(change);
        self.plan += 1;
        self.tracks.clear();
        if *change == Change::Fenced {
            world.weather().counts.add("fenced", 1);
            self.stop_taking(world, now);
        }
    }

    /// The claiming thread ends, and the membership with it. What runs goes on.
    fn stop_taking(&mut self, world: &mut World, now: Now) {
        self.dispatches = false;
        self.is_member = false;
        self.tracks.clear();
        self.member.leave(self.members_client.as_mut(), now.mono);
        world.oracle.left(&self.name);
    }

    fn step_dispatcher(&mut self, world: &mut World, now: Now) {
        for effect in self.claimer.step(self.client.as_mut(), now, self.free) {
            world.say(&self.name, || format!("dispatch: {}", brief(&effect)));
            match effect {
                Effect::Start(claimed) => self.hand_over(*claimed, now),
                Effect::JoinAsNew if self.seat.bug == Some(Bug::KeepsItsMemberId) => {
                    if let Some(assigned) = self.assigned.clone() {
                        self.claimer.changed(&assigned);
                        self.plan += 1;
                    }
                }
                Effect::JoinAsNew => {
                    self.member.join_as_new();
                    self.wake(Thread::Membership, now.mono);
                }
                Effect::Read(offsets) => self.read_from(&offsets, now),
                Effect::Failed(_) | Effect::Letter(_) => {}
                Effect::Note(event) => self.tell(Tell::Note(event), now),
            }
        }
        world.oracle.counts(&self.name, self.claimer.counts());
    }

    fn hand_over(&mut self, claimed: Claimed, now: Now) {
        self.free = self.free.saturating_sub(1);
        self.starts.push(started(&claimed));
        self.jobs.push_back(claimed);
        for worker in 0..self.workers.len() {
            self.wake(Thread::Worker(worker), now.mono);
        }
    }

    fn read_from(&mut self, offsets: &[(i32, i64)], now: Now) {
        self.plan += 1;
        self.tracks = offsets
            .iter()
            .map(|(partition, next)| {
                let told = *next;
                let next = self.begin(*partition, told, now);
                let pretends = (next > told).then_some(told);
                Track { partition: *partition, next, is_open: true, pretends, lacks_some: false }
            })
            .collect();
        self.wake(Thread::Fetch, now.mono);
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
