//! What a scrape costs: the page of a consumer that has run 10,000 jobs, and that of a producer which counts their ticks.
//!
//! `cargo bench --bench page` prints milliseconds; nothing is asserted, for machines differ. `docs/METRICS.md` says what
//! is to be expected.
#![expect(clippy::print_stdout, reason = "a measurement that is read by people")]
#![expect(clippy::expect_used, reason = "the words are the benchmark's own")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use kafka_cron::common::metrics::{Beats, Metrics};
use kafka_cron::common::model::{Attempt, ClusterName, JobName, Outcome, Place, Run, RunId};
use kafka_cron::common::passing::Fit;
use kafka_cron::consumer::claiming::machine::Claimed;
use kafka_cron::consumer::metrics::ConsumerMetrics;
use kafka_cron::consumer::reporting::reports::Report;
use kafka_cron::producer;

const JOBS: usize = 10_000;
const SCRAPES: usize = 100;

fn main() {
    let metrics = Metrics::new();
    let measures = ConsumerMetrics::new(&metrics, "cluster-a");
    let beats = Beats::new(&metrics);
    for thread in ["dispatch", "membership", "poll", "fetch", "reporter", "metrics-http"] {
        beats.thread(thread).touch(DateTime::UNIX_EPOCH);
    }
    let outcomes = [Outcome::Succeeded, Outcome::Failed { code: 1 }, Outcome::TimedOut, Outcome::Expired];
    for number in 0..JOBS {
        for outcome in &outcomes {
            let report = report(number, outcome.clone());
            measures.taken(&report.claimed, report.started_at);
            measures.started(&report.claimed, report.started_at);
            measures.ended(&report);
            measures.passed_on(&report);
        }
    }
    print("consumer", &metrics);

    let metrics = Metrics::new();
    let measures = producer::metrics::ProducerMetrics::new(&metrics);
    for cluster in ["cluster-a", "cluster-b"] {
        let of = measures.of(&ClusterName::new(cluster).expect("a name"));
        (0..JOBS).for_each(|_| of.published(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH));
    }
    print("producer", &metrics);
}

fn print(program: &str, metrics: &Metrics) {
    let page = metrics.page().expect("a page");
    let mut took: Vec<Duration> = (0..SCRAPES)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(metrics.page().expect("a page"));
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    let lines = page.iter().filter(|byte| **byte == b'\n').count();
    let (median, worst) = (took[SCRAPES / 2], took[SCRAPES - 1]);
    println!(
        "{program}, {JOBS} jobs: {lines} lines, {} kB, {:.1} ms (the slowest of {SCRAPES}: {:.1} ms)",
        page.len() / 1_000,
        median.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3,
    );
}

fn report(number: usize, outcome: Outcome) -> Report {
    let job = JobName::new(&format!("a-job-with-a-name-of-usual-length-{number}")).expect("a name");
    let id = RunId::of(&job, DateTime::UNIX_EPOCH);
    let run = Run::sample(id, job, ClusterName::new("cluster-a").expect("a name"));
    let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: None };
    let topic_id = uuid::Uuid::nil();
    let place = Place { topic: "cluster-a".to_owned(), topic_id, partition: 0, offset: 0 };
    let start_by = std::time::Instant::now();
    let claimed = Claimed { attempt, place, published_ms: 0, claimed_at: DateTime::UNIX_EPOCH, start_by };
    let (started_at, ended_at) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
    let (output_tail, fit, is_terse) = (String::new(), Fit::Whole, false);
    Report { claimed, outcome, started_at, ended_at, output_bytes: 0, output_tail, fit, is_terse }
}
