//! Writing claims to `cron-runs`: in batches that the topic takes, and never again and again what cannot be written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Now;
use crate::common::broker::{
    BrokerError, Client, Deadline, ErrorCode, ProduceBatch, Record, TopicPartition, partition_for,
};
use crate::common::{bounds, topics};

/// A message by partition and offset.
pub(super) type Of = (i32, i64);

/// One `claimed` that is to be written.
#[derive(Debug)]
pub(super) struct Line {
    /// The message that it claims.
    pub of: Of,
    pub key: Bytes,
    pub value: Bytes,
}

impl Line {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// What became of the lines.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub written: BTreeSet<Of>,
    pub unwritten: Vec<Of>,
    /// Why the last of these was not.
    pub error: Option<BrokerError>,
}

/// What is known of `cron-runs`.
#[derive(Debug)]
pub(super) struct ClaimLog {
    partitions: Option<i32>,
    /// How many bytes of keys and values a batch may have, as far as refusals have told.
    batch_bytes: usize,
    /// Partitions that could not be written: how often in a row, and until when they are left alone.
    failed: BTreeMap<i32, (u32, Instant)>,
}

/// The longest time for which a partition that cannot be written is left alone. A call to a broker that does not answer
/// keeps everything else waiting for up to two seconds.
const LONGEST_REST: Duration = Duration::from_secs(15);

impl Default for ClaimLog {
    fn default() -> Self {
        Self { partitions: None, batch_bytes: bounds::PRODUCE_BATCH_BYTES, failed: BTreeMap::new() }
    }
}

impl ClaimLog {
    /// How many partitions there are, looked up where it is not known.
    pub(super) fn partitions(&mut self, client: &mut dyn Client, by: Deadline) -> Result<i32, BrokerError> {
        if let Some(count) = self.partitions {
            return Ok(count);
        }
        let topic = client.topic(topics::RUNS, by)?;
        let missing = BrokerError::Refused(ErrorCode::UnknownTopicOrPartition);
        let count = i32::try_from(topic.ok_or(missing)?.partitions.len()).unwrap_or(1);
        Ok(*self.partitions.insert(count))
    }

    /// Has the number of partitions looked up again.
    pub(super) fn forget(&mut self) {
        self.partitions = None;
    }

    /// Writes lines, each to the partition of its key. A partition that cannot be written holds up its own lines alone.
    pub(super) fn write(
        &mut self,
        client: &mut dyn Client,
        lines: Vec<Line>,
        Now { wall, mono: now }: Now,
        patience: Duration,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let (by, timestamp_ms) = (now + patience, wall.timestamp_millis());
        let count = match self.partitions(client, by) {
            Ok(count) => count,
            Err(error) => {
                let unwritten = lines.into_iter().map(|line| line.of).collect();
                return Outcome { unwritten, error: Some(error), ..outcome };
            }
        };
        let mut queue: BTreeMap<i32, Vec<Line>> = BTreeMap::new();
        for line in lines {
            queue.entry(partition_for(&line.key, count)).or_default().push(line);
        }
        queue.retain(|partition, lines| {
            let rests = self.failed.get(partition).is_some_and(|(_, until)| now < *until);
            outcome.unwritten.extend(lines.iter().filter(|_| rests).map(|line| line.of));
            !rests
        });
        let mut queue: Vec<(i32, Vec<Line>)> =
            queue.into_iter().flat_map(|(to, lines)| self.split(to, lines)).collect();
        while !queue.is_empty() {
            let batches: Vec<ProduceBatch> =
                queue.iter().map(|(to, lines)| batch(*to, lines, timestamp_ms)).collect();
            let answers = client.produce(&batches, by);
            let mut smaller = Vec::new();
            for ((to, lines), answer) in std::mem::take(&mut queue).into_iter().zip(answers) {
                match answer {
                    Ok(_) => {
                        self.failed.remove(&to);
                        outcome.written.extend(lines.iter().map(|line| line.of));
                    }
                    Err(BrokerError::Refused(ErrorCode::MessageTooLarge)) if lines.len() > 1 => {
                        let bytes: usize = lines.iter().map(Line::bytes).sum();
                        self.batch_bytes = self.batch_bytes.min(bytes / 2);
                        smaller.extend(self.split(to, lines));
                    }
                    Err(error) => {
                        if error != BrokerError::Refused(ErrorCode::MessageTooLarge) {
                            self.partitions = None;
                            self.failed(to, now);
                        }
                        outcome.unwritten.extend(lines.iter().map(|line| line.of));
                        outcome.error = Some(error);
                    }
                }
            }
            queue = smaller;
        }
        outcome
    }

    /// A partition could not be written. The first time it is tried again at once, for it may only have changed its
    /// leader.
    fn failed(&mut self, partition: i32, now: Instant) {
        let (times, until) = self.failed.entry(partition).or_insert((0, now));
        let rest = Duration::from_secs(1) * 2_u32.saturating_pow(times.saturating_sub(1).min(8));
        *until = if *times == 0 { now } else { now + rest.min(LONGEST_REST) };
        *times = times.saturating_add(1);
    }

    /// Batches of a size that is believed to be taken.
    fn split(&self, to: i32, lines: Vec<Line>) -> Vec<(i32, Vec<Line>)> {
        let mut batches: Vec<(i32, Vec<Line>)> = Vec::new();
        let mut bytes = 0;
        for line in lines {
            match batches.last_mut().filter(|_| bytes + line.bytes() <= self.batch_bytes) {
                Some((_, batch)) => {
                    bytes += line.bytes();
                    batch.push(line);
                }
                None => {
                    bytes = line.bytes();
                    batches.push((to, vec![line]));
                }
            }
        }
        batches
    }
}

fn batch(to: i32, lines: &[Line], timestamp_ms: i64) -> ProduceBatch {
    let record =
        |line: &Line| Record { key: Some(line.key.clone()), value: Some(line.value.clone()), timestamp_ms };
    let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: to };
    ProduceBatch { to, records: lines.iter().map(record).collect() }
}
