//! When a failed attempt is tried again.

use std::time::Duration;

use uuid::Uuid;

use super::model::{AttemptRef, RetryPolicy};

/// Namespace of the hash that spreads retries; any fixed value would do.
const SPREAD: Uuid = Uuid::NAMESPACE_OID;

/// How long to wait after `failed` before the next attempt: the policy's backoff, doubled for each attempt after the
/// first up to its limit, then shifted by up to ±20 % so that runs which failed together do not return together.
///
/// The shift is a function of the attempt: a program that computes it again gets the same instant, and with it the same
/// message.
pub fn before_next(failed: AttemptRef, policy: &RetryPolicy) -> Duration {
    let doublings = failed.attempt.saturating_sub(1).min(63);
    let doubled = policy.backoff_ms.saturating_mul(1 << doublings);
    let wait_ms = u128::from(doubled.min(policy.backoff_max_ms));
    let name = format!("{} {}", failed.run, failed.attempt);
    let permille = u128::from(Uuid::new_v5(&SPREAD, name.as_bytes()).as_u64_pair().0 % 401);
    let shifted = wait_ms * (800 + permille) / 1000;
    Duration::from_millis(u64::try_from(shifted).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::RunId;

    fn check(attempt: u32, backoff_ms: u64, backoff_max_ms: u64, around_ms: u64) {
        let policy = RetryPolicy { retries: 9, backoff_ms, backoff_max_ms };
        let waits: Vec<u64> = (0..200_u128)
            .map(|run| AttemptRef { run: RunId(Uuid::from_u128(run)), attempt })
            .map(|failed| u64::try_from(before_next(failed, &policy).as_millis()).unwrap())
            .collect();
        let (low, high) = (around_ms - around_ms / 5, around_ms + around_ms / 5);
        assert!(waits.iter().all(|wait| (low..=high).contains(wait)), "{waits:?} not within {low}..={high}");
        assert!(around_ms < 100 || waits.iter().any(|wait| *wait != waits[0]), "no spread");
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit() {
        check(1, 10_000, 3_600_000, 10_000);
        check(2, 10_000, 3_600_000, 20_000);
        check(5, 10_000, 3_600_000, 160_000);
        check(20, 10_000, 3_600_000, 3_600_000);
        check(u32::MAX, 10_000, 3_600_000, 3_600_000);
        check(1, 10_000, 1_000, 1_000);
        check(3, 0, 1_000, 0);
    }

    #[test]
    fn the_same_attempt_always_waits_the_same_time() {
        let policy = RetryPolicy { retries: 1, backoff_ms: 1000, backoff_max_ms: 2000 };
        let failed = AttemptRef { run: RunId(Uuid::from_u128(5)), attempt: 1 };
        assert_eq!(before_next(failed, &policy), before_next(failed, &policy));
    }
}
