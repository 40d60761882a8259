//! The job files that the simulated producers have: due every few seconds in the first minutes of a run, and never again
//! before the next day, so that all of it comes to an end.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::model::{JobName, Limits, RetryPolicy};
use kafka_cron::producer::active_jobs::ActiveJobs;
use kafka_cron::producer::job::{CatchUp, CatchUpPolicy, Job, Overlap};
use kafka_cron::producer::schedule::Schedule;

use crate::world::{BEGIN, cluster};

/// Name, schedule (a run begins at eight), which of the past is caught up, retries, overlap.
type Row = (&'static str, &'static str, CatchUpPolicy, u32, Overlap);

/// The same, with the overlap in each file; none where the file does not have the job.
type Changing = (&'static str, &'static str, CatchUpPolicy, u32, [Option<Overlap>; FILES]);

/// In all files, and the same: a swap must not disturb them.
const JOBS: [Row; 10] = [
    ("all", "*/6 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Allow),
    ("last", "*/10 0-3 8 * * *", CatchUpPolicy::Last, 2, Overlap::Allow),
    ("none", "*/15 0-3 8 * * *", CatchUpPolicy::None, 0, Overlap::Allow),
    ("secondly", "* 1 8 * * *", CatchUpPolicy::Last, 0, Overlap::Allow),
    ("skips", "*/4 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Skip),
    ("queues", "*/7 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Queue),
    ("replaces", "*/4 0-3 8 * * *", CatchUpPolicy::All, 2, Overlap::Replace),
    (HURRIED, "*/9 0-3 8 * * *", CatchUpPolicy::All, 1, Overlap::Allow),
    (REBOOTS[0], "@reboot", CatchUpPolicy::Last, 0, Overlap::Allow),
    (REBOOTS[1], "@reboot", CatchUpPolicy::Last, 1, Overlap::Skip),
];

/// How many files there are; they follow each other in turn.
const FILES: usize = 4;

/// Jobs whose `overlap` is not the same in every file. Between two files that follow each other, jobs gain `overlap`, lose it
/// and change it, come and go.
const CHANGING: [Changing; 6] = [
    ("first", "*/20 0-3 8 * * *", CatchUpPolicy::Last, 0, [SKIP, None, QUEUE, None]),
    ("second", "*/20 0-3 8 * * *", CatchUpPolicy::Last, 0, [None, QUEUE, None, ALLOW]),
    ("turns", "*/12 0-3 8 * * *", CatchUpPolicy::Last, 0, [ALLOW, SKIP, ALLOW, QUEUE]),
    ("gains", "*/5 0-3 8 * * *", CatchUpPolicy::All, 1, [ALLOW, QUEUE, SKIP, QUEUE]),
    ("varies", "*/6 0-3 8 * * *", CatchUpPolicy::All, 1, [REPLACE, SKIP, REPLACE, QUEUE]),
    ("loses", "*/8 0-3 8 * * *", CatchUpPolicy::All, 1, [QUEUE, ALLOW, SKIP, ALLOW]),
];
const ALLOW: Option<Overlap> = Some(Overlap::Allow);
const SKIP: Option<Overlap> = Some(Overlap::Skip);
const QUEUE: Option<Overlap> = Some(Overlap::Queue);
const REPLACE: Option<Overlap> = Some(Overlap::Replace);

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
    let schedule = Schedule::parse(words, &kafka_cron::producer::zone::Zone::utc()).unwrap();
    Arc::new(Job {
        command,
        limits: Limits { timeout_ms: None, grace_ms: 0, deadline_ms },
        retry: RetryPolicy { retries, backoff_ms: 500, backoff_max_ms: 4_000 },
        overlap,
        catch_up: CatchUp { policy, ..CatchUp::default() },
        ..Job::sample(name, cluster(), schedule)
    })
}

/// All jobs by their names, each as one of the files has it, and whether every file has it. A job's ticks are the same in
/// all files that have it.
pub fn all() -> Vec<(Arc<Job>, bool)> {
    let changing = CHANGING.into_iter().map(|(name, words, policy, retries, overlaps)| {
        let is_owed = overlaps.iter().all(Option::is_some);
        (job((name, words, policy, retries, Overlap::Allow)), is_owed)
    });
    JOBS.into_iter().map(|row| (job(row), true)).chain(changing).collect()
}

/// The job file of a number, as a producer has it.
pub fn file(number: usize, producer: &str) -> ActiveJobs {
    let jobs = FILES_OF_JOBS.get_or_init(|| std::array::from_fn(jobs_of))[number % FILES].clone();
    ActiveJobs { jobs, revision: format!("{number}-{producer}").into(), tzdata: "2026f".into() }
}

fn jobs_of(number: usize) -> Vec<Arc<Job>> {
    JOBS.into_iter().chain(changing(number)).map(job).collect()
}

/// The changing jobs as the file of a number has them.
fn changing(number: usize) -> impl Iterator<Item = Row> {
    CHANGING.into_iter().filter_map(move |(name, words, policy, retries, overlaps)| {
        Some((name, words, policy, retries, overlaps[number % FILES]?))
    })
}

/// The number of the file of a revision.
pub fn file_number(revision: &str) -> usize {
    revision.split('-').next().and_then(|number| number.parse().ok()).unwrap()
}

/// Whether the runs of a job may not overlap by the file of a revision.
pub fn is_exclusive(job: &JobName, revision: &str) -> bool {
    let mut rows = JOBS.into_iter().chain(changing(file_number(revision)));
    rows.any(|(name, _, _, _, overlap)| name == job.as_str() && overlap != Overlap::Allow)
}

/// Whether a tick of a job that waits always replaces the run before it, whichever file is active.
pub fn replaces(job: &JobName) -> bool {
    job.as_str() == "replaces"
}

/// Whether there is a file by which the runs of a job may not overlap.
pub fn may_be_exclusive(job: &JobName) -> bool {
    (0..FILES).any(|number| is_exclusive(job, &number.to_string()))
}

/// Schedules are parsed once for all runs.
static FILES_OF_JOBS: OnceLock<[Vec<Arc<Job>>; FILES]> = OnceLock::new();
