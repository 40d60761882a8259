//! Checks records and commits as they come: it judges each one by what stands in the log already.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::DateTime;
use kafka_cron::common::broker::TopicPartition;
use kafka_cron::common::holes;
use kafka_cron::common::model::{AttemptRef, Event, MissedReason, Place, Then};
use kafka_cron::common::passing;
use kafka_cron::common::wire::{self, DeadReason, DeadRecord};

use super::{Attempts, LogId, Message, Oracle, of};
use crate::jobs;
use crate::world::{CLUSTER, RETRY, partition};

impl Oracle {
    pub(super) fn message(&mut self, (of, topic): (LogId, &str), offset: i64, value: &[u8], written_ms: i64) {
        let attempts = self.attempts.get_mut(&of).unwrap();
        let message = match wire::decode_attempt(value) {
            Ok(attempt) => {
                if self.has_producers {
                    if topic == CLUSTER {
                        self.ticks.published(&attempt);
                    }
                    self.overlaps.attempt(&attempt, self.late, self.now);
                }
                let name = AttemptRef { run: attempt.run.id, attempt: attempt.attempt };
                let first = *attempts.first.entry(name).or_insert(offset);
                Message {
                    name: Some(name),
                    // A clock that was ahead when the attempt before ended may be right when this one is written.
                    not_before: passing::may_start(&attempt, written_ms),
                    attempts: 1 + attempt.run.retry.retries,
                    copy_of: (first < offset).then_some(first),
                    is_late: self.late,
                }
            }
            Err(_) => {
                Message { name: None, not_before: None, attempts: 0, copy_of: None, is_late: self.late }
            }
        };
        attempts.messages.insert(offset, message);
    }

    pub(super) fn letter(&mut self, value: &[u8]) {
        let DeadRecord::Letter(letter) = wire::decode_dead(value).unwrap() else { return };
        match letter.attempt {
            Some(attempt) => {
                self.given_up.insert(AttemptRef { run: attempt.run.id, attempt: attempt.attempt });
                if letter.reason == DeadReason::AttemptsExhausted && attempt.attempts_left > 0 {
                    self.letters_for_retries += 1;
                    if self.sizes.retry.is_none() {
                        self.breaks(|| {
                            format!("{attempt:?} is given up although the next one is not too large")
                        });
                    }
                }
            }
            None if letter.reason == DeadReason::AttemptsExhausted => {
                self.given_up_at.insert((of(&letter.place), letter.place.offset));
                if self.sizes.dead.is_none() {
                    self.breaks(|| {
                        format!("the letter about {:?} lacks what is not too large", letter.place)
                    });
                }
            }
            None => {
                let letters = &mut self.attempts.get_mut(&of(&letter.place)).unwrap().letters;
                letters.extend(letter.place.offset..=letter.last_offset);
            }
        }
    }

    /// An event at a place of `cron-runs`.
    pub(super) fn event(&mut self, event: &Event, at: (i32, i64)) {
        self.overlaps.event(event, self.now);
        self.orders.event(event);
        self.reads.event(event, at);
        match event {
            Event::Claimed { attempt, place, consumer, at, .. } => {
                self.heard.entry(*attempt).or_default().push(self.now);
                let attempts = self.attempts.get_mut(&of(place)).unwrap();
                attempts.claims.entry(place.offset).or_default().push((consumer.clone(), *at));
            }
            Event::Finished { attempt, then, .. } => {
                self.finished.insert(*attempt, *then);
                let next = AttemptRef { attempt: attempt.attempt + 1, ..*attempt };
                let stands = match then {
                    Then::Done => true,
                    Then::Retried => self.attempts.values().any(|a| a.first.contains_key(&next)),
                    // It may have been started twice where partitions were added: a letter is about either place.
                    Then::Dead => {
                        let is_its = |(log, offset): &(LogId, i64)| {
                            self.attempts[log]
                                .messages
                                .get(offset)
                                .is_some_and(|it| it.name == Some(*attempt))
                        };
                        self.given_up.contains(attempt) || self.given_up_at.iter().any(is_its)
                    }
                };
                if !stands {
                    self.breaks(|| format!("{attempt:?} is finished ({then:?}) before it was passed on"));
                }
            }
            Event::Alive { running, .. } => {
                for running in running {
                    self.heard.entry(running.attempt).or_default().push(self.now);
                }
            }
            Event::Missed { job, from, to, count, reason, .. } => {
                self.ticks.missed(job, (*from, *to), *count);
                if *reason == MissedReason::TooLarge {
                    self.ticks_too_large += count;
                    if self.sizes.first.is_none() || !jobs::is_bulky(job) {
                        self.breaks(|| format!("{job} at {to} is missed as too large, which it is not"));
                    }
                }
            }
            Event::Skipped { job, scheduled_at, .. } => self.ticks.skipped(job, *scheduled_at),
            Event::Lost { attempt, place, then, .. } => self.lost(*attempt, place, *then),
            Event::Ended { attempt, .. } => self.ended(*attempt),
            Event::DeletedUnread { place, next_offset, .. } => {
                let attempts = self.attempts.get_mut(&of(place)).unwrap();
                attempts.told_deleted.push((place.offset, *next_offset));
            }
            _ => {}
        }
    }

    /// An attempt is declared lost: nothing was heard of it for a lease, and what follows stands there.
    fn lost(&mut self, attempt: AttemptRef, place: &Place, then: Then) {
        self.lost.insert(attempt);
        let next = AttemptRef { attempt: attempt.attempt + 1, ..attempt };
        let stands = match then {
            Then::Retried => self.attempts.values().any(|a| a.first.contains_key(&next)),
            // A letter about a message that is gone names its place alone.
            Then::Dead => {
                self.given_up.contains(&attempt)
                    || self.given_up_at.contains(&(of(place), place.offset))
                    || self.attempts[&of(place)].letters.contains(&place.offset)
            }
            Then::Done => false,
        };
        if !stands {
            self.breaks(|| format!("{attempt:?} is lost ({then:?}) before it was passed on"));
        }
        // The silence lies before the last sign where that came late: it may not have been read any more.
        // But a leader that saw its message committed past has read what was written before that: the claim among it.
        let passed = self.attempts[&of(place)].passed.get(&place.offset).copied();
        let mut signs = self.heard.get(&attempt).cloned().unwrap_or_default();
        let known = signs.iter().filter(|sign| passed.is_some_and(|passed| **sign <= passed)).count();
        signs.drain(..known.saturating_sub(1));
        let ends = signs.iter().skip(1).chain([&self.now]);
        let lately = |end: &Instant| self.now.saturating_duration_since(*end) < self.lease * 2;
        let silent = signs.iter().zip(ends).any(|(from, to)| lately(to) && *to - *from >= self.lease);
        if !silent {
            let ago: Vec<_> = signs.iter().map(|sign| self.now - *sign).collect();
            self.breaks(|| format!("{attempt:?} is lost although it was heard of {ago:?} ago"));
        }
    }

    /// A run is said to be one that no consumer will run: no later attempt of it waits to be claimed. A consumer may claim a
    /// message that it had fetched before retention deleted it: no producer believes the word of the end then, because the claim
    /// stands before it. A message that arrives late may come after the leader has looked: into a
    /// topic that was made anew, too, because its writer names no topic id.
    fn ended(&mut self, ended: AttemptRef) {
        let is_later = |name: &AttemptRef| name.run == ended.run && name.attempt > ended.attempt;
        if self.heard.keys().any(is_later) {
            return;
        }
        let waits = |attempts: &Attempts| {
            attempts.messages.range(attempts.start..).any(|(offset, message)| {
                message.name.as_ref().is_some_and(is_later)
                    && attempts.is_unclaimed(*offset)
                    && !(attempts.is_copy(message) || message.is_late)
            })
        };
        if self.attempts.values().any(waits) {
            self.breaks(|| format!("{ended:?} is said to be the last of its run, and a later attempt waits"));
        }
    }

    /// Where the producers' cursor stands, and from where the next leader reads `cron-runs`.
    pub(super) fn look_at_leaders_commits(&mut self, by: Instant) {
        if !self.has_producers {
            return;
        }
        let of = [partition(CLUSTER, 0), partition("cron-runs", 0), partition("cron-runs", 1)];
        let mut answers = self.client.committed("cron-leader", &of, by).unwrap();
        if let Some(cursor) = answers.remove(0)
            && self.cursor.as_ref() != Some(&cursor)
        {
            if let Some(read) = &mut self.read {
                read.push(format!("cursor {:?}", DateTime::from_timestamp_millis(cursor.offset)));
            }
            self.ticks.cursor(cursor.offset, &cursor.metadata, self.late);
            self.cursor = Some(cursor);
        }
        let offsets = (0..).zip(answers).filter_map(|(partition, answer)| Some((partition, answer?.offset)));
        if let Some(broken) = self.reads.committed(offsets.collect()) {
            self.breaks(|| broken);
        }
    }

    pub(super) fn look_at_commits(&mut self, by: Instant) {
        for topic in [CLUSTER, RETRY] {
            let of: Vec<TopicPartition> = (0..self.partitions(topic)).map(|p| partition(topic, p)).collect();
            let answers = self.client.committed(topic, &of, by).unwrap();
            for (of, committed) in of.into_iter().zip(answers) {
                let Some(committed) = committed.filter(|now| self.as_written.get(&of) != Some(now)) else {
                    continue;
                };
                self.as_written.insert(of.clone(), committed.clone());
                // One of a topic that was deleted says what became of that one, and nothing of the one that is there.
                if let Some(text) = holes::decode(&committed.metadata, committed.offset).unwrap() {
                    let log = LogId { topic_id: text.topic_id, partition: of.partition };
                    self.commit(log, &of, (committed.offset, text.offsets));
                }
            }
        }
    }

    /// What is unclaimed only ever becomes less, and each offset that is not unclaimed any more for a reason on record.
    fn commit(&mut self, log: LogId, of: &TopicPartition, now: (i64, BTreeSet<i64>)) {
        let attempts = self.attempts.get_mut(&log).unwrap();
        let before = attempts.committed.replace(now);
        let unclaimed_before = |offset: &i64| {
            before.as_ref().is_none_or(|(next, holes)| offset >= next || holes.contains(offset))
        };
        let attempts = &self.attempts[&log];
        let (next, holes) = attempts.committed.as_ref().unwrap();
        let back = before.as_ref().is_some_and(|(before, _)| next < before);
        if back || !holes.iter().all(unclaimed_before) {
            let what = format!(
                "{of:?}: the commit {before:?} is followed by {:?}: claims are undone",
                (next, holes)
            );
            return self.breaks(|| what);
        }
        let lost = attempts.messages.iter().find(|(offset, message)| {
            let passed = unclaimed_before(offset) && !attempts.is_unclaimed(**offset);
            let reason = attempts.claims.contains_key(offset)
                || attempts.is_copy(message)
                || attempts.letters.contains(offset)
                || **offset < attempts.start;
            passed && !reason
        });
        let passed = attempts.messages.keys().copied();
        let passed: Vec<i64> =
            passed.filter(|offset| unclaimed_before(offset) && !attempts.is_unclaimed(*offset)).collect();
        if let Some((offset, _)) = lost {
            let what =
                format!("{of:?}: offset {offset} is committed past without a claim or a letter on record");
            return self.breaks(|| what);
        }
        let now = self.now;
        let attempts = self.attempts.get_mut(&log).unwrap();
        attempts.passed.extend(passed.into_iter().map(|offset| (offset, now)));
    }
}
