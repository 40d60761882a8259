//! What a producer and its consumers leave behind, and how a test spoils it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use uuid::Uuid;

use super::super::report::Ticks;
use super::super::*;
use crate::common::broker::Record;
use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{ProduceBatch, TopicPartition};
use crate::common::clock::ManualClock;
use crate::common::model::{Attempt, AttemptRef, Event, JobName, MissedReason, Outcome, Place, RunId, Then};
use crate::common::wire::{DeadLetter, DeadReason};
use crate::producer::jobfile;

pub(super) const FILE: &str = "* * * * * a [name=minutely] x\n*/20 * * * * * b [name=often timeout=1m] y\n";

pub(super) fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

pub(super) fn name(word: &str) -> JobName {
    JobName::new(word).unwrap()
}

pub(super) fn cluster(word: &str) -> ClusterName {
    ClusterName::new(word).unwrap()
}

/// What a producer and its consumers leave behind, to be spoiled.
pub(super) struct World {
    pub(super) file: JobFile,
    pub(super) messages: Vec<(ClusterName, Attempt)>,
    /// With the instant at which the broker had them.
    pub(super) events: Vec<(DateTime<Utc>, Event)>,
    /// When the broker had the messages, if that was not when their ticks were due.
    pub(super) written: Option<DateTime<Utc>>,
    pub(super) begun_within: Duration,
    /// In the clusters' retry topics.
    pub(super) retries: Vec<(ClusterName, Attempt)>,
    /// In the clusters' dead-letter topics.
    pub(super) letters: Vec<(ClusterName, Attempt)>,
    /// How many records retention has deleted, by topic.
    pub(super) deleted: Vec<(&'static str, i64)>,
    /// Topics in which a record stands that cannot be read.
    pub(super) unreadable: Vec<&'static str>,
    /// Topics that are not there.
    pub(super) absent: Vec<&'static str>,
}

impl World {
    /// Every tick from 12:00:00 to 12:05:00 published and run.
    pub(super) fn new() -> Self {
        Self::of(FILE, &[("minutely", 60), ("often", 20)])
    }

    /// The same of another file, whose jobs are due each so many seconds.
    pub(super) fn of(file: &str, jobs: &[(&str, i64)]) -> Self {
        let clusters = [cluster("a"), cluster("b")];
        let file = jobfile::parse("jobs", file.as_bytes(), &clusters).unwrap();
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
            unreadable: Vec::new(),
            absent: Vec::new(),
        };
        for second in 0..=300 {
            let tick = at("12:00:00") + TimeDelta::seconds(second);
            for (job, every) in jobs {
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

    pub(super) fn publish(&mut self, job: &str, tick: DateTime<Utc>) {
        let attempt = self.attempt(job, tick, 1);
        self.messages.push((attempt.run.cluster.clone(), attempt));
    }

    pub(super) fn attempt(&self, job: &str, tick: DateTime<Utc>, attempt: u32) -> Attempt {
        let job = self.file.jobs.iter().find(|known| known.name.as_str() == job).unwrap();
        let run = Arc::new(job.run(tick, &self.file.revision));
        Attempt { run, attempt, attempts_left: 0, not_before: None }
    }

    /// The attempt stands in its cluster's retry topic.
    pub(super) fn pass_on(&mut self, job: &str, tick: DateTime<Utc>, attempt: u32) {
        let attempt = self.attempt(job, tick, attempt);
        self.retries.push((attempt.run.cluster.clone(), attempt));
    }

    pub(super) fn cluster_of(&self, job: &str) -> ClusterName {
        self.file.jobs.iter().find(|known| known.name.as_str() == job).unwrap().cluster.clone()
    }

    /// The message of a tick is gone, and all that was said about it.
    pub(super) fn forget(&mut self, job: &str, tick: DateTime<Utc>) {
        let run = RunId::of(&name(job), tick);
        self.messages.retain(|(_, attempt)| attempt.run.id != run);
        self.events.retain(|(_, event)| crate::cronctl::runs::run_detail::run_of(event) != Some(run));
    }

    pub(super) fn claim(&mut self, (run, attempt): (RunId, u32), consumer: &str, at: DateTime<Utc>) {
        let published = self.messages.iter().find(|(_, attempt)| attempt.run.id == run).unwrap();
        let place = place(published.0.as_str());
        let claimed = Event::Claimed {
            attempt: AttemptRef { run, attempt },
            job: published.1.run.job.clone(),
            place,
            consumer: consumer.to_owned(),
            lease_ms: 60_000,
            at,
        };
        self.events.push((at, claimed));
    }

    pub(super) fn finish(&mut self, job: &str, tick: DateTime<Utc>, end: (u32, &str, Outcome, Then)) {
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

    pub(super) fn miss(&mut self, job: &str, from: &str, to: &str, count: u64) {
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
    pub(super) fn verdict_of(&self, since: Option<&str>, until: &str) -> Result<Report, NoVerdict> {
        let broker = MemoryBroker::new(Arc::new(ManualClock::new(at("14:00:00"))));
        let mut client = broker.client("test");
        let clusters = [cluster("a"), cluster("b")];
        for mut spec in topics::all(&clusters, 2, 1) {
            if self.absent.contains(&&*spec.name) {
                continue;
            }
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
        for topic in &self.unreadable {
            write(topic, None, "{".into(), at("12:10:00"));
        }
        for (topic, before) in &self.deleted {
            let of = TopicPartition { topic: (*topic).to_owned(), partition: 0 };
            broker.faults().delete_records(&of, *before);
        }
        let (begun_within, keep_ticks) = (self.begun_within, KEEP_TICKS);
        let asked = Asked { since: since.map(at), until: at(until), begun_within, keep_ticks };
        let now = at("14:00:00");
        let whole = verify(client.as_mut(), &self.file, &clusters, asked, now);
        // Several readings find the same; only the order of what is listed may differ.
        let by_parts = verify(client.as_mut(), &self.file, &clusters, Asked { keep_ticks: 14, ..asked }, now);
        assert_eq!(by_parts.map(in_order), whole.clone().map(in_order));
        whole
    }

    pub(super) fn verdict(&self) -> Report {
        self.verdict_of(Some("12:00:00"), "12:05:00").unwrap()
    }
}

fn in_order(mut report: Report) -> Report {
    let lists = [
        &mut report.unaccounted,
        &mut report.too_many,
        &mut report.doubled,
        &mut report.abandoned,
        &mut report.not_begun,
        &mut report.deleted_unread,
        &mut report.lost_retries,
        &mut report.held_back,
        &mut report.not_checked,
        &mut report.unfinished,
    ];
    for list in lists {
        list.first.sort_by_key(|item| (item.job.clone(), item.scheduled_at, item.why.clone()));
    }
    report.miscounted.first.sort_by_key(|interval| (interval.job.clone(), interval.from));
    report
}

pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// The letter of a run that was given up after an attempt.
pub(super) fn letter(attempt: &Attempt) -> DeadRecord {
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

pub(super) fn place(topic: &str) -> Place {
    Place { topic: topic.to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 0 }
}

/// Spoils the clean log, and compares what is then found wrong: unaccounted, too many, doubled, abandoned, miscounted,
/// not checked.
pub(super) fn check(spoil: impl FnOnce(&mut World), expected: [usize; 6]) -> Report {
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
