//! Tells operators which time-zone data the schedules follow, in the log and as metrics.

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::{IntGauge, IntGaugeVec};

use crate::common::metrics::Metrics;
use crate::common::zones::Zones;

/// How often it is said that the data is old.
const AGAIN: TimeDelta = TimeDelta::days(1);

/// What is measured of the zone data.
#[derive(Debug, Clone)]
pub struct ZoneMetrics {
    info: IntGaugeVec,
    published: IntGauge,
}

impl ZoneMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            info: metrics.gauges(
                "cron_tzdata_info",
                "Always 1; the version of the time-zone data in use and its source (host, program) are in the labels.",
                &["version", "source"],
            ),
            published: metrics.gauge(
                "cron_tzdata_published_seconds",
                "When the time-zone data in use was published, as far as that is known, in seconds since the epoch.",
            ),
        }
    }
}

/// What was shown last.
#[derive(Debug)]
pub(super) struct ZoneStatus {
    metrics: ZoneMetrics,
    shown: Option<Zones>,
    warned: Option<DateTime<Utc>>,
}

impl ZoneStatus {
    /// Nothing was shown yet.
    pub(super) fn new(metrics: ZoneMetrics) -> Self {
        Self { metrics, shown: None, warned: None }
    }

    /// Shows which data is in use, and once a day that it is old.
    pub(super) fn show(&mut self, zones: &Zones, now: DateTime<Utc>) {
        if self.shown.as_ref() != Some(zones) {
            match &self.shown {
                None => log::info!("time zones: {zones}"),
                Some(before) => log::info!(
                    "time zones: {zones}, instead of {}; what is due from now on is computed anew",
                    before.version()
                ),
            }
            self.metrics.info.reset();
            self.metrics.info.with_label_values(&[zones.version(), zones.source().word()]).set(1);
            self.metrics.published.set(zones.release().published().timestamp());
            (self.shown, self.warned) = (Some(zones.clone()), None);
        }
        if zones.release().is_old(now) && self.warned.is_none_or(|warned| now - warned >= AGAIN) {
            self.warned = Some(now);
            log::warn!(
                "the time-zone data is more than a year old ({zones}): zones whose rules changed since are off \
                 (update the host's package tzdata, or this program)"
            );
        }
    }
}
