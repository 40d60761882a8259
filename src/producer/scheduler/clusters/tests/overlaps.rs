//! Jobs whose runs may not overlap: what is known when a tick of theirs is decided.

use super::*;
use crate::producer::plan::catchup::LATE;

#[test]
fn overlaps_are_not_decided_before_it_is_known_what_is_unfinished() {
    let (skips, other) = (job("skips", "c", job::Overlap::Skip), job("other", "d", job::Overlap::Allow));
    let mut clusters = leading(&["c", "d"], &[&skips, &other]);
    start(&mut clusters, 0);
    start(&mut clusters, 1);
    assert_eq!(published(&mut clusters, 1), ["other"], "the other cluster waits for nothing");
    assert!(clusters.wait(at(1), Duration::from_secs(1)) > Duration::ZERO, "nor does the timer spin");
    let run = RunId::of(&skips.name, at(-9));
    let unfinished = OpenRun { job: skips.name.clone(), run, scheduled_at: Some(at(-9)) };
    clusters.told(&RunNews::Unfinished(unfinished));
    read(&mut clusters);
    assert_eq!(published(&mut clusters, 1), [""; 0]);
    clusters.told(&RunNews::Over { job: Some(skips.name.clone()), run });
    assert_eq!(published(&mut clusters, 2), ["skips", "other"]);
}

#[test]
fn what_an_earlier_term_decided_and_did_not_publish_blocks_nothing() {
    let skips = job("skips", "c", job::Overlap::Skip);
    let mut clusters = leading(&["c"], &[&skips]);
    read(&mut clusters);
    start(&mut clusters, 0);
    work(&mut clusters, 0); // the job file is on record
    let (_, batch) = clusters.next_batch(at(1)).unwrap();
    assert_eq!((batch.ticks.len(), batch.source), (1, Source::Current));
    clusters.end();
    clusters.begin(second_term());
    read_to_end(&mut clusters, &[]);
    let start = Start { cursor: at(1), reboot: None, published: nothing(at(0)), is_gap: false };
    clusters.start(second_term(), 0, start, at(1));
    let late = Confirmed::of(0, &batch);
    clusters.confirmed(late);
    assert_eq!(published(&mut clusters, 2), ["skips"]);
}

#[test]
fn overlaps_are_not_decided_by_what_was_known_before_the_term() {
    let (skips, allows) = (job("skips", "c", job::Overlap::Skip), job("allows", "c", job::Overlap::Allow));
    let mut clusters = leading(&["c"], &[&skips, &allows]);
    read(&mut clusters);
    clusters.end();
    clusters.begin(second_term());
    let start = Start { cursor: at(0), reboot: None, published: nothing(at(0)), is_gap: false };
    clusters.start(second_term(), 0, start, at(0));
    assert_eq!(published(&mut clusters, 1), ["allows"], "others wait for nothing");
    assert_eq!(published(&mut clusters, 2), ["allows"]);
    assert!(cursor(&mut clusters, 2) < at(1));
    // The leader in between has published one that is not finished.
    let run = RunId::of(&skips.name, at(-3));
    let unfinished = OpenRun { job: skips.name.clone(), run, scheduled_at: Some(at(-3)) };
    clusters.told(&RunNews::Unfinished(unfinished));
    read_to_end(&mut clusters, &[]);
    assert_eq!(published(&mut clusters, 2), [""; 0], "both are skipped");
    assert!(cursor(&mut clusters, 2) >= at(2));
    over(&mut clusters, &skips, -3);
    assert_eq!(published(&mut clusters, 3), ["skips", "allows"]);
}

#[test]
fn the_cursor_does_not_go_back_to_what_was_published_before_where_a_file_gives_its_job_an_overlap() {
    let (one, other) = (job("one", "c", job::Overlap::Allow), job("other", "c", job::Overlap::Skip));
    let mut clusters = leading(&["c"], &[&one, &other]);
    read(&mut clusters);
    let published_before = these(&one, &[1, 2], at(90));
    let start = Start { cursor: at(0), reboot: None, published: published_before, is_gap: false };
    clusters.start(FIRST, 0, start, at(3));
    published(&mut clusters, 3);
    let before = cursor(&mut clusters, 3);
    assert!(before >= at(3), "{before}");
    let jobs = vec![job("one", "c", job::Overlap::Skip), Arc::clone(&other)];
    let file = ActiveJobs { jobs, revision: Arc::from("s"), tzdata: "2026f".into() };
    clusters.told(&history_read(Clusters::overlapping(&file)));
    clusters.swap(file, at(3));
    // What the topic holds of it is put on record, as what blocks it.
    let (_, batch) = clusters.next_batch(at(4)).unwrap();
    let (_, found) = clusters.next_batch(at(4)).unwrap();
    let is_published = |event: &Event| matches!(event, Event::Published { .. });
    assert_eq!(found.events.iter().chain(&batch.events).filter(|event| is_published(event)).count(), 2);
    assert!(cursor(&mut clusters, 4) >= before);
}

#[test]
fn a_run_whose_message_is_too_large_blocks_no_later_one() {
    for (overlap, second) in [(job::Overlap::Skip, 2), (job::Overlap::Queue, 2)] {
        let one = job("one", "c", overlap);
        let mut clusters = leading(&["c"], &[&one]);
        read(&mut clusters);
        start(&mut clusters, 0);
        work(&mut clusters, 0); // the job file is on record
        refuse(&mut clusters, 1);
        assert_eq!(published(&mut clusters, second), ["one"], "{overlap:?}");
    }
    // A tick that waits for one that turns out to be too large.
    let one = job("one", "c", job::Overlap::Queue);
    let mut clusters = leading(&["c"], &[&one]);
    read(&mut clusters);
    start(&mut clusters, 0);
    work(&mut clusters, 0);
    let (_, batch) = clusters.next_batch(at(1)).unwrap();
    assert_eq!(published(&mut clusters, 2), [""; 0], "it waits");
    let refused = vec![(one.name.clone(), RunId::of(&one.name, at(1)))];
    clusters.confirmed(Confirmed { refused, ..Confirmed::of(0, &batch) });
    assert_eq!(published(&mut clusters, 2), ["one"]);
}

#[test]
fn ticks_of_two_files_that_were_held_back_come_in_two_batches_each_with_its_revision() {
    let (one, two) = (job("one", "c", job::Overlap::Queue), job("two", "c", job::Overlap::Queue));
    let mut clusters = leading(&["c"], &[&one]);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 1), [""; 0], "held back until it is known what is unfinished");
    let file = ActiveJobs {
        jobs: vec![Arc::clone(&one), Arc::clone(&two)],
        revision: Arc::from("s"),
        tzdata: "2026f".into(),
    };
    clusters.swap(file, at(1));
    assert_eq!(published(&mut clusters, 2), [""; 0], "as those of the next file are");
    read(&mut clusters);
    let batches: Vec<Batch> = std::iter::from_fn(|| work(&mut clusters, 2)).collect();
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
    let mut clusters = leading(&["c"], &[&queues]);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 3), [""; 0]);
    read(&mut clusters);
    let (cluster, batch) = clusters.next_batch(at(3)).unwrap();
    assert_eq!(batch.ticks.iter().map(|tick| tick.at).collect::<Vec<_>>(), [at(1)]);
    assert!(matches!(&batch.events[..], [Event::Queued { .. }, Event::Skipped { .. }]), "{:?}", batch.events);
    assert!(cursor(&mut clusters, 3) < at(1), "nothing of it is confirmed yet");
    clusters.confirmed(Confirmed::of(cluster, &batch));
    assert!(cursor(&mut clusters, 3) < at(2), "the second one waits");
    over(&mut clusters, &queues, 1);
    assert_eq!(published(&mut clusters, 3), ["queues"]);
    assert_eq!(cursor(&mut clusters, 3), at(3));
}

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

#[test]
fn a_run_that_stands_in_the_topic_blocks_a_job_that_is_exclusive_in_the_next_file() {
    let (allows, skips) = (job("one", "c", job::Overlap::Allow), job("one", "c", job::Overlap::Skip));
    let mut clusters = leading(&["c"], &[&allows]);
    let found = these(&allows, &[1], at(60));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    read(&mut clusters);
    assert_eq!(published(&mut clusters, 1), [""; 0]);
    clusters.swap(ActiveJobs { jobs: vec![skips], revision: Arc::from("s"), tzdata: "2026f".into() }, at(1));
    read(&mut clusters);
    assert_eq!(published(&mut clusters, 2), [""; 0]);
}

#[test]
fn ticks_that_are_held_back_of_a_job_that_is_removed_are_missed() {
    let (skips, allows) = (job("skips", "c", job::Overlap::Skip), job("allows", "c", job::Overlap::Allow));
    let mut clusters = leading(&["c"], &[&skips]);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 1), [""; 0]);
    clusters.swap(ActiveJobs { jobs: vec![allows], revision: Arc::from("s"), tzdata: "2026f".into() }, at(5));
    assert!(cursor(&mut clusters, 5) < at(1), "nothing is on record yet");
    let (cluster, batch) = clusters.next_batch(at(5)).unwrap();
    assert!(matches!(&batch.events[..], [Event::Missed { .. }, Event::Revision { .. }]), "{batch:?}");
    assert!(cursor(&mut clusters, 5) < at(1));
    clusters.confirmed(Confirmed::of(cluster, &batch));
    assert!(cursor(&mut clusters, 5) >= at(1));
}

#[test]
fn runs_that_are_over_are_remembered_only_while_it_is_asked_which_are() {
    let (skips, daily) = (job("skips", "c", job::Overlap::Skip), job("daily", "d", job::Overlap::Allow));
    let daily = Arc::new(Job {
        schedule: Arc::new(Schedule::parse("@daily", &crate::producer::zone::Zone::utc()).unwrap()),
        ..Job::clone(&daily)
    });
    let mut clusters = leading(&["c", "d"], &[&skips, &daily]);
    read(&mut clusters);
    over(&mut clusters, &skips, -1);
    assert_eq!(clusters.over.len(), 1, "no cluster has begun");
    over(&mut clusters, &daily, -1);
    assert_eq!(clusters.over.len(), 1, "of a job whose runs may overlap nobody asks");
    start(&mut clusters, 0);
    start(&mut clusters, 1);
    drop(published(&mut clusters, 1));
    over(&mut clusters, &skips, 1);
    assert_eq!(clusters.over.len(), 2);
    // What was published before is passed a minute later, also where nothing is due for hours.
    for second in [LATE.num_seconds(), LATE.num_seconds() + 1] {
        drop(published(&mut clusters, second));
    }
    assert!(clusters.over.is_empty());
    over(&mut clusters, &skips, 2);
    assert!(clusters.over.is_empty());
}

#[test]
fn ticks_of_a_former_file_are_decided_by_its_overlaps_although_the_next_file_allows_them() {
    let (one, two) = (job("one", "c", job::Overlap::Skip), job("two", "c", job::Overlap::Skip));
    let (allows, gains) = (job("one", "c", job::Overlap::Allow), job("three", "c", job::Overlap::Skip));
    let mut clusters = leading(&["c"], &[&one, &two]);
    // The leader before us has published a run of each.
    let mut runs = Runs::default();
    runs.add(&one.name, at(1), (0, 0));
    runs.sort();
    let published_before = Published { runs, ..nothing(at(1)) };
    let start = Start { cursor: at(0), reboot: None, published: published_before, is_gap: false };
    clusters.start(FIRST, 0, start, at(2));
    assert_eq!(published(&mut clusters, 2), [""; 0], "held back until the open runs are known");
    let next = file(&[&allows, &gains], "next");
    let asked = clusters.asks_for(&next).unwrap();
    let names = |followed: &Followed| {
        let mut names: Vec<String> = followed.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&asked), ["one", "three", "two"], "the ticks that are held back need theirs, too");
    let run = RunId::of(&two.name, at(-3));
    clusters.told(&RunNews::Unfinished(OpenRun { job: two.name.clone(), run, scheduled_at: None }));
    clusters.told(&history_read(asked));
    assert!(clusters.knows_runs_of(&next));
    clusters.swap(next, at(2));
    assert_eq!(
        published(&mut clusters, 2),
        [""; 0],
        "it is not known yet what was published before the term"
    );
    read_to_end(&mut clusters, &[]);
    assert_eq!(published(&mut clusters, 2), [""; 0], "all are skipped");
    assert_eq!(published(&mut clusters, 3), ["one", "three"], "the next file allows it");
}

#[test]
fn a_run_of_before_the_term_that_is_over_blocks_no_job_that_a_file_gives_an_overlap() {
    let (allows, skips) = (job("one", "c", job::Overlap::Allow), job("one", "c", job::Overlap::Skip));
    let mut clusters = leading(&["c"], &[&allows]);
    read(&mut clusters);
    let found = these(&allows, &[1], at(60));
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: None, published: found, is_gap: false }, at(0));
    // The run tracker does not follow the job when its run ends.
    over(&mut clusters, &allows, 1);
    assert_eq!(published(&mut clusters, 1), [""; 0]);
    let next = file(&[&skips], "next");
    let (of, run) = (Clusters::overlapping(&next), RunId::of(&skips.name, at(1)));
    clusters.told(&RunNews::HistoryRead { of, over: Arc::new([run].into()) });
    clusters.swap(next, at(1));
    assert_eq!(published(&mut clusters, 2), ["one"]);
}

#[test]
fn a_job_that_gains_an_overlap_is_asked_for_once_more_and_only_the_answer_to_that_counts() {
    let (allows, skips) = (job("one", "c", job::Overlap::Allow), job("one", "c", job::Overlap::Skip));
    let mut clusters = leading(&["c"], &[&allows]);
    let next = file(&[&skips], "next");
    // The run tracker follows the job since an earlier file.
    clusters.told(&history_read(Clusters::overlapping(&next)));
    let (first, second) = (clusters.asks_for(&next).unwrap(), clusters.asks_for(&next).unwrap());
    assert!(!clusters.knows_runs_of(&next));
    clusters.told(&history_read(first));
    assert!(!clusters.knows_runs_of(&next), "that was the answer to an earlier question");
    clusters.told(&history_read(second));
    assert!(clusters.knows_runs_of(&next));
    clusters.swap(next, at(1));
    assert_eq!(clusters.asks_for(&file(&[&skips], "another")), None, "it gains nothing");
}

#[test]
fn a_run_that_was_told_as_open_blocks_no_longer_when_the_history_says_that_it_is_over() {
    for is_history in [true, false] {
        let one = job("one", "c", job::Overlap::Queue);
        let mut clusters = leading(&["c"], &[&one]);
        start(&mut clusters, 0);
        read(&mut clusters);
        let run = RunId::of(&one.name, at(-9));
        clusters.told(&RunNews::Unfinished(OpenRun { job: one.name.clone(), run, scheduled_at: None }));
        assert_eq!(published(&mut clusters, 1), [""; 0], "it waits");
        let (of, over) = (Clusters::overlapping(&clusters.file), Arc::new([run].into()));
        let news = RunNews::HistoryRead { of, over: Arc::clone(&over) };
        clusters.told(&if is_history { news } else { RunNews::ReadToEnd { term: FIRST, over } });
        assert_eq!(published(&mut clusters, 1), ["one"]);
    }
}
