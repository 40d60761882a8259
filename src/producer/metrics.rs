//! What a producer measures. Threads hold clones and count where things happen; `docs/METRICS.md` lists the names.

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use crate::common::bounds::ENCODED_BATCHES;
use crate::common::metrics::{ChannelGauge, LATENESS_SECONDS, Metrics};
use crate::common::model::ClusterName;
use crate::producer::scheduler::levels::Levels;

/// The metrics of one producer.
#[derive(Debug, Clone)]
pub struct ProducerMetrics {
    published: IntCounterVec,
    failures: IntCounterVec,
    missed: IntCounterVec,
    skipped: IntCounterVec,
    stages: HistogramVec,
    metrics: Metrics,
}

impl ProducerMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            published: metrics.counters(
                "cron_ticks_published_total",
                "Ticks whose message is confirmed.",
                &["cluster"],
            ),
            failures: metrics.counters(
                "cron_publish_failures_total",
                "Batches of ticks that were not confirmed and are written again.",
                &["cluster", "reason"],
            ),
            missed: metrics.counters(
                "cron_ticks_missed_total",
                "Ticks that will never be run.",
                &["cluster", "reason"],
            ),
            skipped: metrics.counters(
                "cron_ticks_skipped_total",
                "Ticks that were not run because the run before them was not finished.",
                &["cluster"],
            ),
            stages: metrics.histograms(
                "cron_lateness_stage_seconds",
                "The parts of the lateness: scheduled to published.",
                &["topic", "stage"],
                LATENESS_SECONDS,
            ),
            metrics: metrics.clone(),
        }
    }

    /// The part of one cluster.
    pub fn of(&self, cluster: &ClusterName) -> ClusterMetrics {
        let cluster = cluster.as_str();
        ClusterMetrics {
            published: self.published.with_label_values(&[cluster]),
            lateness: self.stages.with_label_values(&[cluster, "published"]),
            failures: self.failures.clone(),
            missed: self.missed.clone(),
            skipped: self.skipped.with_label_values(&[cluster]),
            encoded: self.metrics.channel(&format!("records-{cluster}"), ENCODED_BATCHES),
            cluster: cluster.to_owned(),
        }
    }
}

/// The metrics of the scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerMetrics {
    leader: IntGauge,
    /// Terms of ours that have begun.
    pub leads: IntCounter,
    commit_failures: IntCounterVec,
    skew: GaugeVec,
    cursors: GaugeVec,
    clusters: Vec<ClusterName>,
    /// For each cluster: jobs, ticks in flight, backlog.
    levels: Vec<[IntGauge; 3]>,
    metrics: Metrics,
}

impl SchedulerMetrics {
    /// Registers the metrics; `clusters` in the scheduler's order.
    pub fn new(metrics: &Metrics, clusters: &[ClusterName]) -> Self {
        let levels = [
            metrics.gauges("cron_jobs", "Jobs of the active job file.", &["cluster"]),
            metrics.gauges(
                "cron_ticks_under_way",
                "Ticks that are due and not yet confirmed, as far as they have been taken from the timetable.",
                &["cluster"],
            ),
            metrics.gauges(
                "cron_catch_up_ticks",
                "Ticks of the past that are still to be taken and published, as far as they have been counted; 0 at a standby.",
                &["cluster"],
            ),
        ];
        let levels_of = |cluster: &ClusterName| {
            levels.each_ref().map(|level| level.with_label_values(&[cluster.as_str()]))
        };
        Self {
            leader: metrics.gauge("cron_leader", "1 while this producer leads, else 0."),
            leads: metrics.counter("cron_leads_total", "Terms in which this producer has led."),
            commit_failures: metrics.counters(
                "cron_cursor_commit_failures_total",
                "Commits of cursors that failed and are made again.",
                &["reason"],
            ),
            skew: metrics.levels(
                "cron_clock_skew_seconds",
                "How far our clock was ahead of the broker's when they were last compared; absent until then.",
                &[],
            ),
            cursors: metrics.levels(
                "cron_cursor_seconds",
                "Every tick due up to this instant has its fate on record; seconds since the epoch.",
                &["cluster"],
            ),
            clusters: clusters.to_vec(),
            levels: clusters.iter().map(levels_of).collect(),
            metrics: metrics.clone(),
        }
    }

    /// Whether we lead, and how each cluster is.
    pub fn levels(&self, leads: bool, clusters: impl Iterator<Item = Levels>) {
        self.leader.set(i64::from(leads));
        let level = |of: u64| i64::try_from(of).unwrap_or(i64::MAX);
        for ([jobs, in_flight, backlog], levels) in self.levels.iter().zip(clusters) {
            jobs.set(level(levels.jobs as u64));
            in_flight.set(level(levels.in_flight as u64));
            backlog.set(level(levels.backlog));
        }
    }

    /// Cursors could not be committed.
    pub fn not_kept(&self, reason: &str) {
        self.commit_failures.with_label_values(&[reason]).inc();
    }

    /// How full the channel of that name is.
    pub fn channel(&self, name: &str, capacity: usize) -> ChannelGauge {
        self.metrics.channel(name, capacity)
    }

    /// The clusters, in the scheduler's order.
    pub fn clusters(&self) -> &[ClusterName] {
        &self.clusters
    }

    /// Our clock was compared with the broker's.
    pub fn skew(&self, ahead: TimeDelta) {
        self.skew.with_label_values(&[] as &[&str]).set(ahead.as_seconds_f64());
    }

    /// These cursors are committed.
    pub fn kept(&self, cursors: &[Option<DateTime<Utc>>]) {
        let begun =
            self.clusters.iter().zip(cursors).filter_map(|(cluster, cursor)| Some((cluster, (*cursor)?)));
        for (cluster, cursor) in begun {
            #[expect(clippy::cast_precision_loss, reason = "exact to the microsecond until the year 2255")]
            self.cursors.with_label_values(&[cluster.as_str()]).set(cursor.timestamp_millis() as f64 / 1e3);
        }
    }
}

/// The metrics of a producer for one cluster.
#[derive(Debug, Clone)]
pub struct ClusterMetrics {
    /// Batches of which the records are made, waiting to be written.
    pub encoded: ChannelGauge,
    published: IntCounter,
    lateness: Histogram,
    failures: IntCounterVec,
    missed: IntCounterVec,
    skipped: IntCounter,
    cluster: String,
}

impl ClusterMetrics {
    /// A tick is confirmed.
    pub fn published(&self, scheduled_at: DateTime<Utc>, confirmed_at: DateTime<Utc>) {
        self.published.inc();
        self.lateness.observe((confirmed_at - scheduled_at).to_std().unwrap_or_default().as_secs_f64());
    }

    /// A batch was not confirmed.
    pub fn failed(&self, reason: &str) {
        self.failures.with_label_values(&[self.cluster.as_str(), reason]).inc();
    }

    /// A tick was skipped.
    pub fn skipped(&self) {
        self.skipped.inc();
    }

    /// Ticks will never be run.
    pub fn missed(&self, count: u64, reason: &str) {
        self.missed.with_label_values(&[self.cluster.as_str(), reason]).inc_by(count);
    }
}
