//! All clusters of the scheduler: which have a plan in this term, which batches each hands over, which runs block which
//! jobs, and how far each cluster is.

mod deciding;
mod known_runs;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::cluster_term::ClusterTerm;
use super::events;
use super::levels::Levels;
use super::overlap::ExclusiveJobs;
use crate::common::bounds::TICKS_PER_BATCH;
use crate::common::model::{ClusterName, Event, JobName, RunId};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job;
use crate::producer::job::Job;
use crate::producer::leadership::{CursorCommit, Start, Term};
use crate::producer::plan::timetable::Tick;
use crate::producer::plan::{Batch, ClusterPlan, Missed};
use crate::producer::publisher::Confirmed;
use crate::producer::run_tracker::messages::RunsToEnd;
use crate::producer::run_tracker::open_runs::Followed;

/// One cluster as the scheduler sees it.
#[derive(Debug)]
struct Cluster {
    name: ClusterName,
    /// The cluster's term, from the moment that its start is known; none while another producer leads.
    term: Option<ClusterTerm>,
    /// How many jobs of the active file are this cluster's.
    jobs: usize,
    /// How many ticks of the backlog are still to be taken, as far as they have been counted.
    backlog: u64,
    /// Whether it is to be put on record once more which job file is active.
    says_file_again: bool,
    /// From when on, in this term, ticks are those of the active file.
    file_from: DateTime<Utc>,
}

/// The clusters of the scheduler.
#[derive(Debug)]
pub struct Clusters {
    clusters: Vec<Cluster>,
    pub(super) file: ActiveJobs,
    /// Jobs whose runs may not overlap by a former file, while a cluster may still owe ticks of such a file: those ticks are
    /// decided by what the former file says.
    former: BTreeMap<JobName, Arc<Job>>,
    /// Our name in events.
    name: String,
    /// Which runs block which jobs. A standby knows this, too.
    overlap: ExclusiveJobs,
    /// The jobs whose open runs have all been told.
    followed: Followed,
    /// What the run tracker was last asked, while it has not answered. An answer to an earlier question does not count.
    asked: Option<Followed>,
    /// Whether they include all jobs that are [owed](Self::owed).
    has_history: bool,
    /// The latest term for which all that had been written to `cron-runs` before it began was read.
    read_in: Option<Term>,
    /// The runs that are known to be over, among those that a term finds in the topics.
    over: HashSet<RunId>,
    /// The open runs (published and not finished), as `cron-runs` tells them: each term begins with them.
    unfinished: BTreeMap<RunId, JobName>,
    /// The runs that are to end, as the run tracker was last told.
    ends: RunsToEnd,
    /// The offsets, by partition, from which the next leader must read `cron-runs`.
    reads: BTreeMap<i32, i64>,
    /// The term; none while another producer leads.
    term: Option<Term>,
    kept: Option<CursorCommit>,
}

impl Clusters {
    /// Creates the clusters of a producer of this name, which does not lead yet.
    pub fn new(names: Vec<ClusterName>, file: ActiveJobs, name: String) -> Self {
        let cluster = |name| Cluster {
            name,
            term: None,
            jobs: 0,
            backlog: 0,
            says_file_again: false,
            file_from: DateTime::<Utc>::MIN_UTC,
        };
        let has_history = Self::overlapping(&file).is_empty();
        let mut clusters = Self {
            clusters: names.into_iter().map(cluster).collect(),
            file,
            former: BTreeMap::new(),
            name,
            overlap: ExclusiveJobs::default(),
            followed: Followed::default(),
            asked: None,
            has_history,
            read_in: None,
            over: HashSet::new(),
            unfinished: BTreeMap::new(),
            ends: RunsToEnd::default(),
            reads: BTreeMap::new(),
            term: None,
            kept: None,
        };
        clusters.count_jobs();
        clusters
    }

    /// A term of this producer begins: the clusters' plans come one by one.
    pub fn begin(&mut self, term: Term) {
        self.end();
        self.term = Some(term);
        self.over = HashSet::new();
        // A run that an earlier term of ours decided and did not publish blocks nothing.
        self.overlap = ExclusiveJobs::default();
        for (run, job) in &self.unfinished {
            self.overlap.published(job, *run);
        }
    }

    /// The term of this producer is over. It no longer waits for what is in flight.
    pub fn end(&mut self) {
        (self.term, self.kept) = (None, None);
        self.forget_former();
        for cluster in &mut self.clusters {
            (cluster.term, cluster.backlog, cluster.says_file_again) = (None, 0, false);
        }
    }

    /// The term; none while another producer leads.
    pub fn term(&self) -> Option<Term> {
        self.term
    }

    /// What operators are shown of each cluster.
    pub fn levels(&self) -> impl Iterator<Item = Levels> {
        self.clusters.iter().map(|cluster| Levels {
            jobs: cluster.jobs,
            in_flight: cluster.term.as_ref().map_or(0, ClusterTerm::ticks_in_flight),
            backlog: cluster.backlog,
        })
    }

    /// This producer owns a cluster's ticks from here on.
    pub fn start(&mut self, term: Term, number: usize, start: Start, now: DateTime<Utc>) {
        let leader = self.name.clone();
        let Some(cluster) = self.clusters.get_mut(number).filter(|_| self.term == Some(term)) else { return };
        let plan = ClusterPlan::new(term, &self.file, &cluster.name, start.cursor, now);
        let mut started = ClusterTerm::new(plan, start.published, now);
        let facts = start.is_gap.then(|| events::lost_cursor(&cluster.name, start.cursor, now)).into_iter();
        let facts =
            facts.chain([events::revision(&cluster.name, &self.file, leader, start.cursor, now)]).collect();
        started.add_extra(&self.file.revision, Vec::new(), facts, start.cursor);
        if let Some(at) = start.reboot {
            started.reboot(&self.file, &cluster.name, at);
        }
        started.hold_published(exclusive(&self.file), now);
        cluster.file_from = start.cursor;
        cluster.term = Some(started);
    }

    /// Takes a new job file: ticks up to `at` belong to the old one.
    pub fn swap(&mut self, file: ActiveJobs, at: DateTime<Utc>) {
        let before = std::mem::replace(&mut self.file, file);
        if self.clusters.iter().any(|cluster| cluster.term.is_some()) {
            let jobs = before.jobs.into_iter().filter(|job| job.overlap != job::Overlap::Allow);
            self.former.extend(jobs.map(|job| (job.name.clone(), job)));
        }
        for job in exclusive(&self.file) {
            self.former.remove(&job.name);
        }
        self.has_history = self.follows(&self.owed());
        let mut gone = self.overlap.forget(&self.file);
        for cluster in &mut self.clusters {
            let Some(term) = &mut cluster.term else { continue };
            // Where the clock was set back, `at` may lie before the cursor, and the event must not hold the cursor
            // there.
            let at = term.plan.swap(&self.file, at);
            cluster.file_from = at;
            term.hold_published(exclusive(&self.file).chain(self.former.values()), at);
            let queued = gone.extract_if(.., |queued| queued.tick.job.cluster == cluster.name);
            let mut removed: Vec<Tick> = queued.map(|queued| queued.tick).collect();
            removed.extend(term.take_removed(&self.file));
            let oldest = removed.iter().map(|tick| tick.at - TimeDelta::milliseconds(1)).min();
            let removed = removed.iter().map(|tick| term.give_up(tick, &cluster.name, at));
            let mut facts: Vec<Event> = removed.collect();
            let leader = self.name.clone();
            facts.push(events::revision(&cluster.name, &self.file, leader, at, at));
            term.add_extra(&self.file.revision, Vec::new(), facts, oldest.unwrap_or(at).min(at));
        }
        self.count_jobs();
    }

    /// The jobs whose runs may not overlap, with their clusters.
    pub fn overlapping(file: &ActiveJobs) -> Followed {
        Arc::new(exclusive(file).map(|job| (job.name.clone(), job.cluster.clone())).collect())
    }

    /// No cluster owes a tick of a former file any more.
    fn forget_former(&mut self) {
        if !self.former.is_empty() {
            self.former = BTreeMap::new();
            self.has_history = self.follows(&self.owed());
        }
    }

    fn count_jobs(&mut self) {
        for cluster in &mut self.clusters {
            cluster.jobs = self.file.jobs.iter().filter(|job| job.cluster == cluster.name).count();
        }
    }

    /// The next batch that is due and has room, with its cluster's number.
    pub fn next_batch(&mut self, now: DateTime<Utc>) -> Option<(usize, Batch)> {
        let batch = self.first_batch(now);
        for Cluster { term, backlog, .. } in &mut self.clusters {
            *backlog = term.as_mut().map_or(0, |term| {
                term.forget_published(now);
                term.plan.left_to_catch_up(now)
            });
        }
        if !self.over.is_empty() && !self.asks_what_is_over() {
            self.over = HashSet::new();
        }
        let mut terms = self.clusters.iter().filter_map(|cluster| cluster.term.as_ref());
        if !terms.any(ClusterTerm::owes_former) {
            self.forget_former();
        }
        batch
    }

    fn first_batch(&mut self, now: DateTime<Utc>) -> Option<(usize, Batch)> {
        (0..self.clusters.len()).find_map(|number| Some((number, self.batch_of(number, now)?)))
    }

    /// The next batch of a cluster; `None` when nothing is due or there is no room.
    fn batch_of(&mut self, number: usize, now: DateTime<Utc>) -> Option<Batch> {
        let knows = self.knows_unfinished();
        if knows {
            self.take_published(number, now);
            self.decide_held_back(number, now);
        }
        self.say_file_again(number, now);
        loop {
            let cluster = &mut self.clusters[number];
            let term = cluster.term.as_mut().filter(|term| term.has_room())?;
            if let Some(batch) = term.next_extra() {
                return Some(batch);
            }
            let owed = term.plan.take(now, TICKS_PER_BATCH)?;
            let source = owed.source;
            let batch = self.decide(number, owed, knows, now)?;
            let term = self.clusters[number].term.as_mut()?;
            if !batch.ticks.is_empty() || !batch.events.is_empty() {
                term.hand_over(&batch);
                return Some(batch);
            }
            // Nothing of it has to be written.
            term.plan.nothing_left(source);
        }
    }

    /// Puts on record which job file is active, where `cron-runs` has lost what was said of it: it was deleted or cut. What
    /// the file owed before the cursor is on record no more.
    fn say_file_again(&mut self, number: usize, now: DateTime<Utc>) {
        let Cluster { name, term, says_file_again, file_from, .. } = &mut self.clusters[number];
        if let (Some(term), true) = (term, std::mem::take(says_file_again)) {
            let from = term.cursor(now).max(*file_from);
            let event = events::revision(name, &self.file, self.name.clone(), from, now);
            term.add_extra(&self.file.revision, Vec::new(), vec![event], from);
        }
    }

    /// Decides what the plan owes: which ticks are published, and what is put on record about the others.
    fn decide(&mut self, number: usize, owed: Batch, knows: bool, now: DateTime<Utc>) -> Option<Batch> {
        let name = self.clusters[number].name.clone();
        let mut deciding = self.deciding(number, now)?;
        let missed = owed.missed.into_iter().filter_map(|missed| deciding.term.not_published(missed));
        let missed: Vec<Missed> = missed.collect();
        let mut events: Vec<Event> = missed.iter().map(|missed| events::missed(missed, &name, now)).collect();
        for tick in owed.ticks {
            if knows || tick.job.overlap == job::Overlap::Allow {
                deciding.decide(tick, &owed.revision);
            } else {
                deciding.term.hold_back(tick, &owed.revision);
            }
        }
        events.append(&mut deciding.events);
        deciding.give_places();
        let ticks = std::mem::take(&mut deciding.due);
        Some(Batch { ticks, missed, events, ..owed })
    }

    /// Notes that a batch has its fate on record.
    pub fn confirmed(&mut self, confirmed: Confirmed) {
        if Some(confirmed.term) != self.term {
            return;
        }
        let cluster = self.clusters.get_mut(confirmed.cluster);
        if let Some(term) = cluster.and_then(|cluster| cluster.term.as_mut()) {
            term.confirmed(confirmed.source, confirmed.ticks);
        }
        for (job, run) in confirmed.refused {
            self.over_and_released(Some(&job), run);
        }
    }

    /// Whether a batch is in flight.
    pub fn is_busy(&self) -> bool {
        self.clusters.iter().filter_map(|cluster| cluster.term.as_ref()).any(ClusterTerm::is_busy)
    }

    /// The cursors of all clusters that have begun, if one has moved.
    pub fn moved_cursors(&mut self, now: DateTime<Utc>) -> Option<CursorCommit> {
        let term = self.term?;
        let cursor = |cluster: &mut Cluster| cluster.term.as_mut().map(|term| term.cursor(now));
        let cursors: Vec<_> = self.clusters.iter_mut().map(cursor).collect();
        cursors.iter().flatten().next()?;
        let keep = CursorCommit { term, cursors, reads: self.reads.clone() };
        (self.kept.as_ref() != Some(&keep)).then(|| self.kept.insert(keep).clone())
    }

    /// How long until the next tick of a cluster that has room.
    pub fn wait(&self, now: DateTime<Utc>, longest: Duration) -> Duration {
        let with_room =
            self.clusters.iter().filter_map(|cluster| cluster.term.as_ref()).filter(|term| term.has_room());
        let next = with_room.filter_map(|term| term.plan.next()).min();
        next.map_or(longest, |at| (at - now).to_std().unwrap_or_default()).min(longest)
    }
}

/// The jobs of a file whose runs may not overlap.
fn exclusive(file: &ActiveJobs) -> impl Iterator<Item = &Arc<Job>> {
    file.jobs.iter().filter(|job| job.overlap != job::Overlap::Allow)
}

#[cfg(test)]
mod tests;
