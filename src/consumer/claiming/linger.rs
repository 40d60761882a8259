//! How soon the next round trip follows the last one, where many follow: a rule for a thread that could send something small
//! at once, or a little later something larger.
//!
//! What comes alone goes at once. What comes close behind the last round trip lingers a moment for more, because each
//! round trip costs a broker about the same, whatever it holds: thousands of short runs a second would otherwise be
//! claimed and reported two or three at a time, and the broker would be what limits them.

use std::time::{Duration, Instant};

/// How long after a round trip the next one lingers for more: what a round trip takes on a busy host, so that it is
/// never the longer part of a job's way.
pub const MOMENT: Duration = Duration::from_millis(8);

/// How often a thread that lingers looks at what has come. In between it sleeps: were it woken for each result and for each
/// free worker, the wakings would cost more than what they bring, because many of them go in the same round trip.
pub const GLANCE: Duration = Duration::from_millis(2);

/// The linger of one kind of round trip.
#[derive(Debug)]
pub struct Linger {
    /// So many that wait together go at once.
    enough: usize,
    /// When the last round trip had ended.
    last: Option<Instant>,
}

impl Linger {
    /// Creates one for which nothing has gone yet; `enough` that wait together go at once.
    pub fn new(enough: usize) -> Self {
        Self { enough, last: None }
    }

    /// How long `waiting` must wait yet; zero when they go now, or when there is nothing.
    pub fn wait(&self, waiting: usize, now: Instant) -> Duration {
        let next = self.last.map_or(now, |last| last + MOMENT);
        if waiting == 0 || waiting >= self.enough {
            Duration::ZERO
        } else {
            next.saturating_duration_since(now)
        }
    }

    /// A round trip has ended.
    pub fn went(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(enough: usize, last_ms: Option<u64>, waiting: usize, now_ms: u64, expected_ms: u64) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut linger = Linger::new(enough);
        last_ms.into_iter().for_each(|ms| linger.went(at(ms)));
        assert_eq!(linger.wait(waiting, at(now_ms)), Duration::from_millis(expected_ms));
    }

    #[test]
    fn what_comes_alone_goes_at_once() {
        check(16, None, 1, 0, 0);
        check(16, Some(0), 1, 8, 0);
        check(16, Some(0), 1, 5_000, 0);
    }

    #[test]
    fn what_follows_close_waits_a_moment_for_company() {
        check(16, Some(10), 1, 10, 8);
        check(16, Some(10), 15, 13, 5);
        check(16, Some(10), 16, 13, 0);
        check(16, Some(10), 0, 13, 0);
    }

    #[test]
    fn few_workers_are_never_kept_waiting() {
        for enough in [0, 1] {
            check(enough, Some(10), 1, 10, 0);
        }
    }
}
