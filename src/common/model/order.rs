//! The orders of `cron-orders`: what the leader asks of whichever consumer it concerns.

use chrono::{DateTime, TimeDelta, Utc};
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
    /// An order is about attempts that were published before it, or less than so long after it. The leader repeats it every ten
    /// seconds until the run is over, so what is published later is a letter that was put back, and means what it says.
    pub const COUNTS: TimeDelta = TimeDelta::seconds(120);

    /// Whether an order of an instant is about an attempt that was published at another.
    pub fn is_about(ordered_at: DateTime<Utc>, published_at: DateTime<Utc>) -> bool {
        published_at - ordered_at < Self::COUNTS
    }

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
