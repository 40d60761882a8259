//! A job file on its way: it comes in force when it is known which runs of its jobs are not finished. What must be known
//! for that is asked of whoever follows `cron-runs`.

use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Timing;
use crate::producer::in_force::JobsInForce;
use crate::producer::tail::thread::Ask;
use crate::producer::tail::unfinished::Followed;

/// The file, and what is still to be asked and told, of each kind the newest.
#[derive(Debug)]
pub struct Coming {
    file: Option<JobsInForce>,
    asks: VecDeque<Ask>,
    /// The jobs that are followed, as far as it was asked.
    followed: Followed,
}

impl Coming {
    /// None is coming; the jobs of the file in force are followed.
    pub fn new(timing: &Timing) -> Self {
        Self { file: None, asks: VecDeque::new(), followed: Timing::overlapping(&timing.file) }
    }

    /// There is another job file. It takes the place of one that is still coming.
    pub fn take(&mut self, file: JobsInForce, timing: &Timing) {
        self.asks.retain(|ask| matches!(ask, Ask::InForce(..)));
        if !timing.knows_runs_of(&file) {
            let revision = &file.revision;
            log::info!(
                "revision {revision} of the job file waits until it is known which runs are not finished"
            );
            self.asks.push_back(Ask::Follow(Timing::overlapping(&file)));
        }
        self.file = Some(file);
    }

    /// Brings the file in force if all is known, and says which it is.
    pub fn bring_in_force(&mut self, timing: &mut Timing, at: DateTime<Utc>) -> Option<Arc<str>> {
        let file = self.file.take_if(|file| timing.knows_runs_of(file))?;
        let (revision, owed) = (Arc::clone(&file.revision), Timing::overlapping(&file));
        log::info!(
            "revision {revision} of the job file is in force: {} jobs, tzdata {}",
            file.jobs.len(),
            file.tzdata
        );
        self.asks = VecDeque::from([Ask::InForce(Arc::clone(&revision), Arc::clone(&file.tzdata))]);
        timing.swap(file, at);
        // Another file was on its way, and was replaced by this one when its jobs were followed already.
        if !owed.iter().all(|(job, cluster)| self.followed.get(job) == Some(cluster)) {
            self.asks.push_back(Ask::Follow(owed));
        }
        Some(revision)
    }

    /// Whether something is to be asked or told.
    pub fn has_asks(&self) -> bool {
        !self.asks.is_empty()
    }

    /// What is to be asked or told next; what cannot be, is to be [put back](Self::put_back).
    pub fn next_ask(&mut self) -> Option<Ask> {
        let ask = self.asks.pop_front()?;
        if let Ask::Follow(followed) = &ask {
            self.followed = Followed::clone(followed);
        }
        Some(ask)
    }

    /// There was no place for it.
    pub fn put_back(&mut self, ask: Ask) {
        self.asks.push_front(ask);
    }
}
