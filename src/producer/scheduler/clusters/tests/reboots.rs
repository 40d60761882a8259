//! The ticks of a reboot.

use super::*;

/// A job of a reboot.
pub(super) fn reboots(name: &str, overlap: job::Overlap) -> Arc<Job> {
    let schedule = Arc::new(Schedule::parse("@reboot", &crate::producer::zone::Zone::utc()).unwrap());
    Arc::new(Job { schedule, ..Job::clone(&job(name, "c", overlap)) })
}

/// A term that begins with a reboot at second 1, with something published already.
fn rebooted(job: &Arc<Job>, published: Published) -> Clusters {
    let mut clusters = leading(&["c"], &[job]);
    clusters.start(FIRST, 0, Start { cursor: at(0), reboot: Some(at(1)), published, is_gap: false }, at(1));
    clusters
}

#[test]
fn a_tick_of_a_reboot_that_is_published_is_not_published_again() {
    let agent = reboots("agent", job::Overlap::Allow);
    assert_eq!(published(&mut rebooted(&agent, nothing(at(0))), 2), ["agent"]);
    assert_eq!(published(&mut rebooted(&agent, these(&agent, &[1], at(1))), 2), [""; 0]);
}

#[test]
fn overlaps_of_reboots_are_decided_like_others() {
    for (overlap, is_queued) in [(job::Overlap::Skip, false), (job::Overlap::Queue, true)] {
        let agent = reboots("agent", overlap);
        let mut clusters = rebooted(&agent, nothing(at(0)));
        let run = RunId::of(&agent.name, at(-500));
        clusters.told(&RunNews::Unfinished(OpenRun { job: agent.name.clone(), run, scheduled_at: None }));
        assert_eq!(published(&mut clusters, 2), [""; 0], "it is not known yet");
        assert!(cursor(&mut clusters, 2) < at(1));
        read(&mut clusters);
        assert_eq!(published(&mut clusters, 2), [""; 0]);
        assert_eq!(cursor(&mut clusters, 2) < at(1), is_queued);
        over(&mut clusters, &agent, -500);
        assert_eq!(published(&mut clusters, 2).len(), usize::from(is_queued));
    }
    let agent = reboots("agent", job::Overlap::Skip);
    let mut clusters = rebooted(&agent, nothing(at(0)));
    read(&mut clusters);
    assert_eq!(published(&mut clusters, 2), ["agent"]);
    // One that is in its topic, and perhaps on no record, is put there.
    let mut clusters = rebooted(&agent, these(&agent, &[1], at(1)));
    read(&mut clusters);
    let batches: Vec<Batch> = std::iter::from_fn(|| work(&mut clusters, 2)).collect();
    assert!(batches.iter().all(|batch| batch.ticks.is_empty()));
    let is_told =
        |event: &Event| matches!(event, Event::Published { scheduled_at, .. } if *scheduled_at == at(1));
    assert!(batches.iter().flat_map(|batch| &batch.events).any(is_told), "{batches:?}");
}
