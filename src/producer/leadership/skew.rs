//! How far our clock is from the broker's: asked before a term begins and all through it, because a leader whose clock is
//! wrong would publish at the wrong time, and its cursors would hold up or mislead whoever leads after it.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use crate::common::broker::{BrokerError, Client, ProduceBatch, Record, TopicPartition};
use crate::common::clock::{CLOCK_TOLERANCE, Now};
use crate::common::words::Event;
use crate::common::{topics, wire};

/// Further off than this nobody leads.
pub(super) const MOST: TimeDelta = CLOCK_TOLERANCE;

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
    /// Whether our clock would be found too far off now, if it were compared.
    pub fn is_off(&self, now: Now) -> bool {
        (self.ahead + (now.wall - self.expected(now.mono))).abs() > MOST
    }

    /// What time it is: by the wall clock, or, where that has jumped too far to be believed before it is compared
    /// again, as it would have gone on. A clock that was set right is believed a moment later for it; no tick is decided
    /// by one that was set wrong.
    pub fn believed(&self, now: Now) -> DateTime<Utc> {
        if self.is_off(now) { self.expected(now.mono) } else { now.wall }
    }

    fn expected(&self, mono: Instant) -> DateTime<Utc> {
        let since = TimeDelta::from_std(mono.saturating_duration_since(self.at.mono));
        since.ok().and_then(|since| self.at.wall.checked_add_signed(since)).unwrap_or(self.at.wall)
    }
}

/// Writes a beat that counts for nothing (number 0) to `cron-runs`, whose records carry the broker's time, and returns
/// how far ours is ahead of it. The error is at most as long as the call took. `None`: the topic has been set to carry
/// writers' times, so nobody can know.
pub(super) fn measure(
    client: &mut dyn Client,
    name: &str,
    now: Now,
    by: Instant,
) -> Result<Option<TimeDelta>, BrokerError> {
    let timestamp_ms = now.wall.timestamp_millis();
    let beat = Event::Beat { leader: name.to_owned(), number: 0, at: now.wall };
    let record =
        Record { key: Some(topics::beat_key(name, 0)), value: Some(wire::encode(&beat)), timestamp_ms };
    let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
    let answer = client.produce(&[ProduceBatch { to, records: vec![record] }], by).pop();
    let append_time_ms = answer.transpose()?.and_then(|written| written.append_time_ms);
    Ok(append_time_ms.map(|broker_ms| TimeDelta::milliseconds(timestamp_ms.saturating_sub(broker_ms))))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Compared to be `ahead` seconds ahead; 100 seconds later the wall clock has gone on by `went`. Then it is believed
    /// to have gone on by so many seconds.
    fn check(ahead: i64, went: i64, is_off: bool, believed: i64) {
        let at = Now { wall: DateTime::UNIX_EPOCH + TimeDelta::days(20_000), mono: Instant::now() };
        let skew = Skew { ahead: TimeDelta::seconds(ahead), at };
        let now = Now { wall: at.wall + TimeDelta::seconds(went), mono: at.mono + Duration::from_secs(100) };
        assert_eq!(skew.is_off(now), is_off, "{ahead} s ahead, went on by {went} s");
        assert_eq!(skew.believed(now) - at.wall, TimeDelta::seconds(believed), "{ahead} s ahead, {went} s");
    }

    #[test]
    fn a_wall_clock_is_believed_as_far_as_a_leaders_may_be_off() {
        check(0, 100, false, 100);
        check(0, 130, false, 130);
        check(0, 131, true, 100);
        check(0, 70, false, 70);
        check(0, 69, true, 100);
        check(20, 110, false, 110);
        check(20, 111, true, 100);
        check(-20, 150, false, 150);
        check(-20, 89, true, 100);
        check(0, 3_700, true, 100);
        check(0, -3_500, true, 100);
    }
}
