//! What came of a step, what the thread logs and counts, and what the scheduler is told.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::common::broker::BrokerError;
use crate::common::model::{JobName, MissedReason, RunId};
use crate::producer::leadership::Term;
use crate::producer::plan::{Batch, Source};

/// What came of a step.
#[derive(Debug)]
pub enum Progress {
    /// There is no batch.
    Idle,
    /// Our membership is not proven at the moment; it may be proven again in the same term.
    Waits,
    /// Some of it is written, and what follows from that is to be written at once.
    GoesOn,
    /// Some of it could not be written; it is tried again.
    Failed {
        /// To where.
        topic: Arc<str>,
        /// Why.
        error: BrokerError,
    },
    /// Each tick has its fate on record.
    Done(Confirmed),
    /// The batch's term is over: the new leader finds what is missing by the cursor.
    Abandoned,
}

/// What is to be logged and counted after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ticks are published, and that is confirmed.
    Published {
        /// When each of them was due.
        due: Vec<DateTime<Utc>>,
        /// What the log says of them.
        lines: Vec<String>,
    },
    /// So many ticks more than were counted before are missed, and that is on record.
    Missed(u64, MissedReason),
    /// A tick is skipped, and that is on record.
    Skipped,
    /// The message of a tick is larger than the topic takes: the tick will be missed.
    TooLarge {
        /// The tick's job.
        job: JobName,
        /// When it was due.
        due: DateTime<Utc>,
    },
    /// Some of a batch could not be written.
    Unwritten(BrokerError),
    /// So many records of a batch are left to the next leader.
    Left(usize),
}

/// Every tick of a cluster's oldest batch of a source has its fate on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The batch's term.
    pub term: Term,
    /// Where the batch came from.
    pub source: Source,
    /// How many ticks it had to publish.
    pub ticks: usize,
    /// Runs of it that could not be published and never will be: their ticks are missed.
    pub refused: Vec<(JobName, RunId)>,
    /// The cluster's number in the scheduler's list.
    pub cluster: usize,
}

impl Confirmed {
    /// Of a batch of the cluster of this number, of which nothing was refused.
    pub fn of(cluster: usize, batch: &Batch) -> Self {
        let Batch { term, source, ticks, .. } = batch;
        Self { term: *term, source: *source, ticks: ticks.len(), refused: Vec::new(), cluster }
    }
}
