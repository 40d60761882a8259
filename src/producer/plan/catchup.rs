//! The rule that says which ticks are still published that were due while no producer published.
//!
//! The reason of a missed tick names the first thing that would have to change for the job to run: its `deadline`,
//! after which no consumer would start it, then its `catchup`, then its `catchup_window`. A tick that is found only a
//! little [late](LATE) is published whatever `catchup` and `catchup_window` say.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::common::model::{JobName, MissedReason};
use crate::producer::job::{CatchUpPolicy, Job};

/// Current ticks that are later than this move to the backlog. It is longer than a failover and a rolling restart of
/// Kafka take, so that neither makes a job with `catchup=none` miss ticks that were merely published late.
pub const LATE: TimeDelta = TimeDelta::seconds(60);

/// A tick that was due while no producer published, as the rule sees it.
#[derive(Debug, Clone, Copy)]
pub struct LateTick {
    /// When it was due.
    pub at: DateTime<Utc>,
    /// When a producer found that the tick had not been published: the `catchup_window` is measured from here.
    pub found: DateTime<Utc>,
    /// The current time: the `deadline` is measured from here.
    pub now: DateTime<Utc>,
}

impl LateTick {
    fn is_young(self) -> bool {
        self.found - self.at < LATE
    }
}

/// Whether a tick that is not missed is left to a later one: `last` asks only for a job's last tick, and these jobs are
/// due again later in the same outage, under another job file.
pub fn comes_later(job: &Job, tick: LateTick, due_again: &HashSet<JobName>) -> bool {
    job.catch_up.policy == CatchUpPolicy::Last && !tick.is_young() && due_again.contains(&job.name)
}

/// Why the tick is missed; `None` when it is published. `is_last` says whether it is the job's last among those found;
/// it is asked only where that matters.
pub fn missed(job: &Job, tick: LateTick, is_last: impl FnOnce() -> bool) -> Option<MissedReason> {
    let late_by = |now: DateTime<Utc>| (now - tick.at).to_std().unwrap_or_default();
    if job.limits.deadline_ms.is_some_and(|deadline| late_by(tick.now) > Duration::from_millis(deadline)) {
        return Some(MissedReason::Deadline);
    }
    if tick.is_young() {
        return None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::Limits;
    use crate::producer::job::{CatchUp, sample};

    const HOUR: u64 = 3600;

    fn at(seconds: u64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(seconds).expect("small"))
    }

    /// A tick that was found `late` seconds after it was due, of a job with a window of an hour.
    fn check(
        (policy, deadline): (CatchUpPolicy, Option<u64>),
        (late, is_last): (u64, bool),
        expected: Option<MissedReason>,
    ) {
        let mut job = sample("a", "@hourly");
        job.catch_up = CatchUp { policy, window: Duration::from_secs(HOUR) };
        job.limits = Limits { deadline_ms: deadline.map(|seconds| seconds * 1_000), ..job.limits };
        let tick = LateTick { at: at(0), found: at(late), now: at(late) };
        let found = missed(&job, tick, || is_last);
        assert_eq!(found, expected, "{policy:?}, deadline {deadline:?}, late {late}, last: {is_last}");
    }

    #[test]
    fn the_policy_says_which_late_ticks_are_published() {
        use CatchUpPolicy::{All, Last, None as Nothing};
        let not_asked_for = Some(MissedReason::NotCaughtUp);
        check((Last, None), (60, true), None);
        check((Last, None), (60, false), not_asked_for);
        check((All, None), (60, true), None);
        check((All, None), (60, false), None);
        check((Nothing, None), (60, true), not_asked_for);
    }

    #[test]
    fn what_is_late_by_less_than_a_minute_is_published_whatever_the_policy_says() {
        use CatchUpPolicy::{Last, None as Nothing};
        for late in [0, 59] {
            check((Nothing, None), (late, true), None);
            check((Last, None), (late, false), None);
        }
        check((Nothing, Some(58)), (59, true), Some(MissedReason::Deadline));
    }

    #[test]
    fn no_policy_reaches_back_beyond_the_window() {
        use CatchUpPolicy::{All, Last, None as Nothing};
        for policy in [All, Last] {
            check((policy, None), (HOUR, true), None);
            check((policy, None), (HOUR + 1, true), Some(MissedReason::Window));
        }
        check((Last, None), (HOUR + 1, false), Some(MissedReason::NotCaughtUp));
        check((Nothing, None), (HOUR + 1, true), Some(MissedReason::NotCaughtUp));
    }

    #[test]
    fn nothing_is_published_that_no_consumer_would_start() {
        use CatchUpPolicy::{All, Last, None as Nothing};
        check((All, Some(30)), (30, false), None);
        for policy in [All, Last, Nothing] {
            for is_last in [false, true] {
                check((policy, Some(30)), (31, is_last), Some(MissedReason::Deadline));
            }
        }
    }

    #[test]
    fn the_window_counts_from_when_the_outage_was_found_and_the_deadline_from_now() {
        let mut job = sample("a", "@hourly");
        job.catch_up.window = Duration::from_secs(HOUR);
        let worked_off_slowly = LateTick { at: at(0), found: at(HOUR), now: at(5 * HOUR) };
        assert_eq!(missed(&job, worked_off_slowly, || true), None);
        job.limits.deadline_ms = Some(2 * HOUR * 1_000);
        assert_eq!(missed(&job, worked_off_slowly, || true), Some(MissedReason::Deadline));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_late() {
        let mut job = sample("a", "@hourly");
        job.limits.deadline_ms = Some(1_000);
        assert_eq!(missed(&job, LateTick { at: at(HOUR), found: at(0), now: at(0) }, || true), None);
    }

    #[test]
    fn a_tick_is_left_to_a_later_one_only_where_the_job_asks_for_its_last_and_is_due_again() {
        use CatchUpPolicy::{All, Last, None as Nothing};
        let check = |policy, late, due_again: &str, expected| {
            let mut job = sample("a", "@hourly");
            job.catch_up.policy = policy;
            let tick = LateTick { at: at(0), found: at(late), now: at(late) };
            let due_again = HashSet::from([due_again.parse().expect("a name")]);
            assert_eq!(comes_later(&job, tick, &due_again), expected, "{policy:?} {late} {due_again:?}");
        };
        check(Last, 60, "a", true);
        check(Last, 59, "a", false);
        check(Last, 60, "b", false);
        check(All, 60, "a", false);
        check(Nothing, 60, "a", false);
    }
}
