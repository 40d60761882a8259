//! Leadership as a state machine: from being assigned the partition of `cron-leader` to handing each cluster's start to
//! the timer, and the cursors that are committed meanwhile. The thread `lead` and the simulation do nothing but call
//! [`Leadership::step`].
//!
//! The cursor of a cluster says: every tick due up to this instant has its fate on record. It is a committed offset
//! (milliseconds since the epoch) of the group `cron-leader` on partition 0 of the cluster's topic, so that the broker
//! refuses a leader that has been replaced. Start, restart, outage and fail-over are this one way: read the cursors,
//! commit them in our own name, read what is published already, begin. Before all that, a producer
//! whose clock is far from the broker's lets others lead.

mod cursor;
mod mandate;
mod skew;
#[cfg(test)]
mod tests;
mod thread;
mod words;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use self::cursor::{Found, Judged, judge};
pub use self::mandate::Mandate;
pub use self::thread::{Lead, Lines};
pub use self::words::{Act, Keep, Now, Options, REST, Start};
use crate::common::broker::{BrokerError, Client, Commit, ErrorCode, Holder, Position, TopicPartition};
use crate::common::membership::Change;
use crate::common::scan::Scan;
use crate::common::topics;
use crate::common::words::{ClusterName, RunId};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(2);

/// How far before a cursor the topics are read for what is published: clocks of hosts differ.
const MARGIN_MS: i64 = 60_000;

/// How often cursors are committed while they move.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How often a producer whose clock is off looks whether it still is. Each time that it is, its [`REST`] starts anew.
const LOOK_AGAIN: Duration = Duration::from_secs(REST.as_secs() / 2);

/// Who leads, as seen from one producer.
#[derive(Debug)]
pub struct Leadership {
    options: Options,
    holder: Option<Holder>,
    /// Counts our terms: what belongs to an earlier one is of no interest.
    epoch: u64,
    /// Whether a group without other members would be a reboot of all of it: only at our first assignment.
    first: bool,
    alone: bool,
    stage: Stage,
    /// What is to be committed, and when it may be.
    keep: Option<Keep>,
    next_commit: Option<Instant>,
    reboot: Option<DateTime<Utc>>,
    /// In this term our clock was compared with the broker's.
    clock_is_known: bool,
    /// Our clock was off; when to look again.
    look_again: Option<Instant>,
}

#[derive(Debug)]
enum Stage {
    /// Another one leads, or nobody.
    Standby,
    /// The cursors are still to be read and committed in our name.
    TakingOver,
    /// These clusters' topics are still to be read for what is published.
    Reading(Vec<(usize, Judged)>),
    /// Every cluster has begun.
    Leading,
}

impl Leadership {
    /// One that waits for an assignment.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            holder: None,
            epoch: 0,
            first: true,
            alone: false,
            stage: Stage::Standby,
            keep: None,
            next_commit: None,
            reboot: None,
            clock_is_known: false,
            look_again: None,
        }
    }

    /// Whether we are, or are becoming, the leader.
    pub fn leads(&self) -> bool {
        !matches!(self.stage, Stage::Standby)
    }

    /// A change of the membership; says whether a term has ended by it.
    pub fn changed(&mut self, change: &Change) -> bool {
        let Change::Assigned { holder, partitions, alone } = change else { return self.end() };
        if partitions.is_empty() {
            // Alone and without a share: the topic does not exist yet, and this was no assignment.
            self.first &= *alone;
            return self.end();
        }
        let first = std::mem::take(&mut self.first);
        // Ours in the generation before, too: nobody can have led in between.
        let before = self.holder.replace(holder.clone());
        let follows = before.is_some_and(|b| {
            b.member_id == holder.member_id && b.generation.checked_add(1) == Some(holder.generation)
        });
        if follows && matches!(self.stage, Stage::Leading) {
            return false;
        }
        let ended = self.leads();
        self.alone = first && *alone;
        self.epoch += 1;
        self.stage = Stage::TakingOver;
        self.clock_is_known = false;
        self.keep = None;
        ended
    }

    fn end(&mut self) -> bool {
        let led = self.leads();
        self.stage = Stage::Standby;
        self.holder = None;
        self.keep = None;
        led
    }

    /// What the timer wants kept; the newest counts.
    pub fn keep(&mut self, keep: Keep) {
        if keep.epoch == self.epoch && matches!(self.stage, Stage::Leading | Stage::Reading(_)) {
            self.keep = Some(keep);
        }
    }

    /// Makes the next step, of a few round trips at most, and says after how long to step again.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> (Vec<Act>, Duration) {
        let mut acts = Vec::new();
        let done = match std::mem::replace(&mut self.stage, Stage::Standby) {
            Stage::Standby => self.stand_by(client, now, &mut acts),
            Stage::TakingOver => self.take_over(client, now, &mut acts),
            Stage::Reading(clusters) => Ok(self.read(client, clusters, &mut acts)),
            Stage::Leading => {
                self.stage = Stage::Leading;
                self.commit(client, now, &mut acts)
            }
        };
        let wait = done.unwrap_or_else(|error| {
            if is_over(&error) {
                log::warn!("we lead no more: {error}");
                self.end();
                acts.push(Act::End);
            } else {
                acts.push(Act::Failed(error));
            }
            Duration::from_millis(200)
        });
        (acts, wait)
    }

    /// Commits what is still to be kept, before we leave.
    pub fn finish(&mut self, client: &mut dyn Client, now: Now) {
        self.next_commit = None;
        if self.keep.is_some()
            && let Err(error) = self.commit(client, now, &mut Vec::new())
        {
            log::warn!("the last cursors are not kept: {error}");
        }
    }

    fn cursors_of(&self) -> Vec<TopicPartition> {
        let of = |cluster: &ClusterName| TopicPartition { topic: topics::first(cluster), partition: 0 };
        self.options.clusters.iter().map(of).collect()
    }

    /// Nothing to do, unless our clock was off when the lead was offered to us.
    fn stand_by(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        acts: &mut Vec<Act>,
    ) -> Result<Duration, BrokerError> {
        match self.look_again {
            Some(at) if now.mono >= at => self.clock_is_off(client, "", now, acts).map(|_| COMMIT_EVERY),
            _ => Ok(COMMIT_EVERY),
        }
    }

    fn clock_is_off(
        &mut self,
        client: &mut dyn Client,
        name: &str,
        now: Now,
        acts: &mut Vec<Act>,
    ) -> Result<bool, BrokerError> {
        let skew = skew::measure(client, name, now, now.mono + CALL)?;
        let is_off = skew.is_some_and(|skew| skew.abs() > skew::MOST);
        acts.extend(skew.map(|skew| if is_off { Act::ClockOff(skew) } else { Act::Clock(skew) }));
        self.look_again = is_off.then(|| now.mono + LOOK_AGAIN);
        Ok(is_off)
    }

    /// Reads the cursors, judges each, and commits them in our name: from here on a former leader is refused.
    fn take_over(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        acts: &mut Vec<Act>,
    ) -> Result<Duration, BrokerError> {
        self.stage = Stage::TakingOver;
        let Some(holder) = self.holder.clone() else { return Ok(COMMIT_EVERY) };
        if !self.clock_is_known && self.clock_is_off(client, &holder.member_id, now, acts)? {
            // Whether our start was a reboot is asked again when our clock is well.
            self.first |= self.alone;
            self.end();
            return Ok(LOOK_AGAIN);
        }
        self.clock_is_known = true;
        let by = now.mono + CALL;
        let of = self.cursors_of();
        let committed = client.committed(&holder.group, &of, by)?;
        let mut judged = Vec::with_capacity(of.len());
        for (of, committed) in of.iter().zip(&committed) {
            let is_used = committed.is_none() && is_used(client, &of.topic, by)?;
            judged.push(judge(
                Found { committed: committed.as_ref(), is_used },
                self.options.window,
                now.wall,
            ));
        }
        if let Some(ahead) = judged.iter().map(|judged| judged.ahead).max().filter(|ahead| !ahead.is_zero()) {
            acts.push(Act::ClockBehind(ahead));
            return Ok(Duration::from_secs(1));
        }
        let undone = judged.iter().filter_map(|judged| judged.reboot).max();
        self.reboot = undone.or_else(|| self.alone.then(|| cursor::second(now.wall)));
        let commits = self.commits(&judged.iter().map(|judged| judged.cursor).collect::<Vec<_>>());
        if let Some(code) = client.commit(&holder, &commits, by)?.into_iter().flatten().next() {
            return Err(BrokerError::Refused(code));
        }
        acts.push(Act::Begin { epoch: self.epoch });
        self.stage = Stage::Reading(judged.into_iter().enumerate().collect());
        Ok(Duration::ZERO)
    }

    fn commits(&self, cursors: &[DateTime<Utc>]) -> Vec<Commit> {
        let metadata = cursor::metadata(self.reboot);
        let commit = |(of, cursor): (TopicPartition, &DateTime<Utc>)| Commit {
            of,
            offset: cursor.timestamp_millis().max(0),
            metadata: metadata.clone(),
        };
        self.cursors_of().into_iter().zip(cursors).map(commit).collect()
    }

    /// Reads what the topics hold since their cursors. A topic that cannot be read holds up no other.
    fn read(
        &mut self,
        client: &mut dyn Client,
        clusters: Vec<(usize, Judged)>,
        acts: &mut Vec<Act>,
    ) -> Duration {
        let mut left = Vec::new();
        for (number, judged) in clusters {
            let cluster = &self.options.clusters[number];
            match published_since(client, &topics::first(cluster), judged.cursor) {
                Ok(published) => acts.push(Act::Lane {
                    epoch: self.epoch,
                    cluster: number,
                    start: Start {
                        cursor: judged.cursor,
                        reboot: self.reboot.filter(|at| *at >= judged.cursor),
                        published,
                        is_gap: judged.is_gap,
                    },
                }),
                Err(error) => {
                    log::warn!("{cluster}: what is published already: {error}; trying again");
                    acts.push(Act::Failed(error));
                    left.push((number, judged));
                }
            }
        }
        let all = left.is_empty();
        self.stage = if all { Stage::Leading } else { Stage::Reading(left) };
        if all { COMMIT_EVERY } else { Duration::from_millis(500) }
    }

    /// Commits the newest cursors, at most once a while.
    fn commit(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        acts: &mut Vec<Act>,
    ) -> Result<Duration, BrokerError> {
        if let Some(at) = self.next_commit.filter(|at| now.mono < *at) {
            return Ok(at - now.mono);
        }
        let (Some(keep), Some(holder)) = (self.keep.take(), &self.holder) else { return Ok(COMMIT_EVERY) };
        let mut commits = self.commits(&keep.cursors);
        commits.extend(keep.reads.iter().map(|(partition, offset)| Commit {
            of: TopicPartition { topic: topics::RUNS.to_owned(), partition: *partition },
            offset: *offset,
            metadata: String::new(),
        }));
        let answer = client.commit(holder, &commits, now.mono + CALL);
        let refused = answer.as_ref().ok().and_then(|codes| codes.iter().flatten().next().copied());
        match (answer, refused) {
            (Ok(_), None) => {
                self.next_commit = Some(now.mono + COMMIT_EVERY);
                acts.push(Act::Kept(keep.cursors));
                Ok(COMMIT_EVERY)
            }
            (Err(error), _) => {
                self.keep.get_or_insert(keep);
                Err(error)
            }
            // The group gathers: the membership is about to tell who leads now.
            (_, Some(ErrorCode::RebalanceInProgress)) => {
                self.keep.get_or_insert(keep);
                Ok(Duration::from_millis(200))
            }
            (_, Some(code)) => Err(BrokerError::Refused(code)),
        }
    }
}

/// Whether the broker says that we are not the leader any more.
fn is_over(error: &BrokerError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId)
    )
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

/// The runs that a topic holds since an instant, and some from before it.
fn published_since(
    client: &mut dyn Client,
    topic: &str,
    cursor: DateTime<Utc>,
) -> Result<HashSet<RunId>, BrokerError> {
    let mut scan = Scan::new(topic);
    scan.skip_to(client, cursor.timestamp_millis() - MARGIN_MS)?;
    let mut published = HashSet::new();
    scan.read(client, |_, record| {
        let run: Option<RunId> =
            record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()?.parse().ok());
        published.extend(run);
    })?;
    Ok(published)
}
