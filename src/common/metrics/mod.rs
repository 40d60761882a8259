//! Metrics: the registry with the rules for names and labels, and the sets that both programs have.
//!
//! Names start with `cron_` and end in their unit; counters end in `_total`. Labels are bounded: cluster, topic,
//! job name (at most [`bounds::METRIC_JOB_NAMES`](super::bounds::METRIC_JOB_NAMES), through [`JobLabels`]),
//! outcome; never a command, never a run id, and no histogram carries a job. The rules are asserted where a metric
//! is made, so a metric that breaks one does not survive its first test.

mod beats;
mod channels;
mod jobs;
mod registry;

pub use beats::{Beat, Beats};
pub use channels::ChannelGauge;
pub use jobs::JobLabels;
pub use registry::Metrics;

/// Buckets for lateness, in seconds: 1 ms to 1 h, close together where a tick is on time.
pub const LATENESS_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    900.0, 3600.0,
];

/// Buckets for how long a command took, in seconds: 10 ms to a day.
pub const DURATION_SECONDS: &[f64] =
    &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];

/// Buckets for a call to a broker, in seconds: 0.5 ms to 30 s.
pub const CALL_SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
