//! What the run tracker measures.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge};

use crate::common::metrics::Metrics;
use crate::common::model::{ClusterName, Then};

/// The metrics of the run tracker.
#[derive(Debug, Clone)]
pub struct RunTrackerMetrics {
    lost: IntCounterVec,
    given_up: IntCounterVec,
    failures: IntCounterVec,
    unclaimable: IntCounterVec,
    blocked: GaugeVec,
    watched: IntGauge,
    beat_delay: Gauge,
    differing: IntGauge,
    zones_differing: IntGauge,
}

impl RunTrackerMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            lost: metrics.counters(
                "cron_attempts_lost_total",
                "Attempts whose consumer died or was cut off, found and passed on by this producer.",
                &["cluster"],
            ),
            given_up: metrics.counters(
                "cron_runs_given_up_total",
                "Runs whose last attempt was lost, found and given up by this producer.",
                &["cluster"],
            ),
            unclaimable: metrics.counters(
                "cron_runs_unclaimable_total",
                "Runs that were published and that no consumer will run, found and ended by this producer. Of jobs whose \
                 overlap is not allow.",
                &["cluster"],
            ),
            blocked: metrics.levels(
                "cron_overlap_blocked_seconds",
                "How long the oldest run has waited for its first attempt to be claimed, or for its end that the leader has asked \
                 for, of jobs whose overlap is not allow: their ticks are skipped or wait meanwhile. 0 where none waits.",
                &["cluster"],
            ),
            failures: metrics.counters(
                "cron_runs_tail_failures_total",
                "Calls that failed while cron-runs was followed, and are made again.",
                &["reason"],
            ),
            watched: metrics.gauge(
                "cron_leases_watched",
                "Attempts that are under way by what cron-runs says, as this producer has read it.",
            ),
            beat_delay: metrics.level(
                "cron_beat_delay_seconds",
                "How long the leader's last beat took to be read back, or the one that is awaited takes already; 0 at a \
                 standby. While it is large nothing is found to be lost.",
            ),
            zones_differing: metrics.gauge(
                "cron_tzdata_differs",
                "Producers that stand by and have had time-zone data of another version than the leader for half a minute \
                 or longer; 0 at a standby.",
            ),
            differing: metrics.gauge(
                "cron_job_file_differs",
                "Producers that stand by and have had another job file than the leader for half a minute or longer; 0 at \
                 a standby.",
            ),
        }
    }

    /// An attempt was declared lost, and what follows is confirmed.
    pub fn lost(&self, cluster: &ClusterName, then: Then) {
        self.lost.with_label_values(&[cluster.as_str()]).inc();
        if then == Then::Dead {
            self.given_up.with_label_values(&[cluster.as_str()]).inc();
        }
    }

    /// A run will not be run by any consumer.
    pub fn unclaimable(&self, cluster: &ClusterName) {
        self.unclaimable.with_label_values(&[cluster.as_str()]).inc();
    }

    /// How long runs have waited for their first attempt to be claimed, by cluster.
    pub fn waits(&self, clusters: &[ClusterName], longest: &BTreeMap<ClusterName, Duration>) {
        for cluster in clusters {
            let waits = longest.get(cluster).copied().unwrap_or_default();
            self.blocked.with_label_values(&[cluster.as_str()]).set(waits.as_secs_f64());
        }
    }

    /// A call failed.
    pub fn failed(&self, reason: &str) {
        self.failures.with_label_values(&[reason]).inc();
    }

    /// How many producers have another job file than we, who lead.
    pub fn zones_differing(&self, count: usize) {
        self.zones_differing.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many producers have another job file than the leader.
    pub fn differing(&self, count: usize) {
        self.differing.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many attempts are under way, and how long a beat takes.
    pub fn is_at(&self, watched: usize, beat_delay: Duration) {
        self.watched.set(i64::try_from(watched).unwrap_or(i64::MAX));
        self.beat_delay.set(beat_delay.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_shown_under_its_name() {
        let metrics = Metrics::new();
        let measures = RunTrackerMetrics::new(&metrics);
        let clusters: Vec<ClusterName> = ["a", "b"].map(|name| name.parse().unwrap()).into();
        measures.lost(&clusters[0], Then::Retried);
        measures.lost(&clusters[0], Then::Dead);
        measures.unclaimable(&clusters[1]);
        measures.waits(&clusters, &BTreeMap::from([(clusters[1].clone(), Duration::from_millis(2_500))]));
        measures.failed("not_sent");
        measures.differing(2);
        measures.zones_differing(3);
        measures.is_at(4, Duration::from_millis(1_500));
        let page = String::from_utf8(metrics.page().unwrap()).unwrap();
        for line in [
            "cron_attempts_lost_total{cluster=\"a\"} 2",
            "cron_runs_given_up_total{cluster=\"a\"} 1",
            "cron_runs_unclaimable_total{cluster=\"b\"} 1",
            "cron_overlap_blocked_seconds{cluster=\"a\"} 0",
            "cron_overlap_blocked_seconds{cluster=\"b\"} 2.5",
            "cron_runs_tail_failures_total{reason=\"not_sent\"} 1",
            "cron_job_file_differs 2",
            "cron_tzdata_differs 3",
            "cron_leases_watched 4",
            "cron_beat_delay_seconds 1.5",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}: {page}");
        }
    }
}
