//! The leader lease. Publishers check it before each write, so that a leader that was stopped or cut off begins no
//! write after its session may have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Term;
use crate::common::membership::Standing;

/// The right to write in one term, as long as our membership is proven. The scheduler grants it, and the publishers
/// look at it before each write; they share it because a message would come too late.
#[derive(Debug, Clone)]
pub struct LeaderLease {
    /// The number of the current term; 0 for none.
    term: Arc<AtomicU64>,
    standing: Standing,
    /// How often the membership had been lost when the term began: one that is regained is no proof for an earlier term.
    losses: Arc<AtomicU64>,
    limit: Duration,
}

impl LeaderLease {
    /// Creates a lease that no term has yet. It lapses two thirds of the session time-out after the last proof: a write
    /// that is begun by then has a third of the time-out to arrive.
    pub fn new(standing: Standing, session_timeout: Duration) -> Self {
        Self { term: Arc::default(), standing, losses: Arc::default(), limit: session_timeout * 2 / 3 }
    }

    /// Creates a lease for tests: the membership is proven for years.
    #[cfg(test)]
    pub fn of_a_proven_member() -> Self {
        let standing = Standing::new(Instant::now());
        standing.set(Some(Instant::now()));
        Self::new(standing, Duration::from_secs(10 * 365 * 24 * 3_600))
    }

    /// From now on this term may write, as long as the membership is not lost more often than it was when the term
    /// began; to ask for that number now would be too late.
    pub fn grant(&self, term: Term, losses: u64) {
        self.losses.store(losses, Ordering::Release);
        self.term.store(term.number(), Ordering::Release);
    }

    /// From now on no term may write.
    pub fn revoke(&self) {
        self.term.store(0, Ordering::Release);
    }

    /// Whether the term is over for good. A term that is not over, and may not write, waits for the proof of our
    /// membership.
    pub fn is_over(&self, term: Term) -> bool {
        self.term.load(Ordering::Acquire) != term.number()
    }

    /// The term of ours that may write, if there is one.
    pub fn held(&self, now: Instant) -> Option<Term> {
        Term::new(self.term.load(Ordering::Acquire)).filter(|term| self.holds(*term, now))
    }

    /// Whether the term may write.
    pub fn holds(&self, term: Term, now: Instant) -> bool {
        !self.is_over(term)
            && self.standing.holds(now, self.limit)
            && self.standing.losses() == self.losses.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lapses_two_thirds_of_a_session_after_the_proof() {
        let check = |session_s: u64, after_ms: u64, holds: bool| {
            let now = Instant::now();
            let standing = Standing::new(now);
            let lease = LeaderLease::new(standing.clone(), Duration::from_secs(session_s));
            standing.tell(Some(now));
            lease.grant(Term::FIRST, standing.losses());
            let later = now + Duration::from_millis(after_ms);
            assert_eq!(lease.holds(Term::FIRST, later), holds, "session {session_s} s, after {after_ms} ms");
            assert_eq!(lease.held(later), holds.then_some(Term::FIRST));
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
        lease.grant(Term::FIRST, standing.losses());
        assert!(lease.holds(Term::FIRST, now));
        standing.tell(None);
        standing.tell(Some(now));
        assert!(
            !lease.holds(Term::FIRST, now) && !lease.is_over(Term::FIRST),
            "nobody has said yet that the term is over"
        );
        lease.grant(Term::FIRST.next(), standing.losses());
        assert!(lease.holds(Term::FIRST.next(), now));
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
        lease.grant(Term::FIRST, losses);
        assert_eq!(lease.held(now), None);
    }
}
