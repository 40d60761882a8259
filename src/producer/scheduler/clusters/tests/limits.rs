//! Limits: how much is held back, what is forgotten and when, and what is shown.

use super::*;
use crate::common::bounds::{TICK_BATCHES, TICKS_HELD_BACK};
use crate::producer::plan::catchup::LATE;

/// A job that is not due for months.
fn rare(name: &str, of: &str, overlap: job::Overlap) -> Arc<Job> {
    Arc::new(Job { cluster: cluster(of), overlap, ..job::sample(name, "0 0 1 1 *") })
}

fn remembers(clusters: &Clusters) -> bool {
    clusters.clusters[0].term.as_ref().unwrap().remembers()
}

#[test]
fn no_more_ticks_are_held_back_than_there_is_room_for() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    start(&mut clusters, 0);
    let term = clusters.clusters[0].term.as_mut().unwrap();
    let revision = Arc::from("r");
    for second in (1..).take(TICKS_HELD_BACK) {
        assert!(term.has_room());
        term.hold_back(Tick { job: Arc::clone(&skips), at: at(second) }, &revision);
    }
    assert!(!term.has_room());
    assert!(term.take_held_back().is_some());
    assert!(term.has_room());
}

#[test]
fn a_scheduler_is_busy_from_the_first_batch_that_is_handed_over_to_the_last_that_is_confirmed() {
    let one = job("one", "c", job::Overlap::Allow);
    let mut clusters = leading(&["c"], &[&one]);
    assert!(!clusters.is_busy());
    start(&mut clusters, 0);
    assert!(!clusters.is_busy());
    let batches: Vec<Batch> = (0..TICK_BATCHES).map(|_| clusters.next_batch(at(1)).unwrap().1).collect();
    assert!(clusters.next_batch(at(9)).is_none(), "no more are under way, whatever is due");
    for batch in batches {
        assert!(clusters.is_busy());
        clusters.confirmed(Confirmed::of(0, &batch));
    }
    assert!(!clusters.is_busy());
}

#[test]
fn the_cursor_lies_before_a_tick_that_is_skipped_until_that_is_on_record() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 1), [""; 0], "held back");
    let run = RunId::of(&skips.name, at(-9));
    let open = OpenRun { job: skips.name.clone(), run, scheduled_at: Some(at(-9)) };
    clusters.told(&RunNews::Unfinished(open));
    read(&mut clusters);
    let (cluster, batch) = clusters.next_batch(at(1)).unwrap();
    assert!(matches!(&batch.events[..], [Event::Skipped { .. }]), "{batch:?}");
    assert!(cursor(&mut clusters, 1) < at(1));
    clusters.confirmed(Confirmed::of(cluster, &batch));
    assert_eq!(cursor(&mut clusters, 1), at(1));
}

#[test]
fn what_was_published_before_is_forgotten_once_the_cursor_has_passed_it() {
    for (seconds, reads) in [(&[5][..], true), (&[], false)] {
        let one = job("one", "c", job::Overlap::Allow);
        let mut clusters = leading(&["c"], &[&one]);
        let published = these(&one, seconds, at(5));
        clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(0));
        if reads {
            read(&mut clusters);
        }
        let end = LATE.num_seconds();
        drop(self::published(&mut clusters, end));
        drop(clusters.next_batch(at(end)));
        assert!(remembers(&clusters), "the cursor has come to it and not passed it");
        drop(self::published(&mut clusters, end + 1));
        drop(clusters.next_batch(at(end + 1)));
        assert!(!remembers(&clusters), "{seconds:?}");
    }
}

#[test]
fn which_runs_are_over_is_remembered_while_ticks_are_held_back() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    start(&mut clusters, 0);
    for second in 1..=LATE.num_seconds() + 9 {
        assert_eq!(self::published(&mut clusters, second), [""; 0]);
    }
    assert!(remembers(&clusters), "a held-back tick may be one whose run is over");
}

#[test]
fn overlaps_of_a_former_file_are_known_until_its_last_tick_is_decided() {
    let (skips, allows) = (job("one", "c", job::Overlap::Skip), job("one", "c", job::Overlap::Allow));
    let mut clusters = leading(&["c"], &[&skips]);
    start(&mut clusters, 0);
    assert_eq!(self::published(&mut clusters, 1), [""; 0], "held back");
    clusters.swap(file(&[&allows], "s"), at(1));
    drop(clusters.next_batch(at(1)));
    assert_eq!(clusters.former.len(), 1);
    let owed = clusters.owed();
    clusters.told(&history_read(owed));
    read_to_end(&mut clusters, &[]);
    while work(&mut clusters, 1).is_some() {}
    assert!(clusters.former.is_empty());
}

#[test]
fn what_was_published_before_is_remembered_while_ticks_are_held_back() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    let published = these(&skips, &[1], at(1));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(0));
    for second in 1..=LATE.num_seconds() + 9 {
        assert_eq!(self::published(&mut clusters, second), [""; 0]);
    }
    assert!(remembers(&clusters));
    read(&mut clusters);
    assert_eq!(
        self::published(&mut clusters, LATE.num_seconds() + 10),
        [""; 0],
        "it runs, and blocks all others"
    );
}

#[test]
fn what_was_published_before_is_remembered_until_it_is_put_on_record() {
    let rare = rare("rare", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&rare]);
    let published = these(&rare, &[1], at(1));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(0));
    let end = LATE.num_seconds() + 1;
    while work(&mut clusters, end).is_some() {}
    assert!(remembers(&clusters));
    read(&mut clusters);
    let batch = work(&mut clusters, end).unwrap();
    assert!(matches!(&batch.events[..], [Event::Published { .. }]), "{batch:?}");
    drop(work(&mut clusters, end));
    assert!(!remembers(&clusters));
}

#[test]
fn a_run_that_is_known_to_be_open_is_not_put_on_record_again() {
    let rare = rare("rare", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&rare]);
    let run = RunId::of(&rare.name, at(1));
    let open = OpenRun { job: rare.name.clone(), run, scheduled_at: Some(at(1)) };
    clusters.told(&RunNews::Unfinished(open));
    let published = these(&rare, &[1], at(1));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(2));
    read(&mut clusters);
    let events: Vec<Event> =
        std::iter::from_fn(|| work(&mut clusters, 2)).flat_map(|batch| batch.events).collect();
    assert!(matches!(&events[..], [Event::Revision { .. }]), "{events:?}");
}

#[test]
fn a_tick_that_waited_for_a_job_that_is_gone_is_missed_in_its_own_cluster() {
    let (other, queues) = (job("other", "c", job::Overlap::Allow), job("queues", "d", job::Overlap::Queue));
    let mut clusters = leading(&["c", "d"], &[&other, &queues]);
    read(&mut clusters);
    start(&mut clusters, 0);
    start(&mut clusters, 1);
    let both = ["other", "queues"];
    assert_eq!(published(&mut clusters, 1), both);
    assert_eq!(published(&mut clusters, 2), ["other"], "the other one waits");
    clusters.swap(file(&[&other], "s"), at(2));
    let mut missed = Vec::new();
    while let Some((number, batch)) = clusters.next_batch(at(2)) {
        missed.extend(batch.events.iter().filter_map(|event| match event {
            Event::Missed { job, cluster, count, .. } => {
                Some((number, job.to_string(), cluster.to_string(), *count))
            }
            _ => None,
        }));
        clusters.confirmed(Confirmed::of(number, &batch));
    }
    assert_eq!(missed, [(1, "queues".to_owned(), "d".to_owned(), 1)]);
}

#[test]
fn a_standby_remembers_no_runs_that_are_over() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    clusters.end();
    over(&mut clusters, &skips, 1);
    assert!(clusters.over.is_empty());
}

#[test]
fn the_jobs_of_each_cluster_are_shown_and_those_of_a_new_file_too() {
    let (one, two) = (job("one", "c", job::Overlap::Allow), job("two", "d", job::Overlap::Allow));
    let three = job("three", "c", job::Overlap::Allow);
    let mut clusters = leading(&["c", "d"], &[&one, &two]);
    let shown = |clusters: &Clusters| clusters.levels().map(|levels| levels.jobs).collect::<Vec<_>>();
    assert_eq!(shown(&clusters), [1, 1]);
    clusters.swap(file(&[&one, &three], "s"), at(1));
    assert_eq!(shown(&clusters), [2, 0]);
}
