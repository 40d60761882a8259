//! Terms, overlaps and cursors, without a thread.

mod files;
mod in_topic;
mod limits;
mod overlaps;
mod reboots;

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::producer::job::Job;
use crate::producer::leadership::{Published, Runs};
use crate::producer::plan::Source;
use crate::producer::plan::timetable::Tick;
use crate::producer::run_tracker::OVER_REMEMBERED;
use crate::producer::run_tracker::messages::RunNews;
use crate::producer::run_tracker::open_runs::OpenRun;
use crate::producer::schedule::Schedule;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn cluster(name: &str) -> ClusterName {
    name.parse().unwrap()
}

fn job(name: &str, of: &str, overlap: job::Overlap) -> Arc<Job> {
    Arc::new(Job { cluster: cluster(of), overlap, ..job::sample(name, "* * * * * *") })
}

const FIRST: Term = Term::FIRST;

fn second_term() -> Term {
    Term::FIRST.next()
}

fn file(jobs: &[&Arc<Job>], revision: &str) -> ActiveJobs {
    let jobs = jobs.iter().map(|job| Arc::clone(job)).collect();
    ActiveJobs { jobs, revision: Arc::from(revision), tzdata: "2026f".into() }
}

/// Clusters of these names in their first term, with these jobs.
fn leading(names: &[&str], jobs: &[&Arc<Job>]) -> Clusters {
    let names = names.iter().map(|name| cluster(name)).collect();
    let mut clusters = Clusters::new(names, file(jobs, "r"), "me".to_owned());
    clusters.begin(FIRST);
    clusters
}

/// The open runs of these jobs have been told, and none is known to be over.
fn history_read(of: Followed) -> RunNews {
    RunNews::HistoryRead { of, over: Arc::default() }
}

/// The open runs of the active jobs have been told, and all was read in the current term.
fn read(clusters: &mut Clusters) {
    clusters.told(&history_read(Clusters::overlapping(&clusters.file)));
    read_to_end(clusters, &[]);
}

/// All was read in the current term, and these runs are over.
fn read_to_end(clusters: &mut Clusters, over: &[RunId]) {
    let over = Arc::new(over.iter().copied().collect());
    clusters.told(&RunNews::ReadToEnd { term: clusters.term.unwrap(), over });
}

/// Nothing is published.
fn nothing(until: DateTime<Utc>) -> Published {
    Published { topic_id: Uuid::from_u128(1), runs: Runs::default(), until }
}

/// The runs of a job at these instants are published.
fn these(job: &Arc<Job>, seconds: &[i64], until: DateTime<Utc>) -> Published {
    let mut runs = Runs::default();
    (0..).zip(seconds).for_each(|(offset, second)| runs.add(&job.name, at(*second), (0, offset)));
    runs.sort();
    Published { runs, ..nothing(until) }
}

fn start(clusters: &mut Clusters, number: usize) {
    let start = Start { cursor: at(0), reboot: None, published: nothing(at(0)), is_gap: false };
    clusters.start(FIRST, number, start, at(0));
}

/// Takes the next batch and confirms it at once.
fn work(clusters: &mut Clusters, second: i64) -> Option<Batch> {
    let (cluster, batch) = clusters.next_batch(at(second))?;
    clusters.confirmed(Confirmed::of(cluster, &batch));
    Some(batch)
}

/// Works off what is due and returns the jobs whose ticks are published.
fn published(clusters: &mut Clusters, second: i64) -> Vec<String> {
    let batches: Vec<Batch> = std::iter::from_fn(|| work(clusters, second)).collect();
    let name = |tick: &Tick| tick.job.name.to_string();
    batches.iter().flat_map(|batch| batch.ticks.iter().map(name)).collect()
}

fn cursor(clusters: &mut Clusters, second: i64) -> DateTime<Utc> {
    drop(clusters.moved_cursors(at(second)));
    clusters.kept.as_ref().unwrap().cursors[0].unwrap()
}

/// Has the next batch confirmed, of which all runs are refused: their messages are too large.
fn refuse(clusters: &mut Clusters, second: i64) {
    let (cluster, batch) = clusters.next_batch(at(second)).unwrap();
    let run = |tick: &Tick| (tick.job.name.clone(), RunId::of(&tick.job.name, tick.at));
    let refused = batch.ticks.iter().map(run).collect();
    clusters.confirmed(Confirmed { refused, ..Confirmed::of(cluster, &batch) });
}

fn over(clusters: &mut Clusters, job: &Arc<Job>, second: i64) {
    clusters.told(&RunNews::Over { job: Some(job.name.clone()), run: RunId::of(&job.name, at(second)) });
}

#[test]
fn each_tick_that_waits_holds_the_cursor_back_by_itself() {
    let (one, two) = (job("one", "c", job::Overlap::Queue), job("two", "c", job::Overlap::Queue));
    let mut clusters = leading(&["c"], &[&one, &two]);
    read(&mut clusters);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 1), ["one", "two"]);
    assert_eq!(cursor(&mut clusters, 1), at(1));
    assert_eq!(published(&mut clusters, 2), [""; 0], "both wait");
    assert!(cursor(&mut clusters, 5) < at(2));
    over(&mut clusters, &one, 1);
    assert_eq!(published(&mut clusters, 2), ["one"]);
    assert!(cursor(&mut clusters, 5) < at(2), "the other one still waits for the same instant");
    over(&mut clusters, &two, 1);
    let (cluster, batch) = clusters.next_batch(at(2)).unwrap();
    assert!(cursor(&mut clusters, 5) < at(2), "its batch is not confirmed yet");
    clusters.confirmed(Confirmed::of(cluster, &batch));
    assert!(cursor(&mut clusters, 2) >= at(2));
}

#[test]
fn what_an_earlier_term_has_under_way_moves_no_cursor_when_it_is_confirmed() {
    let one = job("one", "c", job::Overlap::Allow);
    let mut clusters = leading(&["c"], &[&one]);
    start(&mut clusters, 0);
    work(&mut clusters, 0); // the job file is on record
    let (_, earlier) = clusters.next_batch(at(1)).unwrap();
    clusters.end();
    clusters.begin(second_term());
    let start = Start { cursor: at(0), reboot: None, published: nothing(at(0)), is_gap: false };
    clusters.start(second_term(), 0, start, at(1));
    work(&mut clusters, 1);
    let (_, present) = clusters.next_batch(at(1)).unwrap();
    assert_eq!((earlier.ticks.len(), present.ticks.len()), (1, 1), "the same tick in both terms");
    clusters.confirmed(Confirmed::of(0, &earlier));
    assert!(cursor(&mut clusters, 1) < at(1), "its tick is not on record as far as this term knows");
    assert!(clusters.is_busy());
    clusters.confirmed(Confirmed::of(0, &present));
    assert_eq!(cursor(&mut clusters, 1), at(1));
}

#[test]
fn what_is_published_already_confirms_nothing_that_is_under_way() {
    let one = job("one", "c", job::Overlap::Allow);
    let mut clusters = leading(&["c"], &[&one]);
    clusters.start(
        FIRST,
        0,
        Start { cursor: at(0), reboot: None, published: these(&one, &[2], at(2)), is_gap: false },
        at(2),
    );
    work(&mut clusters, 0); // the job file is on record
    let (cluster, batch) = clusters.next_batch(at(1)).unwrap();
    assert!(clusters.next_batch(at(2)).is_none(), "nothing is left to be written of the second");
    assert!(cursor(&mut clusters, 2) < at(1));
    clusters.confirmed(Confirmed::of(cluster, &batch));
    assert_eq!(cursor(&mut clusters, 2), at(2));
}

#[test]
fn a_file_whose_jobs_runs_are_not_all_known_is_known_not_to_be_ready() {
    let (one, allows) = (job("one", "c", job::Overlap::Skip), job("two", "c", job::Overlap::Allow));
    let mut clusters = leading(&["c"], &[&one, &allows]);
    let check = |clusters: &Clusters, jobs: &[&Arc<Job>], expected: bool| {
        let jobs = jobs.iter().map(|job| Arc::clone(job)).collect();
        let file = ActiveJobs { jobs, revision: Arc::from("s"), tzdata: "2026f".into() };
        assert_eq!(clusters.knows_runs_of(&file), expected, "{file:?}");
    };
    check(&clusters, &[&allows], true);
    check(&clusters, &[&one], false);
    read(&mut clusters);
    check(&clusters, &[&one, &allows], true);
    check(&clusters, &[&one, &job("two", "c", job::Overlap::Queue)], false);
    check(&clusters, &[&job("one", "d", job::Overlap::Skip)], false);
}

#[test]
fn a_cluster_that_has_not_begun_keeps_no_other_cursor_from_being_kept() {
    let (one, two) = (job("one", "c", job::Overlap::Allow), job("two", "d", job::Overlap::Allow));
    let mut clusters = leading(&["c", "d"], &[&one, &two]);
    assert_eq!(clusters.moved_cursors(at(0)), None);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 1), ["one"]);
    assert_eq!(clusters.moved_cursors(at(1)).unwrap().cursors, [Some(at(1)), None]);
}

#[test]
fn what_is_published_ahead_of_our_clock_is_not_published_again() {
    let one = job("one", "c", job::Overlap::Allow);
    let mut clusters = leading(&["c"], &[&one]);
    // The leader before us had a clock that was ahead of ours, and has moved the cursor by it.
    let start =
        Start { cursor: at(8), reboot: None, published: these(&one, &[9, 10], at(12)), is_gap: false };
    clusters.start(FIRST, 0, start, at(0));
    drop(self::published(&mut clusters, 0));
    for second in 1..=10 {
        assert_eq!(self::published(&mut clusters, second), [""; 0], "at {second}");
    }
    assert_eq!(self::published(&mut clusters, 11), ["one"]);
}

#[test]
fn ticks_that_are_published_are_not_missed_where_the_cursor_lies_far_before_them() {
    let check = |words: &str, published: std::ops::Range<i64>, expected: Option<(i64, i64, u64)>| {
        let catch_up = job::CatchUp { policy: job::CatchUpPolicy::None, ..job::CatchUp::default() };
        let one = Arc::new(Job { cluster: cluster("c"), catch_up, ..job::sample("one", words) });
        let mut clusters = leading(&["c"], &[&one]);
        let seconds: Vec<i64> = published.collect();
        let published = these(&one, &seconds, at(0));
        // A tick that waited for hours has held the cursor back.
        let start = Start { cursor: at(-100), reboot: None, published, is_gap: false };
        clusters.start(FIRST, 0, start, at(0));
        let batches: Vec<Batch> = std::iter::from_fn(|| work(&mut clusters, 0)).collect();
        let told = batches.iter().flat_map(|batch| &batch.events).find_map(|event| match event {
            Event::Missed { from, to, count, .. } => Some((*from, *to, *count)),
            _ => None,
        });
        let expected = expected.map(|(from, to, count)| (at(from), at(to), count));
        assert_eq!(told, expected, "{seconds:?}");
        let missed: u64 = batches.iter().flat_map(|batch| &batch.missed).map(|missed| missed.count).sum();
        assert_eq!(missed, expected.map_or(0, |(_, _, count)| count));
        assert_eq!(cursor(&mut clusters, 0), at(0));
    };
    let every = "* * * * * *";
    check(every, 0..0, Some((-99, -60, 40)));
    check(every, -99..-69, Some((-99, -60, 10)));
    check(every, -99..0, None);
    // What an earlier job file has published at other instants is none of them.
    check("*/2 * * * * *", -81..-79, Some((-98, -60, 19)));
}

#[test]
fn what_is_to_be_caught_up_is_shown_until_the_term_ends() {
    let catch_up = job::CatchUp { policy: job::CatchUpPolicy::All, ..job::CatchUp::default() };
    let one = Arc::new(Job { catch_up, ..Job::clone(&job("one", "c", job::Overlap::Allow)) });
    let mut clusters = leading(&["c"], &[&one]);
    let start = Start { cursor: at(-5_000), reboot: None, published: nothing(at(-5_000)), is_gap: false };
    clusters.start(FIRST, 0, start, at(0));
    work(&mut clusters, 0); // the job file is on record
    let shown = |clusters: &Clusters| clusters.levels().next().unwrap().backlog;
    let before = shown(&clusters);
    assert!(before > 4_000, "{before}");
    work(&mut clusters, 0); // the current tick goes first
    assert_eq!(shown(&clusters), before);
    work(&mut clusters, 0);
    assert!(shown(&clusters) < before);
    clusters.end();
    assert_eq!(shown(&clusters), 0);
}

#[test]
fn a_run_in_the_topic_of_which_nothing_is_known_blocks_its_job_for_as_long_as_ends_are_remembered() {
    let remembered = i64::try_from(OVER_REMEMBERED.as_secs()).unwrap();
    let check = |second: i64, expected: &[&str]| {
        let one = job("one", "c", job::Overlap::Skip);
        let mut clusters = leading(&["c"], &[&one]);
        read(&mut clusters);
        let published = these(&one, &[second], at(0));
        clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(1));
        assert_eq!(self::published(&mut clusters, 1), expected, "published at {second}");
    };
    check(1 - remembered, &[]);
    check(-remembered, &["one"]);
}
