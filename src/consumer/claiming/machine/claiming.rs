//! Claim, then start: which messages are claimed, what is written and committed for them, and what the answer decides.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::{Call, Claimed, Claimer, Effect, Failure, LOAD_AGAIN, Report};
use crate::common::broker::{BrokerError, Client, Commit, ErrorCode, TopicPartition};
use crate::common::clock::Now;
use crate::common::holes;
use crate::common::model::{Event, Place};
use crate::common::outgoing::Outgoing;
use crate::consumer::claiming::answers::{Answer, to_partition};
use crate::consumer::claiming::claims::{Answered, ClaimOutcome, Decided, Pending, in_time, start_by};
use crate::consumer::fetching::reading::Held;

/// For how long a claim that could not be written gives way to others.
const POSTPONED: Duration = Duration::from_secs(1);

/// A claim that was granted and whose attempt has not been started yet.
#[derive(Debug)]
pub(super) struct Granted {
    claimed_sent: Instant,
    place: Place,
    message: Held,
}

impl Claimer {
    /// Claims for as many workers as are free: writes `claimed`, then commits, each in one round trip.
    pub(super) fn claim(&mut self, client: &mut dyn Client, now: Now, effects: &mut Vec<Effect>) {
        let Some(holder) = self.holder.clone() else { return };
        self.may_claim = false;
        let chosen = self.choose(now, self.waiting.claimable(now.mono));
        let written = self.write_claimed(client, chosen, now, effects);
        let mut commits = Vec::new();
        let mut claims = BTreeMap::new();
        for (partition, mut offsets) in written {
            let Some((offset, metadata)) = self.to_commit(partition, &mut offsets) else { continue };
            let of = TopicPartition { topic: self.options.topic.clone(), partition };
            commits.push(Commit { of, offset, metadata });
            claims.insert(partition, offsets);
        }
        if commits.is_empty() {
            return;
        }
        for partition in claims.keys() {
            if let Some(held) = self.partitions.get_mut(partition) {
                held.is_committing();
            }
        }
        self.pending = Some(Pending::new(holder, commits, claims, now.mono));
    }

    /// The commit for as many of the offsets as it can claim; `None` when there is nothing to commit.
    fn to_commit(&self, partition: i32, offsets: &mut Vec<i64>) -> Option<(i64, String)> {
        let held = self.partitions.get(&partition)?;
        let commit = held.commit_for_some(offsets)?;
        (!offsets.is_empty() || held.is_dirty()).then_some(commit)
    }

    /// Which offsets to claim: each partition in turn gives one, so that none waits behind another's backlog. Those whose
    /// claim could not be written a moment ago come last, so that they take no other's place.
    fn choose(&mut self, now: Now, free: usize) -> BTreeMap<i32, Vec<i64>> {
        self.postponed.retain(|_, until| now.mono < *until);
        let postponed = &self.postponed;
        let mut due: Vec<(i32, VecDeque<i64>, Vec<i64>)> = self
            .partitions
            .iter_mut()
            .map(|(partition, held)| {
                let late = postponed.range((*partition, i64::MIN)..=(*partition, i64::MAX)).count();
                let mut due = held.due(now.wall, if free == 0 { 0 } else { free + late });
                due.sort_by_key(|offset| postponed.contains_key(&(*partition, *offset)));
                (*partition, due.into(), Vec::new())
            })
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
        let chosen: BTreeMap<i32, usize> = claims.iter().map(|(of, offsets)| (*of, offsets.len())).collect();
        for offsets in claims.values_mut() {
            offsets.sort_unstable();
        }
        claims.retain(|partition, offsets| self.to_commit(*partition, offsets).is_some());
        let none_left =
            |(of, count): &(&i32, &usize)| **count > 0 && claims.get(of).is_none_or(Vec::is_empty);
        self.crowded = chosen.iter().find(none_left).map(|(of, _)| *of);
        claims
    }

    /// Writes `claimed` for the chosen offsets, and returns those for which it is confirmed: a partition of
    /// `cron-runs` that cannot be written holds up only the runs whose events belong there.
    fn write_claimed(
        &mut self,
        client: &mut dyn Client,
        mut claims: BTreeMap<i32, Vec<i64>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> BTreeMap<i32, Vec<i64>> {
        let mut lines = Vec::new();
        for (partition, offsets) in &claims {
            let Some(held) = self.partitions.get(partition) else { continue };
            for (offset, message) in offsets.iter().filter_map(|o| Some((*o, held.ready(*o)?))) {
                let place = self.place(held.topic_id(), *partition, offset);
                let record = Outgoing::event(&self.claimed_event(message, place, now.wall));
                lines.push(((*partition, offset), record));
            }
        }
        if lines.is_empty() {
            return claims;
        }
        let outcome = self.claim_log.write(client, lines, now, self.claim_call());
        let postponed = outcome.unwritten.into_iter().map(|of| (of, now.mono + POSTPONED));
        self.postponed.extend(postponed);
        if let Some(error) = outcome.error {
            effects.push(Effect::Failed(Failure { call: Call::Claim, error }));
        }
        for (partition, offsets) in &mut claims {
            offsets.retain(|offset| outcome.written.contains(&(*partition, *offset)));
            for offset in offsets {
                self.postponed.remove(&(*partition, *offset));
            }
        }
        claims
    }

    fn claimed_event(&self, message: &Held, place: Place, at: DateTime<Utc>) -> Event {
        let run = &message.attempt.run;
        Event::Claimed {
            attempt: message.attempt.name(),
            job: run.job.clone(),
            place,
            consumer: self.options.consumer.clone(),
            lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
            at,
        }
    }

    /// Sends the pending commit, for the first time or again, and acts on what its answer decides.
    pub(super) fn send_pending(&mut self, client: &mut dyn Client, now: Now, effects: &mut Vec<Effect>) {
        let Some(mut pending) = self.pending.take() else { return };
        let answer = client.commit(&pending.holder, &pending.commits, now.mono + self.claim_call());
        let error = answer.as_ref().map_or_else(Clone::clone, |codes| undecided(codes));
        let Answered { decided, tell } = pending.answered(answer);
        effects.extend(tell.map(|why| Effect::Report(Report::Undecided(why))));
        for decided in decided {
            self.decided(&pending, &decided, now, effects);
        }
        let late = pending.may_arrive_late;
        self.may_claim = pending.is_settled();
        if !pending.is_settled() {
            effects.push(Effect::Failed(Failure { call: Call::Commit, error }));
            self.pending = Some(pending);
        } else if late {
            self.waits_for_new_id = true;
            effects.push(Effect::JoinAsNew);
        }
    }

    fn decided(&mut self, pending: &Pending, decided: &Decided, now: Now, effects: &mut Vec<Effect>) {
        let partition = decided.partition;
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        match decided.outcome {
            ClaimOutcome::Granted => {
                self.rejections.remove(&partition);
                let topic_id = held.topic_id();
                for (offset, message) in held.claimed(&decided.offsets) {
                    let place = self.place(topic_id, partition, offset);
                    self.granted.push(Granted { claimed_sent: pending.claimed_sent, place, message });
                }
            }
            ClaimOutcome::Refused => {
                self.counts.refused += decided.offsets.len() as u64;
                // Not ours any more: the membership is about to say so, and the new owner reads it from its offset.
                self.partitions.remove(&partition);
            }
            ClaimOutcome::Rejected(code) => {
                self.counts.refused += decided.offsets.len() as u64;
                if code == ErrorCode::OffsetMetadataTooLarge {
                    let shorter = decided.text_bytes - decided.text_bytes.div_ceil(4);
                    self.text_limit = shorter.max(holes::LEAST_METADATA_BYTES);
                }
                // Still ours, and what stands committed is looked up: an earlier copy may have been applied, or the topic may be
                // gone.
                if let Some(held) = self.partitions.remove(&partition) {
                    self.former.remember(partition, &held);
                }
                self.unread.forget(partition);
                let times = self.rejections.entry(partition).or_default();
                let rest = LOAD_AGAIN * 2_u32.pow((*times).min(4));
                *times = times.saturating_add(1);
                self.positions.look_up_after(partition, now.mono + rest);
                let error = BrokerError::Refused(code);
                effects.push(Effect::Failed(Failure { call: Call::Commit, error }));
            }
        }
    }

    /// Starts what was granted in an earlier step, unless that took too long.
    pub(super) fn start_granted(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let mut late = 0;
        for Granted { claimed_sent, place, message } in std::mem::take(&mut self.granted) {
            if !in_time(claimed_sent, now.mono, self.options.lease) {
                late += 1;
                continue;
            }
            let Held { attempt, published_ms, .. } = message;
            let start_by = start_by(claimed_sent, self.options.lease);
            let claimed = Claimed { attempt, place, published_ms, claimed_at: now.wall, start_by };
            self.waiting.use_one();
            effects.push(Effect::Start(Box::new(claimed)));
        }
        if late > 0 {
            self.counts.too_late += late;
            effects.push(Effect::Report(Report::TooLate(late)));
        }
    }
}

/// Why an answer leaves a partition undecided: the first code that says so, or that it says nothing.
fn undecided(codes: &[Option<ErrorCode>]) -> BrokerError {
    let open =
        |code: &&Option<ErrorCode>| matches!(to_partition(**code), Answer::NotApplied | Answer::Unknown);
    let nothing = || BrokerError::NoAnswer("nothing about a partition".to_owned());
    codes.iter().find(open).copied().flatten().map_or_else(nothing, BrokerError::Refused)
}
