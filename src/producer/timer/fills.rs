//! How full the channels around the timer are, for whoever looks from outside.

use super::Lines;
use crate::common::metrics::Fill;
use crate::producer::measures::TimerMeasures;

/// One for each channel of which the timer has an end.
#[derive(Debug)]
pub(super) struct Fills {
    /// In the order of the clusters.
    batches: Vec<Fill>,
    confirmed: Fill,
    lead: Fill,
    keeps: Fill,
    files: Fill,
    told: Fill,
    asks: Fill,
}

impl Fills {
    pub(super) fn new(measures: &TimerMeasures, lines: &Lines) -> Self {
        let channel =
            |name: &str, capacity: Option<usize>| measures.channel(name, capacity.unwrap_or(usize::MAX));
        let batches = measures.clusters().iter().zip(&lines.batches);
        Self {
            batches: batches.map(|(of, to)| channel(&format!("batches-{of}"), to.capacity())).collect(),
            confirmed: channel("confirmed", lines.confirmed.capacity()),
            lead: channel("lead", lines.lead.capacity()),
            keeps: channel("cursors", lines.keeps.capacity()),
            files: channel("job-files", lines.files.capacity()),
            told: channel("runs-told", lines.told.capacity()),
            asks: channel("runs-asked", lines.asks.capacity()),
        }
    }

    /// Looks at all of them.
    pub(super) fn look(&self, lines: &Lines) {
        self.batches.iter().zip(&lines.batches).for_each(|(fill, to)| fill.is(to.len()));
        self.confirmed.is(lines.confirmed.len());
        self.lead.is(lines.lead.len());
        self.keeps.is(lines.keeps.len());
        self.files.is(lines.files.len());
        self.told.is(lines.told.len());
        self.asks.is(lines.asks.len());
    }
}
