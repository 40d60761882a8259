//! What came of a step, and what the scheduler is told.

use std::sync::Arc;

use crate::common::broker::BrokerError;
use crate::common::model::{JobName, RunId};
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
