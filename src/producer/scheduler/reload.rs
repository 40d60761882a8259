//! A job file on its way: it comes in force when it is known which runs of its jobs are not finished. What must be known
//! for that is asked of whoever follows `cron-runs`.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::machine::Scheduler;
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::run_tracker::open_runs::Followed;
use crate::producer::run_tracker::thread::FollowRequest;

/// The file, and what is still to be asked and told, of each kind the newest.
#[derive(Debug)]
pub struct Reload {
    file: Option<ActiveJobs>,
    asks: VecDeque<FollowRequest>,
    /// The jobs that are followed, as far as it was asked.
    followed: Followed,
}

impl Reload {
    /// None is coming; the jobs of the file in force are followed.
    pub fn new(timing: &Scheduler) -> Self {
        Self { file: None, asks: VecDeque::new(), followed: Scheduler::overlapping(&timing.file) }
    }

    /// There is another job file. It takes the place of one that is still coming.
    pub fn take(&mut self, file: ActiveJobs, timing: &Scheduler) {
        self.asks.retain(|ask| matches!(ask, FollowRequest::InForce(..)));
        if !timing.knows_runs_of(&file) {
            let revision = &file.revision;
            log::info!(
                "revision {revision} of the job file waits until it is known which runs are not finished"
            );
            self.asks.push_back(FollowRequest::Follow(Scheduler::overlapping(&file)));
        }
        self.file = Some(file);
    }

    /// Brings the file in force if all is known, and says which it is.
    pub fn bring_in_force(&mut self, timing: &mut Scheduler, at: DateTime<Utc>) -> Option<Arc<str>> {
        let file = self.file.take_if(|file| timing.knows_runs_of(file))?;
        let (revision, owed) = (Arc::clone(&file.revision), Scheduler::overlapping(&file));
        log::info!(
            "revision {revision} of the job file is in force: {} jobs, tzdata {}",
            file.jobs.len(),
            file.tzdata
        );
        self.asks = VecDeque::from([FollowRequest::InForce(Arc::clone(&revision), Arc::clone(&file.tzdata))]);
        timing.swap(file, at);
        // Another file was on its way, and was replaced by this one when its jobs were followed already.
        if !owed.iter().all(|(job, cluster)| self.followed.get(job) == Some(cluster)) {
            self.asks.push_back(FollowRequest::Follow(owed));
        }
        Some(revision)
    }

    /// Whether something is to be asked or told.
    pub fn has_asks(&self) -> bool {
        !self.asks.is_empty()
    }

    /// What is to be asked or told next; what cannot be, is to be [put back](Self::put_back).
    pub fn next_ask(&mut self) -> Option<FollowRequest> {
        let ask = self.asks.pop_front()?;
        if let FollowRequest::Follow(followed) = &ask {
            self.followed = Followed::clone(followed);
        }
        Some(ask)
    }

    /// There was no place for it.
    pub fn put_back(&mut self, ask: FollowRequest) {
        self.asks.push_front(ask);
    }
}
