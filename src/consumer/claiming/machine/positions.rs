//! Which partitions' positions are to be looked up, and when: a position that was lost over and over, or could not be had,
//! rests before it is asked for again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Report;
use crate::common::broker::{BrokerError, Client};
use crate::consumer::claiming::loading::{Loaded, Loading};

/// How long partitions rest whose position could not be had, while those of others could.
pub(super) const LOAD_AGAIN: Duration = Duration::from_millis(500);

/// How often a partition's position may be lost, with nothing read in between, before it is looked up with pauses:
/// brokers that do not agree about a topic would otherwise keep us asking all the time.
const LOSSES: u32 = 3;

/// The partitions whose position is not known.
#[derive(Debug, Default)]
pub(super) struct Positions {
    unknown: Vec<i32>,
    /// Not before this instant, after some of them could not be had.
    rests_until: Option<Instant>,
    /// How often each partition's position was lost since something was read of it.
    losses: BTreeMap<i32, u32>,
    loading: Loading,
}

impl Positions {
    /// These partitions are ours from now on, and no position is known.
    pub(super) fn assign(&mut self, partitions: Vec<i32>) {
        self.unknown = partitions;
        self.rests_until = None;
        self.losses.clear();
    }

    /// The position of a partition that we hold is to be looked up anew.
    pub(super) fn lose(&mut self, partition: i32) {
        if !self.unknown.contains(&partition) {
            self.unknown.push(partition);
            *self.losses.entry(partition).or_default() += 1;
        }
    }

    /// A partition's position is to be looked up, and none is before `until`.
    pub(super) fn look_up_after(&mut self, partition: i32, until: Instant) {
        if !self.unknown.contains(&partition) {
            self.unknown.push(partition);
        }
        self.rests_until = Some(until);
    }

    /// Something was read of a partition.
    pub(super) fn was_read(&mut self, partition: i32) {
        self.losses.remove(&partition);
    }

    /// Whether a partition's position is not known.
    pub(super) fn is_unknown(&self, partition: i32) -> bool {
        self.unknown.contains(&partition)
    }

    /// The partitions whose position is not known.
    pub(super) fn unknown(&self) -> &[i32] {
        &self.unknown
    }

    /// Whether positions would be looked up at once.
    pub(super) fn is_busy(&self) -> bool {
        !self.unknown.is_empty() && self.rests_until.is_none()
    }

    /// Whether positions are to be looked up now. A position that was lost too often rests first.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.unknown.is_empty() || self.rests_until.is_some_and(|at| now < at) {
            return false;
        }
        self.rests_until = None;
        let lost = |(of, times): &(&i32, &mut u32)| **times > LOSSES && self.unknown.contains(of);
        if let Some((_, times)) = self.losses.iter_mut().find(lost) {
            *times = LOSSES;
            self.rests_until = Some(now + LOAD_AGAIN);
            return false;
        }
        true
    }

    /// Looks up the positions of `(topic, group)` that are not known. What could not be had stays to be looked up; why is
    /// returned beside what could.
    ///
    /// # Errors
    /// As [`Loading::load`].
    pub(super) fn look_up(
        &mut self,
        client: &mut dyn Client,
        of: (&str, &str),
        now: Instant,
    ) -> Result<(Vec<Loaded>, Option<BrokerError>), BrokerError> {
        let loaded = self.loading.load(client, of, &self.unknown, now)?;
        self.unknown.retain(|partition| loaded.iter().all(|loaded| loaded.partition != *partition));
        if self.unknown.is_empty() {
            self.loading.is_done();
            return Ok((loaded, None));
        }
        self.rests_until = Some(self.loading.rests_until().unwrap_or(now).max(now + LOAD_AGAIN));
        Ok((loaded, self.loading.take_error()))
    }

    /// What operators have not been told yet.
    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        self.loading.take_reports()
    }
}
