//! The scheduler as a state machine: which clusters have a plan in this term, which batches each hands over, and how
//! far each is. The scheduler's thread and the simulation only call it. It never learns that Kafka exists.

mod deciding;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::cluster_term::ClusterTerm;
use super::events;

use super::overlap::Overlap;
use crate::common::bounds::TICKS_PER_BATCH;
use crate::common::model::{ClusterName, Event, JobName, RunId};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job;
use crate::producer::job::Job;
use crate::producer::leadership::{CursorCommit, Start};
use crate::producer::metrics::ClusterMetrics;
use crate::producer::plan::timetable::Tick;
use crate::producer::plan::{ClusterPlan, Missed, PlanBatch};
use crate::producer::publisher::{Batch, Confirmed};
use crate::producer::run_tracker::messages::RunNews;
use crate::producer::run_tracker::open_runs::Followed;

/// One cluster as the scheduler sees it.
#[derive(Debug)]
struct Cluster {
    name: ClusterName,
    measures: ClusterMetrics,
    /// The cluster's term, from the moment that its start is known; none while another producer leads.
    turn: Option<ClusterTerm>,
}

/// The scheduler's state.
#[derive(Debug)]
pub struct Scheduler {
    clusters: Vec<Cluster>,
    pub(super) file: ActiveJobs,
    /// Jobs whose runs may not overlap by a former file, while a cluster may still owe ticks of such a file: those ticks are
    /// decided by what the former file says.
    former: BTreeMap<JobName, Arc<Job>>,
    /// Our name in events.
    name: String,
    /// Which runs block which jobs. A standby knows this, too.
    overlap: Overlap,
    /// The jobs whose open runs have all been told.
    followed: Followed,
    /// Whether they include all jobs that are [owed](Self::owed).
    has_history: bool,
    /// The term in which all that had been written to `cron-runs` before it began was read; 0 for none.
    read_in: u64,
    /// The runs that are known to be over, among those that a term finds in the topics.
    over: HashSet<RunId>,
    /// The open runs (published and not finished), as `cron-runs` tells them: each term begins with them.
    unfinished: BTreeMap<RunId, JobName>,
    /// The offsets, by partition, from which the next leader must read `cron-runs`.
    reads: BTreeMap<i32, i64>,
    /// The term; 0 while another one leads.
    epoch: u64,
    kept: Option<CursorCommit>,
}

impl Scheduler {
    /// Creates a scheduler that leads nothing yet.
    pub fn new(clusters: Vec<(ClusterName, ClusterMetrics)>, file: ActiveJobs, name: String) -> Self {
        let cluster = |(name, measures)| Cluster { name, measures, turn: None };
        let has_history = Self::overlapping(&file).is_empty();
        let timing = Self {
            clusters: clusters.into_iter().map(cluster).collect(),
            file,
            former: BTreeMap::new(),
            name,
            overlap: Overlap::default(),
            followed: Followed::default(),
            has_history,
            read_in: 0,
            over: HashSet::new(),
            unfinished: BTreeMap::new(),
            reads: BTreeMap::new(),
            epoch: 0,
            kept: None,
        };
        timing.count_jobs();
        timing
    }

    /// A term of this producer begins: the clusters' plans come one by one.
    pub fn begin(&mut self, epoch: u64) {
        self.end();
        self.epoch = epoch;
        self.over = HashSet::new();
        // A run that an earlier term of ours decided and did not publish blocks nothing.
        self.overlap = Overlap::default();
        for (run, job) in &self.unfinished {
            self.overlap.published(job, *run);
        }
    }

    /// The term of this producer is over. It no longer waits for what is in flight.
    pub fn end(&mut self) {
        self.epoch = 0;
        self.kept = None;
        self.forget_former();
        for cluster in &mut self.clusters {
            cluster.turn = None;
            cluster.measures.under_way.set(0);
            cluster.measures.catch_up.set(0);
        }
    }

    /// The term; 0 while another one leads.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// This producer owns a cluster's ticks from here on.
    pub fn start(&mut self, epoch: u64, number: usize, start: Start, now: DateTime<Utc>) {
        let leader = self.name.clone();
        let Some(cluster) = self.clusters.get_mut(number).filter(|_| epoch == self.epoch) else { return };
        let lane = ClusterPlan::new(&self.file, &cluster.name, start.cursor, now);
        log::info!("{}: leading from {}", cluster.name, start.cursor);
        let mut turn = ClusterTerm::new(lane, start.published, now);
        let facts = start.is_gap.then(|| events::lost_cursor(&cluster.name, start.cursor, now)).into_iter();
        let facts =
            facts.chain([events::revision(&cluster.name, &self.file, leader, start.cursor, now)]).collect();
        turn.aside(&self.file, Vec::new(), facts, start.cursor);
        if let Some(at) = start.reboot {
            turn.reboot(&self.file, &cluster.name, at);
        }
        cluster.turn = Some(turn);
    }

    /// Whether the open runs are known of all jobs of a file whose runs may not overlap. Until they are, the file must
    /// not become active: its ticks would be decided as if there were no open runs.
    pub fn knows_runs_of(&self, file: &ActiveJobs) -> bool {
        self.follows(&Self::overlapping(file))
    }

    fn follows(&self, jobs: &Followed) -> bool {
        jobs.iter().all(|(job, cluster)| self.followed.get(job) == Some(cluster))
    }

    /// The jobs whose open runs must be known: those of the active file, and those of former files of which ticks are still
    /// to be decided.
    pub(super) fn owed(&self) -> Followed {
        let former = self.former.values().map(|job| (job.name.clone(), job.cluster.clone()));
        let active = Self::overlapping(&self.file);
        Arc::new(former.chain(active.iter().map(|(job, cluster)| (job.clone(), cluster.clone()))).collect())
    }

    /// The jobs to follow while a file waits to become active: ticks of the active file may still be undecided then. Where a
    /// job has moved to another cluster, the waiting file counts.
    pub(super) fn owed_with(&self, file: &ActiveJobs) -> Followed {
        let (owed, new) = (self.owed(), Self::overlapping(file));
        let both = owed.iter().chain(new.iter());
        Arc::new(both.map(|(job, cluster)| (job.clone(), cluster.clone())).collect())
    }

    /// Takes a new job file: ticks up to `at` belong to the old one.
    pub fn swap(&mut self, file: ActiveJobs, at: DateTime<Utc>) {
        let before = std::mem::replace(&mut self.file, file);
        if self.clusters.iter().any(|cluster| cluster.turn.is_some()) {
            let jobs = before.jobs.into_iter().filter(|job| job.overlap != job::Overlap::Allow);
            self.former.extend(jobs.map(|job| (job.name.clone(), job)));
        }
        for job in self.file.jobs.iter().filter(|job| job.overlap != job::Overlap::Allow) {
            self.former.remove(&job.name);
        }
        self.has_history = self.follows(&self.owed());
        let mut gone = self.overlap.forget(&self.file);
        for cluster in &mut self.clusters {
            let Some(turn) = &mut cluster.turn else { continue };
            // Where the clock was set back, `at` may lie before the cursor, and the event must not hold the cursor
            // there.
            let at = turn.lane.swap(&self.file, at);
            turn.take_published_again();
            let queued = gone.extract_if(.., |queued| queued.tick.job.cluster == cluster.name);
            let mut removed: Vec<Tick> = queued.map(|queued| queued.tick).collect();
            removed.extend(turn.take_removed(&self.file));
            let oldest = removed.iter().map(|tick| tick.at - TimeDelta::milliseconds(1)).min();
            let removed = removed.iter().map(|tick| turn.give_up(tick, &cluster.name, at));
            let mut facts: Vec<Event> = removed.collect();
            let leader = self.name.clone();
            facts.push(events::revision(&cluster.name, &self.file, leader, at, at));
            turn.aside(&self.file, Vec::new(), facts, oldest.unwrap_or(at).min(at));
        }
        self.count_jobs();
    }

    /// The jobs whose runs may not overlap, with their clusters.
    pub fn overlapping(file: &ActiveJobs) -> Followed {
        let jobs = file.jobs.iter().filter(|job| job.overlap != job::Overlap::Allow);
        Arc::new(jobs.map(|job| (job.name.clone(), job.cluster.clone())).collect())
    }

    /// Takes news from the run tracker.
    pub fn told(&mut self, told: &RunNews) {
        match told {
            RunNews::Unfinished(run) => {
                self.unfinished.insert(run.run, run.job.clone());
                self.overlap.published(&run.job, run.run);
            }
            RunNews::Over { job, run } => {
                self.unfinished.remove(run);
                let is_followed = job.as_ref().is_none_or(|job| self.followed.contains_key(job));
                if (is_followed || !self.has_history) && self.asks_what_is_over() {
                    self.over.insert(*run);
                }
                self.over_and_released(job.as_ref(), *run);
            }
            RunNews::HistoryRead { of, over } => {
                // The ends of runs of a job were of no interest before a file gave it an overlap.
                if self.asks_what_is_over() {
                    self.over.extend(over.iter());
                }
                self.followed = Followed::clone(of);
                self.has_history = self.follows(&self.owed());
            }
            RunNews::ReadToEnd { term, over } => {
                self.read_in = *term;
                self.over.extend(over.iter());
            }
            RunNews::ReadFrom(reads) => self.reads.clone_from(reads),
        }
    }

    /// No cluster owes a tick of a former file any more.
    fn forget_former(&mut self) {
        if !self.former.is_empty() {
            self.former = BTreeMap::new();
            self.has_history = self.follows(&self.owed());
        }
    }

    /// Whether a cluster finds runs of an earlier term, or has yet to look for them.
    fn asks_what_is_over(&self) -> bool {
        self.epoch > 0
            && self.clusters.iter().any(|cluster| cluster.turn.as_ref().is_none_or(ClusterTerm::remembers))
    }

    /// Notes that a run is over: the tick that waited for it is published now.
    fn over_and_released(&mut self, job: Option<&JobName>, run: RunId) {
        let names: Vec<JobName> = match job {
            Some(job) => self.overlap.knows(job).then(|| job.clone()).into_iter().collect(),
            None => self.overlap.jobs_of(run),
        };
        for name in names {
            let Some(queued) = self.overlap.over(&name, run) else { continue };
            let cluster = self.clusters.iter_mut().find(|cluster| cluster.name == queued.tick.job.cluster);
            if let Some(turn) = cluster.and_then(|cluster| cluster.turn.as_mut()) {
                turn.release(queued);
            }
        }
    }

    fn count_jobs(&self) {
        for cluster in &self.clusters {
            let count = self.file.of(&cluster.name).len();
            cluster.measures.jobs.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The next batch that is due and has room, with its cluster's number.
    pub fn next_batch(&mut self, now: DateTime<Utc>) -> Option<(usize, Batch)> {
        let batch = self.first_batch(now);
        for Cluster { measures, turn, .. } in &mut self.clusters {
            let left = turn.as_mut().map_or(0, |turn| {
                turn.forget_published(now);
                turn.lane.left_to_catch_up(now)
            });
            measures.catch_up.set(i64::try_from(left).unwrap_or(i64::MAX));
        }
        if !self.over.is_empty() && !self.asks_what_is_over() {
            self.over = HashSet::new();
        }
        let mut turns = self.clusters.iter().filter_map(|cluster| cluster.turn.as_ref());
        if !turns.any(ClusterTerm::owes_former) {
            self.forget_former();
        }
        batch
    }

    fn first_batch(&mut self, now: DateTime<Utc>) -> Option<(usize, Batch)> {
        for number in 0..self.clusters.len() {
            while let Some(batch) = self.batch_of(number, now) {
                if let Some(batch) = batch {
                    return Some((number, batch));
                }
            }
        }
        None
    }

    /// Whether the open runs are known. News that came in an earlier term, or was read before this one began, may lack
    /// what the leader in between has published.
    fn knows_unfinished(&self) -> bool {
        self.has_history && self.read_in == self.epoch
    }

    /// Returns `None` when nothing is due or there is no room, and `Some(None)` for a batch of which nothing has to be
    /// written.
    fn batch_of(&mut self, number: usize, now: DateTime<Utc>) -> Option<Option<Batch>> {
        let epoch = self.epoch;
        let knows = self.knows_unfinished();
        if knows {
            self.take_published(number, now);
            self.decide_held_back(number, now);
        }
        let cluster = &mut self.clusters[number];
        let turn = cluster.turn.as_mut().filter(|turn| turn.has_room())?;
        if let Some((ticks, events, revision)) = turn.next_aside() {
            cluster.measures.under_way.add(i64::try_from(ticks.len()).unwrap_or(0));
            return Some(Some(Batch { epoch, kind: None, ticks, events, missed: Vec::new(), revision }));
        }
        let PlanBatch { kind, ticks, missed, revision } = turn.lane.take(now, TICKS_PER_BATCH)?;
        let missed: Vec<Missed> =
            missed.into_iter().filter_map(|missed| turn.not_published(missed)).collect();
        let mut events: Vec<Event> =
            missed.iter().map(|missed| events::missed(missed, &cluster.name, now)).collect();
        let mut deciding = self.deciding(number, now)?;
        for tick in ticks {
            if knows || tick.job.overlap == job::Overlap::Allow {
                deciding.decide(tick, &revision);
            } else {
                deciding.turn.hold_back(tick, &revision);
            }
        }
        let due = std::mem::take(&mut deciding.due);
        events.append(&mut deciding.events);
        let cluster = &mut self.clusters[number];
        let turn = cluster.turn.as_mut()?;
        if due.is_empty() && events.is_empty() {
            turn.lane.nothing_left(kind);
            return Some(None);
        }
        turn.hand_over();
        cluster.measures.under_way.add(i64::try_from(due.len()).unwrap_or(0));
        Some(Some(Batch { epoch, kind: Some(kind), ticks: due, events, missed, revision }))
    }

    /// Notes that a batch has its fate on record.
    pub fn confirmed(&mut self, confirmed: Confirmed) {
        if confirmed.epoch != self.epoch {
            return;
        }
        let turn = self.clusters.get_mut(confirmed.cluster).and_then(|cluster| cluster.turn.as_mut());
        if let Some(turn) = turn {
            turn.confirmed(confirmed.kind);
        }
        for (job, run) in confirmed.refused {
            self.over_and_released(Some(&job), run);
        }
    }

    /// Whether a batch is in flight.
    pub fn is_busy(&self) -> bool {
        self.clusters.iter().filter_map(|cluster| cluster.turn.as_ref()).any(ClusterTerm::is_busy)
    }

    /// The cursors of all clusters that have begun, if one has moved.
    pub fn keep(&mut self, now: DateTime<Utc>) -> Option<CursorCommit> {
        let cursor = |cluster: &mut Cluster| cluster.turn.as_mut().map(|turn| turn.cursor(now));
        let cursors: Vec<_> = self.clusters.iter_mut().map(cursor).collect();
        cursors.iter().flatten().next()?;
        let keep = CursorCommit { epoch: self.epoch, cursors, reads: self.reads.clone() };
        (self.kept.as_ref() != Some(&keep)).then(|| self.kept.insert(keep).clone())
    }

    /// How long until the next tick of a cluster that has room.
    pub fn wait(&self, now: DateTime<Utc>, longest: Duration) -> Duration {
        let with_room =
            self.clusters.iter().filter_map(|cluster| cluster.turn.as_ref()).filter(|turn| turn.has_room());
        let next = with_room.filter_map(|turn| turn.lane.next()).min();
        next.map_or(longest, |at| (at - now).to_std().unwrap_or_default()).min(longest)
    }
}

#[cfg(test)]
mod tests;
