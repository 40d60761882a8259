//! A job file that is to replace the active one. It becomes active when the run tracker has told which runs of its jobs
//! are open; the reload asks the run tracker for those it does not know.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::clusters::Clusters;
use super::messages::{Effect, Report};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::run_tracker::messages::FollowRequest;
use crate::producer::run_tracker::open_runs::Followed;

/// The file that waits.
#[derive(Debug)]
pub(super) struct Reload {
    file: Option<ActiveJobs>,
    /// The jobs that the run tracker was last asked to follow.
    followed: Followed,
}

impl Reload {
    /// No file is waiting; the run tracker follows the jobs of the active file.
    pub fn new(clusters: &Clusters) -> Self {
        Self { file: None, followed: Clusters::overlapping(&clusters.file) }
    }

    /// Takes a new job file. It replaces one that is still waiting.
    pub fn take(&mut self, file: ActiveJobs, clusters: &mut Clusters, effects: &mut Vec<Effect>) {
        if let Some(jobs) = clusters.asks_for(&file) {
            effects.push(Effect::Report(Report::FileWaits(Arc::clone(&file.revision))));
            effects.push(self.follow(jobs));
        }
        self.file = Some(file);
    }

    /// Makes the file active if all open runs of its jobs are known.
    pub fn activate(&mut self, clusters: &mut Clusters, at: DateTime<Utc>, effects: &mut Vec<Effect>) {
        let Some(file) = self.file.take_if(|file| clusters.knows_runs_of(file)) else { return };
        let (revision, tzdata) = (Arc::clone(&file.revision), Arc::clone(&file.tzdata));
        let jobs = file.jobs.len();
        clusters.swap(file, at);
        let active = FollowRequest::Active(Arc::clone(&revision), Arc::clone(&tzdata));
        effects.push(Effect::Report(Report::FileActive(revision, jobs, tzdata)));
        effects.push(Effect::Ask(active));
        // Another file was waiting, and was replaced by this one after its jobs were followed already.
        let owed = clusters.owed();
        if !owed.iter().all(|(job, cluster)| self.followed.get(job) == Some(cluster)) {
            effects.push(self.follow(owed));
        }
    }

    fn follow(&mut self, jobs: Followed) -> Effect {
        self.followed = Followed::clone(&jobs);
        Effect::Ask(FollowRequest::Follow(jobs))
    }
}
