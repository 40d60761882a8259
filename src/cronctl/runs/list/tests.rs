//! Tests of how runs are listed, however many they are.

use std::sync::Arc;

use chrono::DateTime;

use super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{ProduceBatch, Record, TopicPartition};
use crate::common::clock::ManualClock;
use crate::common::model::{AttemptRef, Outcome, Place, RunId, Then};
use crate::common::topics;
use crate::cronctl::shown::Shown;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// The events of a run of the tick in a second: its end is a failure, a success, or not there yet.
fn events(second: i64) -> Vec<Event> {
    let (job, at): (JobName, _) =
        (format!("j-{}", second % 3).parse().unwrap(), DateTime::from_timestamp(second / 2, 0).unwrap());
    let (consumer, cluster): (_, ClusterName) = ("one".to_owned(), "ours".parse().unwrap());
    let attempt = AttemptRef { run: RunId::of(&job, at), attempt: 1 };
    let place = Place { topic: "ours".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
    let (job_, consumer_) = (job.clone(), consumer.clone());
    let claimed = Event::Claimed { attempt, job: job_, place, consumer: consumer_, lease_ms: 1, at };
    let (outcome, then) = match second % 5 {
        0 => (Outcome::TimedOut, Then::Retried),
        1 => return vec![claimed],
        _ => (Outcome::Succeeded, Then::Done),
    };
    let finished = Event::Finished {
        attempt,
        job,
        cluster,
        scheduled_at: at,
        consumer,
        outcome,
        then,
        started_at: at,
        ended_at: at,
        output_bytes: 0,
        output_tail: String::new(),
    };
    vec![claimed, finished.clone(), finished]
}

#[test]
fn more_runs_than_there_is_room_for_are_listed_as_any_others() {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let mut client = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>).client("cronctl");
    let by = clock.monotonic() + Duration::from_secs(10);
    let ours: ClusterName = "ours".parse().unwrap();
    for spec in topics::all(std::slice::from_ref(&ours), 1, 1) {
        client.create_topic(&spec, by).unwrap();
    }
    for event in (0..200).rev().flat_map(events) {
        let records = vec![Record { key: None, value: Some(wire::encode(&event)), timestamp_ms: 0 }];
        let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
        client.produce(&[ProduceBatch { to, records }], by).remove(0).unwrap();
    }
    let (since, clusters) = (DateTime::UNIX_EPOCH, std::slice::from_ref(&ours));
    let sources = Sources::since(client.as_mut(), clusters, since).unwrap();
    let mut listed = |room: usize, words: &[&str]| {
        let line = <Line as clap::Parser>::parse_from(["runs"].iter().chain(words));
        let rule = Rule { job: line.args.job.as_ref(), clusters };
        let shown = Shown::default();
        let mut screen = Screen::new(shown.clone(), std::io::sink());
        line.args.list(client.as_mut(), &sources, (&rule, room), &mut screen).unwrap().unwrap();
        shown.text()
    };
    for words in [&[][..], &["--json"], &["--job", "j-1"]] {
        let whole = listed(usize::MAX, words);
        assert!(whole.lines().count() > 60, "{whole}");
        for room in [2_000, 300, 9] {
            assert_eq!(listed(room, words), whole, "{room} {words:?}");
        }
    }
}

#[test]
fn what_another_fleet_tells_of_a_run_of_the_same_id_is_not_told_of_ours() {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>);
    let mut client = broker.client("cronctl");
    let by = clock.monotonic() + Duration::from_secs(10);
    let ours: ClusterName = "ours".parse().unwrap();
    for spec in topics::all(std::slice::from_ref(&ours), 1, 1) {
        client.create_topic(&spec, by).unwrap();
    }
    for cluster in ["theirs", "ours"] {
        let job: JobName = "j".parse().unwrap();
        let (scheduled_at, at) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        let blocked_by = RunId::of(&job, at);
        let cluster = cluster.parse().unwrap();
        let event = Event::Skipped { job, cluster, scheduled_at, blocked_by, at };
        let records = vec![Record { key: None, value: Some(wire::encode(&event)), timestamp_ms: 0 }];
        let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
        client.produce(&[ProduceBatch { to, records }], by).remove(0).unwrap();
    }
    let (mut journal, since) = (RunList::default(), DateTime::UNIX_EPOCH);
    let mut sources = Sources::since(client.as_mut(), std::slice::from_ref(&ours), since).unwrap();
    let rule = Rule { job: None, clusters: std::slice::from_ref(&ours) };
    let take = |listed: &Listed<'_>, news: &mut News| rule.take(listed, &mut journal, news);
    sources.read(client.as_mut(), &mut News::default(), take).unwrap();
    let told: Vec<_> = journal.news().iter().map(|run| journal.get(*run).unwrap().cluster.clone()).collect();
    assert_eq!(told, [Some(ours)]);
}
