//! What is said on `cron-runs`: what happened to each run and attempt, and to messages that never became one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ClusterName, JobName, Outcome, RunId};

/// Where a message lies. The topic's id tells a topic from one made anew under its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Topic name.
    pub topic: String,
    /// Topic id (KIP-516).
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset of the message.
    pub offset: i64,
}

/// Names one attempt of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptRef {
    /// The run.
    pub run: RunId,
    /// 1 for the first.
    pub attempt: u32,
}

/// One event of `cron-runs`. Instants are of the clock of the host that wrote the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A consumer is about to commit past an attempt and start it. Key: run id.
    Claimed {
        /// The attempt.
        #[serde(flatten)]
        attempt: AttemptRef,
        /// Its job.
        job: JobName,
        /// Where its message lies.
        place: Place,
        /// The claimant.
        consumer: String,
        /// Milliseconds after which the claim counts for nothing without a sign of life.
        lease_ms: u64,
        /// When it was written.
        at: DateTime<Utc>,
    },
    /// A consumer's sign of life, for all the attempts that it has under way. Key: consumer.
    Alive {
        /// The consumer.
        consumer: String,
        /// Milliseconds for which the sign counts.
        lease_ms: u64,
        /// What it has under way.
        running: Vec<RunningAttempt>,
        /// When it was written.
        at: DateTime<Utc>,
    },
    /// An attempt ended, and what follows from it stands in its topic. Key: run id.
    Finished {
        /// The attempt.
        #[serde(flatten)]
        attempt: AttemptRef,
        /// Its job.
        job: JobName,
        /// Its cluster.
        cluster: ClusterName,
        /// The instant that the schedule named.
        scheduled_at: DateTime<Utc>,
        /// The consumer that ran it.
        consumer: String,
        /// How it ended.
        outcome: Outcome,
        /// What was done about it.
        then: Then,
        /// When the process was started.
        started_at: DateTime<Utc>,
        /// When it had ended.
        ended_at: DateTime<Utc>,
        /// How much the command wrote, in bytes.
        output_bytes: u64,
        /// The last 8 KiB of what it wrote to stdout and stderr, invalid UTF-8 replaced.
        output_tail: String,
    },
    /// Ticks that will never be run: one event a job and interval, never one a tick. Key: job.
    Missed {
        /// The job.
        job: JobName,
        /// Its cluster.
        cluster: ClusterName,
        /// The first tick that is missed.
        from: DateTime<Utc>,
        /// The last tick that is missed.
        to: DateTime<Utc>,
        /// How many there are.
        count: u64,
        /// Why.
        reason: MissedReason,
        /// When it was decided.
        at: DateTime<Utc>,
    },
    /// A message that is no attempt, or not one of this cluster's, went to the dead-letter topic. Key: topic.
    Unreadable {
        /// Where it lies; the first of them if a whole batch is meant.
        place: Place,
        /// The last offset concerned.
        last_offset: i64,
        /// Why it could not be run.
        reason: String,
        /// When it was found.
        at: DateTime<Utc>,
    },
    /// Messages were deleted by retention before anybody had claimed them. Key: topic.
    DeletedUnread {
        /// The first offset that is gone.
        place: Place,
        /// The first offset that is still there.
        next_offset: i64,
        /// When it was found.
        at: DateTime<Utc>,
    },
    /// The log ends before what the group had committed: it was cut. Key: topic.
    Truncated {
        /// The committed offset.
        place: Place,
        /// The log's end.
        end_offset: i64,
        /// When it was found.
        at: DateTime<Utc>,
    },
}

/// An attempt under way, with the place of its message, so that it can be found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningAttempt {
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptRef,
    /// Where its message lies.
    pub place: Place,
}

/// Why ticks are not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedReason {
    /// The message is larger than the cluster's topic takes (`max.message.bytes`).
    TooLarge,
}

/// What followed from the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Nothing: the run is done.
    Done,
    /// The next attempt is in the retry topic.
    Retried,
    /// No attempts are left: the run is in the dead-letter topic.
    Dead,
}
