use super::*;
use crate::common::model::{MissedReason, Place, Then};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn skipped(scheduled: i64) -> Event {
    let (job, cluster) = (JobName::new("j").unwrap(), ClusterName::new("c").unwrap());
    let blocked_by = RunId::of(&job, at(0));
    Event::Skipped { job, cluster, scheduled_at: at(scheduled), blocked_by, at: at(scheduled) }
}

fn queued(scheduled: i64) -> Event {
    let (job, cluster) = (JobName::new("j").unwrap(), ClusterName::new("c").unwrap());
    let blocked_by = RunId::of(&job, at(0));
    Event::Queued { job, cluster, scheduled_at: at(scheduled), blocked_by, at: at(scheduled) }
}

fn missed(job: &str, cluster: &str, from: i64, to: i64) -> Event {
    let job = if job == "*" { JobName::any() } else { JobName::new(job).unwrap() };
    let (cluster, from, to) = (ClusterName::new(cluster).unwrap(), at(from), at(to));
    Event::Missed { job, cluster, from, to, count: 1, reason: MissedReason::Removed, at: to }
}

fn claimed(scheduled: i64) -> Event {
    let job = JobName::new("j").unwrap();
    let topic = "c-retry".to_owned();
    Event::Claimed {
        attempt: AttemptRef { run: RunId::of(&job, at(scheduled)), attempt: 1 },
        job,
        place: Place { topic, topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 },
        consumer: "me".to_owned(),
        lease_ms: 1,
        at: at(scheduled),
    }
}

#[test]
fn events_in_any_order_make_one_entry_a_run() {
    let check = |events: &[Event], word: &str, scheduled_at: Option<i64>| {
        let mut list = RunList::default();
        for event in events {
            list.event(event, at(0));
        }
        let runs = list.news();
        let entries: Vec<_> = runs.iter().filter_map(|run| list.get(*run)).collect();
        assert_eq!(entries.len(), 1, "{events:?}");
        assert_eq!((entries[0].word(), entries[0].scheduled_at), (word, scheduled_at.map(at)));
        assert_eq!(entries[0].cluster.as_ref().map(ClusterName::as_str), Some("c"));
    };
    check(&[skipped(60)], "skipped", Some(60));
    check(&[queued(60)], "queued", Some(60));
    check(&[claimed(60)], "running", None);
    check(&[queued(60), claimed(60)], "running", Some(60));
    check(&[claimed(60), queued(60)], "running", Some(60));
    check(&[queued(60), missed("j", "c", 60, 60)], "missed", Some(60));
    check(&[queued(60), missed("j", "c", 60, 60), queued(60)], "missed", Some(60));
    check(&[queued(60), missed("*", "c", 0, 100)], "missed", Some(60));
    check(&[queued(60), missed("j", "c", 61, 90)], "queued", Some(60));
    check(&[queued(60), missed("j", "c", 0, 59)], "queued", Some(60));
    check(&[queued(60), missed("i", "c", 60, 60), missed("k", "c", 60, 60)], "queued", Some(60));
    check(&[queued(60), missed("j", "d", 60, 60)], "queued", Some(60));
    check(&[skipped(60), missed("j", "c", 60, 60)], "skipped", Some(60));
    check(&[queued(60), skipped(60), missed("j", "c", 60, 60)], "skipped", Some(60));
    check(&[queued(60), claimed(60), missed("j", "c", 60, 60)], "running", Some(60));
    check(&[queued(60), missed("j", "c", 60, 60), claimed(60)], "running", Some(60));
}

#[test]
fn a_tick_that_waited_and_is_missed_is_news_and_over() {
    let mut list = RunList::default();
    for second in [30, 60, 90] {
        list.event(&queued(second), at(0));
    }
    list.news();
    list.event(&missed("j", "c", 30, 60), at(0));
    let news = list.news();
    let told: Vec<_> = news.iter().filter_map(|run| list.get(*run)?.scheduled_at).collect();
    assert_eq!(told, [at(30), at(60)]);
    list.event(&missed("j", "c", 30, 60), at(0));
    assert!(list.news().is_empty(), "it was told already");
    list.forget_before(at(100));
    let left: Vec<_> = list.entries().filter_map(|entry| entry.scheduled_at).collect();
    assert_eq!(left, [at(90)]);
    // What is kept of the ticks that wait is as bounded as the runs are.
    for second in 100..200 {
        list.event(&queued(second), at(0));
    }
    list.keep_at_most(10);
    assert_eq!(list.queued.len(), 10);
}

#[test]
fn a_tick_that_is_known_to_have_waited_later_is_not_missed() {
    let state = |events: &[(Event, i64)]| {
        let mut list = RunList::default();
        for (event, written) in events {
            list.event(event, at(*written));
        }
        let run = list.news()[0];
        list.get(run).unwrap().word()
    };
    let missed = || missed("j", "c", 60, 60);
    assert_eq!(state(&[(queued(60), 100), (missed(), 200)]), "missed");
    // A list is told at last of all that is missed.
    assert_eq!(state(&[(queued(60), 300), (missed(), 200)]), "queued");
    assert_eq!(state(&[(queued(60), 100), (queued(60), 300), (missed(), 200)]), "queued");
}

#[test]
fn what_is_told_before_its_run_is_known_is_told_of_it_then() {
    let loss = |then: Then, job: Option<JobName>| {
        let Event::Claimed { attempt, place, consumer, .. } = claimed(60) else { unreachable!() };
        let (cluster, scheduled_at) = ("c".parse().unwrap(), job.as_ref().map(|_| at(60)));
        Event::Lost { attempt, job, cluster, scheduled_at, consumer, place, then, at: at(70) }
    };
    let early = || loss(Then::Dead, None);
    let check = |events: &[Event], expected: &str| {
        let mut list = RunList::default();
        for event in events {
            list.event(event, at(70));
        }
        let run = list.news()[0];
        assert_eq!(list.get(run).unwrap().word(), expected, "{events:?}");
        assert!(list.early.is_empty());
    };
    let dead = "lost";
    check(&[claimed(60), early()], dead);
    check(&[early(), claimed(60)], dead);
    check(&[early(), early(), claimed(60)], dead);
    let (later, job) = ("waiting for retry", Some("j".parse().unwrap()));
    check(&[claimed(60), early(), loss(Then::Retried, job.clone())], later);
    check(&[early(), loss(Then::Retried, job)], later);

    let mut list = RunList::default();
    list.event(&early(), at(70));
    list.event(&early(), at(70));
    assert_eq!(list.early.values().map(Vec::len).sum::<usize>(), 1, "a copy is dropped");
    list.forget_before(at(70));
    assert_eq!(list.early.len(), 1);
    list.forget_before(at(71));
    assert!(list.early.is_empty());
    list.event(&early(), at(70));
    list.keep_at_most(0);
    assert!(list.early.is_empty());
}

#[test]
fn what_is_told_again_is_no_news() {
    let mut list = RunList::default();
    let mut check = |event: Event, news: bool| {
        assert_eq!(list.event(&event, at(0)).is_some(), news, "{event:?}");
    };
    check(queued(60), true);
    check(queued(60), false);
    check(claimed(60), true);
    check(claimed(60), false);
    check(Event::Beat { leader: String::new(), number: 1, at: at(0) }, false);
}

#[test]
fn only_what_is_over_is_forgotten() {
    let mut list = RunList::default();
    for event in [skipped(60), skipped(120), queued(30)] {
        list.event(&event, at(0));
    }
    list.forget_before(at(100));
    let left = list.news();
    let left: Vec<i64> =
        left.iter().filter_map(|run| list.get(*run)?.scheduled_at).map(|at| at.timestamp()).collect();
    assert_eq!(left, [30, 120]);
}

#[test]
fn what_is_not_over_is_kept_longest() {
    let check = |most: usize, cut: bool, expected: &[i64]| {
        let mut list = RunList::default();
        for event in [queued(60), claimed(120), skipped(180), skipped(240), queued(300)] {
            list.event(&event, at(0));
        }
        list.event(&queued(120), at(0));
        assert_eq!(list.keep_at_most(most), cut, "{most}");
        let mut left: Vec<i64> =
            list.entries().filter_map(|entry| entry.scheduled_at).map(|at| at.timestamp()).collect();
        left.sort_unstable();
        assert_eq!(left, expected, "{most}");
    };
    check(5, false, &[60, 120, 180, 240, 300]);
    check(4, false, &[60, 120, 240, 300]);
    check(3, false, &[60, 120, 300]);
    check(2, true, &[120, 300]);
    check(0, true, &[]);
}

#[test]
fn a_sign_of_life_is_for_a_run_that_is_known() {
    let mut list = RunList::default();
    list.event(&claimed(60), at(0));
    let name =
        |second: i64| AttemptRef { run: RunId::of(&JobName::new("j").unwrap(), at(second)), attempt: 1 };
    assert!(list.sign(name(60), at(70), 5_000));
    assert!(!list.sign(name(61), at(70), 5_000));
    let entry = list.get(name(60).run).unwrap();
    assert_eq!(entry.detail.quiet_since(), Some(at(75)));
}
