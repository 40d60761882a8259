//! What the run tracker is asked, what it tells the scheduler, and what follows from a step of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::duties::Duties;
use super::notes::Note;
use super::open_runs::{Followed, OpenRun};
use crate::common::broker::BrokerError;
use crate::common::model::{ClusterName, JobName, RunId, Then};
use crate::producer::leadership::Term;

/// The options of a run tracker.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our name in events and letters.
    pub name: String,
    /// The group in whose name the cursors are committed, and with them the offsets from which `cron-runs` must be
    /// read.
    pub group: String,
    /// The clusters whose attempts are watched.
    pub clusters: Vec<ClusterName>,
    /// The lease that consumers commonly have: how often beats are written, and how far back reading begins.
    pub lease: Duration,
    /// The jobs whose ticks wait for the run before them, or are skipped. For these the tracker reads all of
    /// `cron-runs` once, to know which of their runs are open.
    pub overlapping: Followed,
    /// The revision of the active job file.
    pub revision: Arc<str>,
    /// The version of the zone data that its schedules follow.
    pub tzdata: Arc<str>,
}

/// The effects of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The scheduler is told.
    Tell(RunNews),
    /// An attempt was declared lost: the next attempt or the dead letter, and the event, are confirmed.
    Lost(ClusterName, Then),
    /// A run of this cluster is over, because no consumer will run it; that is put on record.
    Unclaimable(ClusterName),
    /// A call failed, in this part of the work; it is made again.
    Failed(Duties, BrokerError),
    /// A line for the log.
    Note(Note),
}

/// The news that the run tracker tells the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunNews {
    /// No attempt of the run is under way, and none will follow. Leader and standby tell this of the runs of all jobs.
    Over {
        /// Its job; absent where that is not known, because its message is gone.
        job: Option<JobName>,
        /// The run.
        run: RunId,
    },
    /// A run of a job whose runs may not overlap is open. The thread may tell this twice.
    Unfinished(OpenRun),
    /// All open runs of these jobs have been told: only now is it known which jobs have none.
    HistoryRead {
        /// The jobs.
        of: Followed,
        /// Runs of theirs that are known to be over.
        over: Arc<HashSet<RunId>>,
    },
    /// In this term of ours, the tracker has read all that had been written before the term began, and has told
    /// the open runs: only now may overlaps be decided.
    ReadToEnd {
        /// The term.
        term: Term,
        /// Runs of jobs whose runs may not overlap that are known to be over.
        over: Arc<HashSet<RunId>>,
    },
    /// `cron-runs` is another log than the one that was read: what was put on record is gone.
    AnotherLog,
    /// The offsets of `cron-runs`, by partition, to be committed with the cursors: the next leader must read from
    /// there. The thread tells them every ten seconds while this producer leads.
    ReadFrom(BTreeMap<i32, i64>),
}

/// The runs that are to end, with their jobs and clusters.
pub type RunsToEnd = Arc<BTreeMap<RunId, (JobName, ClusterName)>>;

/// What the run tracker is asked and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowRequest {
    /// The jobs of a file that is about to become active whose runs may not overlap: which of their runs are open?
    /// [`RunNews::HistoryRead`] answers.
    Follow(Followed),
    /// The job file of this revision is active, by zone data of this version.
    Active(Arc<str>, Arc<str>),
    /// All runs that are to end from now on. Consumers are asked for it until they are over.
    End(RunsToEnd),
}
