//! Since when our membership is proven. A leader checks this before it decides anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the last request was sent whose answer proved that we are a member. The membership's thread sets it, others
/// read it at every turn: one number, for which a message would always come too late.
#[derive(Debug, Clone)]
pub struct Standing {
    base: Instant,
    /// Microseconds after `base`, plus one; 0 for none.
    proven: Arc<AtomicU64>,
    /// How often it was lost: what is proven after that says nothing of what was before.
    losses: Arc<AtomicU64>,
}

impl Standing {
    /// No member yet.
    pub fn new(base: Instant) -> Self {
        Self { base, proven: Arc::default(), losses: Arc::default() }
    }

    /// Sets when membership was proven; `None`: it is not at present.
    pub fn set(&self, proven: Option<Instant>) {
        let after = proven.map(|at| at.saturating_duration_since(self.base).as_micros() + 1);
        self.proven
            .store(after.map_or(0, |micros| u64::try_from(micros).unwrap_or(u64::MAX)), Ordering::Release);
    }

    /// Membership, or our share, is lost: what is proven from here on is another.
    pub fn lose(&self) {
        if self.proven.swap(0, Ordering::AcqRel) != 0 {
            self.losses.fetch_add(1, Ordering::Release);
        }
    }

    /// What was granted on the proofs so far holds no more, although we may still be a member: the share is to be taken anew.
    pub fn void(&self) {
        self.losses.fetch_add(1, Ordering::Release);
    }

    /// Sets when it was proven that we are a member and have a share, or that it is lost.
    pub fn tell(&self, proven: Option<Instant>) {
        match proven {
            Some(_) => self.set(proven),
            None => self.lose(),
        }
    }

    /// How often membership was lost, or what was granted on it made void.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Whether membership was proven less than `limit` ago.
    pub fn holds(&self, now: Instant, limit: Duration) -> bool {
        let Some(micros) = self.proven.load(Ordering::Acquire).checked_sub(1) else { return false };
        now.saturating_duration_since(self.base + Duration::from_micros(micros)) < limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_time_and_no_longer() {
        let base = Instant::now();
        let standing = Standing::new(base);
        let check = |after_ms: u64, holds: bool| {
            let now = base + Duration::from_millis(after_ms);
            assert_eq!(standing.holds(now, Duration::from_secs(4)), holds, "after {after_ms} ms");
        };
        check(0, false);
        standing.set(Some(base));
        check(0, true);
        check(3_999, true);
        check(4_000, false);
        standing.set(Some(base + Duration::from_secs(2)));
        check(5_999, true);
        standing.set(None);
        check(2_000, false);
    }
}
