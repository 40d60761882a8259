//! Runs that the topic holds, of jobs whose runs may not overlap, while `cron-runs` may not say that they are published.

use super::reboots::reboots;
use super::*;

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
