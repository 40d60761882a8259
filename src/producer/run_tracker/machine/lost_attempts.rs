//! Passes lost attempts on: first the tracker writes the next attempt or a dead letter, and has it confirmed; then it
//! writes `lost`.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;

use super::lost_check::Suspect;
use super::{Effect, RunTracker};
use crate::common::broker::{BrokerError, Client, Deadline, ErrorCode, TopicPartition, Want};
use crate::common::clock::Now;
use crate::common::model::{Attempt, AttemptRef, ClusterName, Event, Outcome, Place, Then};
use crate::common::outgoing::Outgoing;
use crate::common::passing::{Ended, Fit};
use crate::common::topics;
use crate::common::wire;
use crate::common::wire::{DeadLetter, DeadReason, DeadRecord};
use crate::producer::run_tracker::duties::Duties;

/// A lost attempt and what is to be written for it.
struct Lost {
    name: AttemptRef,
    suspect: Suspect,
    attempt: Option<Attempt>,
    fit: Fit,
    cluster: ClusterName,
    then: Then,
    /// The next attempt, or a dead letter.
    follows: Outgoing,
    event: Outgoing,
    line: String,
}

impl RunTracker {
    /// Passes on the suspects of which the tracker has still heard nothing, now that it has read everything that may
    /// have been said of them before it looked up their offsets.
    pub(super) fn pass_on(
        &mut self,
        client: &mut dyn Client,
        suspects: Vec<Suspect>,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) {
        let mut all = Vec::new();
        for suspect in suspects {
            if !self.is_lost(&suspect) {
                continue;
            }
            match message(client, &suspect, by) {
                Ok(attempt) => all.extend(self.lost(suspect, attempt, Fit::Whole, now)),
                Err(error) => {
                    let Place { topic, partition, offset, .. } = &suspect.place;
                    log::warn!("the lost attempt at {topic}/{partition} {offset}: {error}; trying again");
                    effects.push(Effect::Failed(Duties::LostAttempts, error));
                    self.leases.ask_again(&suspect.name, now.mono);
                }
            }
        }
        let (mut not_yet, mut passed_on) = (Vec::new(), Vec::new());
        while !all.is_empty() {
            let follows = all.iter().map(|lost| lost.follows.clone()).collect();
            let (unwritten, too_large) = self.write(client, follows, now, by, effects);
            let mut smaller = Vec::new();
            for lost in all {
                let key = &lost.follows.key;
                match lost.fit.smaller().filter(|_| too_large.contains(key) && lost.attempt.is_some()) {
                    Some(fit) => smaller.extend(self.lost(lost.suspect, lost.attempt, fit, now)),
                    None if unwritten.contains(key) => not_yet.push(lost),
                    None => passed_on.push(lost),
                }
            }
            all = smaller;
        }
        let events = passed_on.iter().map(|lost| lost.event.clone()).collect();
        let (unwritten, _) = self.write(client, events, now, by, effects);
        let (unsaid, done): (Vec<Lost>, Vec<Lost>) =
            passed_on.into_iter().partition(|lost| unwritten.contains(&lost.event.key));
        // An attempt that was passed on without a confirmed `lost` is passed on again. That makes a copy, and consumers
        // drop copies.
        not_yet.iter().chain(&unsaid).for_each(|lost| self.leases.ask_again(&lost.name, now.mono));
        for lost in done {
            log::warn!("{}", lost.line);
            self.leases.settle(lost.name, now.mono);
            effects.push(Effect::Lost(lost.cluster, lost.then));
        }
    }

    fn is_lost(&self, suspect: &Suspect) -> bool {
        let is_over = |(from, seen)| self.leases.is_over(&suspect.name, from, seen);
        self.ends.seen().is_some_and(is_over)
            && self.leases.get(&suspect.name).is_some_and(|lease| lease.place == suspect.place)
    }

    fn lost(&mut self, suspect: Suspect, attempt: Option<Attempt>, fit: Fit, now: Now) -> Option<Lost> {
        let Suspect { name, place, .. } = &suspect;
        let consumer = self.leases.get(name)?.consumer.clone();
        let Some(cluster) = topics::cluster_of(&place.topic) else {
            log::error!("an attempt in {}, which is no cluster's topic, is given up", place.topic);
            self.leases.settle(*name, now.mono);
            return None;
        };
        let outcome = Outcome::Lost;
        let ended = attempt.as_ref().map(|attempt| Ended {
            attempt,
            place,
            outcome: &outcome,
            at: now.wall,
            output_tail: "",
            fit,
        });
        let passed_on = ended.and_then(|ended| Some((ended.then(), ended.passed_on(&self.options.name)?)));
        let (then, follows) =
            passed_on.unwrap_or_else(|| (Then::Dead, self.letter(&suspect, &cluster, &consumer, now)));
        let run = attempt.as_ref().map(|attempt| &attempt.run);
        let event = Event::Lost {
            attempt: *name,
            job: run.map(|run| run.job.clone()),
            cluster: cluster.clone(),
            scheduled_at: run.map(|run| run.scheduled_at),
            consumer: consumer.clone(),
            place: place.clone(),
            then,
            at: now.wall,
        };
        let event = Outgoing::event(&event);
        let what = run.map_or_else(|| format!("run {}", name.run), |run| run.job.to_string());
        let (number, to) = (name.attempt, &follows.topic);
        let line = format!(
            "{}: {what}, attempt {number}: lost with consumer {consumer}; what follows is in {to}",
            place.topic
        );
        Some(Lost { name: *name, cluster, then, follows, event, line, suspect, attempt, fit })
    }

    /// The dead letter for an attempt whose message is gone: nothing is left that could be tried again.
    fn letter(&self, suspect: &Suspect, cluster: &ClusterName, consumer: &str, now: Now) -> Outgoing {
        let Suspect { name: AttemptRef { run, attempt }, place, .. } = suspect;
        let letter = DeadLetter {
            reason: DeadReason::Deleted,
            detail: format!(
                "attempt {attempt} of run {run} was lost with consumer {consumer}, and its message is gone: \
                 it cannot be tried again"
            ),
            place: place.clone(),
            last_offset: place.offset,
            attempt: None,
            outcome: Some(Outcome::Lost),
            output_tail: String::new(),
            original: None,
            consumer: self.options.name.clone(),
            at: now.wall,
        };
        let value = wire::encode(&DeadRecord::Letter(Box::new(letter)));
        Outgoing { topic: topics::dead(cluster).into(), key: run.to_string().into(), value }
    }

    /// Writes records, and returns the keys of those that were not confirmed, and of those that are too large.
    pub(super) fn write(
        &mut self,
        client: &mut dyn Client,
        records: Vec<Outgoing>,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) -> (HashSet<Bytes>, HashSet<Bytes>) {
        let (mut left, mut too_large) = (HashSet::new(), HashSet::new());
        for unwritten in self.writer.write(client, records, now.wall.timestamp_millis(), by) {
            log::warn!("what follows from lost attempts and runs: {}; trying again", unwritten.error);
            if unwritten.error.code() == Some(ErrorCode::MessageTooLarge) {
                too_large.extend(unwritten.records.iter().map(|record| record.key.clone()));
            }
            left.extend(unwritten.records.into_iter().map(|record| record.key));
            effects.push(Effect::Failed(Duties::LostAttempts, unwritten.error));
        }
        (left, too_large)
    }
}

/// The message of a lost attempt; `None` where it is gone, or is not what was claimed.
fn message(client: &mut dyn Client, suspect: &Suspect, by: Deadline) -> Result<Option<Attempt>, BrokerError> {
    if suspect.is_deleted {
        return Ok(None);
    }
    let Place { topic, partition, offset, .. } = &suspect.place;
    let from = TopicPartition { topic: topic.clone(), partition: *partition };
    let want = Want { from, offset: *offset, max_bytes: 1 };
    let fetched = match client.fetch_one(suspect.leader, want, Duration::ZERO, by) {
        Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => return Ok(None),
        fetched => fetched?,
    };
    // A new leader of the partition may not know yet how far it may be read.
    let not_yet = || BrokerError::NotSent(format!("offset {offset} is not there yet"));
    let fetched = fetched.filter(|fetched| fetched.next_offset > *offset).ok_or_else(not_yet)?;
    let record = fetched.records.into_iter().find(|record| record.offset == *offset);
    let attempt = record.and_then(|record| wire::decode_attempt(record.value.as_deref()?).ok());
    let AttemptRef { run, attempt: number } = suspect.name;
    Ok(attempt.filter(|attempt| attempt.run.id == run && attempt.attempt == number))
}
