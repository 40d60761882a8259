//! The events of `cron-runs`: what happened to each run and attempt, and to messages that never became one.

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
    /// A tick's message is in its cluster's topic. Written for jobs whose `overlap` is not `allow`. Key: job.
    Published {
        /// The run.
        run: RunId,
        /// Its job.
        job: JobName,
        /// Its cluster.
        cluster: ClusterName,
        /// The instant that the schedule named.
        scheduled_at: DateTime<Utc>,
        /// Where its message lies.
        place: Place,
        /// When it was confirmed.
        at: DateTime<Utc>,
    },
    /// A tick that waits for the end of the run before it (`overlap=queue`). Key: job.
    Queued {
        /// The job.
        job: JobName,
        /// Its cluster.
        cluster: ClusterName,
        /// The instant that the schedule named.
        scheduled_at: DateTime<Utc>,
        /// The run that is not finished.
        blocked_by: RunId,
        /// When it was decided.
        at: DateTime<Utc>,
    },
    /// A tick that is not run because the run before it is not finished. Key: job.
    Skipped {
        /// The job.
        job: JobName,
        /// Its cluster.
        cluster: ClusterName,
        /// The instant that the schedule named.
        scheduled_at: DateTime<Utc>,
        /// The run that is not finished.
        blocked_by: RunId,
        /// When it was decided.
        at: DateTime<Utc>,
    },
    /// The leader found that an attempt's consumer had died or been cut off. What follows stands in its topic. Key: run
    /// id.
    Lost {
        /// The attempt.
        #[serde(flatten)]
        attempt: AttemptRef,
        /// Its job; absent where its message is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobName>,
        /// Its cluster.
        cluster: ClusterName,
        /// The instant that the schedule named; absent where its message is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduled_at: Option<DateTime<Utc>>,
        /// The consumer that had claimed it.
        consumer: String,
        /// Where its message lay.
        place: Place,
        /// What was done about it.
        then: Then,
        /// When it was decided.
        at: DateTime<Utc>,
    },
    /// A run is over although no attempt of it says so: no consumer will run it, or an operator does not wait for it any
    /// more. Key: run id.
    Ended {
        /// The run, and the last of its attempts that was known; 0 where none was. A later attempt shows that the run goes
        /// on.
        #[serde(flatten)]
        attempt: AttemptRef,
        /// Its job.
        job: JobName,
        /// Its cluster.
        cluster: ClusterName,
        /// The instant that the schedule named, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheduled_at: Option<DateTime<Utc>>,
        /// The bounded word for why.
        reason: EndReason,
        /// The same in a sentence.
        detail: String,
        /// The producer that leads, or the operator's host and process.
        by: String,
        /// When it was decided.
        at: DateTime<Utc>,
    },
    /// The leader sees the end of this partition. Written to each partition of `cron-runs`. Key: `beat/`, partition,
    /// `/` and leader.
    Beat {
        /// The producer that leads.
        leader: String,
        /// Counts the leader's beats on this partition.
        number: u64,
        /// When it was written.
        at: DateTime<Utc>,
    },
    /// A producer that does not lead is there, and has this job file. Key: producer.
    Standby {
        /// The producer.
        producer: String,
        /// The group in which it stands by.
        group: String,
        /// The first 12 hexadecimal digits of a hash of its job file's content.
        revision: String,
        /// The version of its time-zone data; absent in events of before it was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tzdata: Option<String>,
        /// When it was written.
        at: DateTime<Utc>,
    },
    /// A job file became active at the leader, for one cluster. Key: `revision`.
    Revision {
        /// The cluster.
        cluster: ClusterName,
        /// The first 12 hexadecimal digits of a hash of its content.
        revision: String,
        /// The version of the time-zone data that the leader follows; absent in events of before it was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tzdata: Option<String>,
        /// The producer that leads.
        leader: String,
        /// Ticks after this instant are those of this file.
        from: DateTime<Utc>,
        /// When it was written.
        at: DateTime<Utc>,
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
    /// Retention deleted messages before a consumer had claimed them. Key: topic.
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

impl Event {
    /// The key under which it stands in `cron-runs`, as each variant says. That of a beat also names the partition that
    /// it is written to ([`beat_key`](crate::common::topics::beat_key)).
    pub fn key(&self) -> String {
        match self {
            Self::Claimed { attempt, .. }
            | Self::Finished { attempt, .. }
            | Self::Lost { attempt, .. }
            | Self::Ended { attempt, .. } => attempt.run.to_string(),
            Self::Published { job, .. }
            | Self::Queued { job, .. }
            | Self::Skipped { job, .. }
            | Self::Missed { job, .. } => job.to_string(),
            Self::Unreadable { place, .. }
            | Self::DeletedUnread { place, .. }
            | Self::Truncated { place, .. } => place.topic.clone(),
            Self::Alive { consumer, .. } => consumer.clone(),
            Self::Standby { producer, .. } => producer.clone(),
            Self::Beat { leader, .. } => format!("beat/{leader}"),
            Self::Revision { .. } => "revision".to_owned(),
        }
    }
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

/// Why a run is over although no attempt of it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// No message of it is left that a consumer would claim.
    Unclaimable,
    /// An operator has ended it.
    Operator,
}

impl EndReason {
    /// The word of the wire format, also used as a metric label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unclaimable => "unclaimable",
            Self::Operator => "operator",
        }
    }
}

/// Why ticks are not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedReason {
    /// The message is larger than the cluster's topic takes (`max.message.bytes`).
    TooLarge,
    /// They were due while no producer published, and the job's `catchup` does not ask for them.
    NotCaughtUp,
    /// They were due longer ago than the job's `catchup_window`.
    Window,
    /// They were due longer ago than the job's `deadline`.
    Deadline,
    /// It is unknown what was published then: the cursor is gone although the topic has records.
    NoCursor,
    /// The tick waited for the run before it, and the job is gone from the job file.
    Removed,
}

impl MissedReason {
    /// The word of the wire format, also used as a metric label.
    pub fn word(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NotCaughtUp => "not_caught_up",
            Self::Window => "window",
            Self::Deadline => "deadline",
            Self::NoCursor => "no_cursor",
            Self::Removed => "removed",
        }
    }
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

impl Then {
    /// The word for lists: `done`, `retried`, `dead`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Dead => "dead",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_event_stands_under_the_key_that_the_protocol_names() {
        let check = |sample: &str, field: &str| {
            let path = format!("{}/tests/data/wire/v1/event-{sample}.json", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read(&path).unwrap();
            let (event, fields): (Event, Value) =
                (serde_json::from_slice(&text).unwrap(), serde_json::from_slice(&text).unwrap());
            assert_eq!(Some(event.key().as_str()), fields.pointer(field).and_then(Value::as_str), "{sample}");
        };
        for sample in ["claimed", "finished-succeeded", "lost-dead", "ended-operator"] {
            check(sample, "/run");
        }
        for sample in ["published", "queued", "skipped", "missed"] {
            check(sample, "/job");
        }
        for sample in ["unreadable", "deleted-unread", "truncated"] {
            check(sample, "/place/topic");
        }
        check("alive", "/consumer");
        check("standby", "/producer");
        check("revision", "/event");
    }
}
