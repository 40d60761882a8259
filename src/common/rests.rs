//! Rests between calls that fail one after the other. Nothing that is refused for long is asked thousands of times a
//! second.

use std::time::{Duration, Instant};

/// The rests after failures: each is twice as long as the one before, up to the longest.
#[derive(Debug, Clone)]
pub struct Rests {
    first: Duration,
    longest: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Rests {
    /// Creates rests that begin with `first`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0, until: None }
    }

    /// Notes a failure, and returns how long to wait from `now` on.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.min(16));
        let rest = self.first.saturating_mul(doubled).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + rest);
        rest
    }

    /// Notes a success: the next failure is the first one again.
    pub fn succeeded(&mut self) {
        (self.failures, self.until) = (0, None);
    }

    /// What is left of the wait; `None` when it is over.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.filter(|until| now < *until).map(|until| until - now)
    }

    /// How many failures there were one after the other.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_as_long_as_the_one_before_up_to_the_longest_and_a_success_begins_anew() {
        let check = |first: u64, longest: u64, expected: &[u64]| {
            let mut rests = Rests::new(Duration::from_millis(first), Duration::from_millis(longest));
            let now = Instant::now();
            for round in 0..2 {
                assert_eq!((rests.left(now), rests.failures()), (None, 0), "round {round}");
                for (number, rest) in (1..).zip(expected) {
                    let rest = Duration::from_millis(*rest);
                    assert_eq!(rests.failed(now), rest);
                    assert_eq!((rests.left(now), rests.failures()), (Some(rest), number));
                    assert_eq!(rests.left(now + rest), None, "it ends at its instant");
                }
                rests.succeeded();
            }
        };
        check(200, 1_600, &[200, 400, 800, 1_600, 1_600]);
        check(50, 70, &[50, 70, 70]);
        check(500, 500, &[500; 40]);
    }
}
