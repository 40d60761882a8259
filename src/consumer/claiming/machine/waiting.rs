//! When claiming goes on: how many workers are free, whether the host has room, how long a claim lingers for more or waits for
//! the comparison of clocks and for orders, how long failed calls rest, and until when a consumer that leaves waits for an answer.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::common::clock::Now;
use crate::common::rests::Rests;
use crate::consumer::claiming::linger::Linger;

/// How long the claiming thread waits after a failed call, at first and at most.
pub const FIRST_REST: Duration = Duration::from_millis(20);
const LONGEST_REST: Duration = Duration::from_millis(500);
/// The longest wait of the thread.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long a claim that is under way when we leave may still be answered.
pub const LAST_ANSWER: Duration = Duration::from_secs(3);

/// How long the first claim waits for the comparison of clocks, and for the orders that were written before. What keeps these
/// from being made and read mostly keeps claims from being written as well, and the duties `clock` and `orders` tell of it.
pub const FIRST_CLAIM_PATIENCE: Duration = Duration::from_secs(15);

/// What claiming waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How many workers wait for an attempt.
    free: usize,
    /// Whether the host has room for new attempts.
    admits: bool,
    linger: Linger,
    is_clock_settled: bool,
    are_orders_known: bool,
    /// Until then the first claim waits for the clock to be compared with the broker's, and for orders to be read.
    claims_by: Option<Instant>,
    /// Nothing more is claimed, and a claim that is under way is waited for until then.
    leaves_by: Option<Instant>,
    rests: Rests,
    /// How long to wait after the last step; nothing if no call failed in it.
    rest: Duration,
}

impl Waiting {
    /// Creates the state of a consumer with so many workers, none of which is free yet.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            free: 0,
            admits: true,
            // Half of the workers run attempts while we claim for the others.
            linger: Linger::new(workers / 2),
            is_clock_settled: false,
            are_orders_known: false,
            claims_by: None,
            leaves_by: None,
            rests: Rests::new(FIRST_REST, LONGEST_REST),
            rest: Duration::ZERO,
        }
    }

    /// So many more workers are free.
    pub(super) fn add_free(&mut self, count: usize) {
        self.free += count;
    }

    /// How many workers are free.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// An attempt was handed to a worker.
    pub(super) fn use_one(&mut self) {
        self.free = self.free.saturating_sub(1);
    }

    /// The host has room for new attempts, or none.
    pub(super) fn admit(&mut self, admits: bool) {
        self.admits = admits;
    }

    /// The clock has been compared with the broker's.
    pub(super) fn clock_settled(&mut self) {
        self.is_clock_settled = true;
    }

    /// All orders were read that had been written before this consumer was started.
    pub(super) fn orders_known(&mut self) {
        self.are_orders_known = true;
    }

    /// The consumer leaves.
    pub(super) fn leave(&mut self, now: Instant) {
        self.leaves_by.get_or_insert(now + LAST_ANSWER);
    }

    /// Until when a claim that is under way is waited for; `None` while the consumer does not leave.
    pub(super) fn leaves_by(&self) -> Option<Instant> {
        self.leaves_by
    }

    /// A step begins: from the first free worker on, the first claim waits for the clock and for orders.
    pub(super) fn begin_step(&mut self, now: Instant) {
        if self.free > 0 {
            self.claims_by.get_or_insert(now + FIRST_CLAIM_PATIENCE);
        }
    }

    /// A step has ended; a failed call of it makes the next one wait.
    pub(super) fn end_step(&mut self, has_failed: bool, now: Instant) {
        self.rest = if has_failed {
            self.rests.failed(now)
        } else {
            self.rests.succeeded();
            Duration::ZERO
        };
    }

    /// The round trips of a claim have ended.
    pub(super) fn claimed(&mut self, now: Instant) {
        self.linger.went(now);
    }

    /// How long to wait after the last step; nothing if no call failed in it.
    pub(super) fn rest(&self) -> Duration {
        self.rest
    }

    /// Whether the clock has not been compared yet, or orders are not known, and that has not been waited for long enough.
    fn waits_to_begin(&self, now: Instant) -> bool {
        let may_begin = self.is_clock_settled && self.are_orders_known;
        !may_begin && self.claims_by.is_none_or(|by| now < by)
    }

    /// For how many workers may be claimed now: for none while a claim lingers for more, or waits for the clock or for orders.
    pub(super) fn claimable(&self, now: Instant) -> usize {
        let may_claim =
            self.admits && self.linger.wait(self.free, now).is_zero() && !self.waits_to_begin(now);
        if may_claim { self.free } else { 0 }
    }

    /// Whether a claim lingers until more workers are free.
    pub(super) fn lingers(&self, now: Instant) -> bool {
        !self.linger.wait(self.free, now).is_zero()
    }

    /// How long to wait where nothing is under way and nothing rests, if the next attempt is due at `next_due`: at most a
    /// second, because the wall clock may jump.
    pub(super) fn until_claim(&self, next_due: Option<DateTime<Utc>>, now: Now) -> Duration {
        if self.free > 0 && self.waits_to_begin(now.mono) {
            return FIRST_REST;
        }
        let until_due = next_due.map(|at| at - now.wall);
        let until_due = until_due.map(|wait| wait.to_std().unwrap_or(Duration::from_millis(1)));
        // If an attempt is due and no worker is free, the worker's message wakes the thread.
        let wait =
            until_due.filter(|_| self.free > 0 && self.admits).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        let linger = self.linger.wait(self.free, now.mono);
        if linger.is_zero() { wait } else { wait.min(linger) }
    }
}

#[cfg(test)]
impl Waiting {
    /// So many workers are free, whatever was told before.
    pub(super) fn set_free(&mut self, free: usize) {
        self.free = free;
    }
}
