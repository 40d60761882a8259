//! The span of time in which a job is scheduled (`from`, `until`): pure.

use chrono::{DateTime, TimeDelta, Utc};

/// From when and until when a job's schedule counts; always, where nothing is said. Two windows that share a boundary
/// share no instant and leave none out, so whatever ends at one and begins at the other hands over without a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first instant that counts.
    pub from: Option<DateTime<Utc>>,
    /// The first instant that does not count any more.
    pub until: Option<DateTime<Utc>>,
}

impl Window {
    /// Whether an instant of the schedule counts.
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// The first instant after `after` that counts, of those that `next` names one by one.
    pub fn next(
        &self,
        after: DateTime<Utc>,
        next: impl FnOnce(DateTime<Utc>) -> Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        // The instant itself counts, and what is asked for lies after what is given.
        let before = self.from.and_then(|from| from.checked_sub_signed(TimeDelta::nanoseconds(1)));
        next(before.map_or(after, |before| before.max(after))).filter(|at| self.holds(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("an instant")
    }

    /// A schedule that names each tenth second.
    fn tens(after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        Some(at(after.timestamp().div_euclid(10) * 10 + 10))
    }

    fn check(from: Option<i64>, until: Option<i64>, expected: &[i64]) {
        let window = Window { from: from.map(at), until: until.map(at) };
        let first = window.next(at(0), tens);
        let found: Vec<i64> = std::iter::successors(first, |last| window.next(*last, tens))
            .take_while(|at| at.timestamp() <= 50)
            .map(|at| at.timestamp())
            .collect();
        assert_eq!(found, expected, "from {from:?} until {until:?}");
    }

    #[test]
    fn what_is_before_a_window_or_at_its_end_is_not_due() {
        check(None, None, &[10, 20, 30, 40, 50]);
        check(Some(20), None, &[20, 30, 40, 50]);
        check(Some(21), None, &[30, 40, 50]);
        check(None, Some(30), &[10, 20]);
        check(None, Some(31), &[10, 20, 30]);
        check(Some(20), Some(40), &[20, 30]);
        check(Some(21), Some(29), &[]);
        check(Some(-5), Some(5), &[]);
    }

    #[test]
    fn windows_that_meet_share_nothing_and_leave_nothing_out() {
        for boundary in 0..50 {
            let (first, second) = (
                Window { from: None, until: Some(at(boundary)) },
                Window { from: Some(at(boundary)), until: None },
            );
            for second_of in 0..60 {
                assert_ne!(first.holds(at(second_of)), second.holds(at(second_of)), "{boundary} {second_of}");
            }
        }
    }
}
