//! How full the channels of the claiming thread are, shown as metrics.

use super::claiming::channels::Channels;
use super::metrics::ConsumerMetrics;
use super::reporting::thread::RESULTS;
use crate::common::metrics::ChannelGauge;

/// One for each channel of which the claiming thread has an end.
#[derive(Debug)]
pub(super) struct ChannelGauges {
    changes: ChannelGauge,
    fetched: ChannelGauge,
    idle: ChannelGauge,
    attempts: ChannelGauge,
    results: ChannelGauge,
    plans: ChannelGauge,
    orders: ChannelGauge,
}

impl ChannelGauges {
    pub(super) fn new(metrics: &ConsumerMetrics, channels: &Channels) -> Self {
        let channel =
            |name: &str, capacity: Option<usize>| metrics.channel(name, capacity.unwrap_or(usize::MAX));
        Self {
            changes: channel("membership", channels.changes.capacity()),
            fetched: channel("fetched", channels.chunks.capacity()),
            idle: channel("idle", channels.idle.capacity()),
            attempts: channel("attempts", channels.jobs.capacity()),
            results: channel(RESULTS, channels.report.tell.capacity()),
            plans: channel("plans", channels.poll.plans.capacity()),
            orders: channel("orders", channels.orders.capacity()),
        }
    }

    /// Looks at all of them.
    pub(super) fn look(&self, channels: &Channels) {
        self.changes.is(channels.changes.len());
        self.fetched.is(channels.chunks.len());
        self.idle.is(channels.idle.len());
        self.attempts.is(channels.jobs.len());
        self.results.is(channels.report.tell.len());
        self.plans.is(channels.poll.plans.len());
        self.orders.is(channels.orders.len());
    }
}
