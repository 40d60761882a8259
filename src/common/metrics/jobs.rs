//! The bound on job names in labels: the first thousand are told apart, the rest is `other`.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::common::bounds::METRIC_JOB_NAMES;
use crate::common::model::JobName;

/// The label of the jobs that are not told apart.
const OTHER: &str = "other";

/// Decides which job names become labels. Clones share the decision, so that all metrics of a program tell the same
/// jobs apart.
#[derive(Debug, Clone, Default)]
pub struct JobLabels {
    // A mutex because the thread that counts needs the answer at once; it is held for one look-up, never over I/O.
    known: Arc<Mutex<HashSet<JobName>>>,
}

impl JobLabels {
    /// No names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The label for a job: its name while there is room, else `other`. A name that was told apart once stays so.
    pub fn of<'a>(&self, job: &'a JobName) -> &'a str {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(job) {
            return job.as_str();
        }
        if known.len() >= METRIC_JOB_NAMES {
            return OTHER;
        }
        known.insert(job.clone());
        job.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_counted_as_other() {
        let name = |n: usize| JobName::new(&format!("job-{n}")).unwrap();
        let labels = JobLabels::new();
        for n in 0..METRIC_JOB_NAMES {
            assert_eq!(labels.of(&name(n)), name(n).as_str());
        }
        assert_eq!(labels.of(&name(METRIC_JOB_NAMES)), "other");
        assert_eq!(labels.of(&name(0)), "job-0");
    }
}
