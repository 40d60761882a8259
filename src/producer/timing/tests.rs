//! Terms, overlaps and cursors, without a thread.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::common::metrics::Metrics;
use crate::producer::job::Job;
use crate::producer::lane::Kind;
use crate::producer::measures::Measures;
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

/// The unfinished runs of the jobs in force have been told.
fn read(timing: &Timing) -> Told {
    Told::HistoryRead(Timing::overlapping(&timing.file))
}

fn start(timing: &mut Timing, number: usize) {
    let start = Start { cursor: at(0), reboot: None, published: HashSet::new(), is_gap: false };
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
    timing.told(&read(&timing));
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
    let published = HashSet::from([RunId::of(&one.name, at(2))]);
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(2));
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
    timing.told(&read(&timing));
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
    timing.told(&read(&timing));
    check(&timing, &[&one, &allows], true);
    check(&timing, &[&one, &job("two", "c", job::Overlap::Queue)], false);
    check(&timing, &[&job("one", "d", job::Overlap::Skip)], false);
}

#[test]
fn what_an_earlier_term_decided_and_did_not_publish_blocks_nothing() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    timing.told(&read(&timing));
    start(&mut timing, 0);
    work(&mut timing, 0); // the job file is on record
    let (_, batch) = timing.next_batch(at(1)).unwrap();
    assert_eq!((batch.ticks.len(), batch.kind), (1, Some(Kind::Present)));
    timing.end();
    timing.begin(2);
    let start = Start { cursor: at(1), reboot: None, published: HashSet::new(), is_gap: false };
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
fn what_is_to_be_caught_up_is_shown_until_the_term_ends() {
    let catch_up = job::CatchUp { policy: job::CatchUpPolicy::All, ..job::CatchUp::default() };
    let one = Arc::new(Job { catch_up, ..Job::clone(&job("one", "c", job::Overlap::Allow)) });
    let mut timing = timing(&["c"], &[&one]);
    let start = Start { cursor: at(-5_000), reboot: None, published: HashSet::new(), is_gap: false };
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
