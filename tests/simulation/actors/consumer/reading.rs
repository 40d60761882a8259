//! The threads `membership` and `fetch-N`: they learn which partitions are ours, and read them.

use std::time::Duration;

use kafka_cron::common::bounds;
use kafka_cron::common::broker::Want;
use kafka_cron::consumer::claiming::machine::Now;
use kafka_cron::consumer::fetching::reading::{loses_position, slice};

use super::{Chunk, Consumer, Thread};
use crate::world::{World, cluster, partition};

impl Consumer {
    pub(super) fn membership(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        if !self.is_member {
            return None;
        }
        let mut wait = Duration::from_secs(1);
        if self.change.is_none()
            && let Some(change) = self.untaken.take()
        {
            self.change = Some(change);
            self.wake(Thread::Claiming, now.mono);
        }
        if self.untaken.is_some() {
            wait = Duration::from_millis(20);
        }
        let (change, next) = self.member.step(self.members_client.as_mut(), now.mono);
        if let Some(change) = &change {
            world.say(&self.name, || format!("membership: {change:?}"));
        }
        let has_changed = change.is_some();
        self.untaken = change.or(self.untaken.take());
        Some(if has_changed { Duration::ZERO } else { wait.min(next) })
    }

    pub(super) fn fetch(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        let open: Vec<usize> = (0..self.tracks.len()).filter(|i| self.tracks[*i].is_open).collect();
        if open.is_empty() || self.chunks.len() >= bounds::FETCHED_CHUNKS {
            return Some(Duration::from_millis(200));
        }
        // Some answers bring a single batch.
        let max_bytes = if world.random.chance(300) { 1 } else { bounds::FETCH_PARTITION_BYTES };
        let want = |i: &usize| Want {
            from: partition(self.seat.topic, self.tracks[*i].partition),
            offset: self.tracks[*i].next,
            max_bytes,
        };
        let wants: Vec<Want> = open.iter().map(want).collect();
        let by = now.mono + Duration::from_secs(2);
        let Ok(answers) = self.fetches.fetch(1, &wants, Duration::ZERO, by) else {
            return Some(world.random.span(50, 300));
        };
        let mut came = false;
        for (i, answer) in open.into_iter().zip(answers) {
            let track = &mut self.tracks[i];
            let what = match answer {
                // Nothing new is told, but where it shows that something is missing.
                Ok(fetched) if fetched.next_offset == track.next && !track.lacks_some => continue,
                Ok(fetched) => {
                    let from = track.pretends.take().unwrap_or(track.next);
                    track.next = fetched.next_offset;
                    if !world.weather().calm && world.random.chance(3) {
                        world.weather().counts.add("what was read got lost", 1);
                        track.lacks_some = true;
                        continue;
                    }
                    track.lacks_some = false;
                    Some(slice(from, fetched, &cluster()))
                }
                Err(error) if loses_position(&error) => {
                    track.is_open = false;
                    None
                }
                Err(_) => continue,
            };
            came = true;
            self.chunks.push_back(Chunk { plan: self.plan, partition: track.partition, what });
        }
        if came {
            self.wake(Thread::Claiming, now.mono);
            return Some(world.random.span(1, 100));
        }
        Some(world.random.span(300, 3_000))
    }
}
