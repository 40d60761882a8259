//! What the run tracker says in the log: each line with its level. Pure; the thread writes the lines.

use std::fmt;
use std::time::Duration;

use log::Level;

use crate::common::broker::{BrokerError, NodeId};
use crate::common::model::{AttemptRef, ClusterName, JobName, Place, RunId};
use crate::common::topics;

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Beats fail or are late.
    OutOfSight,
    /// Beats are read back again.
    InSight,
    /// `cron-runs` is not the log that was read so far.
    LogIsAnother {
        /// How many attempts were known to be under way.
        attempts: usize,
    },
    /// Events were deleted before they were read.
    DeletedUnread {
        /// The partition.
        partition: i32,
        /// The first offset that was not read.
        from: i64,
        /// The first offset that is left.
        to: i64,
    },
    /// A beat was not confirmed, and the one before it was.
    BeatFailed {
        /// The partition.
        partition: i32,
        /// Why.
        error: BrokerError,
    },
    /// An attempt was declared lost.
    Lost {
        /// The attempt.
        attempt: AttemptRef,
        /// Its job, where its message could be read.
        job: Option<JobName>,
        /// The topic in which its message lies.
        topic: String,
        /// Who had it.
        consumer: String,
        /// The topic of what follows.
        to: String,
    },
    /// An attempt is in a topic that belongs to no cluster.
    OfNoCluster {
        /// The topic.
        topic: String,
    },
    /// The message of a lost attempt could not be read.
    UnreadMessage {
        /// Where it lies.
        place: Place,
        /// Why.
        error: BrokerError,
    },
    /// What follows from lost attempts or runs was not confirmed.
    Unwritten {
        /// Why.
        error: BrokerError,
    },
    /// No consumer will run this run.
    Unclaimable {
        /// Its cluster.
        cluster: ClusterName,
        /// The run.
        run: RunId,
        /// Its job.
        job: JobName,
        /// How that is known.
        detail: String,
    },
    /// Consumers are asked to end a run.
    AskedToEnd {
        /// Its cluster.
        cluster: ClusterName,
        /// The run.
        run: RunId,
        /// Its job.
        job: JobName,
    },
    /// A run goes on although its end was asked for long ago.
    GoesOn {
        /// Its cluster.
        cluster: ClusterName,
        /// The run.
        run: RunId,
        /// Its job.
        job: JobName,
        /// For how long.
        waits: Duration,
    },
    /// Orders were not confirmed.
    Unordered {
        /// Why.
        error: BrokerError,
    },
    /// Producers that stand by have other job files than ours.
    FilesDiffer {
        /// Each with the revision of its file.
        others: Vec<(String, String)>,
        /// The revision of ours.
        ours: String,
    },
    /// No producer has another job file any more.
    FilesAgree {
        /// The revision of ours.
        ours: String,
    },
    /// Producers that stand by have other zone data than ours.
    ZonesDiffer {
        /// Each with the version of its data.
        others: Vec<(String, String)>,
        /// The version of ours.
        ours: String,
    },
    /// No producer has other zone data any more.
    ZonesAgree {
        /// The version of ours.
        ours: String,
    },
    /// A call failed, and is made again.
    Failed {
        /// What was to be found out.
        what: &'static str,
        /// Why.
        error: BrokerError,
    },
    /// A partition of `cron-runs` was not read.
    PartitionFailed {
        /// The partition.
        partition: i32,
        /// Why.
        error: BrokerError,
    },
    /// A broker was not read from.
    FetchFailed {
        /// The broker.
        broker: NodeId,
        /// Why.
        error: BrokerError,
    },
    /// What a standby says of its job file was not confirmed.
    FileUnsaid {
        /// Why.
        error: BrokerError,
    },
    /// There is no such topic of attempts.
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// It is not known where a partition of attempts begins.
    NoStart {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Why.
        error: BrokerError,
    },
}

impl Note {
    /// How much the line matters.
    pub fn level(&self) -> Level {
        match self {
            Self::LogIsAnother { .. }
            | Self::DeletedUnread { .. }
            | Self::OfNoCluster { .. }
            | Self::FilesDiffer { .. } => Level::Error,
            Self::OutOfSight
            | Self::BeatFailed { .. }
            | Self::Lost { .. }
            | Self::UnreadMessage { .. }
            | Self::Unwritten { .. }
            | Self::Unclaimable { .. }
            | Self::GoesOn { .. }
            | Self::ZonesDiffer { .. } => Level::Warn,
            Self::InSight | Self::AskedToEnd { .. } | Self::FilesAgree { .. } | Self::ZonesAgree { .. } => {
                Level::Info
            }
            Self::Failed { .. }
            | Self::PartitionFailed { .. }
            | Self::FetchFailed { .. }
            | Self::Unordered { .. }
            | Self::FileUnsaid { .. }
            | Self::NoTopic { .. }
            | Self::NoStart { .. } => Level::Debug,
        }
    }
}

/// Each of these producers with what it has.
fn list(producers: &[(String, String)], what: &str) -> String {
    let each: Vec<String> = producers.iter().map(|(name, has)| format!("{name} has {what} {has}")).collect();
    each.join(", ")
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = topics::RUNS;
        match self {
            Self::OutOfSight => write!(f, "the end of {runs} is out of sight: nothing is found to be lost"),
            Self::InSight => write!(f, "the end of {runs} is in sight again, and leases start anew"),
            Self::LogIsAnother { attempts } => write!(
                f,
                "{runs} was cut or made anew: it is read from its start, and what became of {attempts} attempts under way \
                 is not known until their consumers tell"
            ),
            Self::DeletedUnread { partition, from, to } => write!(
                f,
                "offsets {from} to {to} of {runs}/{partition} were deleted before they were read; attempts under way may \
                 have ended there"
            ),
            Self::BeatFailed { partition, error } => {
                write!(f, "a beat on {runs}/{partition}: {error}; leases start anew")
            }
            Self::Lost { attempt: AttemptRef { run, attempt }, job, topic, consumer, to } => {
                let what = job.as_ref().map_or_else(|| format!("run {run}"), ToString::to_string);
                write!(
                    f,
                    "{topic}: {what}, attempt {attempt}: lost with consumer {consumer}; what follows is in {to}"
                )
            }
            Self::OfNoCluster { topic } => {
                write!(f, "an attempt in {topic}, which is no cluster's topic, is given up")
            }
            Self::UnreadMessage { place: Place { topic, partition, offset, .. }, error } => {
                write!(f, "the lost attempt at {topic}/{partition} {offset}: {error}; trying again")
            }
            Self::Unwritten { error } => {
                write!(f, "what follows from lost attempts and runs: {error}; trying again")
            }
            Self::Unclaimable { cluster, run, job, detail } => {
                write!(f, "{cluster}: run {run} of {job} will not be run: {detail}")
            }
            Self::AskedToEnd { cluster, run, job } => {
                write!(f, "{cluster}: run {run} of {job} is to end, because a newer tick waits for it")
            }
            Self::GoesOn { cluster, run, job, waits } => write!(
                f,
                "{cluster}: run {run} of {job} goes on {} s after its end was asked for: no consumer has taken it, its consumer \
                 is cut off or of a version that knows no orders, or its command takes long to end",
                waits.as_secs()
            ),
            Self::Unordered { error } => write!(f, "asking consumers to end runs: {error}; trying again"),
            Self::FilesDiffer { others, ours } => write!(
                f,
                "the producers' job files differ: {}; ours is {ours}, and rules while we lead",
                list(others, "revision")
            ),
            Self::FilesAgree { ours } => {
                write!(f, "no producer has another job file than ours any more: {ours}")
            }
            Self::ZonesDiffer { others, ours } => write!(
                f,
                "the producers' time-zone data differs: {}; ours is {ours}, and rules while we lead (update the host's \
                 package tzdata, or the program)",
                list(others, "tzdata")
            ),
            Self::ZonesAgree { ours } => {
                write!(f, "no producer has other time-zone data than ours any more: {ours}")
            }
            Self::Failed { what, error } => write!(f, "{what}: {error}; trying again"),
            Self::PartitionFailed { partition, error } => write!(f, "{runs}/{partition}: {error}"),
            Self::FetchFailed { broker, error } => write!(f, "reading {runs} from broker {broker}: {error}"),
            Self::FileUnsaid { error } => write!(f, "saying which job file we have: {error}"),
            Self::NoTopic { topic } => {
                write!(f, "topic {topic} does not exist; attempts of it are looked at again later")
            }
            Self::NoStart { topic, partition, error } => {
                write!(f, "{topic}/{partition}: {error}; trying again")
            }
        }
    }
}

#[cfg(test)]
mod tests;
