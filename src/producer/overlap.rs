//! What happens at a tick of a job whose runs must not overlap (`overlap=skip|queue`): published, queued or skipped.
//!
//! A run blocks from the decision to publish it until it is known to be over – done, dead, or lost with no attempt
//! left – so two ticks in one portion see each other although neither is on record yet. It asks nobody: what is known
//! of runs is told to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::in_force::JobsInForce;
use super::job;
use super::timetable::Tick;
use crate::common::words::{JobName, RunId};

/// The runs that are not over, and the ticks that wait for them, of all jobs that do not allow overlaps.
#[derive(Debug, Default)]
pub struct Overlap {
    jobs: HashMap<JobName, Runs>,
}

/// What is to be done about a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Publish it.
    Publish,
    /// Put it on record as queued; [`Overlap::over`] says when it is to be published.
    Queue {
        /// The run that is not over.
        blocked_by: RunId,
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
    /// The last that was over: word of its publication may come later than word of its end.
    last_over: Option<RunId>,
    queued: Option<Queued>,
}

impl Overlap {
    /// What is to be done about a tick. With [`Verdict::Publish`] its run blocks from here on; if it cannot be
    /// published after all, say that it is [`over`](Self::over). To decide a tick again changes nothing.
    pub fn decide(&mut self, tick: &Tick, revision: &Arc<str>) -> Verdict {
        let run = RunId::of(&tick.job.name, tick.at);
        let runs = self.jobs.entry(tick.job.name.clone()).or_default();
        let blocked_by = match runs.open.last() {
            Some(last) if tick.job.overlap != job::Overlap::Allow && !runs.open.contains(&run) => *last,
            _ => {
                runs.begin(run);
                return Verdict::Publish;
            }
        };
        match &runs.queued {
            Some(queued) if queued.tick.at == tick.at => Verdict::Queue { blocked_by },
            None if tick.job.overlap == job::Overlap::Queue => {
                runs.queued = Some(Queued { tick: tick.clone(), revision: Arc::clone(revision) });
                Verdict::Queue { blocked_by }
            }
            _ => Verdict::Skip { blocked_by },
        }
    }

    /// A run is in its topic, whoever published it. Harmless for runs decided here, and for one that is over already.
    pub fn published(&mut self, job: &JobName, run: RunId) {
        let runs = self.jobs.entry(job.clone()).or_default();
        if runs.last_over != Some(run) {
            runs.begin(run);
        }
    }

    /// A run is over, or will never be. The queued tick to publish now, if there is one: its run blocks from here on.
    pub fn over(&mut self, job: &JobName, run: RunId) -> Option<Queued> {
        let runs = self.jobs.get_mut(job)?;
        runs.open.retain(|open| *open != run);
        runs.last_over = Some(run);
        if !runs.open.is_empty() {
            return None;
        }
        let queued = runs.queued.take()?;
        runs.begin(RunId::of(job, queued.tick.at));
        Some(queued)
    }

    /// A new job file: the queued ticks of jobs that are gone from it, which will never be run. Their runs go on
    /// blocking until they are over, for the job may come back.
    pub fn forget(&mut self, file: &JobsInForce) -> Vec<Queued> {
        let in_file: HashSet<&JobName> = file.jobs.iter().map(|job| &job.name).collect();
        let gone = self.jobs.iter_mut().filter(|(name, _)| !in_file.contains(name));
        let queued = gone.filter_map(|(_, runs)| runs.queued.take()).collect();
        self.jobs.retain(|name, runs| in_file.contains(name) || !runs.open.is_empty());
        queued
    }

    /// What is on record at take-over: runs that are not over, the latest of a job last, and ticks that wait. The
    /// queued ticks that wait for nothing, to be published now.
    pub fn restore(
        unfinished: impl IntoIterator<Item = (JobName, RunId)>,
        queued: impl IntoIterator<Item = Queued>,
    ) -> (Self, Vec<Queued>) {
        let mut overlap = Self::default();
        for (job, run) in unfinished {
            overlap.published(&job, run);
        }
        let mut free = Vec::new();
        for queued in queued {
            let job = &queued.tick.job.name;
            let runs = overlap.jobs.entry(job.clone()).or_default();
            if runs.open.is_empty() {
                runs.begin(RunId::of(job, queued.tick.at));
                free.push(queued);
            } else {
                runs.queued = Some(queued);
            }
        }
        (overlap, free)
    }
}

impl Runs {
    fn begin(&mut self, run: RunId) {
        if !self.open.contains(&run) {
            self.open.push(run);
        }
    }
}
