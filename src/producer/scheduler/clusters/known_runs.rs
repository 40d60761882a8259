//! What is known of open runs: the news of the run tracker, and of which jobs it must be asked.

use std::collections::HashSet;
use std::sync::Arc;

use super::Clusters;
use crate::common::model::{JobName, RunId};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::run_tracker::messages::{RunNews, RunsToEnd};
use crate::producer::run_tracker::open_runs::Followed;
use crate::producer::scheduler::cluster_term::ClusterTerm;

impl Clusters {
    /// Whether the open runs are known of all jobs of a file whose runs may not overlap. Until they are, the file must
    /// not become active: its ticks would be decided as if there were no open runs.
    pub fn knows_runs_of(&self, file: &ActiveJobs) -> bool {
        self.asked.is_none() && self.follows(&Self::overlapping(file))
    }

    pub(super) fn follows(&self, jobs: &Followed) -> bool {
        jobs.iter().all(|(job, cluster)| self.followed.get(job) == Some(cluster))
    }

    /// The jobs whose open runs must be known: those of the active file, and those of former files of which ticks are still
    /// to be decided.
    pub(in crate::producer::scheduler) fn owed(&self) -> Followed {
        let former = self.former.values().map(|job| (job.name.clone(), job.cluster.clone()));
        let active = Self::overlapping(&self.file);
        Arc::new(former.chain(active.iter().map(|(job, cluster)| (job.clone(), cluster.clone()))).collect())
    }

    /// What the run tracker is to be asked before a file becomes active, if anything: the jobs to follow from now on. Those of
    /// the active file are among them, because ticks of it may still be undecided then; where a job has moved to another
    /// cluster, the new file counts. Of a job that gains an overlap the tracker must read to the end once more, although it
    /// may follow the job already.
    pub(in crate::producer::scheduler) fn asks_for(&mut self, file: &ActiveJobs) -> Option<Followed> {
        let (owed, new) = (self.owed(), Self::overlapping(file));
        let gains = new.iter().any(|(job, cluster)| owed.get(job) != Some(cluster));
        self.asked = None;
        if !gains && self.follows(&new) {
            return None;
        }
        let both = owed.iter().chain(new.iter());
        let both = Arc::new(both.map(|(job, cluster)| (job.clone(), cluster.clone())).collect());
        self.asked = Some(Followed::clone(&both));
        Some(both)
    }

    /// Whether the open runs are known. News that came in an earlier term, or was read before this one began, may lack
    /// what the leader in between has published.
    pub(super) fn knows_unfinished(&self) -> bool {
        self.has_history && self.read_in == self.term
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
            RunNews::HistoryRead { of, .. }
                if self.asked.as_ref().is_some_and(|asked| !Arc::ptr_eq(asked, of)) => {}
            RunNews::HistoryRead { of, over } => {
                self.asked = None;
                // The ends of runs of a job were of no interest before a file gave it an overlap.
                if self.asks_what_is_over() {
                    self.over.extend(over.iter());
                }
                self.followed = Followed::clone(of);
                self.has_history = self.follows(&self.owed());
                self.are_over(over);
            }
            RunNews::ReadToEnd { term, over } => {
                self.read_in = Some(*term);
                self.over.extend(over.iter());
                self.are_over(over);
            }
            RunNews::AnotherLog => {
                let led = self.clusters.iter_mut().filter(|cluster| cluster.term.is_some());
                led.for_each(|cluster| cluster.says_file_again = true);
            }
            RunNews::ReadFrom(reads) => self.reads.clone_from(reads),
        }
    }

    /// These runs are over, and some of them were told as open: the tracker may read the end of a run in the history after a
    /// late copy of an earlier event, and tells it here alone.
    fn are_over(&mut self, over: &HashSet<RunId>) {
        let ended: Vec<(RunId, JobName)> =
            self.unfinished.extract_if(.., |run, _| over.contains(run)).collect();
        for (run, job) in ended {
            self.over_and_released(Some(&job), run);
        }
    }

    /// The runs that are to end, where they have changed since this was last asked. A producer that does not lead ends none.
    pub(in crate::producer::scheduler) fn changed_ends(&mut self) -> Option<RunsToEnd> {
        let ends = match self.term {
            Some(_) => self.overlap.changed_ends()?,
            None => RunsToEnd::default(),
        };
        if ends == self.ends {
            return None;
        }
        self.ends = RunsToEnd::clone(&ends);
        Some(ends)
    }

    /// Whether a cluster finds runs of an earlier term, or has yet to look for them.
    pub(super) fn asks_what_is_over(&self) -> bool {
        self.term.is_some()
            && self.clusters.iter().any(|cluster| cluster.term.as_ref().is_none_or(ClusterTerm::remembers))
    }

    /// Notes that a run is over: the tick that waited for it is published now.
    pub(super) fn over_and_released(&mut self, job: Option<&JobName>, run: RunId) {
        let names: Vec<JobName> = match job {
            Some(job) => self.overlap.knows(job).then(|| job.clone()).into_iter().collect(),
            None => self.overlap.jobs_of(run),
        };
        for name in names {
            let Some(queued) = self.overlap.over(&name, run) else { continue };
            let cluster = self.clusters.iter_mut().find(|cluster| cluster.name == queued.tick.job.cluster);
            if let Some(term) = cluster.and_then(|cluster| cluster.term.as_mut()) {
                term.release(queued);
            }
        }
    }
}
