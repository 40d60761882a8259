//! What happens at a tick of a job whose runs must not overlap (`overlap=skip|queue|replace`): the tick is published, queued
//! or skipped, and which runs are to end so that a tick need not wait.
//!
//! A run blocks from the decision to publish it until it is known to be over (done, dead, or lost with no attempt
//! left), so two ticks in one batch see each other although neither is on record yet. The rule asks no other part of
//! the program: its caller tells it what is known of runs.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::common::model::{JobName, RunId};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job;
use crate::producer::plan::timetable::Tick;
use crate::producer::run_tracker::messages::RunsToEnd;

/// All jobs that do not allow overlaps: their runs that are not over, and the ticks that wait for those.
#[derive(Debug)]
pub struct ExclusiveJobs {
    jobs: HashMap<JobName, Runs>,
    /// Those of which a tick waits that replaces the runs before it.
    replacing: BTreeSet<JobName>,
    /// Which runs are to end may have changed since that was last asked.
    has_changed: bool,
}

/// What is to be done about a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TickDecision {
    /// Publish it.
    Publish,
    /// Put it on record as queued; [`ExclusiveJobs::over`] says when it is to be published.
    Queue {
        /// The run that is not over.
        blocked_by: RunId,
        /// The older ticks whose place it takes: put them on record as skipped.
        instead_of: Vec<Queued>,
    },
    /// Put it on record as skipped.
    Skip {
        /// The run that is not over.
        blocked_by: RunId,
    },
}

/// A tick that waits for the run before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The tick.
    pub tick: Tick,
    /// Of the job file that owes it.
    pub revision: Arc<str>,
}

/// What is known of one job.
#[derive(Debug, Default)]
struct Runs {
    /// Those not over, the latest last. More than one where an older one was replayed, or the job allowed overlaps.
    open: Vec<RunId>,
    /// The last run that was over: the news of its publication may come later than the news of its end.
    last_over: Option<RunId>,
    /// One; more only where more were on record.
    queued: VecDeque<Queued>,
}

impl Default for ExclusiveJobs {
    fn default() -> Self {
        // What was to end before is not to end any more.
        Self { jobs: HashMap::new(), replacing: BTreeSet::new(), has_changed: true }
    }
}

impl ExclusiveJobs {
    /// What is to be done about a tick. With [`TickDecision::Publish`] its run blocks from here on (but that of a job that
    /// allows overlaps is not remembered); if it cannot be published after all, say that it is [`over`](Self::over).
    /// To decide a tick again that is published or queued changes nothing.
    pub fn decide(&mut self, tick: &Tick, revision: &Arc<str>) -> TickDecision {
        if tick.job.overlap == job::Overlap::Allow {
            return TickDecision::Publish;
        }
        let run = RunId::of(&tick.job.name, tick.at);
        let runs = self.jobs.entry(tick.job.name.clone()).or_default();
        let blocked_by = match runs.open.last() {
            Some(last) if !runs.open.contains(&run) => *last,
            _ => {
                runs.begin(run);
                return TickDecision::Publish;
            }
        };
        let mut instead_of = Vec::new();
        if runs.queued.iter().any(|queued| queued.tick.at == tick.at) {
            return TickDecision::Queue { blocked_by, instead_of };
        }
        match tick.job.overlap {
            job::Overlap::Queue if runs.queued.is_empty() => {}
            job::Overlap::Replace if runs.queued.iter().all(|queued| queued.gives_place_to(tick)) => {
                instead_of.extend(runs.queued.drain(..));
            }
            _ => return TickDecision::Skip { blocked_by },
        }
        runs.queued.push_back(Queued { tick: tick.clone(), revision: Arc::clone(revision) });
        self.note(&tick.job.name);
        TickDecision::Queue { blocked_by, instead_of }
    }

    /// The runs that are to end, because a tick waits that replaces them; `None` where that has not changed since this was last
    /// asked.
    pub fn changed_ends(&mut self) -> Option<RunsToEnd> {
        std::mem::take(&mut self.has_changed).then(|| {
            let waiting = self.replacing.iter().filter_map(|job| {
                let runs = self.jobs.get(job)?;
                Some((job, runs, &runs.queued.back()?.tick.job.cluster))
            });
            let ends = waiting.flat_map(|(job, runs, cluster)| {
                runs.open.iter().map(|run| (*run, (job.clone(), cluster.clone())))
            });
            Arc::new(ends.collect())
        })
    }

    /// Notes whether a job has a tick that waits and replaces the runs before it, after its runs have changed.
    fn note(&mut self, job: &JobName) {
        let runs = self.jobs.get(job);
        let waits = runs.and_then(|runs| runs.queued.back());
        if waits.is_some_and(|queued| queued.tick.job.overlap == job::Overlap::Replace) {
            self.replacing.insert(job.clone());
            self.has_changed = true;
        } else {
            self.has_changed |= self.replacing.remove(job);
        }
    }

    /// A run is in its topic, whichever producer published it. The call does no harm for a run that was decided here or
    /// is over already.
    pub fn published(&mut self, job: &JobName, run: RunId) {
        let runs = self.jobs.entry(job.clone()).or_default();
        if runs.last_over != Some(run) {
            runs.begin(run);
            self.note(job);
        }
    }

    /// A run is over, or will never begin. The queued tick to publish now, if there is one: its run blocks from here
    /// on. Only for jobs that do not allow overlaps: each job that it hears of takes up memory until it is gone from
    /// the job file.
    pub fn over(&mut self, job: &JobName, run: RunId) -> Option<Queued> {
        let runs = self.jobs.entry(job.clone()).or_default();
        runs.open.retain(|open| *open != run);
        runs.last_over = Some(run);
        let queued = if runs.open.is_empty() { runs.queued.pop_front() } else { None };
        if let Some(queued) = &queued {
            runs.begin(RunId::of(job, queued.tick.at));
        }
        self.note(job);
        queued
    }

    /// Whether it has heard of the job.
    pub fn knows(&self, job: &JobName) -> bool {
        self.jobs.contains_key(job)
    }

    /// The jobs that a run blocks, for when only the run is known.
    pub fn jobs_of(&self, run: RunId) -> Vec<JobName> {
        self.jobs.iter().filter(|(_, runs)| runs.open.contains(&run)).map(|(job, _)| job.clone()).collect()
    }

    /// A new job file: the queued ticks of jobs that are gone from it, which will never be run. Their runs go on
    /// blocking until they are over, for the job may come back.
    pub fn forget(&mut self, file: &ActiveJobs) -> Vec<Queued> {
        let in_file: HashSet<&JobName> = file.jobs.iter().map(|job| &job.name).collect();
        let gone = self.jobs.iter_mut().filter(|(name, _)| !in_file.contains(name));
        let queued = gone.flat_map(|(_, runs)| std::mem::take(&mut runs.queued)).collect();
        self.jobs.retain(|name, runs| in_file.contains(name) || !runs.open.is_empty());
        self.replacing.retain(|name| in_file.contains(name));
        self.has_changed = true;
        queued
    }
}

impl Queued {
    /// Whether a newer tick takes its place. A job that has moved to another cluster since is an exception: two clusters put
    /// the two ticks on record, each by itself.
    fn gives_place_to(&self, tick: &Tick) -> bool {
        self.tick.at < tick.at && self.tick.job.cluster == tick.job.cluster
    }
}

impl Runs {
    fn begin(&mut self, run: RunId) {
        if !self.open.contains(&run) {
            self.open.push(run);
        }
    }
}

#[cfg(test)]
mod tests;
