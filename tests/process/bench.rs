//! Workers with everything around them that is not Kafka.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::http::Health;
use kafka_cron::common::metrics::Metrics;
use kafka_cron::common::model::{Attempt, JobName, Limits, Outcome, Place, Run, RunId};
use kafka_cron::consumer::claiming::machine::Claimed;
use kafka_cron::consumer::metrics::ConsumerMetrics;
use kafka_cron::consumer::orders::desk::Desk;
use kafka_cron::consumer::reporting::messages::Event;
use kafka_cron::consumer::reporting::reports::Report;
use kafka_cron::consumer::running::process::Settings;
use kafka_cron::consumer::running::worker::{Channels, Options, Workers};
use uuid::Uuid;

use crate::child;
use crate::support::unique;

/// Long enough for a loaded machine; nothing here needs it.
pub const LONG: Duration = Duration::from_secs(30);

pub struct Bench {
    pub workers: Workers,
    pub measures: ConsumerMetrics,
    pub metrics: Metrics,
    pub idle: Receiver<()>,
    pub desk: Desk,
    jobs: Option<Sender<Box<Claimed>>>,
    told: Receiver<Event>,
}

impl Bench {
    pub fn new(workers: usize) -> Self {
        Self::with(options(workers), &system_clock())
    }

    pub fn with(options: Options, clock: &Arc<dyn Clock>) -> Self {
        let (jobs, from_dispatch) = bounded(options.workers);
        let (to_dispatch, idle) = bounded(options.workers);
        let (tell, told) = bounded(1_000);
        let metrics = Metrics::new();
        let health = Health::new(&metrics);
        let (starting, keeping) = (health.duty("starting"), health.duty("output"));
        let desk = Desk::default();
        let lines =
            Channels { jobs: from_dispatch, idle: to_dispatch, tell, starting, keeping, desk: desk.clone() };
        let measures = ConsumerMetrics::new(&metrics, "a");
        let workers = Workers::start(options, clock, &lines, &measures).unwrap();
        Self { workers, measures, metrics, idle, desk, jobs: Some(jobs), told }
    }

    /// Waits until a worker is free, as dispatch does, and hands it the attempt.
    pub fn start(&self, attempt: Attempt) {
        self.idle.recv_timeout(LONG).expect("a free worker");
        self.hand_over(attempt);
    }

    pub fn hand_over(&self, attempt: Attempt) {
        self.hand_over_for(attempt, std::time::Instant::now() + std::time::Duration::from_secs(3_600));
    }

    /// Hands over an attempt whose claim is good for a start before an instant.
    pub fn hand_over_for(&self, attempt: Attempt, start_by: std::time::Instant) {
        let place = Place { topic: "a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 0 };
        let claimed = Claimed { attempt, place, published_ms: 0, claimed_at: DateTime::UNIX_EPOCH, start_by };
        self.jobs.as_ref().unwrap().send(Box::new(claimed)).unwrap();
    }

    pub fn report(&self) -> Report {
        match self.told.recv_timeout(LONG).expect("a report") {
            Event::Ended(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    pub fn run(&self, attempt: Attempt) -> Report {
        self.start(attempt);
        self.report()
    }

    /// No more will come: the threads end when they are done.
    pub fn close(&mut self) {
        drop(self.jobs.take());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.close();
    }
}

/// Settings whose hidden modes are the consumer's: this program has none.
pub fn settings() -> Settings {
    Settings::plain(child::consumer())
}

pub fn options(workers: usize) -> Options {
    Options { workers, process: settings() }
}

pub fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

pub fn attempt(command: &str) -> Attempt {
    let job = JobName::new(&unique("job")).unwrap();
    let scheduled_at = "2026-11-23T17:00:00Z".parse().unwrap();
    let sample = Run::sample(RunId::of(&job, scheduled_at), job, "a".parse().unwrap());
    let run = Run {
        scheduled_at,
        command: command.to_owned(),
        limits: Limits { grace_ms: 10_000, ..sample.limits },
        ..sample
    };
    Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: None }
}

/// An attempt whose run is changed.
pub fn with(command: &str, change: impl FnOnce(&mut Run)) -> Attempt {
    let mut attempt = attempt(command);
    change(Arc::make_mut(&mut attempt.run));
    attempt
}

pub fn limited(command: &str, timeout_ms: u64, grace_ms: u64) -> Attempt {
    with(command, |run| run.limits = Limits { timeout_ms: Some(timeout_ms), grace_ms, deadline_ms: None })
}

/// Runs a command on a bench of its own.
pub fn run(attempt: Attempt) -> Report {
    Bench::new(1).run(attempt)
}

pub fn check(attempt: Attempt, outcome: &Outcome, tail: &str) {
    let command = attempt.run.command.clone();
    let report = run(attempt);
    assert_eq!((&report.outcome, report.output_tail.as_str()), (outcome, tail), "{command}");
}

pub fn took(report: &Report) -> TimeDelta {
    report.ended_at - report.started_at
}

/// The number that a command wrote into a file, once it has.
pub fn pid_in(file: &Path) -> Option<i32> {
    std::fs::read_to_string(file).ok()?.strip_suffix('\n')?.parse().ok()
}

/// Whether a process is there and no zombie.
pub fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, Some('Z' | 'X')))
}

/// A clock whose first look at the wall panics.
pub struct Cracked(pub std::sync::atomic::AtomicBool);

impl Clock for Cracked {
    fn now(&self) -> DateTime<Utc> {
        let cracked = self.0.swap(false, std::sync::atomic::Ordering::Relaxed);
        assert!(!cracked, "the clock is cracked");
        SystemClock.now()
    }

    fn monotonic(&self) -> std::time::Instant {
        SystemClock.monotonic()
    }

    fn alarm(&self, after: Duration) -> Receiver<std::time::Instant> {
        SystemClock.alarm(after)
    }
}
