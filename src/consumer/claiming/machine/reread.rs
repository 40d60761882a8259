//! Messages that waited with their content dropped and are due: the claiming thread reads them again. It is one fetch before
//! a claim, of what is due already; the fetchers go on with what has not been read yet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Call, Claimer, Effect, Failure, Report};
use crate::common::bounds;
use crate::common::broker::{BrokerError, Client, NodeId, TopicPartition, Want};
use crate::common::clock::Now;
use crate::consumer::claiming::partition::Partition;
use crate::consumer::fetching::reading::{LogSlice, loses_position, slice};

/// How long a fetch may take. Claims wait for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long reading again rests after a failure, so that a broker that does not answer keeps nothing else waiting.
const REST: Duration = Duration::from_secs(5);

/// What is known of reading again.
#[derive(Debug, Default)]
pub(super) struct Again {
    leaders: BTreeMap<i32, NodeId>,
    /// The partition that had its turn last.
    last: i32,
    /// Not before this instant, after a failure.
    rests_until: Option<Instant>,
}

impl Again {
    /// Whether the last try has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.rests_until.is_some()
    }
}

impl Claimer {
    /// Reads again what is due in one partition, each in its turn.
    pub(super) fn read_again(&mut self, client: &mut dyn Client, now: Now, effects: &mut Vec<Effect>) {
        if self.again.rests_until.is_some_and(|until| now.mono < until) {
            return;
        }
        self.again.rests_until = None;
        for held in self.partitions.values_mut() {
            held.look(now.wall);
        }
        let wanted: Vec<(i32, i64)> = self.to_read_again().collect();
        let after = wanted.iter().find(|(partition, _)| *partition > self.again.last);
        let Some((partition, offset)) = after.or(wanted.first()).copied() else { return };
        self.again.last = partition;
        match self.fetch_again(client, partition, offset, now) {
            Ok(slice) => self.take_again(partition, slice),
            Err(error) => {
                self.again.leaders.clear();
                if loses_position(&error) {
                    return self.positions.lose(partition);
                }
                self.again.rests_until = Some(now.mono + REST);
                effects.push(Effect::Report(Report::NotReadAgain(partition, error.clone())));
                effects.push(Effect::Failed(Failure { call: Call::ReadAgain, error }));
            }
        }
    }

    /// The partitions in which something is to be read again, and from where.
    fn to_read_again(&self) -> impl Iterator<Item = (i32, i64)> {
        let here = self.partitions.iter().filter(|(partition, _)| !self.positions.is_unknown(**partition));
        here.filter_map(|(partition, held)| Some((*partition, held.to_read_again()?)))
    }

    /// Whether a step would read something again.
    pub(super) fn reads_again(&self) -> bool {
        self.again.rests_until.is_none() && self.to_read_again().next().is_some()
    }

    fn fetch_again(
        &mut self,
        client: &mut dyn Client,
        partition: i32,
        offset: i64,
        now: Now,
    ) -> Result<LogSlice, BrokerError> {
        let by = now.mono + PATIENCE;
        let topic = &self.options.topic;
        if !self.again.leaders.contains_key(&partition) {
            let state = client.topic(topic, by)?;
            let led = state.into_iter().flat_map(|state| state.partitions);
            self.again.leaders = led.filter_map(|led| Some((led.partition, led.leader?))).collect();
        }
        let leaderless = || BrokerError::NotSent(format!("{topic}/{partition} has no leader"));
        let leader = *self.again.leaders.get(&partition).ok_or_else(leaderless)?;
        let from = TopicPartition { topic: topic.clone(), partition };
        let want = Want { from, offset, max_bytes: bounds::FETCH_PARTITION_BYTES };
        let fetched =
            client.fetch_committed(leader, &[want], Duration::ZERO, by)?.into_iter().next().transpose()?;
        let fetched = fetched.filter(|fetched| fetched.next_offset > offset);
        let nothing = || BrokerError::Nonsense(format!("nothing at offset {offset} of {topic}/{partition}"));
        Ok(slice(offset, fetched.ok_or_else(nothing)?, &self.options.cluster))
    }

    fn take_again(&mut self, partition: i32, slice: LogSlice) {
        let LogSlice { topic_id, records, span } = slice;
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if topic_id != held.topic_id() {
            return self.positions.lose(partition);
        }
        for (offset, unreadable) in Partition::take_again(held, records, span) {
            self.unread.push(partition, offset, unreadable);
        }
    }
}
