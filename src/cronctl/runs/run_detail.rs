//! A run in detail, folded from the events of `cron-runs`: its attempts, who claimed them, and how they ended. The events
//! of a run may come in any order, and any of them twice.

use chrono::{DateTime, TimeDelta, Utc};

use crate::common::model::{AttemptRef, Event, Outcome, RunId, Then};

/// An end that is dated so long after the broker had it was dated by a wrong clock.
const DATED_AHEAD: TimeDelta = TimeDelta::seconds(30);

/// What is known of a run's attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunDetail {
    /// By number.
    pub attempts: Attempts,
    /// The run was ended after this of its attempts (0: before the first), although no attempt says so.
    pub ended: Option<u32>,
}

/// Attempts by number. Most runs have one, and there may be many runs: a tree would take the room of eleven for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempts(Vec<(u32, Try)>);

/// What is known of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Try {
    /// Who wrote that they would run it, the first first.
    pub claimants: Vec<String>,
    /// Until when its last sign of life counts, and for how long that is.
    pub lease: Option<(DateTime<Utc>, TimeDelta)>,
    /// How it ended. Two where it was run twice.
    pub ends: Vec<End>,
    /// When the broker had the newest of these ends.
    pub told_at: Option<DateTime<Utc>>,
    /// The leader gave its consumer up.
    pub lost: Option<Then>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Who ran it.
    pub consumer: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What followed.
    pub then: Then,
    /// When its process was started.
    pub started_at: DateTime<Utc>,
    /// When it had ended.
    pub ended_at: DateTime<Utc>,
}

impl End {
    /// Whether its process was started: an attempt that was not ends at the instant of its start.
    pub fn was_started(&self) -> bool {
        self.outcome.was_started(self.started_at, self.ended_at)
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No consumer has claimed it.
    Waiting,
    /// An attempt is under way.
    Running,
    /// The next attempt waits for its time or for a worker.
    Retrying,
    /// It is over: the command succeeded.
    Succeeded,
    /// It is over: it was found too long after its scheduled instant.
    Expired,
    /// It is over: it made room for a newer tick of its job (`overlap=replace`).
    Replaced,
    /// It is over: no attempts were left.
    GivenUp,
    /// It is over: its consumer died, and no attempts were left.
    Lost,
    /// It is over: no consumer will run it, or an operator has ended it.
    Ended,
}

impl Stage {
    /// The word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Retrying => "waiting for retry",
            Self::Succeeded => "succeeded",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::GivenUp => "given up",
            Self::Lost => "lost",
            Self::Ended => "ended",
        }
    }

    /// Whether nothing more is to come.
    pub fn is_over(self) -> bool {
        self >= Self::Succeeded
    }
}

impl Attempts {
    /// One attempt.
    pub fn of(number: u32, tried: Try) -> Self {
        Self(vec![(number, tried)])
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their numbers.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, &Try)> {
        self.0.iter().map(|(number, tried)| (*number, tried))
    }

    /// The one of the highest number.
    pub fn last(&self) -> Option<(u32, &Try)> {
        self.iter().next_back()
    }

    /// The one of a number, which becomes known.
    fn entry(&mut self, number: u32) -> &mut Try {
        let at = self.0.binary_search_by_key(&number, |(number, _)| *number).unwrap_or_else(|at| {
            if self.0.len() < 4 {
                self.0.reserve_exact(1);
            }
            self.0.insert(at, (number, Try::default()));
            at
        });
        &mut self.0[at].1
    }
}

impl Try {
    fn sign(&mut self, at: DateTime<Utc>, lease_ms: u64) {
        let lease = TimeDelta::milliseconds(i64::try_from(lease_ms).unwrap_or(i64::MAX / 2));
        let until = at.checked_add_signed(lease).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.lease = self.lease.max(Some((until, lease)));
    }

    /// Whether it was started more than once: two ends that are not copies of one. What was never started has ended, but
    /// not twice.
    fn was_started_twice(&self) -> bool {
        let started = |end: &&End| match end.outcome {
            Outcome::Expired | Outcome::Lost => false,
            Outcome::Replaced => end.was_started(),
            _ => true,
        };
        let mut starts = self.ends.iter().filter(started).map(|end| (&end.consumer, end.started_at));
        let first = starts.next();
        starts.any(|start| Some(start) != first)
    }

    fn stage(&self) -> Stage {
        match (self.lost, self.ends.first()) {
            (Some(Then::Dead), _) => Stage::Lost,
            (Some(_), _) => Stage::Retrying,
            (None, None) => Stage::Running,
            (None, Some(end)) => match (end.then, &end.outcome) {
                (Then::Retried, _) => Stage::Retrying,
                (Then::Dead, Outcome::Lost) => Stage::Lost,
                (Then::Dead, _) => Stage::GivenUp,
                (Then::Done, Outcome::Expired) => Stage::Expired,
                (Then::Done, Outcome::Replaced) => Stage::Replaced,
                (Then::Done, _) => Stage::Succeeded,
            },
        }
    }
}

impl RunDetail {
    /// Takes what an event says about an attempt; `written_at` is when the broker had it.
    pub fn take(&mut self, event: &Event, written_at: DateTime<Utc>) {
        match event {
            Event::Claimed { attempt, consumer, lease_ms, .. } => {
                let tried = self.attempts.entry(attempt.attempt);
                if !tried.claimants.contains(consumer) {
                    tried.claimants.reserve_exact(1);
                    tried.claimants.push(consumer.clone());
                }
                tried.sign(written_at, *lease_ms);
            }
            Event::Finished { attempt, consumer, outcome, then, started_at, ended_at, .. } => {
                let end = End {
                    consumer: consumer.clone(),
                    outcome: outcome.clone(),
                    then: *then,
                    started_at: *started_at,
                    ended_at: *ended_at,
                };
                let tried = self.attempts.entry(attempt.attempt);
                tried.told_at = tried.told_at.max(Some(written_at));
                if !tried.ends.contains(&end) {
                    tried.ends.reserve_exact(1);
                    tried.ends.push(end);
                }
            }
            Event::Lost { attempt, then, .. } => {
                self.attempts.entry(attempt.attempt).lost = Some(*then);
            }
            Event::Ended { attempt, .. } => self.ended = self.ended.max(Some(attempt.attempt)),
            _ => {}
        }
    }

    /// Takes a consumer's sign of life for an attempt.
    pub fn sign(&mut self, attempt: u32, written_at: DateTime<Utc>, lease_ms: u64) {
        self.attempts.entry(attempt).sign(written_at, lease_ms);
    }

    /// How far the run has come: what its last attempt says.
    pub fn stage(&self) -> Stage {
        let last = self.attempts.last();
        let stage = last.map_or(Stage::Waiting, |(_, tried)| tried.stage());
        // A later attempt shows that it goes on.
        let is_ended = self.ended.is_some_and(|ended| last.is_none_or(|(number, _)| number <= ended));
        if is_ended && !stage.is_over() { Stage::Ended } else { stage }
    }

    /// The attempts that were started more than once.
    pub fn started_twice(&self) -> impl Iterator<Item = (u32, &Try)> {
        self.attempts.iter().filter(|(_, tried)| tried.was_started_twice())
    }

    /// Whether the last attempt shows no sign of life any more, and no event says what became of it. A lease that ran
    /// out is found by the leader, which has one more lease for that.
    pub fn is_abandoned(&self, now: DateTime<Utc>) -> bool {
        let Some((_, tried)) = self.attempts.last() else { return false };
        let ran_out = |(until, lease): (DateTime<Utc>, TimeDelta)| {
            until.checked_add_signed(lease).is_some_and(|found| found < now)
        };
        self.stage() == Stage::Running && tried.lease.is_some_and(ran_out)
    }

    /// Since when the last attempt that is known of says nothing more: its end, or when its lease was over. Nothing has ended
    /// after the broker had heard of it, whatever the clock of its consumer said.
    pub fn quiet_since(&self) -> Option<DateTime<Utc>> {
        let (_, tried) = self.attempts.last()?;
        let ended = tried.ends.iter().map(|end| end.ended_at).max();
        let ended = ended.map(|ended| tried.told_at.map_or(ended, |told| ended.min(told)));
        ended.or(tried.lease.map(|(until, _)| until))
    }

    /// How far ahead the clock of the consumer that ended the last attempt was, at least, where that shows.
    pub fn was_dated_ahead(&self) -> Option<TimeDelta> {
        let (_, tried) = self.attempts.last()?;
        let ended = tried.ends.iter().map(|end| end.ended_at).max()?;
        Some(ended - tried.told_at?).filter(|ahead| *ahead > DATED_AHEAD)
    }

    /// When the first process was started, where that is known: an attempt says so when it has ended.
    pub fn started_at(&self) -> Option<DateTime<Utc>> {
        let ends = self.attempts.iter().flat_map(|(_, tried)| &tried.ends);
        ends.filter(|end| end.was_started()).map(|end| end.started_at).min()
    }

    /// The end of the last attempt that has one.
    pub fn last_end(&self) -> Option<&End> {
        self.attempts.iter().rev().find_map(|(_, tried)| tried.ends.last())
    }

    /// Who has, or had, the last attempt.
    pub fn worker(&self) -> Option<&str> {
        let (_, tried) = self.attempts.last()?;
        tried.ends.last().map(|end| &end.consumer).or(tried.claimants.last()).map(String::as_str)
    }
}

/// The run's attempt that an event is about, where it is about one.
pub fn attempt_of(event: &Event) -> Option<AttemptRef> {
    match event {
        Event::Claimed { attempt, .. }
        | Event::Finished { attempt, .. }
        | Event::Lost { attempt, .. }
        | Event::Ended { attempt, .. } => Some(*attempt),
        _ => None,
    }
}

/// The run that an event is about: also the one that a tick would have been.
pub fn run_of(event: &Event) -> Option<RunId> {
    match event {
        Event::Published { run, .. } => Some(*run),
        Event::Queued { job, scheduled_at, .. } | Event::Skipped { job, scheduled_at, .. } => {
            Some(RunId::of(job, *scheduled_at))
        }
        other => attempt_of(other).map(|attempt| attempt.run),
    }
}

#[cfg(test)]
mod tests;
