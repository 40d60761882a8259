//! The registry: makes metrics that keep the rules, and prints the page.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Counter, CounterVec, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::channels::{ChannelGauge, Channels};

/// Labels whose values have no bound, and which therefore no metric carries.
const UNBOUNDED_LABELS: [&str; 5] = ["command", "run", "run_id", "offset", "member"];

/// What a histogram may end in: the unit of what it observes.
const UNITS: [&str; 4] = ["_seconds", "_bytes", "_records", "_ratio"];

/// The metrics of one program. Clones share the same registry.
///
/// Every constructor registers what it makes, and asserts that name and labels keep the rules: a metric is written
/// down once in the code, so one that breaks them is a bug that the first test meets.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    channels: Channels,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident -> $one:ident, $many:ident -> $vec:ident, $rule:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self, name: &str, help: &str) -> $one {
            self.register($one::with_opts(opts(name, help, $rule)))
        }
        $(#[$doc])*
        ///
        /// One for each combination of labels.
        pub fn $many(&self, name: &str, help: &str, labels: &[&str]) -> $vec {
            self.register($vec::new(opts(name, help, $rule), bounded(name, labels)))
        }
    )*};
}

impl Metrics {
    /// A registry that holds `cron_build_info` and the metrics of the process (`process_*`, the names that every
    /// Prometheus client uses).
    pub fn new() -> Self {
        let registry = Registry::new();
        let label = &["channel"];
        let channels = Channels {
            items: register(
                &registry,
                IntGaugeVec::new(
                    opts("cron_channel_items", "Messages that wait in the channel.", is_no_total),
                    label,
                ),
            ),
            capacity: register(
                &registry,
                IntGaugeVec::new(
                    opts("cron_channel_capacity", "How many may wait in the channel.", is_no_total),
                    label,
                ),
            ),
        };
        let metrics = Self { registry, channels };
        metrics.register_process();
        let build = metrics.gauges("cron_build_info", "Always 1; the version is in the label.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics
    }

    /// How full the channel of that name is, which holds at most `capacity` messages.
    pub fn channel(&self, name: &str, capacity: usize) -> ChannelGauge {
        self.channels.channel(name, capacity)
    }

    constructors! {
        /// A number of events. The name ends in `_total`.
        counter -> IntCounter, counters -> IntCounterVec, is_total;
        /// A sum that is not whole, such as seconds. The name ends in `_total`.
        sum -> Counter, sums -> CounterVec, is_total;
        /// A whole number that goes up and down.
        gauge -> IntGauge, gauges -> IntGaugeVec, is_no_total;
        /// A number that goes up and down, such as seconds.
        level -> Gauge, levels -> GaugeVec, is_no_total;
    }

    /// How values spread over buckets. The name ends in the unit.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(histogram_opts(name, help, buckets)))
    }

    /// How values spread over buckets, for each combination of labels, none of which is the job.
    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        assert!(!labels.contains(&"job"), "{name}: a histogram for each job would be a page of megabytes");
        self.register(HistogramVec::new(histogram_opts(name, help, buckets), bounded(name, labels)))
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        register(&self.registry, made)
    }

    #[expect(clippy::expect_used, reason = "the registry is new, so nothing has the names yet")]
    fn register_process(&self) {
        self.registry.register(Box::new(ProcessCollector::for_self())).expect("the first collector");
    }

    /// The page of `/metrics`, in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// What the encoder says about a metric that it cannot print.
    pub fn page(&self) -> prometheus::Result<Vec<u8>> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut page)?;
        Ok(page)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::expect_used, reason = "names are constants, each registered once: anything else is a bug")]
fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let metric = made.expect("a metric with a valid name and labels");
    registry.register(Box::new(metric.clone())).expect("a metric that is registered once");
    metric
}

fn is_total(name: &str) -> bool {
    name.ends_with("_total")
}

fn is_no_total(name: &str) -> bool {
    !is_total(name)
}

fn opts(name: &str, help: &str, rule: fn(&str) -> bool) -> Opts {
    assert!(name.starts_with("cron_"), "{name}: names start with cron_");
    assert!(rule(name), "{name}: counters, and only they, end in _total");
    assert!(!help.is_empty(), "{name}: a help text says what is counted");
    Opts::new(name, help)
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    assert!(UNITS.iter().any(|unit| name.ends_with(unit)), "{name}: a histogram ends in its unit");
    HistogramOpts::from(opts(name, help, is_no_total)).buckets(buckets.to_vec())
}

fn bounded<'a>(name: &str, labels: &'a [&'a str]) -> &'a [&'a str] {
    assert!(!labels.iter().any(|label| UNBOUNDED_LABELS.contains(label)), "{name}: {labels:?} have no bound");
    labels
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.page().unwrap()).unwrap()
    }

    #[test]
    fn the_page_shows_the_build_the_process_and_what_was_counted() {
        let metrics = Metrics::new();
        metrics.counters("cron_things_total", "Things.", &["cluster"]).with_label_values(&["a"]).inc_by(3);
        metrics.histogram("cron_thing_seconds", "How long things take.", &[0.5, 1.0]).observe(0.7);
        let page = page(&metrics);
        for line in [
            concat!("cron_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "cron_things_total{cluster=\"a\"} 3",
            "cron_thing_seconds_bucket{le=\"0.5\"} 0",
            "cron_thing_seconds_bucket{le=\"1\"} 1",
        ] {
            assert!(page.lines().any(|l| l == line), "no `{line}` in\n{page}");
        }
        assert!(page.contains("\nprocess_resident_memory_bytes "), "{page}");
    }

    #[test]
    fn a_metric_that_breaks_a_rule_does_not_survive_its_first_test() {
        let check = |what: &str, make: &dyn Fn(&Metrics)| {
            let metrics = Metrics::new();
            assert!(catch_unwind(AssertUnwindSafe(|| make(&metrics))).is_err(), "{what}");
        };
        check("no prefix", &|m| drop(m.counter("things_total", "Things.")));
        check("a counter without _total", &|m| drop(m.counter("cron_things", "Things.")));
        check("a gauge with _total", &|m| drop(m.gauge("cron_things_total", "Things.")));
        check("no help", &|m| drop(m.gauge("cron_things", "")));
        check("a run as a label", &|m| drop(m.counters("cron_things_total", "Things.", &["run"])));
        check("a histogram without a unit", &|m| drop(m.histogram("cron_things", "Things.", &[1.0])));
        check("a histogram of jobs", &|m| drop(m.histograms("cron_t_seconds", "Time.", &["job"], &[1.0])));
        check("the same name twice", &|m| {
            drop(m.gauge("cron_things", "Things."));
            drop(m.gauge("cron_things", "Things."));
        });
    }
}
