//! Claim, then start: which messages, what is written and committed for them, and what its answer decides.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::{Act, Call, Claimed, Dispatcher, Failure, Now};
use crate::common::broker::{
    BrokerError, Client, Commit, ErrorCode, ProduceBatch, Record, TopicPartition, partition_for,
};
use crate::common::words::{AttemptRef, Event, Place};
use crate::common::{topics, wire};
use crate::consumer::claiming::answers::{Answer, to_partition};
use crate::consumer::claiming::claims::{Decided, Pending, in_time};
use crate::consumer::claiming::partition::Held;

/// A claim that was granted and whose attempt has not been started yet.
#[derive(Debug)]
pub(super) struct Granted {
    claimed_sent: Instant,
    place: Place,
    message: Held,
}

impl Dispatcher {
    /// Claims for as many workers as are free: writes `claimed`, then commits, each in one round trip.
    pub(super) fn claim(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        free: usize,
    ) -> Result<(), BrokerError> {
        let Some(holder) = self.holder.clone() else { return Ok(()) };
        self.may_claim = false;
        let chosen = self.choose(now.wall, free);
        let written = self.write_claimed(client, chosen, now).inspect_err(|_| self.runs_partitions = None)?;
        let mut commits = Vec::new();
        let mut claims = BTreeMap::new();
        for (partition, mut offsets) in written {
            let Some((offset, metadata)) = self.to_commit(partition, &mut offsets) else { continue };
            let of = TopicPartition { topic: self.options.topic.clone(), partition };
            commits.push(Commit { of, offset, metadata });
            claims.insert(partition, offsets);
        }
        if commits.is_empty() {
            return Ok(());
        }
        for partition in claims.keys() {
            if let Some(held) = self.partitions.get_mut(partition) {
                held.is_committing();
            }
        }
        self.pending = Some(Pending::new(holder, commits, claims, now.mono));
        Ok(())
    }

    /// The commit for as many of the offsets as it can claim; `None` when there is nothing to commit.
    fn to_commit(&self, partition: i32, offsets: &mut Vec<i64>) -> Option<(i64, String)> {
        let held = self.partitions.get(&partition)?;
        let commit = held.commit_for_some(offsets)?;
        (!offsets.is_empty() || held.is_dirty()).then_some(commit)
    }

    /// Which offsets to claim: each partition in turn gives one, so that none waits behind another's backlog.
    fn choose(&mut self, now: DateTime<Utc>, free: usize) -> BTreeMap<i32, Vec<i64>> {
        let mut due: Vec<(i32, VecDeque<i64>, Vec<i64>)> = self
            .partitions
            .iter_mut()
            .map(|(partition, held)| (*partition, held.due(now, free).into(), Vec::new()))
            .collect();
        let mut left = free;
        while left > 0 && due.iter().any(|(_, waiting, _)| !waiting.is_empty()) {
            for (_, waiting, chosen) in &mut due {
                if left > 0
                    && let Some(offset) = waiting.pop_front()
                {
                    chosen.push(offset);
                    left -= 1;
                }
            }
        }
        let mut claims: BTreeMap<i32, Vec<i64>> =
            due.into_iter().map(|(partition, _, chosen)| (partition, chosen)).collect();
        claims.retain(|partition, offsets| self.to_commit(*partition, offsets).is_some());
        claims
    }

    /// Writes `claimed` for the chosen offsets, and returns those for which it is confirmed: a partition of
    /// `cron-runs` that cannot be written holds up only the runs whose events belong there.
    fn write_claimed(
        &mut self,
        client: &mut dyn Client,
        mut claims: BTreeMap<i32, Vec<i64>>,
        now: Now,
    ) -> Result<BTreeMap<i32, Vec<i64>>, BrokerError> {
        if claims.values().all(Vec::is_empty) {
            return Ok(claims);
        }
        let by = now.mono + self.claim_call();
        let count = self.runs_partitions(client, by)?;
        let mut batches: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        let mut told_in: BTreeMap<(i32, i64), i32> = BTreeMap::new();
        for (partition, offsets) in &claims {
            let Some(held) = self.partitions.get(partition) else { continue };
            for (offset, message) in offsets.iter().filter_map(|o| held.held(*o).map(|message| (*o, message)))
            {
                let key = message.attempt.run.id.to_string();
                let to = partition_for(key.as_bytes(), count);
                let place = self.place(held.topic_id(), *partition, offset);
                let record = Record {
                    key: Some(key.into()),
                    value: Some(wire::encode(&self.claimed_event(message, place, now.wall))),
                    timestamp_ms: now.wall.timestamp_millis(),
                };
                batches.entry(to).or_default().push(record);
                told_in.insert((*partition, offset), to);
            }
        }
        let batches: Vec<ProduceBatch> = batches
            .into_iter()
            .map(|(partition, records)| ProduceBatch {
                to: TopicPartition { topic: topics::RUNS.to_owned(), partition },
                records,
            })
            .collect();
        let mut failed = BTreeMap::new();
        for (batch, answer) in batches.iter().zip(client.produce(&batches, by)) {
            if let Err(error) = answer {
                failed.insert(batch.to.partition, error);
            }
        }
        for (partition, offsets) in &mut claims {
            offsets.retain(|offset| {
                told_in.get(&(*partition, *offset)).is_some_and(|to| !failed.contains_key(to))
            });
        }
        let nothing = claims.values().all(Vec::is_empty);
        failed.into_values().next().filter(|_| nothing).map_or(Ok(claims), Err)
    }

    pub(super) fn runs_partitions(
        &mut self,
        client: &mut dyn Client,
        by: Instant,
    ) -> Result<i32, BrokerError> {
        if let Some(count) = self.runs_partitions {
            return Ok(count);
        }
        let topic = client.topic(topics::RUNS, by)?;
        let missing = || BrokerError::NotSent(format!("topic {} does not exist yet", topics::RUNS));
        let count = i32::try_from(topic.ok_or_else(missing)?.partitions.len()).unwrap_or(1);
        Ok(*self.runs_partitions.insert(count))
    }

    fn claimed_event(&self, message: &Held, place: Place, at: DateTime<Utc>) -> Event {
        let run = &message.attempt.run;
        Event::Claimed {
            attempt: AttemptRef { run: run.id, attempt: message.attempt.attempt },
            job: run.job.clone(),
            place,
            consumer: self.options.consumer.clone(),
            lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
            at,
        }
    }

    /// Sends the pending commit, for the first time or again, and acts on what its answer decides.
    pub(super) fn send_pending(&mut self, client: &mut dyn Client, now: Now, acts: &mut Vec<Act>) {
        let Some(mut pending) = self.pending.take() else { return };
        let answer = client.commit(&pending.holder, &pending.commits, now.mono + self.claim_call());
        let reason = answer.as_ref().map_or_else(BrokerError::word, |codes| undecided(codes));
        for decided in pending.answered(answer) {
            self.decided(&pending, &decided);
        }
        let late = pending.may_arrive_late;
        self.may_claim = pending.is_settled();
        if !pending.is_settled() {
            acts.push(Act::Failed(Failure { call: Call::Commit, reason }));
            self.pending = Some(pending);
        } else if late {
            self.waits_for_new_id = true;
            acts.push(Act::JoinAsNew);
        }
    }

    fn decided(&mut self, pending: &Pending, decided: &Decided) {
        let Some(held) = self.partitions.get_mut(&decided.partition) else { return };
        if !decided.granted {
            self.counts.refused += decided.offsets.len() as u64;
            // Not ours any more: the membership is about to say so, and the new owner reads it from its offset.
            self.partitions.remove(&decided.partition);
            return;
        }
        let topic_id = held.topic_id();
        for (offset, message) in held.claimed(&decided.offsets) {
            let place = self.place(topic_id, decided.partition, offset);
            self.granted.push(Granted { claimed_sent: pending.claimed_sent, place, message });
        }
    }

    /// Starts what was granted in an earlier step, unless that took too long.
    pub(super) fn start_granted(&mut self, now: Now, acts: &mut Vec<Act>) {
        let mut late = 0;
        for Granted { claimed_sent, place, message } in std::mem::take(&mut self.granted) {
            if !in_time(claimed_sent, now.mono, self.options.lease) {
                late += 1;
                continue;
            }
            let Held { attempt, published_ms, .. } = message;
            acts.push(Act::Start(Box::new(Claimed { attempt, place, published_ms, claimed_at: now.wall })));
        }
        if late > 0 {
            self.counts.too_late += late;
            log::error!("{late} claims were confirmed after their lease and are not started");
        }
    }
}

/// Why an answer leaves a partition undecided: the first code that says so, or that it says nothing.
fn undecided(codes: &[Option<ErrorCode>]) -> &'static str {
    let open =
        |code: &&Option<ErrorCode>| matches!(to_partition(**code), Answer::NotApplied | Answer::Unknown);
    codes.iter().find(open).copied().flatten().map_or("no_answer", ErrorCode::word)
}
