//! What a million jobs cost that are due in one second: the timetable beside a plain heap of jobs, in one run; and what
//! a cluster plan adds to it, for current ticks and over a long backlog.
//!
//! `cargo bench --bench timetable` prints milliseconds; nothing is asserted, for machines differ.
#![expect(clippy::print_stdout, reason = "a measurement that is read by people")]
#![expect(clippy::expect_used, reason = "the words are the benchmark's own")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::model::{ClusterName, JobName};
use kafka_cron::producer::active_jobs::ActiveJobs;
use kafka_cron::producer::job::{CatchUp, CatchUpPolicy, Job};
use kafka_cron::producer::leadership::Term;
use kafka_cron::producer::plan::ClusterPlan;
use kafka_cron::producer::plan::timetable::{Tick, Timetable};
use kafka_cron::producer::schedule::Schedule;
use kafka_cron::producer::zone::Zone;

const JOBS: usize = 1_000_000;
const ZONES: [&str; 3] = ["UTC", "Europe/London", "Africa/Abidjan"];

fn main() {
    let midnight = "2026-11-24T00:00:00Z".parse::<DateTime<Utc>>().expect("an instant");
    let schedules = schedules();
    let jobs: Vec<Arc<Job>> = (0..JOBS).map(|n| job(n, &schedules[n % schedules.len()])).collect();
    println!("{JOBS} jobs with {} schedules, all due at {midnight}", schedules.len());

    for schedule in ["* * * * *", "30 4 * * 1-5", "0 0 1 * *", "0 0 29 2 *", "0 0 13 * 5", "@every 90s"] {
        for zone in ["UTC", "America/New_York"] {
            println!("next of `{schedule}` in {zone}: {:.2} us", next_us(schedule, zone, midnight));
        }
    }

    let before = midnight - TimeDelta::seconds(1);
    let (mut timetable, new) = timed(|| Timetable::new(&jobs, before));
    let (ticks, take) = timed(|| timetable.take(midnight, JOBS));
    println!("timetable: start {new:.0} ms, take {take:.0} ms ({} ticks)", ticks.len());
    drop(ticks);

    let (mut heap, new) = timed(|| heap(&jobs, before));
    let (ticks, take) = timed(|| take_from(&mut heap, &jobs, midnight));
    println!("heap of jobs: start {new:.0} ms, take {take:.0} ms ({} ticks)", ticks.len());
    drop((ticks, heap, timetable));

    let file = ActiveJobs { jobs: jobs[..100_000].to_vec(), revision: "one".into(), tzdata: "2026f".into() };
    let (_, ticks, ms) = work_off(&file, before, before, midnight);
    println!("plan, 100,000 jobs due in one second: {ticks} ticks in {ms:.0} ms, 2,000 at a time");
    for policy in [CatchUpPolicy::All, CatchUpPolicy::Last] {
        let start = midnight - TimeDelta::minutes(10_000);
        let file = minutely(policy);
        let (intervals, ticks, ms) = work_off(&file, start, midnight, midnight);
        let rate = 1e6 / ms * 1e3;
        println!(
            "plan, a past of 1,000,000 ticks, catchup={policy:?}: {ms:.0} ms, {rate:.0} ticks a second \
             ({ticks} published, {intervals} missed intervals)"
        );
    }
}

/// A hundred jobs, each with a schedule of its own.
fn minutely(policy: CatchUpPolicy) -> ActiveJobs {
    let window = Duration::from_secs(30 * 24 * 60 * 60);
    let with = |number: usize| {
        // Jobs that share a schedule are worked off as one: these share none.
        let words = format!("{} * * * * *", number % 60);
        let zone = ZONES[number / 60];
        let schedule = Arc::new(Schedule::parse(&words, &known(zone)).expect("a schedule"));
        let job = Arc::unwrap_or_clone(job(number, &schedule));
        Arc::new(Job { catch_up: CatchUp { policy, window }, ..job })
    };
    ActiveJobs { jobs: (0..100).map(with).collect(), revision: "one".into(), tzdata: "2026f".into() }
}

/// Missed intervals, ticks and milliseconds until a cluster plan has handed out everything up to `now`, each batch on record
/// before the next.
fn work_off(
    file: &ActiveJobs,
    cursor: DateTime<Utc>,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> (usize, usize, f64) {
    let mut plan = ClusterPlan::new(Term::FIRST, file, &file.jobs[0].cluster, cursor, start);
    let (mut intervals, mut ticks) = (0, 0);
    let ((), ms) = timed(|| {
        while plan.next().is_some_and(|next| next <= now) {
            if let Some(batch) = plan.take(now, 2_000) {
                intervals += batch.missed.len();
                ticks += batch.ticks.len();
                plan.confirmed(batch.source);
                black_box(plan.cursor(now));
            }
        }
    });
    (intervals, ticks, ms)
}

/// Some thousand schedules that have nothing in common but midnight.
fn schedules() -> Vec<Arc<Schedule>> {
    let words = (1..60).flat_map(|minute| (1..24).map(move |hour| format!("0,{minute} 0,{hour} * * *")));
    let zones = ZONES.map(known);
    words
        .flat_map(|words| {
            zones.each_ref().map(|zone| Arc::new(Schedule::parse(&words, zone).expect("a schedule")))
        })
        .collect()
}

fn job(number: usize, schedule: &Arc<Schedule>) -> Arc<Job> {
    let (name, cluster) = (format!("job-{number}"), "cluster-a");
    let name = JobName::new(&name).expect("a name");
    let schedule = Schedule::clone(schedule);
    Arc::new(Job::sample(name, ClusterName::new(cluster).expect("a name"), schedule))
}

fn known(zone: &str) -> Zone {
    zone.parse().expect("a zone")
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed().as_secs_f64() * 1e3)
}

/// Microseconds for one of a hundred thousand ticks in a row.
fn next_us(words: &str, zone: &str, start: DateTime<Utc>) -> f64 {
    const ROUNDS: u32 = 100_000;
    let schedule = Schedule::parse(words, &known(zone)).expect("a schedule");
    let end = start + TimeDelta::days(365 * 30);
    let mut after = start;
    let ((), ms) = timed(|| {
        for _ in 0..ROUNDS {
            after = black_box(schedule.next(after)).filter(|next| *next < end).unwrap_or(start);
        }
    });
    ms * 1e3 / f64::from(ROUNDS)
}

/// The next tick of each job, by the job's number.
type Heap = BinaryHeap<Reverse<(DateTime<Utc>, usize)>>;

fn heap(jobs: &[Arc<Job>], from: DateTime<Utc>) -> Heap {
    let next = |(number, job): (usize, &Arc<Job>)| Some(Reverse((job.schedule.next(from)?, number)));
    jobs.iter().enumerate().filter_map(next).collect()
}

fn take_from(heap: &mut Heap, jobs: &[Arc<Job>], now: DateTime<Utc>) -> Vec<Tick> {
    let mut ticks = Vec::new();
    while let Some(Reverse((at, number))) = heap.peek().copied().filter(|Reverse((at, _))| *at <= now) {
        let job = &jobs[number];
        ticks.push(Tick { job: Arc::clone(job), at });
        heap.pop();
        heap.extend(job.schedule.next(at).map(|next| Reverse((next, number))));
    }
    ticks
}
