//! The job files that the simulated producers have: due every few seconds in the first minutes of a run, and never again
//! before the next day, so that all of it comes to an end.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::model::{JobName, Limits, RetryPolicy};
use kafka_cron::producer::active_jobs::ActiveJobs;
use kafka_cron::producer::job::{CatchUp, CatchUpPolicy, Job, Overlap};
use kafka_cron::producer::schedule::Schedule;
use kafka_cron::producer::window::Window;

use crate::world::{BEGIN, cluster};

/// Name, schedule (a run begins at eight), which of the past is caught up, retries, overlap.
type Row = (&'static str, &'static str, CatchUpPolicy, u32, Overlap);

/// In both files, and the same: a swap must not disturb them.
const JOBS: [Row; 9] = [
    ("all", "*/6 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Allow),
    ("last", "*/10 0-3 8 * * *", CatchUpPolicy::Last, 2, Overlap::Allow),
    ("none", "*/15 0-3 8 * * *", CatchUpPolicy::None, 0, Overlap::Allow),
    ("secondly", "* 1 8 * * *", CatchUpPolicy::Last, 0, Overlap::Allow),
    ("skips", "*/4 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Skip),
    ("queues", "*/7 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Queue),
    (HURRIED, "*/9 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Allow),
    (REBOOTS[0], "@reboot", CatchUpPolicy::Last, 0, Overlap::Allow),
    (REBOOTS[1], "@reboot", CatchUpPolicy::Last, 1, Overlap::Skip),
];

/// In one of the files, or different in them.
const OTHERS: [[Row; 2]; 2] = [
    [
        ("first", "*/20 0-3 8 * * *", CatchUpPolicy::Last, 0, Overlap::Skip),
        ("turns", "*/12 0-3 8 * * *", CatchUpPolicy::Last, 0, Overlap::Allow),
    ],
    [
        ("second", "*/20 0-3 8 * * *", CatchUpPolicy::Last, 0, Overlap::Queue),
        ("turns", "*/12 0-3 8 * * *", CatchUpPolicy::Last, 0, Overlap::Skip),
    ],
];

/// The jobs that are run once a reboot; the second one's runs may not overlap.
pub const REBOOTS: [&str; 2] = ["reboot", "agent"];

/// The job whose runs must not start later than this after they are due.
const HURRIED: &str = "hurried";
const DEADLINE: TimeDelta = TimeDelta::seconds(75);

/// How late a job's runs may start at most.
pub fn deadline(job: &JobName) -> Option<TimeDelta> {
    (job.as_str() == HURRIED).then_some(DEADLINE)
}

/// When runs begin.
pub fn begin() -> DateTime<Utc> {
    DateTime::from_timestamp(BEGIN, 0).unwrap()
}

/// From here on nothing is due for a day.
pub fn end() -> DateTime<Utc> {
    begin() + TimeDelta::minutes(4)
}

/// The jobs whose commands are long: where topics take less than the default, their messages are too large.
const BULKY: [&str; 2] = ["last", "first"];

/// A command that makes a message too large for topics that take less than usual.
pub fn bulky_command() -> String {
    format!("true {}", "x".repeat(1_500))
}

/// Whether a job's messages may be too large.
pub fn is_bulky(job: &JobName) -> bool {
    BULKY.contains(&job.as_str())
}

fn job((name, words, policy, retries, overlap): Row) -> Arc<Job> {
    let name = JobName::new(name).unwrap();
    let deadline_ms = deadline(&name).map(|deadline| deadline.num_milliseconds().unsigned_abs());
    let command = if is_bulky(&name) { bulky_command() } else { "true".to_owned() };
    Arc::new(Job {
        name,
        cluster: cluster(),
        schedule: Arc::new(Schedule::parse(words, &kafka_cron::producer::zone::Zone::utc()).unwrap()),
        jitter: Duration::ZERO,
        command,
        environment: Arc::default(),
        cwd: None,
        user: None,
        limits: Limits { timeout_ms: None, grace_ms: 0, deadline_ms },
        retry: RetryPolicy { retries, backoff_ms: 500, backoff_max_ms: 4_000 },
        overlap,
        window: Window::default(),
        catch_up: CatchUp { policy, ..CatchUp::default() },
    })
}

/// The jobs that are in every file, and those that are in some.
pub fn all() -> (Vec<Arc<Job>>, Vec<Arc<Job>>) {
    let jobs = TABLE.get_or_init(|| (JOBS.map(job), OTHERS.map(|rows| rows.map(job))));
    (jobs.0.to_vec(), jobs.1.concat())
}

/// The job file of a number, as a producer has it.
pub fn file(number: usize, producer: &str) -> ActiveJobs {
    let (both, others) = TABLE.get_or_init(|| (JOBS.map(job), OTHERS.map(|rows| rows.map(job))));
    let jobs = both.iter().chain(&others[number % 2]).map(Arc::clone).collect();
    ActiveJobs { jobs, revision: format!("{number}-{producer}").into(), tzdata: "2026f".into() }
}

/// Whether the runs of a job may not overlap by the file of a revision.
pub fn is_exclusive(job: &JobName, revision: &str) -> bool {
    let number: usize = revision.split('-').next().and_then(|number| number.parse().ok()).unwrap();
    let mut rows = JOBS.iter().chain(&OTHERS[number % 2]);
    rows.any(|(name, _, _, _, overlap)| *name == job.as_str() && *overlap != Overlap::Allow)
}

/// Whether there is a file by which the runs of a job may not overlap.
pub fn may_be_exclusive(job: &JobName) -> bool {
    is_exclusive(job, "0") || is_exclusive(job, "1")
}

/// Schedules are parsed once for all runs.
static TABLE: OnceLock<Table> = OnceLock::new();

/// The jobs of both files, and those of each.
type Table = ([Arc<Job>; 9], [[Arc<Job>; 2]; 2]);
