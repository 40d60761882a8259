//! The clock port: what the time is, and a bell that rings later. Its second end is the clock that a test turns.

mod corrected;
#[cfg(any(test, feature = "testing"))]
mod manual;
mod skew;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::Receiver;
use rustix::time::{ClockId, Timespec, clock_gettime};

pub use corrected::CorrectedClock;
#[cfg(any(test, feature = "testing"))]
pub use manual::ManualClock;
pub use skew::Skew;

/// A clock that is further from the broker's than this is wrong: no producer leads by it, and no record is dated by it.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(30);

/// Tells the time and rings bells. Rules never see it: threads read it and hand the rule an instant.
pub trait Clock: Send + Sync {
    /// The wall clock. It may jump either way.
    fn now(&self) -> DateTime<Utc>;

    /// The monotonic clock, for how long something took, for leases, and for deadlines of calls. While the host is
    /// suspended it goes on: for everybody else the time passes as well.
    fn monotonic(&self) -> Instant;

    /// A channel on which one message arrives no earlier than `after` from now.
    fn alarm(&self, after: Duration) -> Receiver<Instant>;
}

/// An instant by both clocks, as a thread hands it to a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// The monotonic clock.
    pub mono: Instant,
}

/// The instant by the system's monotonic clock, in which a suspension of the host counts as time that passed.
///
/// [`Instant`] is Linux' `CLOCK_MONOTONIC`, which stands still while the host is suspended: after an hour of sleep a claim
/// would look a second old, and be started although its lease is long over. `CLOCK_BOOTTIME` goes on
/// (clock_gettime(2)), so what it is ahead by is added.
pub fn monotonic() -> Instant {
    static SUSPENDED: Suspended = Suspended::new();
    let before = clock_gettime(ClockId::Monotonic);
    let boot = clock_gettime(ClockId::Boottime);
    let suspended = SUSPENDED.look(millis(before), millis(boot), millis(clock_gettime(ClockId::Monotonic)));
    Instant::now() + suspended
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}

/// For how long the host has been suspended since the first look. It only grows, so that the clock never goes back.
#[derive(Debug)]
struct Suspended {
    /// By how much `CLOCK_BOOTTIME` was ahead at the first look, in milliseconds.
    first: OnceLock<i64>,
    millis: AtomicI64,
}

/// Less is the time between two readings, and no suspension.
const SUSPENSION_MILLIS: i64 = 500;

impl Suspended {
    const fn new() -> Self {
        Self { first: OnceLock::new(), millis: AtomicI64::new(0) }
    }

    /// Takes a reading of both clocks, the second one between two of the first.
    fn look(&self, before: i64, boot: i64, after: i64) -> Duration {
        let first = *self.first.get_or_init(|| boot - after);
        // The thread may have been kept from the processor between the readings: that is no suspension.
        let suspended = boot - after - first;
        let known = self.millis.load(Ordering::Acquire);
        if after - before < SUSPENSION_MILLIS && suspended >= known + SUSPENSION_MILLIS {
            self.millis.fetch_max(suspended, Ordering::AcqRel);
        }
        Duration::from_millis(self.millis.load(Ordering::Acquire).max(0).unsigned_abs())
    }
}

/// The clock of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one room where the wall clock is read")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Instant {
        monotonic()
    }

    fn alarm(&self, after: Duration) -> Receiver<Instant> {
        crossbeam_channel::after(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspension_counts_as_time_that_passed_and_a_thread_that_waits_for_the_processor_does_not() {
        let suspended = Suspended::new();
        let check = |before, boot, after, expected_ms| {
            let found = suspended.look(before, boot, after);
            assert_eq!(found, Duration::from_millis(expected_ms), "{before} {boot} {after}");
        };
        // The host had been suspended for a minute before the program was started.
        check(1_000, 61_000, 1_000, 0);
        check(2_000, 62_001, 2_003, 0);
        check(3_000, 63_400, 3_400, 0);
        // Between two readings anything may pass.
        check(4_000, 72_000, 12_000, 0);
        // It sleeps for an hour.
        check(13_000, 73_000 + 3_600_000, 13_001, 3_599_999);
        check(14_000, 74_000 + 3_600_000, 14_000, 3_599_999);
        check(15_000, 75_000 + 3_600_000 + 2_000, 15_000, 3_602_000);
        check(16_000, 76_000, 16_000, 3_602_000);
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut last = monotonic();
        for _ in 0..10_000 {
            let now = monotonic();
            assert!(now >= last);
            last = now;
        }
    }
}
