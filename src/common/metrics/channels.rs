//! How full the channels between threads are.
//!
//! A thread that holds an end of a channel counts each time it comes round: a clone of an end that only counted would keep
//! the channel open, and threads stop when their channels close.

use prometheus::{IntGauge, IntGaugeVec};

/// `cron_channel_items{channel}` and `cron_channel_capacity{channel}`; [`Metrics::channel`](super::Metrics::channel)
/// hands out the parts.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    pub items: IntGaugeVec,
    pub capacity: IntGaugeVec,
}

impl Channels {
    pub fn channel(&self, name: &str, capacity: usize) -> ChannelGauge {
        self.capacity.with_label_values(&[name]).set(count(capacity));
        ChannelGauge(self.items.with_label_values(&[name]))
    }
}

/// How full one channel is.
#[derive(Debug, Clone)]
pub struct ChannelGauge(IntGauge);

impl ChannelGauge {
    /// So many messages wait. Cheap enough for every turn of a loop.
    pub fn is(&self, items: usize) {
        self.0.set(count(items));
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::common::metrics::Metrics;

    #[test]
    fn a_channel_shows_what_waits_in_it_beside_what_may() {
        let metrics = Metrics::new();
        let fill = metrics.channel("log", 8);
        let check = |expected: &str| {
            let page = String::from_utf8(metrics.page().unwrap()).unwrap();
            assert!(page.contains(expected), "{page}");
        };
        check("cron_channel_capacity{channel=\"log\"} 8\n");
        check("cron_channel_items{channel=\"log\"} 0\n");
        fill.is(5);
        check("cron_channel_items{channel=\"log\"} 5\n");
    }
}
