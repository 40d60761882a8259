//! How full the channels around dispatch are, for whoever looks from outside.

use super::claiming::lines::Lines;
use super::measures::Measures;
use super::results::reporter::RESULTS;
use crate::common::metrics::Fill;

/// One for each channel of which dispatch has an end.
#[derive(Debug)]
pub(super) struct Fills {
    changes: Fill,
    fetched: Fill,
    idle: Fill,
    attempts: Fill,
    results: Fill,
    plans: Fill,
}

impl Fills {
    pub(super) fn new(measures: &Measures, lines: &Lines) -> Self {
        let channel =
            |name: &str, capacity: Option<usize>| measures.channel(name, capacity.unwrap_or(usize::MAX));
        Self {
            changes: channel("membership", lines.changes.capacity()),
            fetched: channel("fetched", lines.chunks.capacity()),
            idle: channel("idle", lines.idle.capacity()),
            attempts: channel("attempts", lines.jobs.capacity()),
            results: channel(RESULTS, lines.report.tell.capacity()),
            plans: channel("plans", lines.poll.plans.capacity()),
        }
    }

    /// Looks at all of them.
    pub(super) fn look(&self, lines: &Lines) {
        self.changes.is(lines.changes.len());
        self.fetched.is(lines.chunks.len());
        self.idle.is(lines.idle.len());
        self.attempts.is(lines.jobs.len());
        self.results.is(lines.report.tell.len());
        self.plans.is(lines.poll.plans.len());
    }
}
