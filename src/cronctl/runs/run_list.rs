//! The run list: the runs of a period, as far as messages and events tell. Memory grows with the runs, not with the events, and
//! where the list has a limit, it gives up a part of the runs instead of growing beyond that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::entry::{Decision, Entry};
use super::finished::{Finished, RunNames};
use super::part::Part;
use super::run_detail::{self, RunDetail};
use crate::common::model::{Attempt, AttemptRef, ClusterName, Event, JobName, RunId};
use crate::common::topics;

/// Runs by id.
#[derive(Debug, Default)]
pub struct RunList {
    runs: HashMap<RunId, Kept>,
    names: RunNames,
    /// The ticks that wait for the run before them, and when that was written: some of them may be known to be over in another
    /// way by now.
    queued: BTreeMap<(JobName, DateTime<Utc>), DateTime<Utc>>,
    /// What was told of runs that nothing else is known of yet, and when that was written.
    early: HashMap<RunId, Vec<(Event, DateTime<Utc>)>>,
    /// Runs of other parts are passed over.
    part: Part,
    /// How many runs are kept as entries.
    whole: usize,
    /// The room for runs, where there is a limit, and the parts that were given up to keep it.
    room: Option<usize>,
    given_up: Vec<Part>,
}

/// What is kept of a run.
#[derive(Debug)]
enum Kept {
    /// All of it, and whether something is new about it.
    Whole(Box<Entry>, bool),
    /// It had one attempt, which succeeded: so most runs end.
    Finished(Finished),
}

/// How much more room an entry takes than a finished run.
const ENTRY: usize = 8;

/// What is known of a run from one message or event.
struct Told<'a> {
    run: RunId,
    job: &'a JobName,
    cluster: Option<ClusterName>,
    scheduled_at: Option<DateTime<Utc>>,
    decision: Decision,
}

impl RunList {
    /// Creates a list of the runs of a part. Where these take more room than for so many finished runs, it gives up a half of
    /// the part, and says so in [`Self::given_up`].
    pub fn of(part: Part, room: usize) -> Self {
        Self { part, room: Some(room), ..Self::default() }
    }

    /// Whether the list gave up a part.
    pub fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// The parts that the list gave up: their runs are in none of its answers.
    pub fn given_up(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.given_up)
    }

    /// Whether the run belongs here.
    pub fn takes(&self, run: RunId) -> bool {
        self.part.has(run)
    }

    /// Takes a message of a cluster's topic. Returns its run, if something is new about it.
    pub fn message(&mut self, attempt: &Attempt) -> Option<RunId> {
        let run = &attempt.run;
        let told = Told {
            run: run.id,
            job: &run.job,
            cluster: Some(run.cluster.clone()),
            scheduled_at: Some(run.scheduled_at),
            decision: Decision::Published,
        };
        self.tell(told, None)
    }

    /// Takes an event. Returns the run that it tells something about, if something is new about it.
    pub fn event(&mut self, event: &Event, written_at: DateTime<Utc>) -> Option<RunId> {
        if let Event::Missed { job, cluster, from, to, .. } = event {
            self.miss((job, cluster), *from, *to, written_at);
            return None;
        }
        let run = run_detail::run_of(event)?;
        let told = |job, cluster: &ClusterName, at: DateTime<Utc>, decision| {
            Some(Told { run, job, cluster: Some(cluster.clone()), scheduled_at: Some(at), decision })
        };
        let told = match event {
            Event::Claimed { job, place, .. } => Some(Told {
                run,
                job,
                cluster: topics::cluster_of(&place.topic),
                scheduled_at: None,
                decision: Decision::Published,
            }),
            Event::Lost { job: None, .. }
            | Event::Lost { scheduled_at: None, .. }
            | Event::Ended { scheduled_at: None, .. } => {
                // Its message is gone; what is known of the run is told by the claim, maybe in another partition.
                let Some(kept) = self.runs.get_mut(&run) else {
                    if self.part.has(run) {
                        let told = self.early.entry(run).or_default();
                        if told.iter().all(|(known, _)| known != event) {
                            told.push((event.clone(), written_at));
                        }
                        self.keep_to_its_room();
                    }
                    return None;
                };
                let (entry, is_news) = unpacked(kept, run, &self.names, &mut self.whole)?;
                entry.detail.take(event, written_at);
                *is_news = true;
                return Some(run);
            }
            Event::Lost { job: Some(job), cluster, scheduled_at: Some(scheduled_at), .. }
            | Event::Ended { job, cluster, scheduled_at: Some(scheduled_at), .. }
            | Event::Finished { job, cluster, scheduled_at, .. }
            | Event::Published { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Published)
            }
            Event::Queued { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Queued)
            }
            Event::Skipped { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Skipped)
            }
            _ => None,
        }?;
        self.tell(told, Some((event, written_at)))
    }

    /// Ticks that waited will never be run, as was written at an instant. Those of which it is known that a leader let them wait
    /// later still wait. A record of no job in particular is about all of the cluster.
    fn miss(
        &mut self,
        (job, cluster): (&JobName, &ClusterName),
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        written_at: DateTime<Utc>,
    ) {
        let is_older = |queued_at: &DateTime<Utc>| *queued_at <= written_at;
        let gone: Vec<(JobName, DateTime<Utc>)> = if *job == JobName::any() {
            let gone = self
                .queued
                .iter()
                .filter(|((_, at), queued_at)| (from..=to).contains(at) && is_older(queued_at));
            gone.map(|(tick, _)| tick.clone()).collect()
        } else if from <= to {
            let gone = self.queued.range((job.clone(), from)..=(job.clone(), to));
            gone.filter(|(_, queued_at)| is_older(queued_at)).map(|(tick, _)| tick.clone()).collect()
        } else {
            Vec::new()
        };
        for tick in gone {
            let Some(Kept::Whole(entry, is_news)) = self.runs.get_mut(&RunId::of(&tick.0, tick.1)) else {
                self.queued.remove(&tick);
                continue;
            };
            if entry.cluster.as_ref() == Some(cluster) {
                *is_news |= entry.decision < Decision::Missed && entry.detail.attempts.is_empty();
                entry.decision = entry.decision.max(Decision::Missed);
                self.queued.remove(&tick);
            }
        }
    }

    fn tell(&mut self, told: Told<'_>, event: Option<(&Event, DateTime<Utc>)>) -> Option<RunId> {
        let Told { run, job, cluster, scheduled_at, decision } = told;
        if !self.part.has(run) {
            return None;
        }
        let mut is_fresh = false;
        let kept = self.runs.entry(run).or_insert_with(|| {
            is_fresh = true;
            self.whole += 1;
            let detail = RunDetail::default();
            let job = job.clone();
            Kept::Whole(
                Box::new(Entry { run, job, cluster: None, scheduled_at: None, decision, detail }),
                false,
            )
        });
        if let Kept::Finished(finished) = kept
            && event.is_none_or(|(event, _)| finished.is_told_already(event, &self.names))
        {
            return None;
        }
        let (entry, is_news) = unpacked(kept, run, &self.names, &mut self.whole)?;
        let mut news = is_fresh || decision > entry.decision;
        entry.decision = entry.decision.max(decision);
        if let Some(tick) = entry.scheduled_at.or(scheduled_at).map(|at| (entry.job.clone(), at)) {
            if entry.decision == Decision::Queued {
                let queued_at = event.map_or(DateTime::UNIX_EPOCH, |(_, written_at)| written_at);
                let known = self.queued.entry(tick).or_insert(queued_at);
                *known = queued_at.max(*known);
            } else if !self.queued.is_empty() {
                self.queued.remove(&tick);
            }
        }
        entry.cluster = entry.cluster.take().or(cluster);
        entry.scheduled_at = entry.scheduled_at.or(scheduled_at);
        let early = self.early.remove(&run).unwrap_or_default();
        let early = early.iter().map(|(event, written_at)| (event, *written_at));
        for (event, written_at) in early.chain(event) {
            let before = entry.detail.clone();
            entry.detail.take(event, written_at);
            news |= entry.detail != before;
        }
        *is_news |= news;
        if let Some(finished) = Finished::of(entry, *is_news, &mut self.names) {
            *kept = Kept::Finished(finished);
            self.whole -= 1;
        }
        self.keep_to_its_room();
        news.then_some(run)
    }

    fn keep_to_its_room(&mut self) {
        while self.room.is_some_and(|room| self.runs.len() + (self.whole + self.early.len()) * ENTRY > room)
            && let Some((mine, other)) = self.part.halves()
        {
            self.part = mine;
            self.given_up.push(other);
            self.runs.retain(|run, _| mine.has(*run));
            self.early.retain(|run, _| mine.has(*run));
            self.count_again();
        }
    }

    /// After runs were taken out.
    fn count_again(&mut self) {
        self.whole = self.runs.values().filter(|kept| matches!(kept, Kept::Whole(..))).count();
        self.queued.retain(|(job, at), _| self.runs.contains_key(&RunId::of(job, *at)));
    }

    /// What is known of a run.
    pub fn get(&self, run: RunId) -> Option<Cow<'_, Entry>> {
        Some(match self.runs.get(&run)? {
            Kept::Whole(entry, _) => Cow::Borrowed(entry),
            Kept::Finished(finished) => Cow::Owned(finished.entry(run, &self.names)?),
        })
    }

    /// The runs that something is new about since the last call, in the order in which they are shown: by their instants,
    /// then by job.
    pub fn news(&mut self) -> Vec<RunId> {
        let mut news = Vec::new();
        for (run, kept) in &mut self.runs {
            let (scheduled_at, job, is_news) = match kept {
                Kept::Whole(entry, is_news) => {
                    (entry.scheduled_at, self.names.jobs.number(&entry.job), is_news)
                }
                Kept::Finished(finished) => {
                    (Some(finished.scheduled_at), finished.job, &mut finished.is_news)
                }
            };
            if std::mem::take(is_news) {
                news.push((scheduled_at, job, *run));
            }
        }
        let place =
            |(at, job, run): &(Option<DateTime<Utc>>, u32, RunId)| (*at, self.names.jobs.name(*job), *run);
        news.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
        news.into_iter().map(|(_, _, run)| run).collect()
    }

    /// How many runs are known.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether no run is known.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// All runs that are known, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Cow<'_, Entry>> {
        self.runs.keys().filter_map(|run| self.get(*run))
    }

    /// Takes a consumer's sign of life for an attempt of a run. `false` where the run is not known.
    pub fn sign(&mut self, attempt: AttemptRef, written_at: DateTime<Utc>, lease_ms: u64) -> bool {
        match self.runs.get_mut(&attempt.run) {
            None => return false,
            Some(Kept::Whole(entry, _)) => entry.detail.sign(attempt.attempt, written_at, lease_ms),
            Some(Kept::Finished(_)) => {}
        }
        true
    }

    /// Keeps so many runs at most: of those that are over it forgets the oldest, and of the others only when none is left
    /// that is over. Returns whether it forgot one that is not over.
    pub fn keep_at_most(&mut self, most: usize) -> bool {
        if self.early.len() > most {
            self.early.clear();
        }
        let Some(excess) = self.runs.len().checked_sub(most).filter(|excess| *excess > 0) else {
            return false;
        };
        let place = |(run, kept): (&RunId, &Kept)| match kept {
            Kept::Whole(entry, _) => (!entry.is_over(), entry.scheduled_at, *run),
            Kept::Finished(finished) => (false, Some(finished.scheduled_at), *run),
        };
        let mut places: Vec<_> = self.runs.iter().map(place).collect();
        places.sort_unstable();
        for (_, _, run) in &places[..excess] {
            self.runs.remove(run);
        }
        self.count_again();
        places[excess - 1].0
    }

    /// Forgets what was over before an instant.
    pub fn forget_before(&mut self, instant: DateTime<Utc>) {
        self.early.retain(|_, told| told.iter().any(|(_, written_at)| *written_at >= instant));
        let over_at = |entry: &Entry| entry.detail.quiet_since().max(entry.scheduled_at);
        self.runs.retain(|_, kept| match kept {
            Kept::Whole(entry, _) => !entry.is_over() || over_at(entry).is_none_or(|at| at >= instant),
            Kept::Finished(finished) => finished.ended_at.max(finished.scheduled_at) >= instant,
        });
        self.count_again();
    }
}

/// The entry of a run, and its mark that something is new about it. `None` where a name is unknown, which cannot be.
fn unpacked<'a>(
    kept: &'a mut Kept,
    run: RunId,
    names: &RunNames,
    whole: &mut usize,
) -> Option<(&'a mut Entry, &'a mut bool)> {
    if let Kept::Finished(finished) = kept {
        *kept = Kept::Whole(Box::new(finished.entry(run, names)?), finished.is_news);
        *whole += 1;
    }
    match kept {
        Kept::Whole(entry, is_news) => Some((entry, is_news)),
        Kept::Finished(_) => None,
    }
}

#[cfg(test)]
mod tests;
