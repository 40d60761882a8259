//! Writing claims to `cron-runs`. A partition that refuses them is left alone for a while, and holds up no claim for another
//! partition.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::common::broker::{BrokerError, Client, partition_for};
use crate::common::clock::Now;
use crate::common::outgoing::{Outgoing, Unwritten, Writer, is_final};
use crate::common::topics;

/// A message by partition and offset.
pub(super) type Of = (i32, i64);

/// What became of the lines.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub written: BTreeSet<Of>,
    pub unwritten: Vec<Of>,
    /// Why the last of these was not.
    pub error: Option<BrokerError>,
}

/// The way to `cron-runs`.
#[derive(Debug)]
pub(super) struct ClaimLog {
    writer: Writer,
    topic: Arc<str>,
    /// Partitions that could not be written: how often in a row, and until when they are left alone.
    failed: BTreeMap<i32, (u32, Instant)>,
}

/// The longest time for which a partition that cannot be written is left alone. A call to a broker that does not answer
/// keeps everything else waiting for up to two seconds.
const LONGEST_REST: Duration = Duration::from_secs(15);

impl Default for ClaimLog {
    fn default() -> Self {
        Self { writer: Writer::default(), topic: topics::RUNS.into(), failed: BTreeMap::new() }
    }
}

impl ClaimLog {
    /// Writes one event, to the partition of its key.
    pub(super) fn tell(
        &mut self,
        client: &mut dyn Client,
        record: Outgoing,
        now: Now,
        patience: Duration,
    ) -> Result<(), BrokerError> {
        let by = now.mono + patience;
        let unwritten = self.writer.write(client, vec![record], now.wall.timestamp_millis(), by);
        unwritten.into_iter().try_for_each(|unwritten| Err(unwritten.error))
    }

    /// Writes `claimed` events, each with the message that it claims. A partition that cannot be written holds up its own
    /// events alone.
    pub(super) fn write(
        &mut self,
        client: &mut dyn Client,
        lines: Vec<(Of, Outgoing)>,
        Now { wall, mono: now }: Now,
        patience: Duration,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let by = now + patience;
        let count = match self.writer.partitions(client, &self.topic, by) {
            Ok(count) => count,
            Err(error) => {
                let unwritten = lines.into_iter().map(|(of, _)| of).collect();
                return Outcome { unwritten, error: Some(error), ..outcome };
            }
        };
        let partition = |key: &Bytes| partition_for(key, count);
        let mut records = Vec::with_capacity(lines.len());
        // The value names the message that is claimed, so no two records are equal.
        let mut claims = HashMap::with_capacity(lines.len());
        for (of, record) in lines {
            if self.failed.get(&partition(&record.key)).is_some_and(|(_, until)| now < *until) {
                outcome.unwritten.push(of);
            } else {
                claims.insert(record.clone(), of);
                records.push(record);
            }
        }
        let Self { writer, failed, .. } = self;
        let unwritten = writer.write_and_tell(client, records, wall.timestamp_millis(), by, |written| {
            failed.remove(&written.to.partition);
            outcome.written.extend(written.records.iter().filter_map(|record| claims.get(record)));
        });
        for Unwritten { records, error } in unwritten {
            if !is_final(&error) {
                let partitions: BTreeSet<i32> = records.iter().map(|record| partition(&record.key)).collect();
                partitions.into_iter().for_each(|partition| self.failed(partition, now));
            }
            outcome.unwritten.extend(records.iter().filter_map(|record| claims.get(record)));
            outcome.error = Some(error);
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
}
