//! What the scheduler learns and what follows from it, and the channels by which both travel.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::producer::active_jobs::ActiveJobs;
use crate::producer::jobfile::JobFile;
use crate::producer::leadership;
use crate::producer::leadership::CursorCommit;
use crate::producer::plan::Batch;
use crate::producer::publisher::Confirmed;
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};

/// What the scheduler learns.
#[derive(Debug)]
pub enum Event {
    /// Who leads, and from where.
    Leadership(leadership::Effect),
    /// A publisher has put a batch on record.
    Confirmed(Confirmed),
    /// A job file that is to replace the active one.
    JobFile(ActiveJobs),
    /// What became of runs.
    Runs(Vec<RunNews>),
    /// Time has passed.
    Time,
    /// The program ends: nothing more is handed over.
    Stop,
}

/// What follows from an event.
#[derive(Debug)]
pub enum Effect {
    /// The batch goes to the publisher of the cluster of this number.
    Publish(usize, Batch),
    /// Leadership is to commit these cursors.
    Commit(CursorCommit),
    /// The run tracker is asked something.
    Ask(FollowRequest),
    /// Operators are told.
    Report(Report),
}

/// What operators are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Our term is over: what was handed over in it and is still on its way is of no interest.
    TermEnded,
    /// We lead, and nothing is handed over, because our membership is not proven at present.
    Suspended,
    /// A job file waits until the open runs of its jobs are known; its revision.
    FileWaits(Arc<str>),
    /// A job file is active: its revision, how many jobs it has, and the version of the zone data.
    FileActive(Arc<str>, usize, Arc<str>),
}

/// How long the thread waits at most before it looks again, and what for.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long it waits where something could not be done at once.
pub(super) const SOON: Duration = Duration::from_millis(100);

/// What the scheduler's thread listens to and talks to.
pub struct Channels {
    /// To the publishers, in the order of the clusters.
    pub batches: Vec<Sender<Batch>>,
    /// From them. It has room for all the batches that can be in flight.
    pub confirmed: Receiver<Confirmed>,
    /// From leadership.
    pub leadership: Receiver<leadership::Effect>,
    /// To leadership: how far each cluster is. The channel has one place; where that is taken, the newest cursors are
    /// offered again.
    pub cursors: Sender<CursorCommit>,
    /// Job files that replace the active one.
    pub files: Receiver<JobFile>,
    /// From the run tracker.
    pub runs: Receiver<RunNews>,
    /// To the run tracker: the jobs of a file that is to become active, where their open runs are not known, and which
    /// file is active. Where there is no place, the newest is offered again.
    pub asks: Sender<FollowRequest>,
}
