//! Every thread shows when it last came round, so that one that hangs can be seen from outside.

use chrono::{DateTime, Utc};
use prometheus::{Gauge, GaugeVec};

use super::Metrics;

/// `cron_thread_last_beat_seconds{thread}`.
#[derive(Debug, Clone)]
pub struct Beats(GaugeVec);

impl Beats {
    /// Registers the metric.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "When the thread last came round, in seconds since the epoch by this host's clock.";
        Self(metrics.levels("cron_thread_last_beat_seconds", help, &["thread"]))
    }

    /// The beat of the thread of that name.
    pub fn thread(&self, name: &str) -> Beat {
        Beat(self.0.with_label_values(&[name]))
    }
}

/// What a thread touches each time it comes round.
#[derive(Debug, Clone)]
pub struct Beat(Gauge);

impl Beat {
    /// The thread has come round. Cheap enough for every turn of a loop.
    pub fn touch(&self, now: DateTime<Utc>) {
        #[expect(clippy::cast_precision_loss, reason = "exact to the microsecond until the year 2255")]
        self.0.set(now.timestamp_micros() as f64 / 1e6);
    }

    /// When it last came round, in seconds since the epoch; 0 before the first time.
    pub fn last(&self) -> f64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_shows_when_its_thread_last_came_round() {
        let metrics = Metrics::new();
        let beats = Beats::new(&metrics);
        beats.thread("poll").touch("2026-11-23T17:00:00.250Z".parse().unwrap());
        beats.thread("timer").touch(DateTime::UNIX_EPOCH);
        let page = String::from_utf8(metrics.page().unwrap()).unwrap();
        assert!(page.contains("cron_thread_last_beat_seconds{thread=\"poll\"} 1795453200.25\n"), "{page}");
        assert!(page.contains("cron_thread_last_beat_seconds{thread=\"timer\"} 0\n"), "{page}");
    }
}
