//! Terms, overlaps and cursors, without a thread.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::coming::Coming;
use super::*;
use crate::common::metrics::Metrics;
use crate::producer::job::Job;
use crate::producer::lane::Kind;
use crate::producer::leadership::Published;
use crate::producer::measures::Measures;
use crate::producer::schedule::Schedule;
use crate::producer::tail::thread::Ask;
use crate::producer::tail::unfinished::Unfinished;
use crate::producer::timetable::Tick;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn cluster(name: &str) -> ClusterName {
    name.parse().unwrap()
}

fn job(name: &str, of: &str, overlap: job::Overlap) -> Arc<Job> {
    Arc::new(Job { cluster: cluster(of), overlap, ..job::sample(name, "* * * * * *") })
}

fn timing(clusters: &[&str], jobs: &[&Arc<Job>]) -> Timing {
    let measures = Measures::new(&Metrics::new());
    let clusters = clusters.iter().map(|name| (cluster(name), measures.of(&cluster(name)))).collect();
    let jobs = jobs.iter().map(|job| Arc::clone(job)).collect();
    let mut timing = Timing::new(clusters, JobsInForce { jobs, revision: Arc::from("r") }, "me".to_owned());
    timing.begin(1);
    timing
}

/// The unfinished runs of the jobs in force have been told, and all was read in the present term.
fn read(timing: &mut Timing) {
    timing.told(&Told::HistoryRead(Timing::overlapping(&timing.file)));
    read_to_end(timing, &[]);
}

/// All was read in the present term, and these runs are over.
fn read_to_end(timing: &mut Timing, over: &[RunId]) {
    let over = Arc::new(over.iter().copied().collect());
    timing.told(&Told::ReadToEnd { term: timing.epoch, over });
}

/// Nothing is published.
fn nothing(until: DateTime<Utc>) -> Published {
    Published { topic_id: Uuid::from_u128(1), runs: HashMap::new(), of_jobs: HashMap::new(), until }
}

/// The runs of a job at these instants are published.
fn these(job: &Arc<Job>, seconds: &[i64], until: DateTime<Utc>) -> Published {
    let run = |second: &i64| RunId::of(&job.name, at(*second));
    let runs = (0..).zip(seconds).map(|(offset, second)| (run(second), (0, offset))).collect();
    let of_jobs = [(job.name.clone(), seconds.iter().map(|second| at(*second)).collect())].into();
    Published { runs, of_jobs, ..nothing(until) }
}

fn start(timing: &mut Timing, number: usize) {
    let start = Start { cursor: at(0), reboot: None, published: nothing(at(0)), is_gap: false };
    timing.start(1, number, start, at(0));
}

/// Takes the next batch and confirms it at once.
fn work(timing: &mut Timing, second: i64) -> Option<Batch> {
    let (cluster, batch) = timing.next_batch(at(second))?;
    timing.confirmed(Confirmed { epoch: batch.epoch, kind: batch.kind, refused: Vec::new(), cluster });
    Some(batch)
}

/// Works off what is due and returns the jobs whose ticks are published.
fn published(timing: &mut Timing, second: i64) -> Vec<String> {
    let batches: Vec<Batch> = std::iter::from_fn(|| work(timing, second)).collect();
    let name = |tick: &Tick| tick.job.name.to_string();
    batches.iter().flat_map(|batch| batch.ticks.iter().map(name)).collect()
}

fn cursor(timing: &mut Timing, second: i64) -> DateTime<Utc> {
    drop(timing.keep(at(second)));
    timing.kept.as_ref().unwrap().cursors[0].unwrap()
}

fn over(timing: &mut Timing, job: &Arc<Job>, second: i64) {
    timing.told(&Told::Over { job: Some(job.name.clone()), run: RunId::of(&job.name, at(second)) });
}

#[test]
fn each_tick_that_waits_holds_the_cursor_back_by_itself() {
    let (one, two) = (job("one", "c", job::Overlap::Queue), job("two", "c", job::Overlap::Queue));
    let mut timing = timing(&["c"], &[&one, &two]);
    read(&mut timing);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 1), ["one", "two"]);
    assert_eq!(cursor(&mut timing, 1), at(1));
    assert_eq!(published(&mut timing, 2), [""; 0], "both wait");
    assert!(cursor(&mut timing, 5) < at(2));
    over(&mut timing, &one, 1);
    assert_eq!(published(&mut timing, 2), ["one"]);
    assert!(cursor(&mut timing, 5) < at(2), "the other one still waits for the same instant");
    over(&mut timing, &two, 1);
    assert_eq!(published(&mut timing, 2), ["two"]);
    assert!(cursor(&mut timing, 2) >= at(2));
}

#[test]
fn what_is_published_already_confirms_nothing_that_is_under_way() {
    let one = job("one", "c", job::Overlap::Allow);
    let mut timing = timing(&["c"], &[&one]);
    timing.start(
        1,
        0,
        Start { cursor: at(0), reboot: None, published: these(&one, &[2], at(2)), is_gap: false },
        at(2),
    );
    work(&mut timing, 0); // the job file is on record
    let (cluster, batch) = timing.next_batch(at(1)).unwrap();
    assert!(timing.next_batch(at(2)).is_none(), "nothing is left to be written of the second");
    assert!(cursor(&mut timing, 2) < at(1));
    timing.confirmed(Confirmed { epoch: 1, kind: batch.kind, refused: Vec::new(), cluster });
    assert_eq!(cursor(&mut timing, 2), at(2));
}

#[test]
fn overlaps_are_not_decided_before_it_is_known_what_is_unfinished() {
    let (skips, other) = (job("skips", "c", job::Overlap::Skip), job("other", "d", job::Overlap::Allow));
    let mut timing = timing(&["c", "d"], &[&skips, &other]);
    start(&mut timing, 0);
    start(&mut timing, 1);
    assert_eq!(published(&mut timing, 1), ["other"], "the other cluster waits for nothing");
    assert!(timing.wait(at(1), Duration::from_secs(1)) > Duration::ZERO, "nor does the timer spin");
    let run = RunId::of(&skips.name, at(-9));
    let unfinished = Unfinished { job: skips.name.clone(), run, scheduled_at: Some(at(-9)) };
    timing.told(&Told::Unfinished(unfinished));
    read(&mut timing);
    assert_eq!(published(&mut timing, 1), [""; 0]);
    timing.told(&Told::Over { job: Some(skips.name.clone()), run });
    assert_eq!(published(&mut timing, 2), ["skips", "other"]);
}

#[test]
fn a_file_whose_jobs_runs_are_not_all_known_is_known_not_to_be_ready() {
    let (one, allows) = (job("one", "c", job::Overlap::Skip), job("two", "c", job::Overlap::Allow));
    let mut timing = timing(&["c"], &[&one, &allows]);
    let check = |timing: &Timing, jobs: &[&Arc<Job>], expected: bool| {
        let jobs = jobs.iter().map(|job| Arc::clone(job)).collect();
        let file = JobsInForce { jobs, revision: Arc::from("s") };
        assert_eq!(timing.knows_runs_of(&file), expected, "{file:?}");
    };
    check(&timing, &[&allows], true);
    check(&timing, &[&one], false);
    read(&mut timing);
    check(&timing, &[&one, &allows], true);
    check(&timing, &[&one, &job("two", "c", job::Overlap::Queue)], false);
    check(&timing, &[&job("one", "d", job::Overlap::Skip)], false);
}

#[test]
fn a_file_that_is_taken_back_while_the_next_one_is_read_for_leaves_nothing_held_back() {
    let (one, two) = (job("one", "c", job::Overlap::Skip), job("two", "c", job::Overlap::Skip));
    let file =
        |job: &Arc<Job>, name: &str| JobsInForce { jobs: vec![Arc::clone(job)], revision: Arc::from(name) };
    let mut timing = timing(&["c"], &[&one]);
    start(&mut timing, 0);
    read(&mut timing);
    let mut coming = Coming::new(&timing);
    coming.take(file(&two, "next"), &timing);
    assert_eq!(coming.bring_in_force(&mut timing, at(1)), None, "its runs are not known");
    let Some(Ask::Follow(next)) = coming.next_ask() else { panic!("it asks for its jobs") };
    coming.take(file(&one, "back"), &timing);
    assert_eq!(coming.bring_in_force(&mut timing, at(2)).as_deref(), Some("back"));
    timing.told(&Told::HistoryRead(next));
    let asks: Vec<Ask> = std::iter::from_fn(|| coming.next_ask()).collect();
    let [Ask::InForce(_), Ask::Follow(again)] = &asks[..] else { panic!("{asks:?}") };
    assert_eq!(published(&mut timing, 3), [""; 0], "held back until it is known");
    timing.told(&Told::HistoryRead(Followed::clone(again)));
    assert_eq!(published(&mut timing, 3), ["one"]);
    assert_eq!(coming.bring_in_force(&mut timing, at(3)), None);
    assert!(!coming.has_asks());
}

#[test]
fn what_an_earlier_term_decided_and_did_not_publish_blocks_nothing() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    read(&mut timing);
    start(&mut timing, 0);
    work(&mut timing, 0); // the job file is on record
    let (_, batch) = timing.next_batch(at(1)).unwrap();
    assert_eq!((batch.ticks.len(), batch.kind), (1, Some(Kind::Present)));
    timing.end();
    timing.begin(2);
    read_to_end(&mut timing, &[]);
    let start = Start { cursor: at(1), reboot: None, published: nothing(at(0)), is_gap: false };
    timing.start(2, 0, start, at(1));
    let late = Confirmed { epoch: batch.epoch, kind: batch.kind, refused: Vec::new(), cluster: 0 };
    timing.confirmed(late);
    assert_eq!(published(&mut timing, 2), ["skips"]);
}

#[test]
fn a_cluster_that_has_not_begun_keeps_no_other_cursor_from_being_kept() {
    let (one, two) = (job("one", "c", job::Overlap::Allow), job("two", "d", job::Overlap::Allow));
    let mut timing = timing(&["c", "d"], &[&one, &two]);
    assert_eq!(timing.keep(at(0)), None);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 1), ["one"]);
    assert_eq!(timing.keep(at(1)).unwrap().cursors, [Some(at(1)), None]);
}

#[test]
fn what_is_published_ahead_of_our_clock_is_not_published_again() {
    let one = job("one", "c", job::Overlap::Allow);
    let mut timing = timing(&["c"], &[&one]);
    // The leader before us had a clock that was ahead of ours, and has moved the cursor by it.
    let start =
        Start { cursor: at(8), reboot: None, published: these(&one, &[9, 10], at(12)), is_gap: false };
    timing.start(1, 0, start, at(0));
    drop(self::published(&mut timing, 0));
    for second in 1..=10 {
        assert_eq!(self::published(&mut timing, second), [""; 0], "at {second}");
    }
    assert_eq!(self::published(&mut timing, 11), ["one"]);
}

#[test]
fn overlaps_are_not_decided_by_what_was_known_before_the_term() {
    let (skips, allows) = (job("skips", "c", job::Overlap::Skip), job("allows", "c", job::Overlap::Allow));
    let mut timing = timing(&["c"], &[&skips, &allows]);
    read(&mut timing);
    timing.end();
    timing.begin(2);
    let start = Start { cursor: at(0), reboot: None, published: nothing(at(0)), is_gap: false };
    timing.start(2, 0, start, at(0));
    assert_eq!(published(&mut timing, 1), ["allows"], "others wait for nothing");
    assert_eq!(published(&mut timing, 2), ["allows"]);
    assert!(cursor(&mut timing, 2) < at(1));
    // The leader in between has published one that is not finished.
    let run = RunId::of(&skips.name, at(-3));
    let unfinished = Unfinished { job: skips.name.clone(), run, scheduled_at: Some(at(-3)) };
    timing.told(&Told::Unfinished(unfinished));
    read_to_end(&mut timing, &[]);
    assert_eq!(published(&mut timing, 2), [""; 0], "both are skipped");
    assert!(cursor(&mut timing, 2) >= at(2));
    over(&mut timing, &skips, -3);
    assert_eq!(published(&mut timing, 3), ["skips", "allows"]);
}

#[test]
fn ticks_that_were_held_back_are_decided_in_their_order() {
    let queues = job("queues", "c", job::Overlap::Queue);
    let mut timing = timing(&["c"], &[&queues]);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 3), [""; 0]);
    read(&mut timing);
    let batch = work(&mut timing, 3).unwrap();
    assert_eq!(batch.ticks.iter().map(|tick| tick.at).collect::<Vec<_>>(), [at(1)]);
    assert!(matches!(&batch.events[..], [Event::Queued { .. }, Event::Skipped { .. }]), "{:?}", batch.events);
    assert!(cursor(&mut timing, 3) < at(2), "the second one waits");
    over(&mut timing, &queues, 1);
    assert_eq!(published(&mut timing, 3), ["queues"]);
    assert_eq!(cursor(&mut timing, 3), at(3));
}

/// A tick after a run that stands in the topic: is it published?
fn check_found(tell: impl Fn(&mut Timing, &Arc<Job>), expected: bool) {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    let found = these(&skips, &[1], at(1));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    tell(&mut timing, &skips);
    assert_eq!(published(&mut timing, 2).len(), usize::from(expected));
}

#[test]
fn a_run_that_stands_in_the_topic_blocks_its_job_unless_it_is_over() {
    let run = |job: &Arc<Job>| RunId::of(&job.name, at(1));
    check_found(|timing, _| read(timing), false);
    check_found(
        |timing, job| {
            read(timing);
            read_to_end(timing, &[run(job)]);
        },
        true,
    );
    check_found(
        |timing, job| {
            read(timing);
            over(timing, job, 1);
        },
        true,
    );
    // Word of its end comes before anything is decided, and before it is known in this term what is over.
    check_found(
        |timing, job| {
            over(timing, job, 1);
            read(timing);
        },
        true,
    );
}

#[test]
fn a_run_that_stands_in_the_topic_and_on_no_record_is_put_on_record() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    let found = these(&skips, &[1], at(1));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    read(&mut timing);
    drop(work(&mut timing, 0)); // the job file
    let batch = work(&mut timing, 1).unwrap();
    assert!(
        matches!(&batch.events[..], [Event::Published { scheduled_at, place, .. }] if *scheduled_at == at(1) && place.topic == "c"),
        "{batch:?}"
    );
}

/// With these runs in the topic, and ticks owed since second 0: is one published at second `now`?
fn check_blocked_by(found: &[i64], now: i64, expected: bool) {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    let published = these(&skips, found, at(now));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(now));
    read(&mut timing);
    assert_eq!(!self::published(&mut timing, now).is_empty(), expected, "{found:?} at {now}");
}

#[test]
fn a_run_that_stands_in_the_topic_blocks_ticks_that_are_decided_before_its_own() {
    check_blocked_by(&[], 3, true);
    check_blocked_by(&[3], 3, false);
    // The present goes first, and the run is of the past.
    check_blocked_by(&[3], 200, false);
    check_blocked_by(&[], 200, true);
}

/// A term that owes the tick of second 0, whose run is known from `cron-runs` and deleted from the topic, and the present
/// one of second 60, which goes first. What is published, with this word of the run before the first of them is decided and
/// after it?
fn check_deleted(early: &[Told], late: &[Told], expected: &[DateTime<Utc>]) {
    let catch_up = job::CatchUp { policy: job::CatchUpPolicy::All, ..job::CatchUp::default() };
    let each_minute = Arc::new(Job {
        catch_up,
        schedule: Arc::new(Schedule::parse("0 * * * * *", chrono_tz::Tz::UTC).unwrap()),
        ..Job::clone(&job("skips", "c", job::Overlap::Skip))
    });
    let mut timing = timing(&["c"], &[&each_minute]);
    let start = Start { cursor: at(-1), reboot: None, published: nothing(at(-1)), is_gap: false };
    timing.start(1, 0, start, at(100));
    read(&mut timing);
    early.iter().for_each(|told| timing.told(told));
    let mut all = Vec::new();
    let mut told = late.iter();
    while let Some(batch) = work(&mut timing, 100) {
        for tick in &batch.ticks {
            all.push(tick.at);
            over(&mut timing, &each_minute, tick.at.timestamp() - at(0).timestamp());
        }
        told.by_ref().for_each(|told| timing.told(told));
    }
    assert_eq!(all, expected, "{early:?} {late:?}");
}

#[test]
fn a_run_that_is_known_and_deleted_from_the_topic_is_not_published_again() {
    let job: JobName = "skips".parse().unwrap();
    let run = RunId::of(&job, at(0));
    let unfinished = Told::Unfinished(Unfinished { job: job.clone(), run, scheduled_at: Some(at(0)) });
    let over = Told::Over { job: Some(job), run };
    let read = Told::ReadToEnd { term: 1, over: Arc::new([run].into()) };
    check_deleted(&[], &[], &[at(60), at(0)]);
    check_deleted(&[read], &[], &[at(60)]);
    check_deleted(std::slice::from_ref(&unfinished), &[], &[]);
    check_deleted(&[unfinished], &[over], &[at(60)]);
}

#[test]
fn a_run_that_stands_in_the_topic_blocks_a_job_that_is_exclusive_in_the_next_file() {
    let (allows, skips) = (job("one", "c", job::Overlap::Allow), job("one", "c", job::Overlap::Skip));
    let mut timing = timing(&["c"], &[&allows]);
    let found = these(&allows, &[1], at(60));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    read(&mut timing);
    assert_eq!(published(&mut timing, 1), [""; 0]);
    timing.swap(JobsInForce { jobs: vec![skips], revision: Arc::from("s") }, at(1));
    read(&mut timing);
    assert_eq!(published(&mut timing, 2), [""; 0]);
}

#[test]
fn ticks_that_are_held_back_of_a_job_that_is_removed_are_missed() {
    let (skips, allows) = (job("skips", "c", job::Overlap::Skip), job("allows", "c", job::Overlap::Allow));
    let mut timing = timing(&["c"], &[&skips]);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 1), [""; 0]);
    timing.swap(JobsInForce { jobs: vec![allows], revision: Arc::from("s") }, at(1));
    let batch = work(&mut timing, 1).unwrap();
    assert!(matches!(&batch.events[..], [Event::Missed { .. }, Event::Revision { .. }]), "{batch:?}");
    assert_eq!(cursor(&mut timing, 1), at(1));
}

#[test]
fn what_is_to_be_caught_up_is_shown_until_the_term_ends() {
    let catch_up = job::CatchUp { policy: job::CatchUpPolicy::All, ..job::CatchUp::default() };
    let one = Arc::new(Job { catch_up, ..Job::clone(&job("one", "c", job::Overlap::Allow)) });
    let mut timing = timing(&["c"], &[&one]);
    let start = Start { cursor: at(-5_000), reboot: None, published: nothing(at(-5_000)), is_gap: false };
    timing.start(1, 0, start, at(0));
    work(&mut timing, 0); // the job file is on record
    let shown = |timing: &Timing| timing.clusters[0].measures.catch_up.get();
    let before = shown(&timing);
    assert!(before > 4_000, "{before}");
    work(&mut timing, 0); // the present goes first
    assert_eq!(shown(&timing), before);
    work(&mut timing, 0);
    assert!(shown(&timing) < before);
    timing.end();
    assert_eq!(shown(&timing), 0);
}
