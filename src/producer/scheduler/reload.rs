//! A job file that is to replace the active one. It becomes active when the run tracker has told which runs of its jobs
//! are open; the reload asks the run tracker for those it does not know.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::machine::Scheduler;
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::run_tracker::messages::FollowRequest;
use crate::producer::run_tracker::open_runs::Followed;

/// The file that waits, and the requests to the run tracker that are still to be sent, of each kind the newest.
#[derive(Debug)]
pub struct Reload {
    file: Option<ActiveJobs>,
    asks: VecDeque<FollowRequest>,
    /// The jobs that the run tracker was last asked to follow.
    followed: Followed,
}

impl Reload {
    /// No file is waiting; the run tracker follows the jobs of the active file.
    pub fn new(timing: &Scheduler) -> Self {
        Self { file: None, asks: VecDeque::new(), followed: Scheduler::overlapping(&timing.file) }
    }

    /// Takes a new job file. It replaces one that is still waiting.
    pub fn take(&mut self, file: ActiveJobs, timing: &Scheduler) {
        self.asks.retain(|ask| matches!(ask, FollowRequest::InForce(..)));
        if !timing.knows_runs_of(&file) {
            let revision = &file.revision;
            log::info!(
                "revision {revision} of the job file waits until it is known which runs are not finished"
            );
            self.asks.push_back(FollowRequest::Follow(timing.owed_with(&file)));
        }
        self.file = Some(file);
    }

    /// Makes the file active if all open runs of its jobs are known, and returns its revision.
    pub fn bring_in_force(&mut self, timing: &mut Scheduler, at: DateTime<Utc>) -> Option<Arc<str>> {
        let file = self.file.take_if(|file| timing.knows_runs_of(file))?;
        let revision = Arc::clone(&file.revision);
        log::info!(
            "revision {revision} of the job file is in force: {} jobs, tzdata {}",
            file.jobs.len(),
            file.tzdata
        );
        self.asks = VecDeque::from([FollowRequest::InForce(Arc::clone(&revision), Arc::clone(&file.tzdata))]);
        timing.swap(file, at);
        // Another file was waiting, and was replaced by this one after its jobs were followed already.
        let owed = timing.owed();
        if !owed.iter().all(|(job, cluster)| self.followed.get(job) == Some(cluster)) {
            self.asks.push_back(FollowRequest::Follow(owed));
        }
        Some(revision)
    }

    /// Whether a request is to be sent.
    pub fn has_asks(&self) -> bool {
        !self.asks.is_empty()
    }

    /// Takes the next request; a caller that cannot send it [puts it back](Self::put_back).
    pub fn next_ask(&mut self) -> Option<FollowRequest> {
        let ask = self.asks.pop_front()?;
        if let FollowRequest::Follow(followed) = &ask {
            self.followed = Followed::clone(followed);
        }
        Some(ask)
    }

    /// Puts back a request for which the channel had no place.
    pub fn put_back(&mut self, ask: FollowRequest) {
        self.asks.push_front(ask);
    }
}
