//! Leadership as a state machine: from the assignment of the partition of `cron-leader` to handing each cluster's start
//! to the scheduler, and the cursors that are committed meanwhile. The thread `lead` and the simulation only call
//! [`Leadership::step`].
//!
//! The cursor of a cluster says: every tick due up to this instant has its fate on record. It is a committed offset
//! (milliseconds since the epoch) of the group `cron-leader` on partition 0 of the cluster's topic, so that the broker
//! refuses a leader that has been replaced. A copy of it stands on partition 0 of the cluster's retry topic, because
//! the broker forgets a cursor with its topic. A restart, an outage and a failover take this one way: read the cursors,
//! commit them in our own name, read what is published already (`reading`), begin (`takeover`), and commit the cursors as they move
//! (`cursor_commits`). A producer whose clock is far from the broker's, before or during all that, lets others lead
//! (`clock_skew`), and so does one that cannot take everything over for long (`giving_way`). A cluster whose topic does
//! not exist or cannot be read delays no other.

mod cursor_commits;
mod reading;
mod takeover;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use self::reading::Unread;
use super::Term;
use super::clock_skew::{self, Compared};
use super::cursor::StartingPoint;
use super::giving_way::Patience;
use super::messages::{Call, CursorCommit, Effect, Event, Failure, Options, REST};
use crate::common::broker::{BrokerError, Client, ErrorCode, Holder, TopicPartition};
use crate::common::clock::{Now, Skew};
use crate::common::membership::Change;
use crate::common::model::ClusterName;
use crate::common::rests::Rests;
use crate::common::{topics, unknown_time};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(2);

/// How often cursors are committed while they move.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after a call that failed, and at most after many of them: each time twice as long.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
const AFTER_FAILURES: Duration = Duration::from_millis(1600);

/// How often the leader's clock is compared with the broker's; and at once when its two clocks part.
const COMPARE: Duration = Duration::from_secs(10);

/// How often a producer whose clock is off looks whether it still is. Each time that it is, its [`REST`] starts anew.
const LOOK_AGAIN: Duration = Duration::from_secs(REST.as_secs() / 2);

/// Who leads, as seen from one producer.
#[derive(Debug)]
pub struct Leadership {
    options: Options,
    holder: Option<Holder>,
    /// The term of the latest assignment, and the one of the next.
    term: Term,
    next_term: Term,
    /// Whether no producer led when this one was started, as its first assignment has said: then its start is a reboot.
    is_reboot: Option<bool>,
    /// Our first step.
    started: Option<Now>,
    /// Whether a term of ours has begun.
    has_begun: bool,
    /// A cursor that our clock had to catch up with.
    was_ahead: Option<DateTime<Utc>>,
    stage: Stage,
    /// Numbers of the clusters whose cursors could not be taken over yet, and when to try again.
    absent: Vec<usize>,
    try_again: Option<Instant>,
    /// The clusters of this term whose topics are still to be read for what is published.
    unread: VecDeque<Unread>,
    /// What is to be committed, and when it may be.
    keep: Option<CursorCommit>,
    next_commit: Option<Instant>,
    /// When the next commit of cursors may be made after those that failed.
    after_commits: Rests,
    /// When the next try to take over may be made, or to compare clocks as a standby, after those that failed.
    after_tries: Rests,
    reboot: Option<DateTime<Utc>>,
    /// When the term began.
    began: DateTime<Utc>,
    /// The clusters whose cursors were lost, with those at which they go on.
    gaps: BTreeMap<usize, DateTime<Utc>>,
    /// How our clock stands to the broker's, as far as that can be known.
    skew: Option<Skew>,
    /// Whether the log has said that the skew cannot be known.
    is_clock_unknown: bool,
    /// When they are to be compared; `None`: before anything else is done in this term.
    compare_at: Option<Instant>,
    /// When to look at the clock again, after it was off.
    look_again: Option<Instant>,
    /// Whether another producer is a member, too.
    has_company: bool,
    patience: Patience,
    /// Whether we gave way, and have not come back.
    has_given_way: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Another producer leads, or none does.
    Standby,
    /// The cursors are still to be read and committed in our name.
    TakingOver,
    /// This producer leads at least one cluster.
    Leading,
}

impl Leadership {
    /// Creates the leadership that waits for an assignment.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            holder: None,
            term: Term::FIRST,
            next_term: Term::FIRST,
            is_reboot: None,
            started: None,
            has_begun: false,
            was_ahead: None,
            stage: Stage::Standby,
            absent: Vec::new(),
            try_again: None,
            unread: VecDeque::new(),
            keep: None,
            next_commit: None,
            after_commits: Rests::new(AFTER_FAILURE, AFTER_FAILURES),
            after_tries: Rests::new(AFTER_FAILURE, AFTER_FAILURES),
            reboot: None,
            began: DateTime::UNIX_EPOCH,
            gaps: BTreeMap::new(),
            skew: None,
            is_clock_unknown: false,
            compare_at: None,
            look_again: None,
            has_company: false,
            patience: Patience::default(),
            has_given_way: false,
        }
    }

    /// Whether we are, or are becoming, the leader.
    pub fn leads(&self) -> bool {
        self.stage != Stage::Standby
    }

    /// Whether something is still to be done before this producer leads every cluster: it was offered the lead and has
    /// not taken it, it does not take it because its clock is off, or a cluster could not be taken over.
    pub fn is_taking_over(&self) -> bool {
        match self.stage {
            Stage::Standby => self.look_again.is_some() || self.has_given_way,
            Stage::TakingOver => true,
            Stage::Leading => !self.absent.is_empty() || !self.unread.is_empty(),
        }
    }

    /// Takes what another thread tells.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Membership(change) if self.changed(&change) => return vec![Effect::End],
            Event::Membership(_) => {}
            Event::Cursors(cursors) => self.keep(cursors),
        }
        Vec::new()
    }

    /// A change of the membership; says whether a term has ended by it.
    fn changed(&mut self, change: &Change) -> bool {
        let Change::Assigned { holder, partitions, alone, is_first } = change else { return self.end() };
        (self.has_company, self.has_given_way) = (!alone, false);
        self.is_reboot.get_or_insert(*alone || *is_first);
        // The member that has the first partition leads. Where the topic has more partitions by mistake, the others do
        // not count; otherwise there would be a leader for each.
        if !partitions.iter().any(|of| of.partition == 0) {
            return self.end();
        }
        // The partition was ours in the generation before, too: no other producer can have led in between.
        let before = self.holder.replace(holder.clone());
        let follows = before.is_some_and(|b| {
            b.member_id == holder.member_id && b.generation.checked_add(1) == Some(holder.generation)
        });
        if follows && self.stage == Stage::Leading {
            return false;
        }
        let ended = self.leave_term();
        self.term = self.next_term;
        self.next_term = self.term.next();
        self.stage = Stage::TakingOver;
        (self.skew, self.compare_at) = (None, None);
        self.after_tries.succeeded();
        self.forget();
        ended
    }

    /// Whether our start is a reboot, and no term of ours has begun since.
    fn owes_reboot(&self) -> bool {
        self.is_reboot == Some(true) && !self.has_begun
    }

    /// Leaves the term, where there is one: what a publisher has of it must not be written from here on. The next term may be
    /// ours, and read what is published, before the scheduler hears that this one is over.
    fn leave_term(&self) -> bool {
        let led = self.leads();
        if led {
            self.options.standing.void();
        }
        led
    }

    fn end(&mut self) -> bool {
        let led = self.leave_term();
        self.stage = Stage::Standby;
        self.holder = None;
        self.patience.ends();
        self.forget();
        led
    }

    /// Drops what belongs to a term, because the term is over.
    fn forget(&mut self) {
        self.absent.clear();
        self.unread.clear();
        self.keep = None;
        self.next_commit = None;
        self.after_commits.succeeded();
    }

    /// Makes the next step, of a few round trips at most, and says after how long to step again.
    pub fn step(&mut self, client: &mut dyn Client, now: Now) -> (Vec<Effect>, Duration) {
        let mut effects = Vec::new();
        self.started.get_or_insert(now);
        // Whatever wakes the thread, it does not try again at once what failed a moment ago.
        if self.stage != Stage::Leading
            && let Some(rest) = self.after_tries.left(now.mono)
        {
            return (effects, rest);
        }
        let done = match self.stage {
            Stage::Standby => self.stand_by(client, now, &mut effects),
            Stage::TakingOver => self.take_over(client, now, &mut effects),
            Stage::Leading => self.lead(client, now, &mut effects),
        };
        let wait = done.unwrap_or_else(|failure| {
            if is_over(&failure.error) {
                self.end();
                effects.extend([Effect::Warn(format!("we lead no more: {}", failure.error)), Effect::End]);
                return AFTER_FAILURE;
            }
            effects.push(Effect::Failed(failure));
            if self.stage == Stage::Leading { AFTER_FAILURE } else { self.after_tries.failed(now.mono) }
        });
        self.give_way(&mut effects, now);
        (effects, wait)
    }

    /// Lets another producer lead, where we could not take everything over for long.
    fn give_way(&mut self, effects: &mut Vec<Effect>, now: Now) {
        if self.stage == Stage::Standby {
            return;
        }
        if !self.is_taking_over() {
            return self.patience.has_all();
        }
        let leads_some = self.stage == Stage::Leading;
        if let Some(away) = self.patience.step(effects, (self.has_company, leads_some), now.mono) {
            self.end();
            self.has_given_way = true;
            effects.extend([Effect::End, Effect::GiveWay(away)]);
        }
    }

    fn lead(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Duration, Failure> {
        if self.is_to_be_compared(now) {
            match self.clock_is_off(client, now, effects) {
                Ok(true) => {
                    self.end();
                    effects.push(Effect::End);
                    return Ok(LOOK_AGAIN);
                }
                Ok(false) => {}
                // Cursors are committed all the same: a clock that was right has told them.
                Err(error) => {
                    effects.push(Effect::Failed(Call::Compare.failed(error)));
                    self.compare_at = Some(now.mono + COMMIT_EVERY);
                }
            }
        }
        self.take_absent(client, now, effects)?;
        let read = self.read(client, now, effects);
        Ok(self.commit(client, now, effects)?.min(read))
    }

    /// The partition on which a cluster's cursor is committed.
    fn cursor_of(&self, number: usize) -> TopicPartition {
        TopicPartition { topic: topics::first(self.cluster(number)), partition: 0 }
    }

    /// The partition on which a copy of the cursor is committed: the broker forgets what is committed for a topic that
    /// is deleted.
    fn copy_of(&self, number: usize) -> TopicPartition {
        TopicPartition { topic: topics::retry(self.cluster(number)), partition: 0 }
    }

    fn cluster(&self, number: usize) -> &ClusterName {
        &self.options.clusters[number]
    }

    /// Nothing to do, unless our clock was off when the lead was offered to us.
    fn stand_by(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Duration, Failure> {
        if self.look_again.is_some_and(|at| now.mono >= at) {
            self.clock_is_off(client, now, effects).map_err(|error| Call::Compare.failed(error))?;
        }
        Ok(COMMIT_EVERY)
    }

    /// Whether our clock is to be compared with the broker's: it was not for a while, or it has jumped.
    fn is_to_be_compared(&self, now: Now) -> bool {
        self.compare_at.is_none_or(|at| at <= now.mono) || self.skew.is_some_and(|skew| skew.is_off(now))
    }

    /// Compares our clock with the broker's.
    fn clock_is_off(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, BrokerError> {
        let name = self.holder.as_ref().map_or("", |holder| &holder.member_id);
        let is_unknown = match clock_skew::measure(client, name, now, now.mono + CALL)? {
            Compared::Ahead(ahead) => {
                self.skew = Some(Skew { ahead, at: now });
                None
            }
            Compared::Unknown(error) => {
                self.skew = None;
                Some(error)
            }
        };
        if let Some(error) = is_unknown.as_ref().filter(|_| !self.is_clock_unknown) {
            effects.push(Effect::Warn(unknown_time::said(error)));
        }
        self.is_clock_unknown = is_unknown.is_some();
        self.compare_at = Some(now.mono + COMPARE);
        let is_off = self.skew.is_some_and(|skew| skew.is_off(now));
        let effect = |skew: Skew| if is_off { Effect::ClockOff(skew.ahead) } else { Effect::Clock(skew) };
        effects.extend(self.skew.map(effect));
        self.look_again = is_off.then(|| now.mono + LOOK_AGAIN);
        Ok(is_off)
    }
}

/// Whether the broker says that we are not the leader any more.
fn is_over(error: &BrokerError) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId)
    )
}
