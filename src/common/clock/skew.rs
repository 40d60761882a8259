//! How far this host's clock is from the broker's, and what time it is where it is too far: pure rules, for producers and
//! consumers alike.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CLOCK_TOLERANCE, Now};

/// How far our clock was ahead of the broker's when they were compared. From then on the monotonic clock tells how the
/// wall clock should have gone on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// Negative: behind.
    pub ahead: TimeDelta,
    /// When that was, by our clocks.
    pub at: Now,
}

impl Skew {
    /// Creates one from a request that was sent at `sent`, and an answer that came by `answered` and says what time it was
    /// at the broker in between. A slow answer is no proof that our clock is behind: of all that it may be off by, this is
    /// the least.
    pub fn between(sent: Now, brokers_ms: i64, answered: Instant) -> Self {
        let took =
            TimeDelta::from_std(answered.saturating_duration_since(sent.mono)).unwrap_or(TimeDelta::MAX);
        let least = TimeDelta::milliseconds(sent.wall.timestamp_millis().saturating_sub(brokers_ms));
        let most = least.checked_add(&took).unwrap_or(TimeDelta::MAX);
        let ahead = if least > TimeDelta::zero() { least } else { most.min(TimeDelta::zero()) };
        Self { ahead, at: sent }
    }

    /// Whether our clock would be found too far off now, if it were compared.
    pub fn is_off(&self, now: Now) -> bool {
        self.ahead_at(now).abs() > CLOCK_TOLERANCE
    }

    /// What time it is: by the wall clock, or, where that has jumped too far to be believed before it is compared
    /// again, as it would have gone on. A clock that was set right is believed a moment later for it; no tick is decided
    /// by one that was set wrong.
    pub fn believed(&self, now: Now) -> DateTime<Utc> {
        if self.is_off(now) { self.expected(now.mono) } else { now.wall }
    }

    /// What time it is: by the wall clock, or, where that is too far off, by the broker's.
    pub fn corrected(&self, now: Now) -> DateTime<Utc> {
        let brokers = || self.expected(now.mono).checked_sub_signed(self.ahead);
        Some(now.wall).filter(|_| !self.is_off(now)).or_else(brokers).unwrap_or(now.wall)
    }

    /// How far ahead our clock is now, if the monotonic clock is right.
    fn ahead_at(&self, now: Now) -> TimeDelta {
        self.ahead + (now.wall - self.expected(now.mono))
    }

    fn expected(&self, mono: Instant) -> DateTime<Utc> {
        let since = TimeDelta::from_std(mono.saturating_duration_since(self.at.mono));
        since.ok().and_then(|since| self.at.wall.checked_add_signed(since)).unwrap_or(self.at.wall)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now() -> Now {
        Now { wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000), mono: Instant::now() }
    }

    /// Compared to be `ahead` seconds ahead; 100 seconds later the wall clock has gone on by `went`. Then it is believed
    /// to have gone on by so many seconds, and corrected to have gone on by so many.
    fn check(ahead: i64, went: i64, is_off: bool, believed: i64, corrected: i64) {
        let at = now();
        let skew = Skew { ahead: TimeDelta::seconds(ahead), at };
        let now = Now { wall: at.wall + TimeDelta::seconds(went), mono: at.mono + Duration::from_secs(100) };
        assert_eq!(skew.is_off(now), is_off, "{ahead} s ahead, went on by {went} s");
        assert_eq!(skew.believed(now) - at.wall, TimeDelta::seconds(believed), "{ahead} s ahead, {went} s");
        assert_eq!(skew.corrected(now) - at.wall, TimeDelta::seconds(corrected), "{ahead} s ahead, {went} s");
    }

    #[test]
    fn a_wall_clock_is_believed_as_far_as_a_leaders_may_be_off() {
        check(0, 100, false, 100, 100);
        check(0, 130, false, 130, 130);
        check(0, 131, true, 100, 100);
        check(0, 70, false, 70, 70);
        check(0, 69, true, 100, 100);
        check(20, 110, false, 110, 110);
        check(20, 111, true, 100, 80);
        check(-20, 150, false, 150, 150);
        check(-20, 89, true, 100, 120);
        check(0, 3_700, true, 100, 100);
        check(0, -3_500, true, 100, 100);
    }

    #[test]
    fn a_clock_that_is_too_far_off_is_corrected_by_the_brokers_until_it_is_set_right() {
        check(7_200, 100, true, 100, 100 - 7_200);
        check(-7_200, 100, true, 100, 100 + 7_200);
        check(7_200, 100 - 7_200, false, 100 - 7_200, 100 - 7_200);
    }

    #[test]
    fn a_slow_answer_does_not_make_a_clock_wrong() {
        let check = |brokers: i64, took: u64, ahead: i64| {
            let sent = now();
            let brokers_ms = (sent.wall + TimeDelta::seconds(brokers)).timestamp_millis();
            let skew = Skew::between(sent, brokers_ms, sent.mono + Duration::from_secs(took));
            assert_eq!(
                skew,
                Skew { ahead: TimeDelta::seconds(ahead), at: sent },
                "{brokers} s, took {took} s"
            );
        };
        check(0, 0, 0);
        check(0, 60, 0);
        check(50, 60, 0);
        check(61, 60, -1);
        check(-40, 60, 40);
        check(7_200, 1, -7_199);
        check(-7_200, 1, 7_200);
    }
}
