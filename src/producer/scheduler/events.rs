//! The events that the scheduler puts on record about ticks and job files.

use chrono::{DateTime, Utc};

use crate::common::model::{ClusterName, Event, JobName, MissedReason, Place, RunId};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::plan::Missed;
use crate::producer::plan::timetable::Tick;

/// A run stands in its topic.
pub(super) fn published(tick: &Tick, place: Place, at: DateTime<Utc>) -> Event {
    let Tick { job, at: scheduled_at } = tick;
    let (run, scheduled_at) = (RunId::of(&job.name, *scheduled_at), *scheduled_at);
    Event::Published { run, job: job.name.clone(), cluster: job.cluster.clone(), scheduled_at, place, at }
}

/// A tick waits for the end of a run.
pub(super) fn queued(tick: &Tick, blocked_by: RunId, at: DateTime<Utc>) -> Event {
    let Tick { job, at: scheduled_at } = tick;
    let (job, cluster, scheduled_at) = (job.name.clone(), job.cluster.clone(), *scheduled_at);
    Event::Queued { job, cluster, scheduled_at, blocked_by, at }
}

/// A tick is not run because of a run.
pub(super) fn skipped(tick: &Tick, blocked_by: RunId, at: DateTime<Utc>) -> Event {
    let Tick { job, at: scheduled_at } = tick;
    let (job, cluster, scheduled_at) = (job.name.clone(), job.cluster.clone(), *scheduled_at);
    Event::Skipped { job, cluster, scheduled_at, blocked_by, at }
}

/// A job file is active for a cluster.
pub(super) fn revision(
    cluster: &ClusterName,
    file: &ActiveJobs,
    leader: String,
    from: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Event {
    let (revision, tzdata) = (file.revision.to_string(), Some(file.tzdata.to_string()));
    Event::Revision { cluster: cluster.clone(), revision, tzdata, leader, from, at }
}

/// Ticks will never be run.
pub(super) fn missed(missed: &Missed, cluster: &ClusterName, now: DateTime<Utc>) -> Event {
    Event::Missed {
        job: missed.job.name.clone(),
        cluster: cluster.clone(),
        from: missed.from,
        to: missed.to,
        count: missed.count,
        reason: missed.reason,
        at: now,
    }
}

/// One event for all that lies before a cursor that was lost, for no job in particular.
pub(super) fn lost_cursor(cluster: &ClusterName, cursor: DateTime<Utc>, now: DateTime<Utc>) -> Event {
    Event::Missed {
        job: JobName::any(),
        cluster: cluster.clone(),
        from: DateTime::UNIX_EPOCH,
        to: cursor,
        count: 0,
        reason: MissedReason::NoCursor,
        at: now,
    }
}
