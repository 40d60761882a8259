//! Descriptors: how many a consumer needs for its workers, and what its jobs may have.
//!
//! Many systems give a process 1,024 at first and far more if it asks (getrlimit(2), "soft" and "hard"). The consumer asks.
//! Its jobs get what it was given, because a program that finds a large limit may close that many descriptors one by
//! one, or use select(2), which knows 1,024.

use std::os::fd::{AsFd, RawFd};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::descriptors::LOW;

/// What a consumer has open beside its workers: connections to brokers and to the page, the log, the guard.
const OTHERS: u64 = LOW as u64;

/// What a worker has open while its command runs: the output, the process, a file with `--output DIR`, and what tells it that
/// its run is to end.
const BUSY: u64 = 4;

/// What a worker has open for the moment of a start: both ends of the output and of the socket to a starter, and copies that are
/// given a higher number.
const STARTING: u64 = 8;

/// The limit that was ours when it has been raised, for jobs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Descriptors {
    jobs: Option<Rlimit>,
}

/// The system does not allow as many descriptors as the workers need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{workers} workers need {needed} descriptors and the system allows {allowed} (the hard limit: ulimit -Hn, \
     LimitNOFILE= of systemd, --ulimit nofile= of docker): at most {most} workers fit"
)]
pub struct TooFew {
    workers: u64,
    needed: u64,
    allowed: u64,
    most: u64,
}

impl Descriptors {
    /// Raises this process's soft limit as far as so many workers can use it.
    ///
    /// # Errors
    /// When not even the hard limit is enough.
    pub fn raise_for(workers: usize) -> Result<Self, TooFew> {
        let ours = getrlimit(Resource::Nofile);
        let Some(current) = wanted(ours, workers)? else { return Ok(Self::default()) };
        match setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: ours.maximum }) {
            Ok(()) => Ok(Self { jobs: Some(ours) }),
            Err(error) => {
                log::warn!("the limit of descriptors cannot be raised to {current}: {error}");
                Ok(Self::default())
            }
        }
    }

    /// The limit that jobs find, soft and hard, where we have raised ours.
    pub fn of_jobs(&self) -> Option<(u64, u64)> {
        let infinite = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
        self.jobs.map(|limit| (infinite(limit.current), infinite(limit.maximum)))
    }
}

/// Has the system make the table of descriptors as large as so many workers may need it. It would do so anyhow, when the number
/// is needed, and in a program with threads each time has to wait for all processors: a job would begin ten milliseconds later.
pub fn make_room(workers: usize, any: &impl AsFd) {
    let last = u64::try_from(workers).unwrap_or(u64::MAX).saturating_mul(BUSY).saturating_add(OTHERS);
    // Closed again: the table stays as large as it is. Where the limit is lower, it is made larger when that is needed.
    let _closed_or_beyond_the_limit = RawFd::try_from(last).map(|last| fcntl_dupfd_cloexec(any, last));
}

/// The soft limit to ask for; `None` where what there is does.
fn wanted(ours: Rlimit, workers: usize) -> Result<Option<u64>, TooFew> {
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    let (hard, soft) = (ours.maximum.unwrap_or(u64::MAX), ours.current.unwrap_or(u64::MAX));
    let needed = workers.saturating_mul(BUSY).saturating_add(OTHERS);
    if needed > hard {
        let most = hard.saturating_sub(OTHERS) / BUSY;
        return Err(TooFew { workers, needed, allowed: hard, most });
    }
    let wanted = workers.saturating_mul(BUSY + STARTING).saturating_add(OTHERS).min(hard);
    Ok((wanted > soft).then_some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(soft: u64, hard: Option<u64>, workers: usize, expected: Result<Option<u64>, &str>) {
        let found = wanted(Rlimit { current: Some(soft), maximum: hard }, workers);
        let found = found.map_err(|error| error.to_string());
        match expected {
            Ok(limit) => assert_eq!(found, Ok(limit), "{soft} {hard:?} {workers}"),
            Err(part) => assert!(found.as_ref().is_err_and(|said| said.contains(part)), "{found:?}"),
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_what_workers_use_and_no_further_than_the_hard_one() {
        check(1_024, Some(20_000), 8, Ok(None));
        check(1_024, Some(20_000), 600, Ok(Some(7_456)));
        check(1_024, None, 4_096, Ok(Some(49_408)));
        check(1_024, Some(4_096), 600, Ok(Some(4_096)));
        check(1_024, Some(1_024), 192, Ok(None));
        check(1_024, Some(1_024), 193, Err("193 workers need 1028 descriptors and the system allows 1024"));
        check(64, Some(64), 1, Err("at most 0 workers fit"));
        check(u64::MAX, None, 4_096, Ok(None));
    }
}
