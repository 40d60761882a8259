//! Runs that the topic of a cluster holds when a term begins, of jobs whose runs may not overlap.

use super::reboots::reboots;
use super::*;

/// A tick after a run that stands in the topic: is it published?
fn check_found(tell: impl Fn(&mut Clusters, &Arc<Job>), expected: bool) {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    let found = these(&skips, &[1], at(1));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    tell(&mut clusters, &skips);
    assert_eq!(published(&mut clusters, 2).len(), usize::from(expected));
}

#[test]
fn a_run_that_stands_in_the_topic_blocks_its_job_unless_it_is_over() {
    let run = |job: &Arc<Job>| RunId::of(&job.name, at(1));
    check_found(|clusters, _| read(clusters), false);
    check_found(
        |clusters, job| {
            read(clusters);
            read_to_end(clusters, &[run(job)]);
        },
        true,
    );
    check_found(
        |clusters, job| {
            read(clusters);
            over(clusters, job, 1);
        },
        true,
    );
    // Word of its end comes before anything is decided, and before it is known in this term what is over.
    check_found(
        |clusters, job| {
            over(clusters, job, 1);
            read(clusters);
        },
        true,
    );
}

#[test]
fn a_run_that_stands_in_the_topic_and_of_which_nothing_is_known_blocks_its_job_only_if_it_is_young() {
    let check = |due: i64, expected: bool| {
        let skips = job("skips", "c", job::Overlap::Skip);
        let mut clusters = leading(&["c"], &[&skips]);
        let found = these(&skips, &[due], at(1));
        clusters.start(
            FIRST,
            0,
            Start { cursor: at(0), reboot: None, published: found, is_gap: false },
            at(0),
        );
        read(&mut clusters);
        assert_eq!(!published(&mut clusters, 1).is_empty(), expected, "due at {due}");
    };
    // What was over longer ago than an hour is not remembered, so nothing would ever say that such a run is over.
    check(-3700, true);
    check(-3500, false);
}

#[test]
fn a_run_that_stands_in_the_topic_and_on_no_record_is_put_on_record() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    let found = these(&skips, &[1], at(1));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    read(&mut clusters);
    drop(work(&mut clusters, 0)); // the job file
    let batch = work(&mut clusters, 1).unwrap();
    assert!(
        matches!(&batch.events[..], [Event::Published { scheduled_at, place, .. }] if *scheduled_at == at(1) && place.topic == "c"),
        "{batch:?}"
    );
}

/// With these runs in the topic, and ticks owed since second 0: is one published at second `now`?
fn check_blocked_by(found: &[i64], now: i64, expected: bool) {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    let published = these(&skips, found, at(now));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(now));
    read(&mut clusters);
    assert_eq!(!self::published(&mut clusters, now).is_empty(), expected, "{found:?} at {now}");
}

#[test]
fn a_run_that_stands_in_the_topic_blocks_ticks_that_are_decided_before_its_own() {
    check_blocked_by(&[], 3, true);
    check_blocked_by(&[3], 3, false);
    // The current tick goes first, and the run is of the backlog.
    check_blocked_by(&[3], 200, false);
    check_blocked_by(&[], 200, true);
}

/// A term that owes the tick of second 0, whose run is known from `cron-runs` and deleted from the topic, and the
/// current tick of second 60, which goes first. What is published when this news of the run comes before the first of
/// them is decided, and what when it comes after?
fn check_deleted(early: &[RunNews], late: &[RunNews], expected: &[DateTime<Utc>]) {
    let catch_up = job::CatchUp { policy: job::CatchUpPolicy::All, ..job::CatchUp::default() };
    let each_minute = Arc::new(Job {
        catch_up,
        schedule: Arc::new(Schedule::parse("0 * * * * *", &crate::producer::zone::Zone::utc()).unwrap()),
        ..Job::clone(&job("skips", "c", job::Overlap::Skip))
    });
    let mut clusters = leading(&["c"], &[&each_minute]);
    let start = Start { cursor: at(-1), reboot: None, published: nothing(at(-1)), is_gap: false };
    clusters.start(FIRST, 0, start, at(100));
    read(&mut clusters);
    early.iter().for_each(|told| clusters.told(told));
    let mut all = Vec::new();
    let mut told = late.iter();
    while let Some(batch) = work(&mut clusters, 100) {
        for tick in &batch.ticks {
            all.push(tick.at);
            over(&mut clusters, &each_minute, tick.at.timestamp() - at(0).timestamp());
        }
        told.by_ref().for_each(|told| clusters.told(told));
    }
    assert_eq!(all, expected, "{early:?} {late:?}");
}

#[test]
fn a_run_that_is_known_and_deleted_from_the_topic_is_not_published_again() {
    let job: JobName = "skips".parse().unwrap();
    let run = RunId::of(&job, at(0));
    let unfinished = RunNews::Unfinished(OpenRun { job: job.clone(), run, scheduled_at: Some(at(0)) });
    let over = RunNews::Over { job: Some(job), run };
    let read = RunNews::ReadToEnd { term: FIRST, over: Arc::new([run].into()) };
    check_deleted(&[], &[], &[at(60), at(0)]);
    check_deleted(&[read], &[], &[at(60)]);
    check_deleted(std::slice::from_ref(&unfinished), &[], &[]);
    check_deleted(&[unfinished], &[over], &[at(60)]);
}

/// A job whose ticks are due every ten seconds. Of those that are late, only the last is caught up.
fn catches_up_last() -> Arc<Job> {
    let schedule = Schedule::parse("*/10 * * * * *", &crate::producer::zone::Zone::utc()).unwrap();
    Arc::new(Job { schedule: Arc::new(schedule), ..Job::clone(&job("last", "c", job::Overlap::Skip)) })
}

/// The topic holds the run of second 10. The cursor stays before it until it is on record that the run is published.
fn check(owes: &Arc<Job>, reboot: Option<DateTime<Utc>>) {
    let mut clusters = leading(&["c"], &[owes]);
    let published = these(owes, &[10], at(10));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot, published, is_gap: false }, at(300));
    while work(&mut clusters, 300).is_some() {}
    assert!(cursor(&mut clusters, 300) < at(10), "{}: nothing is known of the run yet", owes.name);
    read(&mut clusters);
    let (mut is_on_record, mut confirmed) = (false, Vec::new());
    while let Some((cluster, batch)) = clusters.next_batch(at(300)) {
        let is_its =
            |event: &Event| matches!(event, Event::Published { scheduled_at, .. } if *scheduled_at == at(10));
        if batch.events.iter().any(is_its) {
            assert!(cursor(&mut clusters, 300) < at(10), "{}: that is not confirmed yet", owes.name);
            is_on_record = true;
        }
        clusters.confirmed(Confirmed::of(cluster, &batch));
        confirmed.push(batch);
    }
    assert!(is_on_record, "{}: {confirmed:?}", owes.name);
    assert!(cursor(&mut clusters, 300) > at(10), "{}", owes.name);
}

#[test]
fn the_cursor_passes_no_run_that_the_topic_holds_before_it_is_on_record_that_the_run_is_published() {
    check(&catches_up_last(), None);
    check(&reboots("agent", job::Overlap::Skip), Some(at(10)));
}

#[test]
fn a_run_that_the_topic_holds_holds_no_cursor_back_where_its_job_allows_overlaps() {
    let allows = Arc::new(Job { overlap: job::Overlap::Allow, ..Job::clone(&catches_up_last()) });
    let mut clusters = leading(&["c"], &[&allows]);
    let published = these(&allows, &[10], at(10));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(300));
    while work(&mut clusters, 300).is_some() {}
    assert!(cursor(&mut clusters, 300) > at(10));
}
