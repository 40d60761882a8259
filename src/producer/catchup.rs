//! Which ticks are still published that were due while nobody published.
//!
//! The reason of a missed tick names what would have to be otherwise for it to be run: first the job's `deadline`, past
//! which no consumer would start it, then its `catchup`, then its `catchup_window`.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::job::{CatchUpPolicy, Job};
use crate::common::words::MissedReason;

/// A tick that was due while nobody published, as the rule sees it.
#[derive(Debug, Clone, Copy)]
pub struct LateTick {
    /// When it was due.
    pub at: DateTime<Utc>,
    /// When it was found that nobody had published it: from here the `catchup_window` is measured.
    pub found: DateTime<Utc>,
    /// The present: from here the `deadline` is measured.
    pub now: DateTime<Utc>,
}

/// Why the tick is missed; `None` when it is published. `is_last` says whether it is the job's last among those found;
/// it is asked only where that matters.
pub fn missed(job: &Job, tick: LateTick, is_last: impl FnOnce() -> bool) -> Option<MissedReason> {
    let late_by = |now: DateTime<Utc>| (now - tick.at).to_std().unwrap_or_default();
    if job.limits.deadline_ms.is_some_and(|deadline| late_by(tick.now) > Duration::from_millis(deadline)) {
        return Some(MissedReason::Deadline);
    }
    let asked_for = match job.catch_up.policy {
        CatchUpPolicy::All => true,
        CatchUpPolicy::None => false,
        CatchUpPolicy::Last => is_last(),
    };
    if !asked_for {
        return Some(MissedReason::NotCaughtUp);
    }
    (late_by(tick.found) > job.catch_up.window).then_some(MissedReason::Window)
}
