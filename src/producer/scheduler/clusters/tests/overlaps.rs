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

/// The runs that are to end, where that has changed: their instants.
fn ends(clusters: &mut Clusters, job: &Arc<Job>) -> Option<Vec<i64>> {
    let ends = clusters.changed_ends()?;
    let instants = (0..9).filter(|second| ends.contains_key(&RunId::of(&job.name, at(*second))));
    let instants: Vec<i64> = instants.collect();
    assert_eq!(instants.len(), ends.len());
    Some(instants)
}

#[test]
fn a_tick_whose_place_a_newer_one_takes_is_skipped_on_record_before_the_cursor_passes_it() {
    let one = job("one", "c", job::Overlap::Replace);
    let mut clusters = leading(&["c"], &[&one]);
    read(&mut clusters);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 1), ["one"]);
    assert_eq!(ends(&mut clusters, &one), None);
    assert_eq!(published(&mut clusters, 2), [""; 0], "it waits");
    assert_eq!(ends(&mut clusters, &one), Some(vec![1]));
    assert!(cursor(&mut clusters, 2) < at(2));
    let queued = work(&mut clusters, 3).unwrap();
    assert!(matches!(&queued.events[..], [Event::Queued { .. }]), "{:?}", queued.events);
    let (cluster, skipped) = clusters.next_batch(at(3)).unwrap();
    let [Event::Skipped { scheduled_at, .. }] = &skipped.events[..] else { panic!("{:?}", skipped.events) };
    assert_eq!(*scheduled_at, at(2));
    assert!(cursor(&mut clusters, 3) < at(2), "that it is skipped is not confirmed yet");
    clusters.confirmed(Confirmed::of(cluster, &skipped));
    assert!((at(2)..at(3)).contains(&cursor(&mut clusters, 3)), "the newer one waits");
    assert_eq!(ends(&mut clusters, &one), None, "the same run is to end");
    over(&mut clusters, &one, 1);
    assert_eq!(ends(&mut clusters, &one), Some(vec![]));
    assert_eq!(published(&mut clusters, 3), ["one"]);
    assert_eq!(cursor(&mut clusters, 3), at(3));
}

#[test]
fn ticks_that_were_held_back_take_each_others_place() {
    let one = job("one", "c", job::Overlap::Replace);
    let mut clusters = leading(&["c"], &[&one]);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 3), [""; 0]);
    read(&mut clusters);
    let batches: Vec<Batch> = std::iter::from_fn(|| work(&mut clusters, 3)).collect();
    let ticks: Vec<_> = batches.iter().flat_map(|batch| batch.ticks.iter().map(|tick| tick.at)).collect();
    assert_eq!(ticks, [at(1)]);
    let fates = batches.iter().flat_map(|batch| &batch.events);
    let fates = fates.filter_map(|event| match event {
        Event::Queued { scheduled_at, .. } => Some(("queued", *scheduled_at)),
        Event::Skipped { scheduled_at, .. } => Some(("skipped", *scheduled_at)),
        _ => None,
    });
    assert_eq!(fates.collect::<Vec<_>>(), [("queued", at(2)), ("queued", at(3)), ("skipped", at(2))]);
    assert_eq!(ends(&mut clusters, &one), Some(vec![1]));
}

#[test]
fn a_producer_that_leads_no_more_ends_no_run_and_asks_anew_when_it_leads_again() {
    let one = job("one", "c", job::Overlap::Replace);
    let mut clusters = leading(&["c"], &[&one]);
    read(&mut clusters);
    start(&mut clusters, 0);
    assert_eq!(published(&mut clusters, 1), ["one"]);
    drop(published(&mut clusters, 2));
    assert_eq!(ends(&mut clusters, &one), Some(vec![1]));
    clusters.end();
    assert_eq!(ends(&mut clusters, &one), Some(vec![]));
    clusters.begin(second_term());
    let run = RunId::of(&one.name, at(1));
    clusters.told(&RunNews::Unfinished(OpenRun { job: one.name.clone(), run, scheduled_at: None }));
    read_to_end(&mut clusters, &[]);
    let start = Start { cursor: at(1), reboot: None, published: nothing(at(0)), is_gap: false };
    clusters.start(second_term(), 0, start, at(2));
    assert_eq!(published(&mut clusters, 2), [""; 0], "it waits again");
    assert_eq!(ends(&mut clusters, &one), Some(vec![1]));
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
