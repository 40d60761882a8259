//! The leader's beats on `cron-runs`, and what they prove: how far it has seen the end of the log. Pure.
//!
//! The leader writes a beat to each partition and reads it back: then it has read everything that was written before it
//! sent the beat. A beat that fails, or is not read back in time, shows that there was a while in which a consumer too
//! may have been unable to say that it is alive. Then all leases start anew, and not only those of one partition: a
//! sign of life goes by the consumer's name and an attempt's end by its run, so either may lie in any partition.
//!
//! A standby knows by the beats of others whether some producer leads.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::model::Event;
use crate::producer::leadership::Term;

/// How often a beat is written, as a part of the shortest lease.
pub const BEATS_PER_LEASE: u32 = 6;
/// For what part of a lease a beat shows that some producer leads: half as long again as from one beat to the next. A
/// second fleet's leader on the same Kafka counts as well: beats do not say which group they are of.
pub const LED_FOR: u32 = 4;
/// A beat that failed is written again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// The beats of one partition of `cron-runs`.
#[derive(Debug, Default)]
struct Beats {
    number: u64,
    tried: Option<Instant>,
    /// Whether the last beat was not confirmed.
    failed: bool,
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

/// Whether the end of `cron-runs` is in sight, where that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// A beat has failed or is late.
    Lost,
    /// Beats are read back from every partition again.
    Regained,
}

/// The beats of all partitions of `cron-runs`.
#[derive(Debug)]
pub struct Heartbeat {
    partitions: BTreeMap<i32, Beats>,
    /// The term in which this producer leads.
    leads: Option<Term>,
    from: Instant,
    delay: Duration,
    is_blind: bool,
    /// When a leader's beat was last read, or this producer led.
    led_at: Instant,
    is_led: bool,
}

impl Heartbeat {
    /// Creates the heartbeat of no partition yet.
    pub fn new(now: Instant) -> Self {
        Self {
            partitions: BTreeMap::new(),
            leads: None,
            from: now,
            delay: Duration::ZERO,
            is_blind: false,
            led_at: now,
            is_led: true,
        }
    }

    /// Writes beats to a partition, too, from now on. Leases start anew.
    pub fn follow(&mut self, partition: i32, now: Instant) {
        self.partitions.insert(partition, Beats::default());
        self.from = now;
    }

    /// This producer leads in a term, or does not. What an earlier term has seen proves nothing for another one:
    /// another producer may have led in between.
    pub fn lead(&mut self, leads: Option<Term>, now: Instant) {
        if leads == self.leads {
            return;
        }
        (self.leads, self.from, self.delay) = (leads, now, Duration::ZERO);
        for beats in self.partitions.values_mut() {
            *beats = Beats { number: beats.number, ..Beats::default() };
        }
    }

    /// Whether this producer leads.
    pub fn leads(&self) -> bool {
        self.leads.is_some()
    }

    /// Takes an event that was read at `now`: it may be another leader's beat.
    pub fn take(&mut self, event: &Event, now: Instant) {
        // No leader writes number 0: a producer that is about to lead asks for the time by that beat.
        if matches!(event, Event::Beat { number: 1.., .. }) {
            self.led_at = now;
        }
    }

    /// Judges whether some producer leads, where consumers commonly have a lease of this length.
    pub fn look_for_leader(&mut self, now: Instant, lease: Duration) {
        if self.leads() {
            self.led_at = now;
        }
        self.is_led = now.saturating_duration_since(self.led_at) < lease / LED_FOR;
    }

    /// Whether some producer led when that was judged last.
    pub fn is_led(&self) -> bool {
        self.is_led
    }

    /// Whether a beat was written that was not read back yet.
    pub fn awaits(&self) -> bool {
        self.partitions.values().any(|beats| beats.awaited.is_some())
    }

    /// The partitions to which a beat is to be written, each with the beat's number.
    pub fn due(&self, now: Instant, every: Duration) -> Vec<(i32, u64)> {
        let is_due = |beats: &Beats| {
            let wait = if beats.failed { AGAIN.min(every) } else { every };
            self.leads.is_some()
                && beats.tried.is_none_or(|tried| now.saturating_duration_since(tried) >= wait)
        };
        let due = self.partitions.iter().filter(|(_, beats)| is_due(beats));
        due.map(|(partition, beats)| (*partition, beats.number + 1)).collect()
    }

    /// Notes that a beat that was sent at `sent` or later was confirmed at `offset`; `None` says that it was not
    /// confirmed. Returns whether that is news: the last beat there was confirmed, and this one was not.
    pub fn beat(&mut self, partition: i32, offset: Option<i64>, sent: Instant) -> bool {
        let Some(beats) = self.partitions.get_mut(&partition) else { return false };
        let is_news = offset.is_none() && !beats.failed;
        beats.tried = Some(sent);
        beats.number += 1;
        match offset {
            Some(offset) => (beats.failed, beats.awaited) = (false, Some(Beat { offset, sent })),
            None => (beats.failed, beats.out_of_sight) = (true, true),
        }
        is_news
    }

    /// Notes that all below `next` has been read.
    pub fn read_to(&mut self, partition: i32, next: i64, now: Instant) {
        let Some(beats) = self.partitions.get_mut(&partition) else { return };
        if let Some(beat) = beats.awaited.take_if(|beat| beat.offset < next) {
            beats.seen = Some(beat.sent);
            self.delay = now.saturating_duration_since(beat.sent);
            if std::mem::take(&mut beats.out_of_sight) {
                self.from = now;
            }
        }
    }

    /// Reading goes on at a later offset of a partition: what lies between is gone. Leases start anew.
    pub fn skip(&mut self, partition: i32, now: Instant) {
        if let Some(beats) = self.partitions.get_mut(&partition) {
            (beats.awaited, beats.seen) = (None, None);
        }
        self.from = now;
    }

    /// Writes beats to another log with these partitions. What was seen of the one before proves nothing, and leases start
    /// anew.
    pub fn restart(&mut self, partitions: impl IntoIterator<Item = i32>, now: Instant) {
        let before = std::mem::take(&mut self.partitions);
        for partition in partitions {
            let number = before.get(&partition).map_or(0, |beats| beats.number);
            self.partitions.insert(partition, Beats { number, ..Beats::default() });
        }
        (self.from, self.delay) = (now, Duration::ZERO);
    }

    /// Starts the leases anew where a beat is late. Callers call it before they conclude anything from the leases.
    /// Returns whether the end has come in sight or got out of it.
    pub fn check(&mut self, now: Instant, every: Duration) -> Option<Sight> {
        let from = self.from;
        for beats in self.partitions.values_mut().filter(|_| self.leads.is_some()) {
            let known = beats.seen.map_or(from, |seen| seen.max(from));
            beats.out_of_sight |= now.saturating_duration_since(known) > every * 2;
            if beats.out_of_sight {
                self.from = now;
            }
        }
        let is_blind = self.partitions.values().any(|beats| beats.out_of_sight);
        match (is_blind, std::mem::replace(&mut self.is_blind, is_blind)) {
            (true, false) => Some(Sight::Lost),
            (false, true) => Some(Sight::Regained),
            _ => None,
        }
    }

    /// Whether a partition was out of sight at the last check.
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Where leases begin at the earliest, and up to when all that was written has been read. `None` while nothing
    /// proves it.
    pub fn seen(&self) -> Option<(Instant, Instant)> {
        let all: Option<Vec<Instant>> = self.partitions.values().map(|beats| beats.seen).collect();
        Some((self.from, all?.into_iter().min()?))
    }

    /// How long the last beat took to be read back, or the oldest that is awaited takes already.
    pub fn delay(&self, now: Instant) -> Duration {
        let awaited = self.partitions.values().filter_map(|beats| beats.awaited);
        let waits = awaited.map(|beat| now.saturating_duration_since(beat.sent));
        waits.fold(self.delay, Duration::max)
    }
}

#[cfg(test)]
mod tests;
