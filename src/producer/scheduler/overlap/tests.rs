use chrono::DateTime;

use super::TickDecision::Publish;
use super::*;
use crate::producer::job::{Job, sample};

/// The tick of a job at a number of seconds.
fn tick(name: &str, overlap: job::Overlap, seconds: i64) -> Tick {
    let job = Arc::new(Job { overlap, ..sample(name, "@every 1s") });
    Tick { job, at: DateTime::from_timestamp(seconds, 0).expect("an instant") }
}

fn skip(seconds: i64) -> Tick {
    tick("skip", job::Overlap::Skip, seconds)
}

fn queue(seconds: i64) -> Tick {
    tick("queue", job::Overlap::Queue, seconds)
}

fn run(tick: &Tick) -> RunId {
    RunId::of(&tick.job.name, tick.at)
}

fn queued(tick: Tick) -> Queued {
    Queued { tick, revision: "one".into() }
}

#[expect(clippy::needless_pass_by_value, reason = "rows are shorter without references")]
fn check(overlap: &mut ExclusiveJobs, tick: &Tick, expected: TickDecision) {
    assert_eq!(overlap.decide(tick, &"one".into()), expected, "{} at {}", tick.job.name, tick.at);
}

fn skipped_for(tick: &Tick) -> TickDecision {
    TickDecision::Skip { blocked_by: run(tick) }
}

fn queued_for(tick: &Tick) -> TickDecision {
    TickDecision::Queue { blocked_by: run(tick), instead_of: Vec::new() }
}

fn replace(seconds: i64) -> Tick {
    tick("replace", job::Overlap::Replace, seconds)
}

/// A tick waits for the run of one, and takes the place of another.
fn instead(blocked_by: &Tick, instead_of: Tick) -> TickDecision {
    TickDecision::Queue { blocked_by: run(blocked_by), instead_of: vec![queued(instead_of)] }
}

/// The runs that are to end are those of these ticks, and were others before.
fn check_ends(overlap: &mut ExclusiveJobs, expected: &[Tick]) {
    let ends = overlap.changed_ends().expect("they have changed");
    let job = |tick: &Tick| (tick.job.name.clone(), tick.job.cluster.clone());
    assert_eq!(*ends, expected.iter().map(|tick| (run(tick), job(tick))).collect());
    assert_eq!(overlap.changed_ends(), None);
}

#[test]
fn the_newest_tick_waits_and_the_run_before_it_is_to_end() {
    let mut overlap = ExclusiveJobs::default();
    check(&mut overlap, &replace(1), Publish);
    check_ends(&mut overlap, &[]);
    check(&mut overlap, &replace(2), queued_for(&replace(1)));
    check_ends(&mut overlap, &[replace(1)]);
    check(&mut overlap, &replace(3), instead(&replace(1), replace(2)));
    check(&mut overlap, &replace(3), queued_for(&replace(1)));
    check_ends(&mut overlap, &[replace(1)]);
    // One of the backlog, which is decided after the newest.
    check(&mut overlap, &replace(2), skipped_for(&replace(1)));
    assert_eq!(over(&mut overlap, &replace(1)), Some(queued(replace(3))));
    check_ends(&mut overlap, &[]);
    check(&mut overlap, &replace(4), queued_for(&replace(3)));
    check_ends(&mut overlap, &[replace(3)]);
}

#[test]
fn every_run_that_is_not_over_is_to_end_whoever_published_it_and_however_late_it_is_known() {
    let mut overlap = ExclusiveJobs::default();
    for second in [1, 2] {
        overlap.published(&replace(second).job.name, run(&replace(second)));
    }
    check(&mut overlap, &replace(3), queued_for(&replace(2)));
    check_ends(&mut overlap, &[replace(1), replace(2)]);
    assert_eq!(over(&mut overlap, &replace(2)), None);
    check_ends(&mut overlap, &[replace(1)]);
    overlap.published(&replace(0).job.name, run(&replace(0)));
    check_ends(&mut overlap, &[replace(0), replace(1)]);
}

#[test]
fn a_tick_that_replaces_nothing_ends_nothing() {
    let mut overlap = ExclusiveJobs::default();
    check(&mut overlap, &queue(1), Publish);
    check(&mut overlap, &queue(2), queued_for(&queue(1)));
    check(&mut overlap, &skip(1), Publish);
    check(&mut overlap, &skip(2), skipped_for(&skip(1)));
    check_ends(&mut overlap, &[]);
    // The file has changed: the newest tick goes by what it says.
    let replaces = tick("queue", job::Overlap::Replace, 3);
    check(&mut overlap, &replaces, instead(&queue(1), queue(2)));
    check_ends(&mut overlap, &[queue(1)]);
    check(&mut overlap, &queue(4), skipped_for(&queue(1)));
}

#[test]
fn a_job_that_is_gone_or_has_moved_ends_no_run_and_takes_no_place() {
    let mut overlap = ExclusiveJobs::default();
    check(&mut overlap, &replace(1), Publish);
    check(&mut overlap, &replace(2), queued_for(&replace(1)));
    check_ends(&mut overlap, &[replace(1)]);
    let moved = Job { cluster: "elsewhere".parse().unwrap(), ..Job::clone(&replace(3).job) };
    check(&mut overlap, &Tick { job: Arc::new(moved), ..replace(3) }, skipped_for(&replace(1)));
    let file = ActiveJobs { jobs: Vec::new(), revision: "two".into(), tzdata: "2026f".into() };
    assert_eq!(overlap.forget(&file), [queued(replace(2))]);
    check_ends(&mut overlap, &[]);
}

fn over(overlap: &mut ExclusiveJobs, tick: &Tick) -> Option<Queued> {
    overlap.over(&tick.job.name, run(tick))
}

#[test]
fn a_tick_is_skipped_while_the_run_before_it_is_not_over() {
    let mut overlap = ExclusiveJobs::default();
    check(&mut overlap, &skip(1), Publish);
    check(&mut overlap, &skip(2), skipped_for(&skip(1)));
    check(&mut overlap, &tick("other", job::Overlap::Skip, 2), Publish);
    assert_eq!(over(&mut overlap, &skip(1)), None);
    check(&mut overlap, &skip(3), Publish);
    check(&mut overlap, &skip(4), skipped_for(&skip(3)));
}

#[test]
fn one_tick_waits_and_the_next_is_skipped() {
    let mut overlap = ExclusiveJobs::default();
    check(&mut overlap, &queue(1), Publish);
    check(&mut overlap, &queue(2), queued_for(&queue(1)));
    check(&mut overlap, &queue(3), skipped_for(&queue(1)));
    assert_eq!(over(&mut overlap, &queue(1)), Some(queued(queue(2))));
    check(&mut overlap, &queue(4), queued_for(&queue(2)));
    assert_eq!(over(&mut overlap, &queue(2)), Some(queued(queue(4))));
    assert_eq!(over(&mut overlap, &queue(4)), None);
    check(&mut overlap, &queue(5), Publish);
}

#[test]
fn deciding_again_changes_nothing() {
    let mut overlap = ExclusiveJobs::default();
    for _ in 0..2 {
        check(&mut overlap, &queue(1), Publish);
        check(&mut overlap, &queue(2), queued_for(&queue(1)));
    }
    assert_eq!(over(&mut overlap, &queue(1)), Some(queued(queue(2))));
    assert_eq!(over(&mut overlap, &queue(2)), None);
}

#[test]
fn a_job_that_allows_overlaps_is_published_and_not_remembered() {
    let mut overlap = ExclusiveJobs::default();
    for seconds in 1..4 {
        check(&mut overlap, &tick("a", job::Overlap::Allow, seconds), Publish);
    }
    assert!(overlap.jobs.is_empty());
}

#[test]
fn word_of_a_run_that_comes_late_or_twice_blocks_nobody() {
    let mut overlap = ExclusiveJobs::default();
    let first = skip(1);
    check(&mut overlap, &first, Publish);
    over(&mut overlap, &first);
    overlap.published(&first.job.name, run(&first));
    check(&mut overlap, &skip(2), Publish);
    overlap.published(&first.job.name, run(&skip(2)));
    over(&mut overlap, &first);
    check(&mut overlap, &skip(3), skipped_for(&skip(2)));
    over(&mut overlap, &skip(2));
    check(&mut overlap, &skip(4), Publish);
    // The end may be read before anything else is known of the job: they stand in two partitions.
    let mut standby = ExclusiveJobs::default();
    over(&mut standby, &first);
    standby.published(&first.job.name, run(&first));
    check(&mut standby, &skip(2), Publish);
}

#[test]
fn every_run_that_is_not_over_blocks_whoever_published_it() {
    let mut overlap = ExclusiveJobs::default();
    let [replayed, latest] = [queue(1), queue(2)];
    overlap.published(&replayed.job.name, run(&replayed));
    overlap.published(&latest.job.name, run(&latest));
    check(&mut overlap, &queue(3), queued_for(&latest));
    assert_eq!(over(&mut overlap, &latest), None);
    check(&mut overlap, &queue(4), skipped_for(&replayed));
    assert_eq!(over(&mut overlap, &replayed), Some(queued(queue(3))));
}

#[test]
fn a_removed_job_owes_no_queued_tick_and_blocks_when_it_comes_back() {
    let mut overlap = ExclusiveJobs::default();
    check(&mut overlap, &queue(1), Publish);
    check(&mut overlap, &queue(2), queued_for(&queue(1)));
    check(&mut overlap, &skip(1), Publish);
    over(&mut overlap, &skip(1));
    let file = |jobs| ActiveJobs { jobs, revision: "two".into(), tzdata: "2026f".into() };
    assert_eq!(overlap.forget(&file(vec![queue(1).job, skip(1).job])), []);
    assert_eq!(overlap.forget(&file(Vec::new())), [queued(queue(2))]);
    assert_eq!(overlap.jobs.len(), 1, "only what is not over is remembered");
    check(&mut overlap, &queue(3), queued_for(&queue(1)));
    assert_eq!(over(&mut overlap, &queue(1)), Some(queued(queue(3))));
}

#[test]
fn what_is_known_of_a_run_names_the_jobs_that_it_blocks() {
    let mut overlap = ExclusiveJobs::default();
    let (first, other) = (skip(1), queue(1));
    assert!(!overlap.knows(&first.job.name));
    check(&mut overlap, &first, Publish);
    check(&mut overlap, &other, Publish);
    assert!(overlap.knows(&first.job.name));
    assert_eq!(overlap.jobs_of(run(&first)), std::slice::from_ref(&first.job.name));
    assert_eq!(overlap.jobs_of(run(&skip(2))), []);
    over(&mut overlap, &first);
    assert_eq!(overlap.jobs_of(run(&first)), []);
    assert!(overlap.knows(&first.job.name), "it was heard of");
}
