//! The clock that a consumer goes by: the host's, and where that is too far from the broker's, the broker's. One thread
//! compares them and sets the correction; all others read the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::Receiver;

use super::{Clock, Now, Skew};

/// A clock that is corrected by what is known of the broker's.
pub struct CorrectedClock {
    host: Arc<dyn Clock>,
    // A mutex because threads read the time in passing; held for as long as it takes to copy.
    known: Mutex<Known>,
}

/// What is known of the broker's clock.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// It has not been compared yet.
    NotYet,
    /// The broker does not tell it.
    Nothing,
    Skew(Skew),
}

impl CorrectedClock {
    /// Creates one that shows the host's time until it is told more.
    pub fn new(host: Arc<dyn Clock>) -> Self {
        Self { host, known: Mutex::new(Known::NotYet) }
    }

    /// The host's own clock.
    pub fn host(&self) -> &Arc<dyn Clock> {
        &self.host
    }

    /// Takes what a comparison has shown.
    pub fn learn(&self, skew: Skew) {
        *self.known() = Known::Skew(skew);
    }

    /// Takes that the broker's time cannot be had. What was known of it before stands.
    pub fn cannot_know(&self) {
        let mut known = self.known();
        if matches!(*known, Known::NotYet) {
            *known = Known::Nothing;
        }
    }

    /// Whether the clocks have been compared, or cannot be.
    pub fn is_settled(&self) -> bool {
        !matches!(*self.known(), Known::NotYet)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for CorrectedClock {
    fn now(&self) -> DateTime<Utc> {
        let known = *self.known();
        let now = Now { wall: self.host.now(), mono: self.host.monotonic() };
        match known {
            Known::Skew(skew) => skew.corrected(now),
            Known::NotYet | Known::Nothing => now.wall,
        }
    }

    fn monotonic(&self) -> Instant {
        self.host.monotonic()
    }

    fn alarm(&self, after: Duration) -> Receiver<Instant> {
        self.host.alarm(after)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::common::clock::ManualClock;

    #[test]
    fn the_time_is_the_brokers_as_soon_as_the_hosts_is_known_to_be_wrong() {
        let brokers = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let host = Arc::new(ManualClock::new(brokers + TimeDelta::hours(2)));
        let clock = CorrectedClock::new(Arc::clone(&host) as Arc<dyn Clock>);
        assert_eq!((clock.now(), clock.is_settled()), (host.now(), false));
        clock.cannot_know();
        assert_eq!((clock.now(), clock.is_settled()), (host.now(), true));
        let at = Now { wall: host.now(), mono: host.monotonic() };
        clock.learn(Skew { ahead: TimeDelta::hours(2), at });
        clock.cannot_know();
        host.turn(Duration::from_secs(7));
        assert_eq!(clock.now(), brokers + TimeDelta::seconds(7));
        // It is set right, and then wrong again, and no thread has compared it since.
        host.jump_to(brokers + TimeDelta::seconds(9));
        assert_eq!(clock.now(), host.now());
        host.jump_to(brokers - TimeDelta::hours(3));
        assert_eq!(clock.now(), brokers + TimeDelta::seconds(7));
    }
}
