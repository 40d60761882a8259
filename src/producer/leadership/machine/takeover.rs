//! Taking over: the cursors, judged and committed in our own name, and then what is published already. Cluster by
//! cluster, so that one whose topic is not there, or has no leader, holds up no other.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::super::{Published, Runs, Start};
use super::{CALL, COMMIT_EVERY, Call, Effect, Failure, LOOK_AGAIN, Leadership, Now, Stage};
use crate::common::broker::{BrokerError, Client, Commit, ErrorCode, Position, TopicPartition};
use crate::common::model::{Attempt, RunId};
use crate::common::scan::Scan;
use crate::common::{topics, wire};
use crate::producer::leadership::cursor;
use crate::producer::leadership::cursor::{Found, StartingPoint, judge};

/// How far before a cursor the topics are read for what is published: clocks of hosts differ.
const MARGIN_MS: i64 = 60_000;

/// How long a cluster rests that could not be taken over, or read.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Starts within so long of each other are one reboot, as long as its ticks are not done.
const ONE_REBOOT: TimeDelta = TimeDelta::seconds(60);

impl Leadership {
    /// Reads the cursors, judges each, and commits them in our name: from here on a former leader is refused.
    pub(in crate::producer::leadership) fn take_over(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Duration, Failure> {
        if self.is_to_be_compared(now)
            && self.clock_is_off(client, now, effects).map_err(|error| Call::Compare.failed(error))?
        {
            self.end();
            return Ok(LOOK_AGAIN);
        }
        // If the membership is lost after this, the term that is about to begin must not write.
        let losses = self.options.standing.losses();
        let all: Vec<usize> = (0..self.options.clusters.len()).collect();
        self.began = now.wall;
        let judged = self.judge(client, &all, now, effects)?;
        if let Some(ahead) = ahead(&judged) {
            effects.push(Effect::ClockBehind(ahead));
            self.was_ahead = judged.iter().map(|(_, judged)| judged.cursor).max();
            self.after_tries.failed(now.mono);
            return Ok(Duration::from_secs(1));
        }
        self.reboot = self.reboot_of(&judged, now, effects);
        let ours = self.claim(client, judged, now, effects)?;
        if ours.is_empty() {
            return Ok(self.after_tries.failed(now.mono)); // no topic is there yet
        }
        self.after_tries.succeeded();
        (self.stage, self.has_begun) = (Stage::Leading, true);
        self.absent = all.into_iter().filter(|number| ours.iter().all(|(of, _)| of != number)).collect();
        self.try_again = Some(now.mono + TRY_AGAIN);
        self.unread = ours;
        effects.push(Effect::Begin { term: self.term, losses });
        Ok(Duration::ZERO)
    }

    /// The reboot whose jobs are owed their ticks: ours, or an earlier one that is not done. A reboot a moment ago
    /// counts as ours: that producer may have been there when this one was started. So does the start of another producer that has
    /// led since, because it was started together with us.
    fn reboot_of(
        &self,
        judged: &[(usize, StartingPoint)],
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Option<DateTime<Utc>> {
        let undone = judged.iter().filter_map(|(_, judged)| judged.reboot).max();
        let is_a_moment_ago = undone.is_some_and(|at| now.wall - at < ONE_REBOOT);
        if !self.owes_reboot() || is_a_moment_ago || self.was_led(judged, now) {
            return undone;
        }
        if let Some(before) = undone {
            effects.push(Effect::Warn(format!(
                "what the start at {before} owed its @reboot jobs and did not publish is left to this one"
            )));
        }
        // The reboot does not lie before a cursor, which may lie in this very second: what a cursor has passed is done.
        let cursors = judged.iter().map(|(_, judged)| cursor::second_from(judged.cursor));
        Some(cursors.fold(cursor::second(now.wall), DateTime::max))
    }

    /// Whether another producer has led since we were started: a leader moves the cursors every second. A cursor that lay in our
    /// future was moved by a clock ahead of ours, and says nothing.
    fn was_led(&self, judged: &[(usize, StartingPoint)], now: Now) -> bool {
        let started = self.started.map_or(now.wall, |started| now.wall - (now.mono - started.mono));
        let is_later = |cursor: DateTime<Utc>| cursor > started && cursor <= now.wall;
        let was_moved =
            |at: &StartingPoint| at.is_kept && is_later(at.cursor) && self.was_ahead != Some(at.cursor);
        judged.iter().any(|(_, judged)| was_moved(judged))
    }

    /// Takes over the clusters that could not be taken over before.
    pub(in crate::producer::leadership) fn take_absent(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Failure> {
        if self.absent.is_empty() || self.try_again.is_some_and(|at| now.mono < at) {
            return Ok(());
        }
        self.try_again = Some(now.mono + TRY_AGAIN);
        let judged = self.judge(client, &self.absent.clone(), now, effects)?;
        if let Some(ahead) = ahead(&judged) {
            effects.push(Effect::ClockBehind(ahead));
            return Ok(());
        }
        let ours = self.claim(client, judged, now, effects)?;
        self.absent.retain(|number| ours.iter().all(|(of, _)| of != number));
        self.unread.extend(ours);
        Ok(())
    }

    /// What the cursors of these clusters mean. Clusters of which nothing can be known at the moment are left out.
    fn judge(
        &self,
        client: &mut dyn Client,
        numbers: &[usize],
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<(usize, StartingPoint)>, Failure> {
        let Some(holder) = &self.holder else { return Ok(Vec::new()) };
        let by = now.mono + CALL;
        let of: Vec<TopicPartition> = numbers.iter().map(|number| self.cursor_of(*number)).collect();
        let copies = numbers.iter().map(|number| self.copy_of(*number));
        let both: Vec<TopicPartition> = of.iter().cloned().chain(copies).collect();
        let mut committed =
            client.committed(&holder.group, &both, by).map_err(|error| Call::LookUp.failed(error))?;
        let copies = committed.split_off(of.len());
        let mut all = Vec::with_capacity(of.len());
        for (((number, of), cursor), copy) in numbers.iter().zip(&of).zip(&committed).zip(&copies) {
            // A topic that was made anew has no cursor, and what was due since the copy of it is owed.
            let committed = cursor.as_ref().or(copy.as_ref());
            if let (None, Some(copy)) = (cursor, copy) {
                let line = format!("{}: the cursor is gone, and its copy {} counts", of.topic, copy.offset);
                effects.push(Effect::Warn(line));
            }
            let is_used = match committed {
                Some(_) => Ok(true),
                None => is_used(client, &of.topic, by),
            };
            match is_used {
                Ok(is_used) => {
                    let found = Found { committed, is_used };
                    all.push((*number, judge(found, self.options.window, self.began, now.wall)));
                }
                Err(error) => effects.push(Effect::Failed(Call::LookUp.failed_for(of.topic.clone(), error))),
            }
        }
        Ok(all)
    }

    /// Commits cursors in our name, and returns those that the broker has taken. The broker knows no cursor of a topic
    /// that does not exist, and takes none of a topic whose access list forbids it. Such a topic delays no other
    /// cluster.
    fn claim(
        &mut self,
        client: &mut dyn Client,
        judged: Vec<(usize, StartingPoint)>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<(usize, StartingPoint)>, Failure> {
        for (number, judged) in &judged {
            // This must be known before it is on record, also to the next leader.
            match judged.is_gap {
                true => self.gaps.insert(*number, judged.cursor),
                false => self.gaps.remove(number),
            };
        }
        let Some(holder) = &self.holder else { return Ok(Vec::new()) };
        let commits: Vec<Commit> =
            judged.iter().map(|(number, judged)| self.commit_of(*number, judged.cursor)).collect();
        let copies = judged.iter().map(|(number, judged)| Commit {
            of: self.copy_of(*number),
            ..self.commit_of(*number, judged.cursor)
        });
        // What becomes of the copies matters only where a cursor is gone by then: those of the cursors are looked at.
        let both: Vec<Commit> = commits.iter().cloned().chain(copies).collect();
        let codes =
            client.commit(holder, &both, now.mono + CALL).map_err(|error| Call::Claim.failed(error))?;
        let mut ours = Vec::with_capacity(judged.len());
        for (judged, code) in judged.into_iter().zip(codes) {
            match code {
                None => ours.push(judged),
                Some(code @ (ErrorCode::UnknownTopicOrPartition | ErrorCode::TopicAuthorizationFailed)) => {
                    let is_known = code != ErrorCode::UnknownTopicOrPartition;
                    let call = if is_known { Call::Claim } else { Call::LookUp };
                    let topic = topics::first(self.cluster(judged.0));
                    effects.push(Effect::Failed(call.failed_for(topic, BrokerError::Refused(code))));
                }
                Some(code) => return Err(Call::Claim.failed(BrokerError::Refused(code))),
            }
        }
        Ok(ours)
    }

    /// Reads what the topics hold since their cursors, and says after how long to try again.
    pub(in crate::producer::leadership) fn read(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Duration {
        if let Some(rest) = self.after_tries.left(now.mono) {
            return rest;
        }
        for (number, judged) in std::mem::take(&mut self.unread) {
            match published_since(client, &topics::first(self.cluster(number)), judged.cursor) {
                Ok(published) => effects.push(Effect::Start {
                    term: self.term,
                    cluster: number,
                    start: Start {
                        cursor: judged.cursor,
                        reboot: self.reboot.filter(|at| *at >= judged.cursor),
                        published,
                        is_gap: judged.is_gap,
                    },
                }),
                Err(error) => {
                    let topic = topics::first(self.cluster(number));
                    effects.push(Effect::Failed(Call::Read.failed_for(topic, error)));
                    self.unread.push((number, judged));
                }
            }
        }
        if !self.unread.is_empty() {
            return self.after_tries.failed(now.mono);
        }
        self.after_tries.succeeded();
        if self.absent.is_empty() { COMMIT_EVERY } else { TRY_AGAIN }
    }
}

/// How far the furthest of the cursors lies ahead of our clock, where one does too far.
fn ahead(judged: &[(usize, StartingPoint)]) -> Option<Duration> {
    judged.iter().map(|(_, judged)| judged.ahead).max().filter(|ahead| !ahead.is_zero())
}

/// Whether a topic holds, or ever held, a record.
fn is_used(client: &mut dyn Client, topic: &str, by: Instant) -> Result<bool, BrokerError> {
    let Some(state) = client.topic(topic, by)? else { return Ok(false) };
    for partition in state.partitions {
        let of = TopicPartition { topic: topic.to_owned(), partition: partition.partition };
        if client.offset(&of, Position::End, by)? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The runs that a topic holds of what is owed since a cursor; and the latest instant that one of them may be due at: what
/// is published has the time of its writer, who publishes nothing that is not due (but for a reboot's), or the broker's.
fn published_since(
    client: &mut dyn Client,
    topic: &str,
    cursor: DateTime<Utc>,
) -> Result<Published, BrokerError> {
    let mut scan = Scan::new(topic);
    let topic_id = scan.topic_id(client)?.unwrap_or_default();
    scan.skip_to(client, cursor.timestamp_millis() - MARGIN_MS)?;
    let mut runs = Runs::default();
    let mut last_ms = cursor.timestamp_millis();
    scan.read(client, |partition, record| {
        let run: Option<RunId> =
            record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
        if let Some(id) = run {
            let place = (partition, record.offset);
            match record.value.as_deref().and_then(|value| wire::decode_attempt(value).ok()) {
                // The key decides which run this is, whatever the value says; and a tick's run has the id that the tick gives it.
                Some(Attempt { run, .. }) if run.id == id && id == RunId::of(&run.job, run.scheduled_at) => {
                    // A reboot may lie at the cursor.
                    if run.scheduled_at >= cursor {
                        runs.add(&run.job, run.scheduled_at, place);
                    }
                }
                _ => runs.add_other(id, place),
            }
        }
        last_ms = last_ms.max(record.timestamp_ms);
    })?;
    runs.sort();
    let until = DateTime::from_timestamp_millis(last_ms.saturating_add(MARGIN_MS));
    Ok(Published { topic_id, runs, until: until.unwrap_or(DateTime::<Utc>::MAX_UTC) })
}
