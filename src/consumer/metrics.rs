//! The metrics of a consumer. Threads hold clones and count where things happen; `docs/METRICS.md` lists the names.

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::claiming::machine::Claimed;
use super::reporting::reports::Report;
use crate::common::metrics::{ChannelGauge, DURATION_SECONDS, JobLabels, LATENESS_SECONDS, Metrics};
use crate::common::model::{Outcome, Then};

/// The metrics of one consumer, all of one topic.
#[derive(Debug, Clone)]
pub struct ConsumerMetrics {
    /// Attempts that were handed to a worker and have not been reported.
    pub workers_busy: IntGauge,
    /// Workers in all.
    pub workers: IntGauge,
    /// Copies of attempts that were dropped.
    pub duplicates: IntCounter,
    /// Claims that the coordinator refused.
    pub claims_refused: IntCounter,
    /// Claims that were confirmed after their lease.
    pub claims_too_late: IntCounter,
    /// Generations that we were assigned a share in.
    pub rebalances: IntCounter,
    /// Messages that are held until their instant.
    pub held: IntGauge,
    /// Whether nothing new is taken because the host is overloaded.
    pub admission_closed: IntGauge,
    /// How much the host stalls, by resource; only with `--pressure`.
    pub pressure: GaugeVec,
    /// Messages that no consumer has claimed, by partition; only those of our partitions.
    pub lag: IntGaugeVec,
    /// Fetch requests that were answered.
    pub fetches: IntCounter,
    /// Failures to fetch, by reason.
    pub fetch_failures: IntCounterVec,
    /// Failures to write claims, and to look up what is needed for that, by reason.
    pub claim_failures: IntCounterVec,
    /// Commits of claims that decided nothing, by reason.
    pub commit_failures: IntCounterVec,
    /// Failures to write results, by reason.
    pub report_failures: IntCounterVec,
    /// Letters written, by reason.
    pub dead_letters: IntCounterVec,
    /// Starts that were put off because the system had no descriptor, process or memory.
    pub starts_put_off: IntCounter,
    gone: IntCounterVec,
    skew: GaugeVec,
    attempts_started: IntCounter,
    attempts: IntCounterVec,
    runs: IntCounterVec,
    last_success: GaugeVec,
    queue_age: Histogram,
    durations: HistogramVec,
    retries: IntCounter,
    lateness: Histogram,
    stages: HistogramVec,
    jobs: JobLabels,
    metrics: Metrics,
    topic: String,
}

impl ConsumerMetrics {
    /// Registers the metrics of a consumer of `topic`.
    pub fn new(metrics: &Metrics, topic: &str) -> Self {
        let counter = |name, help| metrics.counters(name, help, &["topic"]).with_label_values(&[topic]);
        let gauge = |name, help| metrics.gauges(name, help, &["topic"]).with_label_values(&[topic]);
        let failures = |name, help| metrics.counters(name, help, &["topic", "reason"]);
        let late = |name, help| {
            metrics.histograms(name, help, &["topic"], LATENESS_SECONDS).with_label_values(&[topic])
        };
        Self {
            workers_busy: gauge("cron_workers_busy", "Workers that have an attempt under way."),
            workers: gauge("cron_workers", "Workers in all."),
            duplicates: counter("cron_duplicates_dropped_total", "Copies of attempts that were dropped."),
            claims_refused: counter("cron_claims_refused_total", "Claims that the coordinator refused."),
            claims_too_late: counter(
                "cron_claims_too_late_total",
                "Claims that were confirmed after their lease and therefore not started.",
            ),
            rebalances: counter("cron_rebalances_total", "Generations of the group that gave us a share."),
            admission_closed: gauge(
                "cron_admission_closed",
                "1 while the consumer takes nothing new because its host is overloaded (--pressure).",
            ),
            pressure: metrics.levels(
                "cron_pressure_percent",
                "Share of the last ten seconds in which a process of the host waited for the resource.",
                &["resource"],
            ),
            held: gauge("cron_held_attempts", "Attempts that are held until the instant they may start."),
            lag: metrics.gauges(
                "cron_lag_messages",
                "Messages that no consumer has claimed yet, held ones included, of the partitions that are ours.",
                &["topic", "partition"],
            ),
            fetches: counter("cron_fetches_total", "Fetch requests that were answered."),
            fetch_failures: failures("cron_fetch_failures_total", "Fetches that failed."),
            claim_failures: failures(
                "cron_claim_failures_total",
                "Claims that could not be written, or not looked up what is needed for that.",
            ),
            commit_failures: failures(
                "cron_commit_failures_total",
                "Commits of claims without an answer that decides them.",
            ),
            report_failures: failures("cron_report_failures_total", "Writes of results that failed."),
            dead_letters: failures("cron_dead_letters_total", "Letters written to the dead-letter topic."),
            gone: failures(
                "cron_messages_gone_total",
                "Messages that were deleted before a consumer claimed them, as far as this one knew of them.",
            ),
            starts_put_off: counter(
                "cron_starts_put_off_total",
                "Starts that were put off because the system had no descriptor, process or memory.",
            ),
            skew: metrics.levels(
                "cron_clock_skew_seconds",
                "How far our clock was ahead of the broker's when they were last compared; absent until then.",
                &[],
            ),
            attempts_started: counter("cron_attempts_started_total", "Attempts handed to a worker."),
            attempts: metrics.counters(
                "cron_attempts_total",
                "Attempts that have ended.",
                &["topic", "job", "outcome"],
            ),
            runs: metrics.counters(
                "cron_runs_total",
                "Runs that have ended here.",
                &["topic", "job", "outcome"],
            ),
            last_success: metrics.levels(
                "cron_job_last_success_seconds",
                "When an attempt of the job last succeeded here, in seconds since the epoch.",
                &["topic", "job"],
            ),
            queue_age: late(
                "cron_queue_age_seconds",
                "How long attempts that were due and published waited until a worker took them.",
            ),
            durations: metrics.histograms(
                "cron_attempt_duration_seconds",
                "How long attempts took.",
                &["topic", "outcome"],
                DURATION_SECONDS,
            ),
            retries: counter("cron_retries_total", "Attempts that were passed on to the retry topic."),
            lateness: late(
                "cron_lateness_seconds",
                "From the instant that an attempt was due to the start of its process.",
            ),
            stages: metrics.histograms(
                "cron_lateness_stage_seconds",
                "The parts of the lateness: scheduled to published, due and published to claimed, claimed to started.",
                &["topic", "stage"],
                LATENESS_SECONDS,
            ),
            jobs: JobLabels::new(),
            metrics: metrics.clone(),
            topic: topic.to_owned(),
        }
    }

    /// How far our clock is ahead of the broker's.
    pub fn skew(&self, ahead: TimeDelta) {
        self.skew.with_label_values(&[] as &[&str]).set(ahead.as_seconds_f64());
    }

    /// How full the channel of that name is.
    pub fn channel(&self, name: &str, capacity: usize) -> ChannelGauge {
        self.metrics.channel(name, capacity)
    }

    /// A worker has taken an attempt.
    pub fn taken(&self, claimed: &Claimed, now: DateTime<Utc>) {
        self.queue_age.observe(seconds(available(claimed), now));
    }

    /// An attempt's process was started (or could not be).
    pub fn started(&self, claimed: &Claimed, started_at: DateTime<Utc>) {
        self.attempts_started.inc();
        self.lateness.observe(seconds(due(claimed), started_at));
        let stage = |name, from, to| {
            self.stages.with_label_values(&[self.topic.as_str(), name]).observe(seconds(from, to));
        };
        stage("claimed", available(claimed), claimed.claimed_at);
        stage("started", claimed.claimed_at, started_at);
    }

    /// An attempt has ended.
    pub fn ended(&self, report: &Report) {
        let (job, outcome) = (&report.claimed.attempt.run.job, report.outcome.word());
        self.attempts.with_label_values(&[self.topic.as_str(), self.jobs.of(job), outcome]).inc();
        if report.was_started() {
            let took = seconds(report.started_at, report.ended_at);
            self.durations.with_label_values(&[self.topic.as_str(), outcome]).observe(took);
        }
        if report.outcome == Outcome::Succeeded {
            let of = [self.topic.as_str(), self.jobs.of(job)];
            #[expect(clippy::cast_precision_loss, reason = "exact to the microsecond until the year 2255")]
            self.last_success.with_label_values(&of).set(report.ended_at.timestamp_millis() as f64 / 1e3);
        }
    }

    /// What follows from an attempt's end is confirmed; where nothing does, its run has ended with it.
    pub fn passed_on(&self, report: &Report) {
        let ended = |how: &str| {
            let job = self.jobs.of(&report.claimed.attempt.run.job);
            self.runs.with_label_values(&[self.topic.as_str(), job, how]).inc();
        };
        match report.then() {
            Then::Done => ended(report.outcome.word()),
            Then::Retried => self.retries.inc(),
            Then::Dead => {
                self.dead_letter("attempts_exhausted");
                ended("given_up");
            }
        }
    }

    /// A letter is confirmed.
    pub fn dead_letter(&self, reason: &str) {
        self.dead_letters.with_label_values(&[self.topic.as_str(), reason]).inc();
    }

    /// So many messages were deleted before a consumer claimed them.
    pub fn gone(&self, reason: &str, count: u64) {
        self.gone.with_label_values(&[self.topic.as_str(), reason]).inc_by(count);
    }

    /// A call failed.
    pub fn failed(&self, what: &IntCounterVec, reason: &str) {
        what.with_label_values(&[self.topic.as_str(), reason]).inc();
    }
}

/// When an attempt was due.
fn due(claimed: &Claimed) -> DateTime<Utc> {
    claimed.attempt.not_before.unwrap_or(claimed.attempt.run.scheduled_at)
}

/// When an attempt was due and its message could be read.
fn available(claimed: &Claimed) -> DateTime<Utc> {
    let due = due(claimed);
    DateTime::from_timestamp_millis(claimed.published_ms).unwrap_or(due).max(due)
}

/// Seconds from one instant to another by clocks of two hosts; never negative.
fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).to_std().unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::bounds::METRIC_JOB_NAMES;
    use crate::common::model::Place;
    use crate::common::wire;
    use uuid::Uuid;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    /// An attempt that was due at second 0 and whose message was written at another one.
    fn claimed(job: &str, left: u32, published: i64) -> Claimed {
        let text = format!(
            r#"{{"v":1,"run":{{"id":"00000000-0000-0000-0000-000000000001","job":"{job}","cluster":"a",
            "scheduled_at":"{}","command":"x","limits":{{"grace_ms":1}},
            "retry":{{"retries":3,"backoff_ms":1000,"backoff_max_ms":60000}},"revision":"r"}},
            "attempt":1,"attempts_left":{left}}}"#,
            at(0).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        );
        let place = Place { topic: "a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
        let attempt = wire::decode_attempt(text.as_bytes()).unwrap();
        let (published_ms, claimed_at) = (at(published).timestamp_millis(), at(published));
        Claimed { attempt, place, published_ms, claimed_at, start_by: std::time::Instant::now() }
    }

    fn report(job: &str, left: u32, outcome: Outcome) -> Report {
        let (started_at, ended_at) = (at(1), at(2) + TimeDelta::milliseconds(500));
        let claimed = claimed(job, left, 0);
        let (output_tail, fit, is_terse) = (String::new(), crate::common::passing::Fit::Whole, false);
        Report { claimed, outcome, started_at, ended_at, output_bytes: 0, output_tail, fit, is_terse }
    }

    /// The lines of the page that begin so.
    fn lines(metrics: &Metrics, begin: &str) -> Vec<String> {
        let page = String::from_utf8(metrics.page().unwrap()).unwrap();
        page.lines().filter(|line| line.starts_with(begin)).map(str::to_owned).collect()
    }

    #[test]
    fn a_run_ends_once_however_many_attempts_it_took() {
        let metrics = Metrics::new();
        let measures = ConsumerMetrics::new(&metrics, "a");
        for (left, outcome) in [
            (1, Outcome::Failed { code: 1 }),
            (0, Outcome::TimedOut),
            (3, Outcome::Succeeded),
            (3, Outcome::Expired),
            (3, Outcome::Replaced),
            (1, Outcome::Cancelled),
        ] {
            measures.passed_on(&report("j", left, outcome));
        }
        let runs =
            |outcome: &str| format!("cron_runs_total{{job=\"j\",outcome=\"{outcome}\",topic=\"a\"}} 1");
        assert_eq!(
            lines(&metrics, "cron_runs_total{"),
            ["expired", "given_up", "replaced", "succeeded"].map(runs)
        );
        assert_eq!(lines(&metrics, "cron_retries_total{"), ["cron_retries_total{topic=\"a\"} 2"]);
    }

    #[test]
    fn an_attempt_that_was_not_started_took_no_time() {
        let count = |outcome: Outcome, ended_at: DateTime<Utc>| {
            let metrics = Metrics::new();
            let report = report("j", 0, outcome);
            ConsumerMetrics::new(&metrics, "a").ended(&Report { ended_at, ..report });
            lines(&metrics, "cron_attempt_duration_seconds_count").len()
        };
        let started_at = report("j", 0, Outcome::Replaced).started_at;
        for outcome in [Outcome::Replaced, Outcome::Cancelled, Outcome::Expired] {
            assert_eq!(count(outcome.clone(), started_at), 0, "{outcome}");
            assert_eq!(count(outcome, started_at + TimeDelta::milliseconds(1)), 1);
        }
        assert_eq!(count(Outcome::Succeeded, started_at), 1);
    }

    #[test]
    fn the_last_success_is_when_the_command_ended_well() {
        let metrics = Metrics::new();
        let measures = ConsumerMetrics::new(&metrics, "a");
        measures.ended(&report("j", 0, Outcome::Failed { code: 1 }));
        assert_eq!(lines(&metrics, "cron_job_last_success_seconds{"), [""; 0]);
        measures.ended(&report("j", 0, Outcome::Succeeded));
        let expected = "cron_job_last_success_seconds{job=\"j\",topic=\"a\"} 1800000002.5";
        assert_eq!(lines(&metrics, "cron_job_last_success_seconds{"), [expected]);
    }

    #[test]
    fn an_attempt_waits_in_the_queue_from_when_it_was_due_and_published() {
        let check = |published: i64, taken: i64, sum: &str| {
            let metrics = Metrics::new();
            ConsumerMetrics::new(&metrics, "a").taken(&claimed("j", 0, published), at(taken));
            let expected = format!("cron_queue_age_seconds_sum{{topic=\"a\"}} {sum}");
            assert_eq!(lines(&metrics, "cron_queue_age_seconds_sum"), [expected], "{published} {taken}");
        };
        check(0, 7, "7");
        check(3, 7, "4");
        check(-5, 7, "7");
        check(9, 7, "0");
    }

    #[test]
    fn all_metrics_of_jobs_tell_the_same_thousand_apart() {
        let metrics = Metrics::new();
        let measures = ConsumerMetrics::new(&metrics, "a");
        for n in 0..METRIC_JOB_NAMES + 10 {
            let report = report(&format!("job-{n}"), 0, Outcome::Succeeded);
            measures.ended(&report);
            measures.passed_on(&report);
        }
        for name in ["cron_attempts_total{", "cron_runs_total{", "cron_job_last_success_seconds{"] {
            let lines = lines(&metrics, name);
            assert_eq!(lines.len(), METRIC_JOB_NAMES + 1, "{name}");
            assert!(lines.iter().any(|line| line.contains("job=\"other\"")), "{name}");
        }
    }
}
