//! Limits: how much is held back, what is forgotten and when, and what is shown.

use super::*;
use crate::common::bounds::{TICK_BATCHES, TICKS_HELD_BACK};
use crate::producer::plan::catchup::LATE;

/// A job that is not due for months.
fn rare(name: &str, of: &str, overlap: job::Overlap) -> Arc<Job> {
    Arc::new(Job { cluster: cluster(of), overlap, ..job::sample(name, "0 0 1 1 *") })
}

fn file(jobs: &[&Arc<Job>], revision: &str) -> ActiveJobs {
    let jobs = jobs.iter().map(|job| Arc::clone(job)).collect();
    ActiveJobs { jobs, revision: Arc::from(revision), tzdata: "2026f".into() }
}

fn remembers(timing: &Scheduler) -> bool {
    timing.clusters[0].turn.as_ref().unwrap().remembers()
}

#[test]
fn no_more_ticks_are_held_back_than_there_is_room_for() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    start(&mut timing, 0);
    let turn = timing.clusters[0].turn.as_mut().unwrap();
    let revision = Arc::from("r");
    for second in (1..).take(TICKS_HELD_BACK) {
        assert!(turn.has_room());
        turn.hold_back(Tick { job: Arc::clone(&skips), at: at(second) }, &revision);
    }
    assert!(!turn.has_room());
    assert!(turn.take_held_back().is_some());
    assert!(turn.has_room());
}

#[test]
fn a_scheduler_is_busy_from_the_first_batch_that_is_handed_over_to_the_last_that_is_confirmed() {
    let one = job("one", "c", job::Overlap::Allow);
    let mut timing = timing(&["c"], &[&one]);
    assert!(!timing.is_busy());
    start(&mut timing, 0);
    assert!(!timing.is_busy());
    let batches: Vec<Batch> = (0..TICK_BATCHES).map(|_| timing.next_batch(at(1)).unwrap().1).collect();
    for batch in batches {
        assert!(timing.is_busy());
        timing.confirmed(Confirmed { epoch: 1, kind: batch.kind, refused: Vec::new(), cluster: 0 });
    }
    assert!(!timing.is_busy());
}

#[test]
fn the_cursor_lies_before_a_tick_that_is_skipped_until_that_is_on_record() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 1), [""; 0], "held back");
    let run = RunId::of(&skips.name, at(-9));
    let open = OpenRun { job: skips.name.clone(), run, scheduled_at: Some(at(-9)) };
    timing.told(&RunNews::Unfinished(open));
    read(&mut timing);
    let (cluster, batch) = timing.next_batch(at(1)).unwrap();
    assert!(matches!(&batch.events[..], [Event::Skipped { .. }]), "{batch:?}");
    assert!(cursor(&mut timing, 1) < at(1));
    timing.confirmed(Confirmed { epoch: 1, kind: batch.kind, refused: Vec::new(), cluster });
    assert_eq!(cursor(&mut timing, 1), at(1));
}

#[test]
fn what_was_published_before_is_forgotten_once_the_cursor_has_passed_it() {
    for (seconds, reads) in [(&[5][..], true), (&[], false)] {
        let one = job("one", "c", job::Overlap::Allow);
        let mut timing = timing(&["c"], &[&one]);
        let published = these(&one, seconds, at(5));
        timing.start(1, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(0));
        if reads {
            read(&mut timing);
        }
        let end = LATE.num_seconds();
        drop(self::published(&mut timing, end));
        drop(timing.next_batch(at(end)));
        assert!(remembers(&timing), "the cursor has come to it and not passed it");
        drop(self::published(&mut timing, end + 1));
        drop(timing.next_batch(at(end + 1)));
        assert!(!remembers(&timing), "{seconds:?}");
    }
}

#[test]
fn what_was_published_before_is_remembered_while_ticks_are_held_back() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    let published = these(&skips, &[1], at(1));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(0));
    for second in 1..=LATE.num_seconds() + 9 {
        assert_eq!(self::published(&mut timing, second), [""; 0]);
    }
    assert!(remembers(&timing));
    read(&mut timing);
    assert_eq!(
        self::published(&mut timing, LATE.num_seconds() + 10),
        [""; 0],
        "it runs, and blocks all others"
    );
}

#[test]
fn what_was_published_before_is_remembered_until_it_is_put_on_record() {
    let rare = rare("rare", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&rare]);
    let published = these(&rare, &[1], at(1));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(0));
    let end = LATE.num_seconds() + 1;
    while work(&mut timing, end).is_some() {}
    assert!(remembers(&timing));
    read(&mut timing);
    let batch = work(&mut timing, end).unwrap();
    assert!(matches!(&batch.events[..], [Event::Published { .. }]), "{batch:?}");
    drop(work(&mut timing, end));
    assert!(!remembers(&timing));
}

#[test]
fn a_run_that_is_known_to_be_open_is_not_put_on_record_again() {
    let rare = rare("rare", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&rare]);
    let run = RunId::of(&rare.name, at(1));
    let open = OpenRun { job: rare.name.clone(), run, scheduled_at: Some(at(1)) };
    timing.told(&RunNews::Unfinished(open));
    let published = these(&rare, &[1], at(1));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published, is_gap: false }, at(2));
    read(&mut timing);
    let events: Vec<Event> =
        std::iter::from_fn(|| work(&mut timing, 2)).flat_map(|batch| batch.events).collect();
    assert!(matches!(&events[..], [Event::Revision { .. }]), "{events:?}");
}

#[test]
fn a_tick_that_waited_for_a_job_that_is_gone_is_missed_in_its_own_cluster() {
    let (other, queues) = (job("other", "c", job::Overlap::Allow), job("queues", "d", job::Overlap::Queue));
    let mut timing = timing(&["c", "d"], &[&other, &queues]);
    read(&mut timing);
    start(&mut timing, 0);
    start(&mut timing, 1);
    let both = ["other", "queues"];
    assert_eq!(published(&mut timing, 1), both);
    assert_eq!(published(&mut timing, 2), ["other"], "the other one waits");
    timing.swap(file(&[&other], "s"), at(2));
    let mut missed = Vec::new();
    while let Some((number, batch)) = timing.next_batch(at(2)) {
        missed.extend(batch.events.iter().filter_map(|event| match event {
            Event::Missed { job, cluster, count, .. } => {
                Some((number, job.to_string(), cluster.to_string(), *count))
            }
            _ => None,
        }));
        let Batch { epoch, kind, .. } = batch;
        timing.confirmed(Confirmed { epoch, kind, refused: Vec::new(), cluster: number });
    }
    assert_eq!(missed, [(1, "queues".to_owned(), "d".to_owned(), 1)]);
}

#[test]
fn a_standby_remembers_no_runs_that_are_over() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    timing.end();
    over(&mut timing, &skips, 1);
    assert!(timing.over.is_empty());
}

#[test]
fn the_jobs_of_each_cluster_are_shown_and_those_of_a_new_file_too() {
    let (one, two) = (job("one", "c", job::Overlap::Allow), job("two", "d", job::Overlap::Allow));
    let three = job("three", "c", job::Overlap::Allow);
    let mut timing = timing(&["c", "d"], &[&one, &two]);
    let shown =
        |timing: &Scheduler| timing.clusters.iter().map(|of| of.measures.jobs.get()).collect::<Vec<_>>();
    assert_eq!(shown(&timing), [1, 1]);
    timing.swap(file(&[&one, &three], "s"), at(1));
    assert_eq!(shown(&timing), [2, 0]);
}

#[test]
fn a_reload_has_something_to_ask_until_that_is_taken() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[]);
    let mut coming = Reload::new(&timing);
    assert!(!coming.has_asks());
    coming.take(file(&[&skips], "s"), &timing);
    assert!(coming.has_asks());
    let Some(FollowRequest::Follow(followed)) = coming.next_ask() else { panic!("it asks for its jobs") };
    assert!(!coming.has_asks());
    timing.told(&history_read(followed));
    assert!(coming.bring_in_force(&mut timing, at(1)).is_some());
    assert!(coming.has_asks());
}
