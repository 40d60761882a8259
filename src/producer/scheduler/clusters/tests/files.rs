//! Jobs whose runs may not overlap by one job file, while another file becomes active.

use super::*;

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
fn where_the_log_is_another_one_it_is_said_again_which_file_is_active() {
    let often = job("often", "c", job::Overlap::Allow);
    let mut clusters = leading(&["c", "d"], &[&often]);
    start(&mut clusters, 0);
    read(&mut clusters);
    assert_eq!(published(&mut clusters, 3).len(), 3);
    // The membership may have been in doubt for a while.
    read_to_end(&mut clusters, &[]);
    assert!(clusters.clusters.iter().all(|cluster| !cluster.says_file_again));
    clusters.told(&RunNews::AnotherLog);
    assert!(cursor(&mut clusters, 3) == at(3));
    let (cluster, batch) = clusters.next_batch(at(4)).unwrap();
    let [Event::Revision { revision, from, .. }] = &batch.events[..] else { panic!("{batch:?}") };
    assert_eq!((revision.as_str(), batch.ticks.len()), ("r", 0));
    assert!((at(3)..at(4)).contains(from), "{from}");
    assert!(clusters.next_batch(at(4)).is_some_and(|(_, batch)| batch.ticks.len() == 1));
    assert!(cursor(&mut clusters, 4) <= *from, "the file is not on record");
    clusters.confirmed(Confirmed::of(cluster, &batch));
    // A tick that waits holds the cursor back, and the file counts from where it became active.
    let skips = job("skips", "c", job::Overlap::Skip);
    clusters.swap(file(&[&skips], "s"), at(10));
    while work(&mut clusters, 20).is_some() {}
    clusters.told(&RunNews::AnotherLog);
    let batch = work(&mut clusters, 20).unwrap();
    let [Event::Revision { revision, from, .. }] = &batch.events[..] else { panic!("{batch:?}") };
    assert_eq!((revision.as_str(), *from >= at(10)), ("s", true), "{from}");
}
