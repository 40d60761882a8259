//! How far `cron-runs` has been read, and what proves that this was its end. Pure.
//!
//! The leader writes a beat to each partition and reads it back: then it has read everything that was written before it
//! sent the beat. A beat that fails, or is not read back in time, shows that there was a while in which a consumer too
//! may have been unable to say that it is alive. Then all leases start anew, and not only those of one partition: a
//! sign of life goes by the consumer's name and an attempt's end by its run, so either may lie in any partition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::broker::NodeId;
use crate::producer::leadership::Term;

/// How often a beat is written, as a part of the shortest lease.
pub const BEATS_PER_LEASE: u32 = 6;
/// A beat that failed is written again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// One partition of `cron-runs`.
#[derive(Debug)]
pub struct End {
    /// Where reading began; what lies below has not been read.
    pub began: i64,
    /// Where reading goes on.
    pub next: i64,
    /// Who leads it.
    pub leader: Option<NodeId>,
    number: u64,
    tried: Option<Instant>,
    /// Whether the last beat was not confirmed.
    pub failed: bool,
    /// Whether a beat has failed or is late, and none was read back since.
    out_of_sight: bool,
    awaited: Option<Beat>,
    seen: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Beat {
    offset: i64,
    sent: Instant,
}

/// All partitions of `cron-runs`.
#[derive(Debug)]
pub struct Ends {
    partitions: BTreeMap<i32, End>,
    /// The term in which this producer leads.
    leads: Option<Term>,
    from: Instant,
    delay: Duration,
}

impl Ends {
    /// Creates the heartbeat of no partition yet.
    pub fn new(now: Instant) -> Self {
        Self { partitions: BTreeMap::new(), leads: None, from: now, delay: Duration::ZERO }
    }

    /// Follows a partition from an offset on.
    pub fn follow(&mut self, partition: i32, begin: i64, now: Instant) {
        let end = End {
            began: begin,
            next: begin,
            leader: None,
            number: 0,
            tried: None,
            failed: false,
            out_of_sight: false,
            awaited: None,
            seen: None,
        };
        self.partitions.insert(partition, end);
        self.from = now;
    }

    /// This producer leads in a term, or does not. What an earlier term has seen proves nothing for another one:
    /// another producer may have led in between.
    pub fn lead(&mut self, leads: Option<Term>, now: Instant) {
        if leads == self.leads {
            return;
        }
        (self.leads, self.from, self.delay) = (leads, now, Duration::ZERO);
        for end in self.partitions.values_mut() {
            (end.tried, end.failed, end.out_of_sight) = (None, false, false);
            (end.awaited, end.seen) = (None, None);
        }
    }

    /// Whether this producer leads.
    pub fn leads(&self) -> bool {
        self.leads.is_some()
    }

    /// Whether a beat was written that was not read back yet.
    pub fn awaits(&self) -> bool {
        self.partitions.values().any(|end| end.awaited.is_some())
    }

    /// The partitions to which a beat is to be written, each with the beat's number.
    pub fn due(&self, now: Instant, every: Duration) -> Vec<(i32, u64)> {
        let is_due = |end: &End| {
            let wait = if end.failed { AGAIN.min(every) } else { every };
            self.leads.is_some() && end.tried.is_none_or(|tried| now.saturating_duration_since(tried) >= wait)
        };
        self.partitions.iter().filter(|(_, end)| is_due(end)).map(|(p, end)| (*p, end.number + 1)).collect()
    }

    /// Notes that a beat that was sent at `sent` or later was confirmed at `offset`; `None` says that it was not
    /// confirmed.
    pub fn beat(&mut self, partition: i32, offset: Option<i64>, sent: Instant) {
        let Some(end) = self.partitions.get_mut(&partition) else { return };
        end.tried = Some(sent);
        end.number += 1;
        match offset {
            Some(offset) => (end.failed, end.awaited) = (false, Some(Beat { offset, sent })),
            None => (end.failed, end.out_of_sight) = (true, true),
        }
    }

    /// Notes that all below `next` has been read.
    pub fn read_to(&mut self, partition: i32, next: i64, now: Instant) {
        let Some(end) = self.partitions.get_mut(&partition) else { return };
        end.next = next;
        if let Some(beat) = end.awaited.take_if(|beat| beat.offset < next) {
            end.seen = Some(beat.sent);
            self.delay = now.saturating_duration_since(beat.sent);
            if std::mem::take(&mut end.out_of_sight) {
                self.from = now;
            }
        }
    }

    /// Goes on at a later offset: what lies between is gone. Leases start anew.
    pub fn skip_to(&mut self, partition: i32, next: i64, now: Instant) {
        if let Some(end) = self.partitions.get_mut(&partition) {
            (end.began, end.next, end.awaited, end.seen) = (next, next, None, None);
        }
        self.from = now;
    }

    /// Follows another log from these offsets on. What was seen of the one before proves nothing, and leases start anew.
    pub fn restart(&mut self, begins: &BTreeMap<i32, i64>, now: Instant) {
        let before = std::mem::take(&mut self.partitions);
        for (partition, begin) in begins {
            self.follow(*partition, *begin, now);
            if let (Some(end), Some(before)) = (self.partitions.get_mut(partition), before.get(partition)) {
                (end.leader, end.number) = (before.leader, before.number);
            }
        }
        (self.from, self.delay) = (now, Duration::ZERO);
    }

    /// Starts the leases anew where a beat is late. Callers call it before they conclude anything from the leases.
    /// Returns whether a partition is out of sight.
    pub fn check(&mut self, now: Instant, every: Duration) -> bool {
        let from = self.from;
        for end in self.partitions.values_mut().filter(|_| self.leads.is_some()) {
            let known = end.seen.map_or(from, |seen| seen.max(from));
            end.out_of_sight |= now.saturating_duration_since(known) > every * 2;
            if end.out_of_sight {
                self.from = now;
            }
        }
        self.partitions.values().any(|end| end.out_of_sight)
    }

    /// Where leases begin at the earliest, and up to when all that was written has been read. `None` while nothing
    /// proves it.
    pub fn seen(&self) -> Option<(Instant, Instant)> {
        let all: Option<Vec<Instant>> = self.partitions.values().map(|end| end.seen).collect();
        Some((self.from, all?.into_iter().min()?))
    }

    /// How long the last beat took to be read back, or the oldest that is awaited takes already.
    pub fn delay(&self, now: Instant) -> Duration {
        let awaited = self.partitions.values().filter_map(|end| end.awaited);
        let waits = awaited.map(|beat| now.saturating_duration_since(beat.sent));
        waits.fold(self.delay, Duration::max)
    }

    /// The partitions by number.
    pub fn partitions(&self) -> &BTreeMap<i32, End> {
        &self.partitions
    }

    /// Notes who leads a partition.
    pub fn led_by(&mut self, partition: i32, leader: Option<NodeId>) {
        if let Some(end) = self.partitions.get_mut(&partition) {
            end.leader = leader;
        }
    }

    /// Whether all below these offsets has been read.
    pub fn has_read(&self, targets: &BTreeMap<i32, i64>) -> bool {
        let read = |(partition, target): (&i32, &i64)| {
            self.partitions.get(partition).is_some_and(|end| end.next >= *target)
        };
        targets.iter().all(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// Partition, offset.
        Sent(i32, i64),
        Failed(i32),
        /// Partition, next offset.
        Read(i32, i64),
        Resigned,
    }
    use Step::{Failed, Read, Resigned, Sent};

    /// Leads two partitions from second 0 on, and says what is proved at the last of the steps' seconds.
    fn check(steps: &[(u64, Step)], expected: Option<(u64, u64)>) {
        let zero = Instant::now();
        let at = |secs: u64| zero + Duration::from_secs(secs);
        let mut ends = Ends::new(zero);
        (0..2).for_each(|partition| ends.follow(partition, 0, zero));
        ends.lead(Term::new(1), zero);
        for (secs, step) in steps {
            match *step {
                Sent(partition, offset) => ends.beat(partition, Some(offset), at(*secs)),
                Failed(partition) => ends.beat(partition, None, at(*secs)),
                Read(partition, next) => ends.read_to(partition, next, at(*secs)),
                // Another term, between which nothing was asked.
                Resigned => ends.lead(Term::new(2), at(*secs)),
            }
            ends.check(at(*secs), EVERY);
        }
        let expected = expected.map(|(from, seen)| (at(from), at(seen)));
        assert_eq!(ends.seen(), expected, "{steps:?}");
    }

    #[test]
    fn an_end_is_seen_up_to_the_beat_that_was_read_back() {
        check(&[(0, Sent(0, 5)), (0, Sent(1, 5))], None);
        check(&[(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6))], None);
        check(&[(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6)), (1, Read(1, 5))], None);
        check(&[(0, Sent(0, 5)), (1, Sent(1, 5)), (2, Read(0, 6)), (3, Read(1, 6))], Some((0, 0)));
        let first = [(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6)), (1, Read(1, 6))];
        let second = [(10, Sent(0, 7)), (10, Sent(1, 7)), (11, Read(0, 8)), (11, Read(1, 8))];
        check(&[&first[..], &second[..]].concat(), Some((0, 10)));
        check(&[&first[..], &second[..3]].concat(), Some((0, 0)));
    }

    #[test]
    fn a_beat_that_fails_or_is_late_starts_the_leases_anew() {
        let first = [(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6)), (1, Read(1, 6))];
        check(&[&first[..], &[(10, Failed(1))]].concat(), Some((10, 0)));
        // Not read back in time: an outage of one partition.
        check(&[&first[..], &[(10, Sent(0, 7)), (11, Read(0, 8)), (21, Read(1, 6))]].concat(), Some((21, 0)));
        check(&[&first[..], &[(10, Sent(0, 7)), (11, Read(0, 8)), (20, Read(1, 6))]].concat(), Some((0, 0)));
        // We were stopped ourselves, so we do not know what happened meanwhile.
        check(&[&first[..], &[(300, Read(0, 6))]].concat(), Some((300, 0)));
        // The leader before us has proved nothing to us.
        check(&[&first[..], &[(12, Resigned)]].concat(), None);
    }

    #[test]
    fn beats_are_due_to_a_leader_alone_and_sooner_after_a_failure() {
        let zero = Instant::now();
        let at = |secs: u64| zero + Duration::from_secs(secs);
        let mut ends = Ends::new(zero);
        ends.follow(0, 0, zero);
        assert_eq!(ends.due(zero, EVERY), []);
        ends.lead(Term::new(1), zero);
        assert_eq!(ends.due(zero, EVERY), [(0, 1)]);
        ends.beat(0, Some(3), zero);
        assert_eq!((ends.due(at(9), EVERY), ends.due(at(10), EVERY)), (vec![], vec![(0, 2)]));
        ends.beat(0, None, at(10));
        assert_eq!(ends.due(at(11), EVERY), [(0, 3)]);
    }

    #[test]
    fn what_lies_between_is_gone_where_reading_goes_on_at_a_later_offset() {
        let zero = Instant::now();
        let at = |secs: u64| zero + Duration::from_secs(secs);
        let mut ends = Ends::new(zero);
        ends.follow(0, 3, zero);
        ends.lead(Term::new(1), zero);
        ends.beat(0, Some(5), zero);
        ends.skip_to(0, 9, at(2));
        let end = &ends.partitions()[&0];
        assert_eq!((end.began, end.next, ends.awaits(), ends.seen()), (9, 9, false, None));
        ends.beat(0, Some(9), at(3));
        ends.read_to(0, 10, at(4));
        assert_eq!(ends.seen(), Some((at(2), at(3))), "leases begin no earlier");
    }

    #[test]
    fn the_delay_is_that_of_the_last_beat_or_of_the_one_that_is_awaited_for_longer() {
        let zero = Instant::now();
        let at = |secs: u64| zero + Duration::from_secs(secs);
        let mut ends = Ends::new(zero);
        ends.follow(0, 0, zero);
        ends.lead(Term::new(1), zero);
        assert_eq!((ends.awaits(), ends.delay(at(1))), (false, Duration::ZERO));
        ends.beat(0, Some(3), at(1));
        assert_eq!((ends.awaits(), ends.delay(at(5))), (true, Duration::from_secs(4)));
        ends.read_to(0, 4, at(6));
        assert_eq!((ends.awaits(), ends.delay(at(60))), (false, Duration::from_secs(5)));
        ends.beat(0, Some(7), at(60));
        assert_eq!(ends.delay(at(61)), Duration::from_secs(5), "the last one took longer");
    }
}
