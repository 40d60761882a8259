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
    leadership: ChannelGauge,
    cursors: ChannelGauge,
    files: ChannelGauge,
    runs: ChannelGauge,
    asks: ChannelGauge,
}

impl ChannelGauges {
    pub(super) fn new(metrics: &SchedulerMetrics, channels: &Channels) -> Self {
        let channel =
            |name: &str, capacity: Option<usize>| metrics.channel(name, capacity.unwrap_or(usize::MAX));
        let batches = metrics.clusters().iter().zip(&channels.batches);
        Self {
            batches: batches.map(|(of, to)| channel(&format!("batches-{of}"), to.capacity())).collect(),
            confirmed: channel("confirmed", channels.confirmed.capacity()),
            leadership: channel("lead", channels.leadership.capacity()),
            cursors: channel("cursors", channels.cursors.capacity()),
            files: channel("job-files", channels.files.capacity()),
            runs: channel("runs-told", channels.runs.capacity()),
            asks: channel("runs-asked", channels.asks.capacity()),
        }
    }

    /// Looks at all of them.
    pub(super) fn look(&self, channels: &Channels) {
        self.batches.iter().zip(&channels.batches).for_each(|(fill, to)| fill.is(to.len()));
        self.confirmed.is(channels.confirmed.len());
        self.leadership.is(channels.leadership.len());
        self.cursors.is(channels.cursors.len());
        self.files.is(channels.files.len());
        self.runs.is(channels.runs.len());
        self.asks.is(channels.asks.len());
    }
}
