//! An actor that publishes runs as a producer does, and also what no producer writes: copies, senseless messages, gaps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::TimeDelta;
use kafka_cron::common::bounds::DUPLICATE_WINDOW;
use kafka_cron::common::broker::{Client, ProduceBatch, Record, partition_for};
use kafka_cron::common::clock::Now;
use kafka_cron::common::model::{Attempt, AttemptRef, JobName, RetryPolicy, Run, RunId};
use kafka_cron::common::wire;
use uuid::Uuid;

use super::Actor;
use crate::jobs;
use crate::world::{CLUSTER, World, cluster, partition};

/// Publishes so many messages, and has done then.
pub struct Publisher {
    client: Box<dyn Client>,
    next: Instant,
    pub left: u64,
    runs: u128,
    published: Vec<(i32, Bytes)>,
    /// How many of a thousand copies are as far behind their originals as consumers look back.
    pub far_copies: u64,
}

impl Publisher {
    pub fn new(world: &mut World) -> Self {
        let left = 4 + world.random.below(12);
        Self {
            client: world.client("world"),
            next: world.began,
            left,
            runs: 0,
            published: Vec::new(),
            far_copies: 200,
        }
    }

    fn write(&mut self, world: &mut World, now: Now, to: i32, values: &[Bytes]) {
        let timestamp_ms = now.wall.timestamp_millis();
        let record = |value: &Bytes| Record { key: None, value: Some(value.clone()), timestamp_ms };
        let batch = ProduceBatch { to: partition(CLUSTER, to), records: values.iter().map(record).collect() };
        self.client.produce(&[batch], now.mono + Duration::from_secs(1)).remove(0).unwrap();
        world.weather().wrote = true;
    }

    /// Writes a copy, where it is not further from its original than consumers look back.
    fn copy(&mut self, world: &mut World, now: Now, to: i32, value: Bytes) {
        let (of, attempt) = (partition(CLUSTER, to), wire::decode_attempt(&value).unwrap());
        world.observe();
        let attempt = AttemptRef { run: attempt.run.id, attempt: attempt.attempt };
        let behind = world.oracle.behind(&of, attempt).unwrap_or(0);
        // A topic that was made anew may lack the partition.
        if behind > DUPLICATE_WINDOW || to >= world.oracle.partitions(CLUSTER) {
            return;
        }
        if world.random.chance(self.far_copies) {
            let far = DUPLICATE_WINDOW - i64::try_from(world.random.below(3)).unwrap();
            if far > behind {
                world.broker.faults().abort_transaction(&of, far - behind);
                world.weather().counts.add("copy far behind", 1);
            }
        }
        world.say("publisher", || format!("{CLUSTER}/{to}: a copy"));
        world.weather().counts.add("copy published", 1);
        self.write(world, now, to, &[value]);
    }

    fn run(&mut self, world: &mut World, now: Now) -> (i32, Bytes) {
        self.runs += 1;
        let id = RunId(Uuid::from_u128(self.runs));
        let retries = u32::try_from(world.random.below(3)).unwrap();
        let is_bulky = world.sizes.are_small() && world.random.chance(300);
        let retry =
            RetryPolicy { retries, backoff_ms: 500 + world.random.below(2_000), backoff_max_ms: 4_000 };
        let command = if is_bulky { jobs::bulky_command() } else { "true".to_owned() };
        let sample = Run::sample(id, JobName::new("j").unwrap(), cluster());
        let run = Run { scheduled_at: now.wall, command, retry, ..sample };
        let later = world.random.chance(250);
        let wait = TimeDelta::from_std(world.random.span(500, 12_000)).unwrap();
        let not_before = later.then(|| now.wall + wait);
        let value =
            wire::encode(&Attempt { run: Arc::new(run), attempt: 1, attempts_left: retries, not_before });
        (partition_for(id.to_string().as_bytes(), world.oracle.partitions(CLUSTER)), value)
    }
}

impl Actor for Publisher {
    fn name(&self) -> &str {
        "publisher"
    }

    fn wakes(&self) -> Instant {
        self.next
    }

    fn step(&mut self, world: &mut World, now: Now) {
        self.next = now.mono + world.random.span(10, 5_000);
        if world.is_absent(CLUSTER) {
            return;
        }
        self.left = self.left.saturating_sub(1);
        match world.random.below(20) {
            0 => {
                let to = i32::from(world.random.chance(500));
                let value = Bytes::from_static(if world.random.chance(500) { b"{\"v\":99}" } else { b"?" });
                world.say("publisher", || format!("{CLUSTER}/{to}: no attempt at all"));
                world.weather().counts.add("malformed published", 1);
                self.write(world, now, to, &[value]);
            }
            1..=3 if !self.published.is_empty() => {
                let (to, value) = self.published[world.random.index(self.published.len())].clone();
                self.copy(world, now, to, value);
            }
            4 => {
                let to = i32::from(world.random.chance(500));
                world.weather().counts.add("gap in the log", 1);
                world.broker.faults().end_transaction(&partition(CLUSTER, to));
                world.weather().wrote = true;
            }
            _ => {
                let (to, value) = self.run(world, now);
                let runs = self.runs;
                world.say("publisher", || format!("{CLUSTER}/{to}: run {runs}"));
                // A tick that was confirmed late is written twice in a row.
                let times = if world.random.chance(80) { 2 } else { 1 };
                self.write(world, now, to, &vec![value.clone(); times]);
                self.published.push((to, value));
            }
        }
    }

    fn is_over(&self) -> bool {
        self.left == 0
    }
}
