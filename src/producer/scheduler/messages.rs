//! What the scheduler takes and tells, and by which channels.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::producer::jobfile::JobFile;
use crate::producer::leadership::{CursorCommit, Effect};
use crate::producer::publisher::{Batch, Confirmed};
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};

/// What the scheduler's thread listens to and talks to.
pub struct Channels {
    /// To the publishers, in the order of the clusters.
    pub batches: Vec<Sender<Batch>>,
    /// From them. It has room for all the batches that can be under way.
    pub confirmed: Receiver<Confirmed>,
    /// Who leads, and from where.
    pub lead: Receiver<Arc<Effect>>,
    /// How far each cluster is. The channel has one place; where that is taken, the thread offers the newest again.
    pub keeps: Sender<CursorCommit>,
    /// Job files that replace the active one.
    pub files: Receiver<JobFile>,
    /// What the run tracker tells.
    pub told: Receiver<RunNews>,
    /// To the run tracker: the jobs of a file that is to become active, where their unfinished runs are not known, and
    /// which file is active. Where there is no place the newest is offered again.
    pub asks: Sender<FollowRequest>,
}
