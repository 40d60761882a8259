//! The threads `membership` and `fetch-N`: they learn which partitions are ours, and read them.

use std::sync::Arc;
use std::time::Duration;

use kafka_cron::common::bounds;
use kafka_cron::common::broker::Want;
use kafka_cron::common::clock::Now;
use kafka_cron::consumer::fetching::fetcher::{Chunk, Track};

use super::{Consumer, Reading, Thread};
use crate::world::{World, cluster};

impl Consumer {
    pub(super) fn membership(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        if !self.is_member {
            return None;
        }
        if self.rounds.is_due(now.mono) {
            let (change, wait) = self.member.step(self.members_client.as_mut(), now.mono);
            if let Some(change) = &change {
                world.say(&self.name, || format!("membership: {change:?}"));
            }
            self.rounds.stepped(change, now.mono, wait);
        }
        self.rounds.send(&self.changes);
        if !self.changed.is_empty() {
            self.wake(Thread::Claiming, now.mono);
        }
        Some(self.rounds.wait(now.mono))
    }

    pub(super) fn fetch(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        if let Ok(plan) = self.planned.try_recv() {
            let reading = |track: Arc<Track>| {
                let pretends = self.pretends.get(&track.of.partition).copied();
                Reading { track, pretends, lacks_some: false }
            };
            self.tracks = plan.into_iter().map(reading).collect();
        }
        let wants =
            self.tracks.iter().enumerate().filter_map(|(i, reading)| Some((i, reading.track.want()?)));
        let (open, mut wants): (Vec<usize>, Vec<Want>) = wants.unzip();
        if open.is_empty() || self.chunks.len() >= bounds::FETCHED_CHUNKS {
            return Some(Duration::from_millis(200));
        }
        // Some answers bring a single batch.
        if world.random.chance(300) {
            wants.iter_mut().for_each(|want| want.max_bytes = 1);
        }
        let by = now.mono + Duration::from_secs(2);
        let Ok(answers) = self.fetches.fetch(1, &wants, Duration::ZERO, by) else {
            return Some(world.random.span(50, 300));
        };
        let mut came = false;
        for ((i, want), answer) in open.into_iter().zip(wants).zip(answers) {
            let Reading { track, pretends, lacks_some } = &mut self.tracks[i];
            // Nothing new is told, but where it shows that something is missing.
            if answer.as_ref().is_ok_and(|fetched| fetched.next_offset == want.offset && !*lacks_some) {
                continue;
            }
            let is_read = answer.is_ok();
            let from = if is_read { pretends.take().unwrap_or(want.offset) } else { want.offset };
            let Ok(what) = track.take(from, answer, &cluster()) else { continue };
            if is_read {
                track.read_to(what.next());
                if !world.weather().calm && world.random.chance(3) {
                    world.weather().counts.add("what was read got lost", 1);
                    *lacks_some = true;
                    continue;
                }
                *lacks_some = false;
            }
            came = true;
            self.chunks.push_back(Chunk { track: Arc::clone(track), what });
        }
        if came {
            self.wake(Thread::Claiming, now.mono);
            return Some(world.random.span(1, 100));
        }
        Some(world.random.span(300, 3_000))
    }
}
