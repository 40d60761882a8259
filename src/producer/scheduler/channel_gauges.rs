//! Gauges for operators: how full the scheduler's channels are.

use super::messages::Channels;
use crate::common::metrics::ChannelGauge;
use crate::producer::metrics::SchedulerMetrics;

/// One gauge for each channel of which the scheduler has an end.
#[derive(Debug)]
pub(super) struct ChannelGauges {
    /// In the order of the clusters.
    batches: Vec<ChannelGauge>,
    confirmed: ChannelGauge,
    lead: ChannelGauge,
    keeps: ChannelGauge,
    files: ChannelGauge,
    told: ChannelGauge,
    asks: ChannelGauge,
}

impl ChannelGauges {
    pub(super) fn new(measures: &SchedulerMetrics, channels: &Channels) -> Self {
        let channel =
            |name: &str, capacity: Option<usize>| measures.channel(name, capacity.unwrap_or(usize::MAX));
        let batches = measures.clusters().iter().zip(&channels.batches);
        Self {
            batches: batches.map(|(of, to)| channel(&format!("batches-{of}"), to.capacity())).collect(),
            confirmed: channel("confirmed", channels.confirmed.capacity()),
            lead: channel("lead", channels.lead.capacity()),
            keeps: channel("cursors", channels.keeps.capacity()),
            files: channel("job-files", channels.files.capacity()),
            told: channel("runs-told", channels.told.capacity()),
            asks: channel("runs-asked", channels.asks.capacity()),
        }
    }

    /// Looks at all of them.
    pub(super) fn look(&self, channels: &Channels) {
        self.batches.iter().zip(&channels.batches).for_each(|(fill, to)| fill.is(to.len()));
        self.confirmed.is(channels.confirmed.len());
        self.lead.is(channels.lead.len());
        self.keeps.is(channels.keeps.len());
        self.files.is(channels.files.len());
        self.told.is(channels.told.len());
        self.asks.is(channels.asks.len());
    }
}
