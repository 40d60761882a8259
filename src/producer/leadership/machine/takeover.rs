//! Taking over: the cursors, judged and committed in our own name, and then what is published already. Cluster by
//! cluster, so that one whose topic is not there, or has no leader, holds up no other.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::super::Start;
use super::reading::Unread;
use super::{CALL, COMMIT_EVERY, Call, Effect, Failure, LOOK_AGAIN, Leadership, Now, Stage};
use crate::common::broker::{BrokerError, Client, Commit, Committed, ErrorCode, Position, TopicPartition};
use crate::common::topics;
use crate::producer::leadership::cursor;
use crate::producer::leadership::cursor::{Found, StartingPoint, judge};

/// How many pieces of topics are read in a step. Each may take half a minute, where a quota holds us back.
const PIECES: usize = 3;

/// How long a cluster rests that could not be taken over, or read.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Starts within so long of each other are one reboot, as long as its ticks are not done.
const ONE_REBOOT: TimeDelta = TimeDelta::seconds(60);

/// A cursor and the copy of it, as they are committed.
type Kept = (Option<Committed>, Option<Committed>);

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
        self.unread = ours.into_iter().map(Unread::new).collect();
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
        self.unread.extend(ours.into_iter().map(Unread::new));
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
        if self.holder.is_none() {
            return Ok(Vec::new());
        }
        let by = now.mono + CALL;
        let mut all = Vec::with_capacity(numbers.len());
        let kept = self.kept(client, numbers, by).map_err(|error| Call::LookUp.failed(error))?;
        for (number, kept) in numbers.iter().zip(kept) {
            let of = self.cursor_of(*number);
            let (cursor, copy) = match kept {
                Ok(kept) => kept,
                Err(error) => {
                    effects.push(Effect::Failed(Call::LookUp.failed_for(of.topic.clone(), error)));
                    continue;
                }
            };
            // A topic that was made anew has no cursor, and what was due since the copy of it is owed.
            let committed = cursor.as_ref().or(copy.as_ref());
            if let (None, Some(copy)) = (&cursor, &copy) {
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

    /// The cursors of these clusters and the copies of them. Where the right to one topic is missing, the broker's answer to the
    /// call for all is that; then each cluster is asked for alone, and its copy only where its cursor is gone.
    fn kept(
        &self,
        client: &mut dyn Client,
        numbers: &[usize],
        by: Instant,
    ) -> Result<Vec<Result<Kept, BrokerError>>, BrokerError> {
        let group = self.holder.as_ref().map_or("", |holder| &holder.group);
        let cursors = numbers.iter().map(|number| self.cursor_of(*number));
        let copies = numbers.iter().map(|number| self.copy_of(*number));
        let both: Vec<TopicPartition> = cursors.chain(copies).collect();
        match client.committed(group, &both, by) {
            Ok(mut cursors) => {
                let copies = cursors.split_off(numbers.len());
                return Ok(cursors.into_iter().zip(copies).map(Ok).collect());
            }
            Err(error) if error.code() == Some(ErrorCode::TopicAuthorizationFailed) => {}
            Err(error) => return Err(error),
        }
        let mut alone = |of: TopicPartition| {
            let found = client.committed(group, &[of], by)?.pop();
            Ok::<_, BrokerError>(found.flatten())
        };
        let kept = |number: &usize| {
            let cursor = alone(self.cursor_of(*number))?;
            let copy = if cursor.is_some() { None } else { alone(self.copy_of(*number))? };
            Ok::<Kept, BrokerError>((cursor, copy))
        };
        Ok(numbers.iter().map(kept).collect())
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

    /// Reads on what the topics hold since their cursors, and says after how long to go on. Of all of them together no more is
    /// read than a few pieces, so that a step takes its time and no longer. A topic that cannot be read holds up no other.
    pub(in crate::producer::leadership) fn read(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Duration {
        let mut pieces = PIECES;
        while pieces > 0
            && let Some(at) = self.unread.iter().position(|unread| unread.rests(now.mono).is_none())
            && let Some(mut unread) = self.unread.remove(at)
        {
            let topic = topics::first(self.cluster(unread.number));
            pieces -= 1;
            match unread.read(client, &topic, now.mono) {
                Ok(Some(published)) => {
                    let Unread { number, judged, .. } = unread;
                    let reboot = self.reboot.filter(|at| *at >= judged.cursor);
                    let start = Start { cursor: judged.cursor, reboot, published, is_gap: judged.is_gap };
                    effects.push(Effect::Start { term: self.term, cluster: number, start });
                    continue;
                }
                // However long it takes, it goes on.
                Ok(None) => self.patience.ends(),
                Err(error) => effects.push(Effect::Failed(Call::Read.failed_for(topic, error))),
            }
            // The others first: they may have less to be read.
            self.unread.push_back(unread);
        }
        let rests = self.unread.iter().map(|unread| unread.rests(now.mono).unwrap_or_default());
        rests.min().unwrap_or(if self.absent.is_empty() { COMMIT_EVERY } else { TRY_AGAIN })
    }

    /// What is being read at present, and how many messages of it have been.
    pub fn reading(&self) -> Option<(String, usize)> {
        let unread = self.unread.iter().max_by_key(|unread| unread.count())?;
        Some((topics::first(self.cluster(unread.number)), unread.count()))
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
