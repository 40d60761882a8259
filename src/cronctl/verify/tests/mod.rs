//! Tests of what the verdict says about clean logs, and about each way in which logs can be wrong.

mod fates;
mod retention;
mod retries;
mod zones;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use uuid::Uuid;

use super::report::Ticks;
use super::*;
use crate::common::broker::Record;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{ProduceBatch, TopicPartition};
use crate::common::clock::ManualClock;
use crate::common::model::{
    Attempt, AttemptRef, EndReason, Event, JobName, MissedReason, Outcome, Place, RunId, RunningAttempt, Then,
};
use crate::common::wire::{DeadLetter, DeadReason};
use crate::producer::jobfile;

const FILE: &str = "* * * * * a [name=minutely] x\n*/20 * * * * * b [name=often timeout=1m] y\n";

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

fn name(word: &str) -> JobName {
    JobName::new(word).unwrap()
}

fn cluster(word: &str) -> ClusterName {
    ClusterName::new(word).unwrap()
}

/// What a producer and its consumers leave behind, to be spoiled.
struct World {
    file: JobFile,
    messages: Vec<(ClusterName, Attempt)>,
    /// With the instant at which the broker had them.
    events: Vec<(DateTime<Utc>, Event)>,
    /// When the broker had the messages, if that was not when their ticks were due.
    written: Option<DateTime<Utc>>,
    begun_within: Duration,
    /// In the clusters' retry topics.
    retries: Vec<(ClusterName, Attempt)>,
    /// In the clusters' dead-letter topics.
    letters: Vec<(ClusterName, Attempt)>,
    /// How many records retention has deleted, by topic.
    deleted: Vec<(&'static str, i64)>,
}

impl World {
    /// Every tick from 12:00:00 to 12:05:00 published and run.
    fn new() -> Self {
        let clusters = [cluster("a"), cluster("b")];
        let file = jobfile::parse("jobs", FILE.as_bytes(), &clusters).unwrap();
        let begun_within = Duration::from_secs(600);
        let mut world = Self {
            file,
            messages: Vec::new(),
            events: Vec::new(),
            written: None,
            begun_within,
            retries: Vec::new(),
            letters: Vec::new(),
            deleted: Vec::new(),
        };
        for second in 0..=300 {
            let tick = at("12:00:00") + TimeDelta::seconds(second);
            for (job, every) in [("minutely", 60), ("often", 20)] {
                if second % every == 0 {
                    world.publish(job, tick);
                    let run = RunId::of(&name(job), tick);
                    world.claim((run, 1), "c1", tick);
                    world.finish(job, tick, (1, "c1", Outcome::Succeeded, Then::Done));
                }
            }
        }
        world
    }

    fn publish(&mut self, job: &str, tick: DateTime<Utc>) {
        let attempt = self.attempt(job, tick, 1);
        self.messages.push((attempt.run.cluster.clone(), attempt));
    }

    fn attempt(&self, job: &str, tick: DateTime<Utc>, attempt: u32) -> Attempt {
        let job = self.file.jobs.iter().find(|known| known.name.as_str() == job).unwrap();
        let run = Arc::new(job.run(tick, &self.file.revision));
        Attempt { run, attempt, attempts_left: 0, not_before: None }
    }

    /// The attempt stands in its cluster's retry topic.
    fn pass_on(&mut self, job: &str, tick: DateTime<Utc>, attempt: u32) {
        let attempt = self.attempt(job, tick, attempt);
        self.retries.push((attempt.run.cluster.clone(), attempt));
    }

    fn cluster_of(&self, job: &str) -> ClusterName {
        self.file.jobs.iter().find(|known| known.name.as_str() == job).unwrap().cluster.clone()
    }

    /// The message of a tick is gone, and all that was said about it.
    fn forget(&mut self, job: &str, tick: DateTime<Utc>) {
        let run = RunId::of(&name(job), tick);
        self.messages.retain(|(_, attempt)| attempt.run.id != run);
        self.events.retain(|(_, event)| super::super::runs::run_detail::run_of(event) != Some(run));
    }

    fn claim(&mut self, (run, attempt): (RunId, u32), consumer: &str, at: DateTime<Utc>) {
        let published = self.messages.iter().find(|(_, attempt)| attempt.run.id == run).unwrap();
        let place = place(published.0.as_str());
        let claimed = Event::Claimed {
            attempt: AttemptRef { run, attempt },
            job: name("minutely"),
            place,
            consumer: consumer.to_owned(),
            lease_ms: 60_000,
            at,
        };
        self.events.push((at, claimed));
    }

    fn finish(&mut self, job: &str, tick: DateTime<Utc>, end: (u32, &str, Outcome, Then)) {
        let (attempt, consumer, outcome, then) = end;
        let finished = Event::Finished {
            attempt: AttemptRef { run: RunId::of(&name(job), tick), attempt },
            job: name(job),
            cluster: self.cluster_of(job),
            scheduled_at: tick,
            consumer: consumer.to_owned(),
            outcome,
            then,
            started_at: tick,
            ended_at: tick + TimeDelta::seconds(1),
            output_bytes: 0,
            output_tail: String::new(),
        };
        self.events.push((tick + TimeDelta::seconds(1), finished));
    }

    fn miss(&mut self, job: &str, from: &str, to: &str, count: u64) {
        let missed = Event::Missed {
            job: name(job),
            cluster: self.cluster_of(job),
            from: at(from),
            to: at(to),
            count,
            reason: MissedReason::NotCaughtUp,
            at: at(to),
        };
        self.events.push((at(to), missed));
    }

    /// The verdict on 12:00:00 to 12:05:00, or what was asked, by the whole way over a broker, two hours later.
    fn verdict_of(&self, since: Option<&str>, until: &str) -> Result<Report, NoVerdict> {
        let broker = MemoryBroker::new(Arc::new(ManualClock::new(at("14:00:00"))));
        let mut client = broker.client("test");
        let clusters = [cluster("a"), cluster("b")];
        for spec in topics::all(&clusters, 2, 1) {
            let mut spec = spec;
            // The instants of this log are its own.
            spec.settings.retain(|(setting, _)| *setting != "message.timestamp.type");
            client.create_topic(&spec, soon()).unwrap();
        }
        let mut write = |topic: &str, key: Option<&'static [u8]>, value, written: DateTime<Utc>| {
            let to = TopicPartition { topic: topic.to_owned(), partition: 0 };
            let key = key.map(bytes::Bytes::from_static);
            let record = Record { key, value: Some(value), timestamp_ms: written.timestamp_millis() };
            client.produce(&[ProduceBatch { to, records: vec![record] }], soon()).remove(0).unwrap();
        };
        for (cluster, attempt) in &self.messages {
            let written = self.written.unwrap_or(attempt.run.scheduled_at);
            write(cluster.as_str(), None, wire::encode(attempt), written);
        }
        for (written, event) in &self.events {
            let key = matches!(event, Event::Revision { .. }).then_some(&b"revision"[..]);
            write(topics::RUNS, key, wire::encode(event), *written);
        }
        for (cluster, attempt) in &self.retries {
            write(&topics::retry(cluster), None, wire::encode(attempt), at("12:10:00"));
        }
        for (cluster, attempt) in &self.letters {
            write(&topics::dead(cluster), None, wire::encode(&letter(attempt)), at("12:10:00"));
        }
        for (topic, before) in &self.deleted {
            let of = TopicPartition { topic: (*topic).to_owned(), partition: 0 };
            broker.faults().delete_records(&of, *before);
        }
        let asked = Asked { since: since.map(at), until: at(until), begun_within: self.begun_within };
        verify(client.as_mut(), &self.file, &clusters, asked, at("14:00:00"))
    }

    fn verdict(&self) -> Report {
        self.verdict_of(Some("12:00:00"), "12:05:00").unwrap()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// The letter of a run that was given up after an attempt.
fn letter(attempt: &Attempt) -> DeadRecord {
    DeadRecord::Letter(Box::new(DeadLetter {
        reason: DeadReason::AttemptsExhausted,
        detail: "why".to_owned(),
        place: place(attempt.run.cluster.as_str()),
        last_offset: 0,
        attempt: Some(attempt.clone()),
        outcome: None,
        output_tail: String::new(),
        original: None,
        consumer: "c1".to_owned(),
        at: at("12:10:00"),
    }))
}

fn place(topic: &str) -> Place {
    Place { topic: topic.to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 0 }
}

/// Spoils the clean log, and compares what is then found wrong: unaccounted, too many, doubled, abandoned, miscounted,
/// not checked.
fn check(spoil: impl FnOnce(&mut World), expected: [usize; 6]) -> Report {
    let mut world = World::new();
    spoil(&mut world);
    let report = world.verdict();
    let found = [
        report.unaccounted.total,
        report.too_many.total,
        report.doubled.total,
        report.abandoned.total,
        report.miscounted.total,
        report.not_checked.total + report.ticks.not_checked,
    ];
    assert_eq!(found, expected, "{report:#?}");
    let Ticks { named, published, skipped, missed, deleted_unread, queued, not_checked, unaccounted, .. } =
        report.ticks;
    assert_eq!(named, published + skipped + missed + deleted_unread + queued + not_checked + unaccounted);
    let by_reason: u64 = report.missed_by_reason.values().sum();
    assert_eq!(by_reason, missed as u64, "{report:#?}");
    assert_eq!((named, unaccounted), (22, report.unaccounted.total));
    report
}

#[test]
fn a_clean_log_is_accounted_for() {
    let report = check(|_| {}, [0; 6]);
    assert!(report.ok);
    assert_eq!(report.ticks.published, 22);
    assert_eq!((report.unfinished.total, report.copies), (0, 0));
}

#[test]
fn a_tick_without_a_trace_is_unaccounted_for() {
    let report = check(|world| world.forget("often", at("12:01:40")), [1, 0, 0, 0, 0, 0]);
    assert!(!report.ok);
    assert_eq!(report.unaccounted.first[0].scheduled_at, at("12:01:40"));
    // That it was run does not make up for the message.
    let gone = |world: &mut World| {
        let run = RunId::of(&name("often"), at("12:01:40"));
        world.messages.retain(|(_, attempt)| attempt.run.id != run);
    };
    let report = check(gone, [1, 0, 0, 0, 0, 0]);
    assert!(report.unaccounted.first[0].why.contains("it was run"), "{report:?}");
}

#[test]
fn a_message_that_the_schedule_does_not_ask_for_is_too_many() {
    assert!(!check(|world| world.publish("often", at("12:01:41")), [0, 1, 0, 0, 0, 0]).ok);
    check(|world| world.publish("minutely", at("12:01:20")), [0, 1, 0, 0, 0, 0]);
    let shifted = |world: &mut World| {
        world.forget("often", at("12:01:40"));
        world.publish("often", at("12:01:41"));
    };
    check(shifted, [1, 1, 0, 0, 0, 0]);
    // In the wrong topic.
    check(|world| world.messages[0].0 = cluster("b"), [1, 1, 0, 0, 0, 0]);
    // Under another id.
    let forged = |world: &mut World| {
        Arc::make_mut(&mut world.messages[0].1.run).id = RunId(Uuid::nil());
    };
    check(forged, [1, 1, 0, 0, 0, 0]);
    // The period does not include this instant.
    check(|world| world.publish("often", at("12:05:01")), [0; 6]);
}

#[test]
fn what_is_outside_of_a_jobs_window_is_not_asked_for() {
    let check = |bound: &str, named: usize, too_many: usize| {
        let mut world = World::new();
        let text = FILE.replace("timeout=1m", bound);
        let file = jobfile::parse("jobs", text.as_bytes(), &[cluster("a"), cluster("b")]).unwrap();
        world.file = JobFile { revision: world.file.revision.clone(), ..file };
        let report = world.verdict();
        assert_eq!((report.ticks.named, report.ticks.unaccounted), (named, 0), "{bound}");
        assert_eq!(report.too_many.total, too_many, "{bound}");
    };
    // Six ticks of the other job, and of sixteen those within.
    check("retries=1", 22, 0);
    check("until=2026-03-01T12:02:00Z", 6 + 6, 10);
    check("until=2026-03-01T12:02:00.001Z", 6 + 7, 9);
    check("from=2026-03-01T12:02:00Z", 6 + 10, 6);
    check("from=2026-03-01T12:01:00Z until=2026-03-01T12:02:00Z", 6 + 3, 13);
}

#[test]
fn a_second_copy_of_a_message_is_counted_and_no_fault() {
    let report = check(|world| world.publish("often", at("12:01:40")), [0; 6]);
    assert!(report.ok);
    assert_eq!(report.copies, 1);
}

#[test]
fn an_attempt_that_was_run_twice_is_doubled() {
    let tick = at("12:01:40");
    let done = |attempt, consumer| (attempt, consumer, Outcome::Succeeded, Then::Done);
    let failed = |attempt, consumer| (attempt, consumer, Outcome::Failed { code: 1 }, Then::Retried);
    let run = RunId::of(&name("often"), tick);
    let report = check(|world| world.finish("often", tick, done(1, "c2")), [0, 0, 1, 0, 0, 0]);
    assert!(!report.ok);
    assert_eq!(report.doubled.first[0].why, "attempt 1 by c1 and by c2");
    // A copy of the event, a claim that was refused, a second attempt.
    check(|world| world.finish("often", tick, done(1, "c1")), [0; 6]);
    check(|world| world.claim((run, 1), "c2", tick), [0; 6]);
    check(|world| world.finish("often", tick, done(2, "c2")), [0; 6]);
    let later = |world: &mut World| {
        world.finish("often", tick, failed(2, "c2"));
        world.finish("often", tick, failed(2, "c3"));
        world.finish("often", tick, done(3, "c3"));
    };
    check(later, [0, 0, 1, 0, 0, 0]);
}

#[test]
fn what_another_cluster_says_of_a_job_of_the_same_name_is_not_about_ours() {
    let elsewhere = |world: &mut World| {
        world.finish("often", at("12:01:40"), (1, "c2", Outcome::Succeeded, Then::Done));
        world.forget("minutely", at("12:02:00"));
        world.miss("minutely", "12:02:00", "12:02:00", 1);
        for (_, event) in world.events.iter_mut().rev().take(2) {
            let (Event::Finished { cluster: of, .. } | Event::Missed { cluster: of, .. }) = event else {
                continue;
            };
            *of = cluster("elsewhere");
        }
    };
    check(elsewhere, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn what_another_file_ruled_is_not_checked() {
    let other = |world: &mut World| {
        world.forget("often", at("12:01:40"));
        world.publish("often", at("12:01:40"));
        Arc::make_mut(&mut world.messages.last_mut().unwrap().1.run).revision = "other".to_owned();
    };
    assert!(!check(other, [0, 0, 0, 0, 0, 2]).ok);
    let revision = |world: &mut World, revision: &str, from: &str| {
        let (revision, leader, at) = (revision.to_owned(), "p".to_owned(), at(from));
        world.events.push((
            at,
            Event::Revision { cluster: cluster("a"), revision, tzdata: None, leader, from: at, at },
        ));
    };
    let reigned = |world: &mut World| {
        let mine = world.file.revision.to_string();
        revision(world, &mine, "11:59:59");
        revision(world, "other", "12:01:30");
        revision(world, &mine, "12:01:50");
        world.forget("often", at("12:01:40"));
    };
    let report = check(reigned, [0, 0, 0, 0, 0, 1]);
    assert!(!report.ok && report.notes[0].contains("revision other was active"), "{report:?}");
    // Though the file that is asked about names nothing in that time.
    let between = |world: &mut World| {
        revision(world, "other", "12:01:41");
        let mine = world.file.revision.to_string();
        revision(world, &mine, "12:01:50");
    };
    assert!(!check(between, [0; 6]).ok);
}

#[test]
fn without_a_beginning_the_records_say_where_it_is() {
    let mut world = World::new();
    let since = |world: &World| world.verdict_of(None, "12:05:00").unwrap().since;
    assert_eq!(since(&world), at("12:00:00"));
    let (revision, leader) = (world.file.revision.to_string(), "p".to_owned());
    let from = at("11:59:30");
    world.events.push((
        from,
        Event::Revision { cluster: cluster("a"), revision, tzdata: None, leader, from, at: from },
    ));
    assert_eq!(since(&world), at("11:59:30.001"));
    world.messages.clear();
    world.events.clear();
    assert!(matches!(world.verdict_of(None, "12:05:00"), Err(NoVerdict::Period(_))));
    assert!(matches!(world.verdict_of(Some("12:06:00"), "12:05:00"), Err(NoVerdict::Period(_))));
    let report = world.verdict();
    assert_eq!((report.unaccounted.total, report.unaccounted.first.len(), report.ok), (22, 22, false));
}

/// The last line of a report in words, and how the program ends, where the reader stays or goes away at once.
fn words(report: &Report, reader_stays: bool) -> (String, Exit) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let closed = if reader_stays { None } else { Some(std::io::pipe().unwrap().1) };
    let exit = match closed {
        Some(closed) => {
            drop(writer);
            Screen::new(closed, std::io::sink())
        }
        None => Screen::new(writer, std::io::sink()),
    }
    .answer(|screen| report.words(screen).map(|()| report.exit()));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    (text.lines().last().unwrap_or("").to_owned(), exit)
}

#[test]
fn a_finding_is_told_by_the_exit_code_although_nobody_reads_the_words() {
    let mut world = World::new();
    world.forget("minutely", at("12:02:00"));
    let report = world.verdict();
    assert_eq!(words(&report, true), ("NOT every tick is accounted for".to_owned(), Exit::Found));
    assert_eq!(words(&report, false), (String::new(), Exit::Found));
    assert_eq!(words(&World::new().verdict(), false), (String::new(), Exit::Done));
}

#[test]
fn a_period_without_a_tick_proves_nothing_and_says_so() {
    let world = World::new();
    let report = world.verdict_of(Some("12:00:01"), "12:00:02").unwrap();
    let proves_nothing = "no tick is due in this period: this proves nothing".to_owned();
    assert_eq!(words(&report, true), (proves_nothing, Exit::Done));
    assert_eq!(words(&world.verdict(), true), ("every tick is accounted for".to_owned(), Exit::Done));
}
