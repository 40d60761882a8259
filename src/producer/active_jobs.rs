//! The jobs of the active job file, and the revision by which the records name that file.

use std::sync::Arc;

use super::job::Job;
use super::jobfile::JobFile;
use crate::common::model::ClusterName;

/// The jobs of an active file, for all clusters.
#[derive(Debug, Clone)]
pub struct ActiveJobs {
    /// In the order of their lines.
    pub jobs: Vec<Arc<Job>>,
    /// The first 12 hexadecimal digits of a hash of the file's content.
    pub revision: Arc<str>,
    /// The version of the zone data that the schedules follow.
    pub tzdata: Arc<str>,
}

impl ActiveJobs {
    /// The jobs of one cluster.
    pub fn of(&self, cluster: &ClusterName) -> Vec<Arc<Job>> {
        self.jobs.iter().filter(|job| job.cluster == *cluster).cloned().collect()
    }
}

impl From<JobFile> for ActiveJobs {
    fn from(file: JobFile) -> Self {
        Self { jobs: file.jobs, revision: file.revision, tzdata: file.tzdata }
    }
}
