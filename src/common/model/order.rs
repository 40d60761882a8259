//! The orders of `cron-orders`: what the leader asks of whichever consumer it concerns.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ClusterName, JobName, RunId};

/// One order. The leader may write it any number of times; each says the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// The run is to end: the command of an attempt that is under way is ended, and no other attempt of the run starts.
    /// Key: run id.
    End {
        /// The run.
        run: RunId,
        /// Its job.
        job: JobName,
        /// Its cluster.
        cluster: ClusterName,
        /// Why.
        reason: OrderReason,
        /// The producer that leads.
        by: String,
        /// When it was written.
        at: DateTime<Utc>,
    },
}

impl Order {
    /// The key under which it stands in `cron-orders`.
    pub fn key(&self) -> String {
        let Self::End { run, .. } = self;
        run.to_string()
    }
}

/// Why a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderReason {
    /// A newer tick of its job waits for its end (`overlap=replace`).
    Replaced,
}
