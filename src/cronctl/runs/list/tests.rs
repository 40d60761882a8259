//! Tests of how runs are listed, however many they are.

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;

use super::*;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{self, Position, ProduceBatch, TopicPartition};
use crate::common::clock::{ManualClock, monotonic};
use crate::common::model::{Attempt, AttemptRef, MissedReason, Outcome, RunId, Then};
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

/// A broker with the topics of a cluster.
fn broker(ours: &ClusterName) -> Box<dyn Client> {
    let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
    let mut client = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>).client("cronctl");
    for spec in topics::all(std::slice::from_ref(ours), 1, 1) {
        // Records are dated as they are written here.
        let spec = topics::TopicSpec { settings: Vec::new(), ..spec };
        client.create_topic(&spec, clock.monotonic() + Duration::from_secs(10)).unwrap();
    }
    client
}

/// Writes a record a millisecond after the one before it in its partition.
fn write(client: &mut dyn Client, topic: &str, value: Option<Bytes>) {
    let of = TopicPartition { topic: topic.to_owned(), partition: 0 };
    let timestamp_ms = client.offset(&of, Position::End, monotonic() + Duration::from_secs(10)).unwrap();
    let records = vec![broker::Record { key: None, value, timestamp_ms }];
    let to = TopicPartition { topic: topic.to_owned(), partition: 0 };
    let by = monotonic() + Duration::from_secs(10);
    client.produce(&[ProduceBatch { to, records }], by).remove(0).unwrap();
}

/// What was listed, and what was complained of.
fn listed(client: &mut dyn Client, ours: &ClusterName, room: usize, words: &[&str]) -> (String, String) {
    let clusters = std::slice::from_ref(ours);
    let sources = Sources::since(client, clusters, DateTime::UNIX_EPOCH).unwrap();
    let line = <Line as clap::Parser>::parse_from(["runs"].iter().chain(words));
    let rule = Rule { job: line.args.job.as_ref(), clusters };
    let (shown, complaints) = (Shown::default(), Shown::default());
    let mut screen = Screen::new(shown.clone(), complaints.clone());
    line.args.list(client, &sources, (&rule, room), &mut screen).unwrap().unwrap();
    (shown.text(), complaints.text())
}

#[test]
fn more_runs_than_there_is_room_for_are_listed_as_any_others() {
    let ours: ClusterName = "ours".parse().unwrap();
    let mut client = broker(&ours);
    for event in (0..200).rev().flat_map(events) {
        write(client.as_mut(), topics::RUNS, Some(wire::encode(&event)));
    }
    for words in [&[][..], &["--json"], &["--job", "j-1"]] {
        let whole = listed(client.as_mut(), &ours, usize::MAX, words);
        assert!(whole.0.lines().count() > 60, "{whole:?}");
        for room in [2_000, 600, 300, 9] {
            assert_eq!(listed(client.as_mut(), &ours, room, words), whole, "{room} {words:?}");
        }
    }
}

#[test]
fn whatever_stands_in_the_topics_a_long_history_is_listed_as_a_short_one() {
    let ours: ClusterName = "ours".parse().unwrap();
    let mut client = broker(&ours);
    let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
    let tick = |job: &str, second: i64| (job.parse::<JobName>().unwrap(), ours.clone(), at(second));
    let blocked_by = RunId(Uuid::nil());
    let mut told: Vec<Bytes> = (0..40).flat_map(events).map(|event| wire::encode(&event)).collect();
    for second in [500, 501, 502] {
        let (job, cluster, scheduled_at) = tick("waits", second);
        told.push(wire::encode(&Event::Queued { job, cluster, scheduled_at, blocked_by, at: scheduled_at }));
        let (job, cluster, scheduled_at) = tick("passed", second);
        told.push(wire::encode(&Event::Skipped { job, cluster, scheduled_at, blocked_by, at: scheduled_at }));
    }
    let (job, cluster, from) = tick("waits", 500);
    let (to, reason) = (at(501), MissedReason::Removed);
    told.push(wire::encode(&Event::Missed { job, cluster, from, to, count: 2, reason, at: to }));
    // What was decided later is newer, wherever it stands.
    let (job, cluster, tick_) = tick("waits", 502);
    let (from, to, at_) = (tick_, tick_, at(400));
    told.insert(0, wire::encode(&Event::Missed { job, cluster, from, to, count: 1, reason, at: at_ }));
    // The claim stands in another partition than the loss, which names no job.
    let claimed = events(901).remove(0);
    let Event::Claimed { attempt, place, consumer, .. } = claimed.clone() else { unreachable!() };
    let (cluster, lost_at) = (ours.clone(), at(901));
    let (job, scheduled_at, then) = (None, None, Then::Dead);
    let lost = Event::Lost { attempt, job, cluster, scheduled_at, consumer, place, then, at: lost_at };
    told.extend([lost, claimed].iter().map(wire::encode));
    // What the decoder does not take says nothing, with and without its output.
    let ended = events(1_202);
    told.push(wire::encode(&ended[0]));
    let text = String::from_utf8(wire::encode(&ended[1]).to_vec()).unwrap();
    told.push(text.replace("\"output_tail\":\"\"", "\"output_tail\":\"\\udcff\"").into());
    // As another program may write it: unknown fields first, which look like ours.
    let foreign = |event: &Event, field: &str| {
        let text = String::from_utf8(wire::encode(event).to_vec()).unwrap();
        Bytes::from(text.replacen("{\"v\":1,", &format!("{{{field},\"v\":1,"), 1))
    };
    let field = "\"trace\":{\"run\":\"87ca294a-ea2b-5902-b344-9fc1da880045\",\"job\":\"other\"}";
    told.extend(events(1_003).iter().map(|event| foreign(event, field)));
    let (job, cluster, from) = tick("gone", 700);
    let missed = Event::Missed { job, cluster, from, to: at(701), count: 2, reason, at: to };
    told.push(foreign(&missed, "\"run\":\"87ca294a-ea2b-5902-b344-9fc1da880045\""));
    told.push("{".into());
    told.iter().for_each(|event| write(client.as_mut(), topics::RUNS, Some(event.clone())));
    write(client.as_mut(), topics::RUNS, None);
    let message = |second: i64| {
        let job: JobName = "m".parse().unwrap();
        let mut run = Run::sample(RunId::of(&job, at(second)), job, ours.clone());
        run.scheduled_at = at(second);
        wire::encode(&Attempt { run: Arc::new(run), attempt: 1, attempts_left: 0, not_before: None })
    };
    (800..820).for_each(|second| write(client.as_mut(), "ours", Some(message(second))));
    let of_another_version =
        String::from_utf8(message(830).to_vec()).unwrap().replacen("\"v\":1", "\"v\":2", 1);
    let of_another_cluster = String::from_utf8(message(831).to_vec()).unwrap().replacen("ours", "theirs", 1);
    let of_another = [of_another_version, of_another_cluster].map(|text| Some(text.into()));
    for unreadable in [None, Some("{".into())].into_iter().chain(of_another) {
        write(client.as_mut(), "ours", unreadable);
    }

    let whole = listed(client.as_mut(), &ours, usize::MAX, &[]);
    let count = |word: &str| whole.0.lines().filter(|line| line.contains(word)).count();
    // 40 runs and three that are told of in other ways, 20 messages, 3 ticks that wait and 3 that were skipped, 3 intervals.
    assert_eq!(whole.0.lines().count(), 40 + 3 + 20 + 6 + 3, "{}", whole.0);
    assert_eq!([" lost ", " running "].map(count), [1, 9], "{}", whole.0);
    assert_eq!([" waiting  ", " skipped ", " queued ", " missed "].map(count), [20, 3, 1, 2], "{}", whole.0);
    assert_eq!((count("missed: 2 up to"), count("gone")), (2, 1));
    assert_eq!(whole.1.lines().count(), 1);
    assert!(whole.1.contains("4 messages cannot be read"), "{}", whole.1);
    for words in [&[][..], &["--json"], &["--job", "m"], &["--job", "waits"]] {
        let whole = listed(client.as_mut(), &ours, usize::MAX, words);
        for room in [60, 9] {
            assert_eq!(listed(client.as_mut(), &ours, room, words), whole, "{room} {words:?}");
        }
    }
}

#[test]
fn what_another_fleet_tells_of_a_run_of_the_same_id_is_not_told_of_ours() {
    let ours: ClusterName = "ours".parse().unwrap();
    let mut client = broker(&ours);
    for cluster in ["theirs", "ours"] {
        let job: JobName = "j".parse().unwrap();
        let (scheduled_at, at) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
        let blocked_by = RunId::of(&job, at);
        let cluster = cluster.parse().unwrap();
        let event = Event::Skipped { job, cluster, scheduled_at, blocked_by, at };
        write(client.as_mut(), topics::RUNS, Some(wire::encode(&event)));
    }
    let (mut list, since) = (RunList::default(), DateTime::UNIX_EPOCH);
    let mut sources = Sources::since(client.as_mut(), std::slice::from_ref(&ours), since).unwrap();
    let rule = Rule { job: None, clusters: std::slice::from_ref(&ours) };
    let take = |record: Record<'_>| {
        rule.take(record, &mut list, &mut News::default());
        ControlFlow::Continue(())
    };
    sources.read(client.as_mut(), take).unwrap();
    let told: Vec<_> = list.news().iter().map(|run| list.get(*run).unwrap().cluster.clone()).collect();
    assert_eq!(told, [Some(ours)]);
}
