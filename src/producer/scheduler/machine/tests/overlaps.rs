//! Jobs whose runs may not overlap: what is known when a tick of theirs is decided.

use super::*;
use crate::producer::plan::catchup::LATE;

#[test]
fn overlaps_are_not_decided_before_it_is_known_what_is_unfinished() {
    let (skips, other) = (job("skips", "c", job::Overlap::Skip), job("other", "d", job::Overlap::Allow));
    let mut timing = timing(&["c", "d"], &[&skips, &other]);
    start(&mut timing, 0);
    start(&mut timing, 1);
    assert_eq!(published(&mut timing, 1), ["other"], "the other cluster waits for nothing");
    assert!(timing.wait(at(1), Duration::from_secs(1)) > Duration::ZERO, "nor does the timer spin");
    let run = RunId::of(&skips.name, at(-9));
    let unfinished = OpenRun { job: skips.name.clone(), run, scheduled_at: Some(at(-9)) };
    timing.told(&RunNews::Unfinished(unfinished));
    read(&mut timing);
    assert_eq!(published(&mut timing, 1), [""; 0]);
    timing.told(&RunNews::Over { job: Some(skips.name.clone()), run });
    assert_eq!(published(&mut timing, 2), ["skips", "other"]);
}

#[test]
fn what_an_earlier_term_decided_and_did_not_publish_blocks_nothing() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut timing = timing(&["c"], &[&skips]);
    read(&mut timing);
    start(&mut timing, 0);
    work(&mut timing, 0); // the job file is on record
    let (_, batch) = timing.next_batch(at(1)).unwrap();
    assert_eq!((batch.ticks.len(), batch.kind), (1, Some(Kind::Current)));
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
    let unfinished = OpenRun { job: skips.name.clone(), run, scheduled_at: Some(at(-3)) };
    timing.told(&RunNews::Unfinished(unfinished));
    read_to_end(&mut timing, &[]);
    assert_eq!(published(&mut timing, 2), [""; 0], "both are skipped");
    assert!(cursor(&mut timing, 2) >= at(2));
    over(&mut timing, &skips, -3);
    assert_eq!(published(&mut timing, 3), ["skips", "allows"]);
}

#[test]
fn the_cursor_does_not_go_back_to_what_was_published_before_where_a_file_gives_its_job_an_overlap() {
    let (one, other) = (job("one", "c", job::Overlap::Allow), job("other", "c", job::Overlap::Skip));
    let mut timing = timing(&["c"], &[&one, &other]);
    read(&mut timing);
    let published_before = these(&one, &[1, 2], at(90));
    let start = Start { cursor: at(0), reboot: None, published: published_before, is_gap: false };
    timing.start(1, 0, start, at(3));
    published(&mut timing, 3);
    let before = cursor(&mut timing, 3);
    assert!(before >= at(3), "{before}");
    let jobs = vec![job("one", "c", job::Overlap::Skip), Arc::clone(&other)];
    let file = ActiveJobs { jobs, revision: Arc::from("s"), tzdata: "2026f".into() };
    timing.told(&history_read(Scheduler::overlapping(&file)));
    timing.swap(file, at(3));
    // What the topic holds of it is put on record, as what blocks it.
    let (_, batch) = timing.next_batch(at(4)).unwrap();
    let (_, found) = timing.next_batch(at(4)).unwrap();
    let is_published = |event: &Event| matches!(event, Event::Published { .. });
    assert_eq!(found.events.iter().chain(&batch.events).filter(|event| is_published(event)).count(), 2);
    assert!(cursor(&mut timing, 4) >= before);
}

#[test]
fn a_run_whose_message_is_too_large_blocks_no_later_one() {
    for (overlap, second) in [(job::Overlap::Skip, 2), (job::Overlap::Queue, 2)] {
        let one = job("one", "c", overlap);
        let mut timing = timing(&["c"], &[&one]);
        read(&mut timing);
        start(&mut timing, 0);
        work(&mut timing, 0); // the job file is on record
        refuse(&mut timing, 1);
        assert_eq!(published(&mut timing, second), ["one"], "{overlap:?}");
    }
    // A tick that waits for one that turns out to be too large.
    let one = job("one", "c", job::Overlap::Queue);
    let mut timing = timing(&["c"], &[&one]);
    read(&mut timing);
    start(&mut timing, 0);
    work(&mut timing, 0);
    let (_, batch) = timing.next_batch(at(1)).unwrap();
    assert_eq!(published(&mut timing, 2), [""; 0], "it waits");
    let refused = vec![(one.name.clone(), RunId::of(&one.name, at(1)))];
    timing.confirmed(Confirmed { epoch: batch.epoch, kind: batch.kind, refused, cluster: 0 });
    assert_eq!(published(&mut timing, 2), ["one"]);
}

#[test]
fn ticks_of_two_files_that_were_held_back_come_in_two_batches_each_with_its_revision() {
    let (one, two) = (job("one", "c", job::Overlap::Queue), job("two", "c", job::Overlap::Queue));
    let mut timing = timing(&["c"], &[&one]);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 1), [""; 0], "held back until it is known what is unfinished");
    let file = ActiveJobs {
        jobs: vec![Arc::clone(&one), Arc::clone(&two)],
        revision: Arc::from("s"),
        tzdata: "2026f".into(),
    };
    timing.swap(file, at(1));
    assert_eq!(published(&mut timing, 2), [""; 0], "as those of the next file are");
    read(&mut timing);
    let batches: Vec<Batch> = std::iter::from_fn(|| work(&mut timing, 2)).collect();
    let told = |batch: &Batch| {
        let ticks: Vec<String> = batch.ticks.iter().map(|tick| tick.job.name.to_string()).collect();
        (batch.revision.to_string(), ticks, batch.events.len())
    };
    let expected = [("r", "one", 0), ("s", "two", 1)];
    let expected = expected.map(|(file, job, waits)| (file.to_owned(), vec![job.to_owned()], waits));
    assert_eq!(batches.iter().map(told).collect::<Vec<_>>(), expected);
}

#[test]
fn ticks_that_were_held_back_are_decided_in_their_order() {
    let queues = job("queues", "c", job::Overlap::Queue);
    let mut timing = timing(&["c"], &[&queues]);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 3), [""; 0]);
    read(&mut timing);
    let (cluster, batch) = timing.next_batch(at(3)).unwrap();
    assert_eq!(batch.ticks.iter().map(|tick| tick.at).collect::<Vec<_>>(), [at(1)]);
    assert!(matches!(&batch.events[..], [Event::Queued { .. }, Event::Skipped { .. }]), "{:?}", batch.events);
    assert!(cursor(&mut timing, 3) < at(1), "nothing of it is confirmed yet");
    timing.confirmed(Confirmed { epoch: batch.epoch, kind: batch.kind, refused: Vec::new(), cluster });
    assert!(cursor(&mut timing, 3) < at(2), "the second one waits");
    over(&mut timing, &queues, 1);
    assert_eq!(published(&mut timing, 3), ["queues"]);
    assert_eq!(cursor(&mut timing, 3), at(3));
}

/// A tick after a run that stands in the topic: is it published?
fn check_found(tell: impl Fn(&mut Scheduler, &Arc<Job>), expected: bool) {
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
fn a_run_that_stands_in_the_topic_and_of_which_nothing_is_known_blocks_its_job_only_if_it_is_young() {
    let check = |due: i64, expected: bool| {
        let skips = job("skips", "c", job::Overlap::Skip);
        let mut timing = timing(&["c"], &[&skips]);
        let found = these(&skips, &[due], at(1));
        timing.start(1, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
        read(&mut timing);
        assert_eq!(!published(&mut timing, 1).is_empty(), expected, "due at {due}");
    };
    // What was over longer ago than an hour is not remembered, so nothing would ever say that such a run is over.
    check(-3700, true);
    check(-3500, false);
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
    let unfinished = RunNews::Unfinished(OpenRun { job: job.clone(), run, scheduled_at: Some(at(0)) });
    let over = RunNews::Over { job: Some(job), run };
    let read = RunNews::ReadToEnd { term: 1, over: Arc::new([run].into()) };
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
    timing.swap(ActiveJobs { jobs: vec![skips], revision: Arc::from("s"), tzdata: "2026f".into() }, at(1));
    read(&mut timing);
    assert_eq!(published(&mut timing, 2), [""; 0]);
}

#[test]
fn ticks_that_are_held_back_of_a_job_that_is_removed_are_missed() {
    let (skips, allows) = (job("skips", "c", job::Overlap::Skip), job("allows", "c", job::Overlap::Allow));
    let mut timing = timing(&["c"], &[&skips]);
    start(&mut timing, 0);
    assert_eq!(published(&mut timing, 1), [""; 0]);
    timing.swap(ActiveJobs { jobs: vec![allows], revision: Arc::from("s"), tzdata: "2026f".into() }, at(5));
    assert!(cursor(&mut timing, 5) < at(1), "nothing is on record yet");
    let (cluster, batch) = timing.next_batch(at(5)).unwrap();
    assert!(matches!(&batch.events[..], [Event::Missed { .. }, Event::Revision { .. }]), "{batch:?}");
    assert!(cursor(&mut timing, 5) < at(1));
    timing.confirmed(Confirmed { epoch: 1, kind: batch.kind, refused: Vec::new(), cluster });
    assert!(cursor(&mut timing, 5) >= at(1));
}

#[test]
fn runs_that_are_over_are_remembered_only_while_it_is_asked_which_are() {
    let (skips, daily) = (job("skips", "c", job::Overlap::Skip), job("daily", "d", job::Overlap::Allow));
    let daily = Arc::new(Job {
        schedule: Arc::new(Schedule::parse("@daily", &crate::producer::zone::Zone::utc()).unwrap()),
        ..Job::clone(&daily)
    });
    let mut timing = timing(&["c", "d"], &[&skips, &daily]);
    read(&mut timing);
    over(&mut timing, &skips, -1);
    assert_eq!(timing.over.len(), 1, "no cluster has begun");
    over(&mut timing, &daily, -1);
    assert_eq!(timing.over.len(), 1, "of a job whose runs may overlap nobody asks");
    start(&mut timing, 0);
    start(&mut timing, 1);
    drop(published(&mut timing, 1));
    over(&mut timing, &skips, 1);
    assert_eq!(timing.over.len(), 2);
    // What was published before is passed a minute later, also where nothing is due for hours.
    for second in [LATE.num_seconds(), LATE.num_seconds() + 1] {
        drop(published(&mut timing, second));
    }
    assert!(timing.over.is_empty());
    over(&mut timing, &skips, 2);
    assert!(timing.over.is_empty());
}

/// A job file of these jobs.
fn file(jobs: &[&Arc<Job>], revision: &str) -> ActiveJobs {
    let jobs = jobs.iter().map(|job| Arc::clone(job)).collect();
    ActiveJobs { jobs, revision: Arc::from(revision), tzdata: "2026f".into() }
}

#[test]
fn ticks_of_a_former_file_are_decided_by_its_overlaps_although_the_next_file_allows_them() {
    let (one, two) = (job("one", "c", job::Overlap::Skip), job("two", "c", job::Overlap::Skip));
    let (allows, gains) = (job("one", "c", job::Overlap::Allow), job("three", "c", job::Overlap::Skip));
    let mut timing = timing(&["c"], &[&one, &two]);
    // The leader before us has published a run of each.
    let mut runs = Runs::default();
    runs.add(&one.name, at(1), (0, 0));
    runs.sort();
    let published_before = Published { runs, ..nothing(at(1)) };
    let start = Start { cursor: at(0), reboot: None, published: published_before, is_gap: false };
    timing.start(1, 0, start, at(2));
    assert_eq!(published(&mut timing, 2), [""; 0], "held back until the open runs are known");
    let mut coming = Reload::new(&timing);
    coming.take(file(&[&allows, &gains], "next"), &timing);
    let Some(FollowRequest::Follow(asked)) = coming.next_ask() else { panic!("it asks for its jobs") };
    let names = |followed: &Followed| {
        let mut names: Vec<String> = followed.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&asked), ["one", "three", "two"], "the ticks that are held back need theirs, too");
    let run = RunId::of(&two.name, at(-3));
    timing.told(&RunNews::Unfinished(OpenRun { job: two.name.clone(), run, scheduled_at: None }));
    timing.told(&history_read(asked));
    assert_eq!(coming.bring_in_force(&mut timing, at(2)).as_deref(), Some("next"));
    assert_eq!(published(&mut timing, 2), [""; 0], "it is not known yet what was published before the term");
    read_to_end(&mut timing, &[]);
    assert_eq!(published(&mut timing, 2), [""; 0], "all are skipped");
    assert_eq!(published(&mut timing, 3), ["one", "three"], "the next file allows it");
}

#[test]
fn a_run_of_before_the_term_that_is_over_blocks_no_job_that_a_file_gives_an_overlap() {
    let (allows, skips) = (job("one", "c", job::Overlap::Allow), job("one", "c", job::Overlap::Skip));
    let mut timing = timing(&["c"], &[&allows]);
    read(&mut timing);
    let found = these(&allows, &[1], at(60));
    timing.start(1, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    // Nobody follows the job when its run ends.
    over(&mut timing, &allows, 1);
    assert_eq!(published(&mut timing, 1), [""; 0]);
    let next = file(&[&skips], "next");
    let (of, run) = (Scheduler::overlapping(&next), RunId::of(&skips.name, at(1)));
    timing.told(&RunNews::HistoryRead { of, over: Arc::new([run].into()) });
    timing.swap(next, at(1));
    assert_eq!(published(&mut timing, 2), ["one"]);
}
