//! The leader lease. Publishers check it before each write, so that a leader that was stopped or cut off begins no
//! write after its session may have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::membership::Standing;

/// The right to write in one term, as long as our membership is proven. The scheduler grants it, and the publishers
/// look at it before each write; they share it because a message would come too late.
#[derive(Debug, Clone)]
pub struct LeaderLease {
    /// The current term; 0 for none.
    epoch: Arc<AtomicU64>,
    standing: Standing,
    /// How often the membership had been lost when the term began: one that is regained is no proof for an earlier term.
    losses: Arc<AtomicU64>,
    limit: Duration,
}

impl LeaderLease {
    /// Creates a lease that no term has yet. It lapses two thirds of the session time-out after the last proof: a write
    /// that is begun by then has a third of the time-out to arrive.
    pub fn new(standing: Standing, session_timeout: Duration) -> Self {
        Self { epoch: Arc::default(), standing, losses: Arc::default(), limit: session_timeout * 2 / 3 }
    }

    /// From now on the term of this number may write; with 0, no term may. It may write as long as the membership is
    /// not lost more often than it was when the term began; to ask for that number now would be too late.
    pub fn grant(&self, epoch: u64, losses: u64) {
        self.losses.store(losses, Ordering::Release);
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Whether the term is over for good. A term that is not over, and may not write, waits for the proof of our
    /// membership.
    pub fn is_over(&self, epoch: u64) -> bool {
        epoch == 0 || self.epoch.load(Ordering::Acquire) != epoch
    }

    /// The term of ours that may write, if there is one.
    pub fn held(&self, now: Instant) -> Option<u64> {
        let epoch = self.epoch.load(Ordering::Acquire);
        self.holds(epoch, now).then_some(epoch)
    }

    /// Whether the term may write.
    pub fn holds(&self, epoch: u64, now: Instant) -> bool {
        !self.is_over(epoch)
            && self.standing.holds(now, self.limit)
            && self.standing.losses() == self.losses.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mandate_lapses_two_thirds_of_a_session_after_the_proof() {
        let check = |session_s: u64, after_ms: u64, holds: bool| {
            let now = Instant::now();
            let standing = Standing::new(now);
            let lease = LeaderLease::new(standing.clone(), Duration::from_secs(session_s));
            standing.tell(Some(now));
            lease.grant(1, standing.losses());
            let later = now + Duration::from_millis(after_ms);
            assert_eq!(lease.holds(1, later), holds, "session {session_s} s, after {after_ms} ms");
            assert_eq!(lease.held(later), holds.then_some(1));
        };
        check(6, 3_999, true);
        check(6, 4_000, false);
        check(6, 5_999, false);
        check(30, 19_999, true);
        check(30, 20_000, false);
    }

    #[test]
    fn a_membership_that_is_regained_is_no_proof_for_the_term_before() {
        let now = Instant::now();
        let standing = Standing::new(now);
        let lease = LeaderLease::new(standing.clone(), Duration::from_secs(6));
        standing.tell(Some(now));
        lease.grant(1, standing.losses());
        assert!(lease.holds(1, now));
        standing.tell(None);
        standing.tell(Some(now));
        assert!(!lease.holds(1, now) && !lease.is_over(1), "nobody has said yet that the term is over");
        lease.grant(2, standing.losses());
        assert!(lease.holds(2, now));
    }

    #[test]
    fn a_membership_that_is_lost_before_the_leave_is_granted_is_no_proof_either() {
        let now = Instant::now();
        let standing = Standing::new(now);
        let lease = LeaderLease::new(standing.clone(), Duration::from_secs(6));
        standing.tell(Some(now));
        let losses = standing.losses();
        standing.tell(None);
        standing.tell(Some(now));
        lease.grant(1, losses);
        assert_eq!(lease.held(now), None);
    }
}
