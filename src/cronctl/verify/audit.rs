//! The audit of some jobs: folds the clusters' topics and then `cron-runs` into their tick ledger ([`verdict`] says what is
//! wrong with it then). It is pure: the caller streams the topics through it.

mod compact_run;
mod retries;
mod verdict;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use self::compact_run::{compacted, is_told_already, succeeded, take_detail};
use self::retries::Awaited;
use super::findings::Findings;
use super::period::Begins;
use super::report::{Interval, Item};
use super::tick_ledger::{Fate, Found, Marks, TickLedger, TickNo};
use crate::common::model::{
    Attempt, ClusterName, EndReason, Event, JobName, MissedReason, RunId, RunningAttempt,
};
use crate::cronctl::names::Names;
use crate::cronctl::runs::peek::About;

/// What is known after some of the records.
pub struct Audit<'f, 'a> {
    found: &'f mut Findings<'a>,
    scope: Scope<'a>,
    ledger: TickLedger,
    consumers: Names<String>,
    missed: Vec<Interval>,
    /// What stood in the way of a tick that waited or was skipped.
    blocked: HashMap<TickNo, RunId>,
    /// Runs that are over although no attempt says so.
    ended: HashMap<TickNo, Ended>,
    /// The next attempts that were passed on and are not claimed, until they are found somewhere.
    awaited: HashMap<RunId, Awaited>,
    /// The ticks of those that were found nowhere.
    lost_retries: HashSet<TickNo>,
}

/// What one of the readings is about, besides the jobs of its ledger.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The jobs of the whole file.
    pub jobs: &'a HashSet<&'a JobName>,
    /// Whether it is the first reading: it is also about what belongs to no job of the file.
    pub is_first: bool,
}

/// That a run is over although no attempt says so.
#[derive(Debug)]
struct Ended {
    at: DateTime<Utc>,
    reason: EndReason,
    detail: String,
}

impl<'f, 'a> Audit<'f, 'a> {
    /// Creates an audit of the jobs of a tick ledger, which adds to what is found.
    pub fn new(ledger: TickLedger, scope: Scope<'a>, found: &'f mut Findings<'a>) -> Self {
        found.has_uncertain |= ledger.has_uncertain();
        Self {
            found,
            scope,
            ledger,
            consumers: Names::default(),
            missed: Vec::new(),
            blocked: HashMap::new(),
            ended: HashMap::new(),
            awaited: HashMap::new(),
            lost_retries: HashSet::new(),
        }
    }

    /// Whether this reading is about a job: its ledger has it, or the file does not, and this is the first reading.
    fn is_about(&self, job: &JobName) -> bool {
        self.ledger.has(job.as_str()) || (self.scope.is_first && !self.scope.jobs.contains(job))
    }

    /// Whether a record is to be decoded in a reading that is not the first: one that names a job of this reading, or a run of
    /// one.
    pub fn asks_for(&self, about: About<'_>) -> bool {
        let asks = |job: &str| self.ledger.has(job) || job == JobName::ANY;
        about.job.is_none_or(asks) || about.run.is_some_and(|run| self.ledger.tick_of(run).is_some())
    }

    /// Adds what a reader of the report must know.
    pub fn note(&mut self, note: String) {
        self.found.note(note);
    }

    /// Takes of which topics something is deleted now that they were read: retention goes on meanwhile.
    pub fn topics_begin(&mut self, begins: Begins) {
        self.found.begins = begins;
    }

    /// Counts a record that cannot be read.
    pub fn unreadable(&mut self) {
        self.found.report.unreadable += usize::from(self.scope.is_first);
    }

    /// Takes a message of a cluster's topic, which the broker had at `written_at`.
    pub fn message(&mut self, cluster: &ClusterName, attempt: &Attempt, written_at: DateTime<Utc>) {
        let run = &attempt.run;
        if !self.found.period.has(run.scheduled_at) {
            return;
        }
        let right = run.id == RunId::of(&run.job, run.scheduled_at) && run.cluster == *cluster;
        let is_ours = run.revision == self.found.revision;
        if !is_ours && right && self.found.history.of(run.scheduled_at).is_none() {
            let until = self.found.history.begins().unwrap_or(run.scheduled_at);
            self.found.other_file_until = self.found.other_file_until.max(Some(until));
        }
        if !self.is_about(&run.job) {
            return;
        }
        let found = self.ledger.find(&run.job, run.scheduled_at);
        let item = |why: &str| Item {
            job: run.job.clone(),
            scheduled_at: run.scheduled_at,
            run: run.id,
            why: why.to_owned(),
        };
        if !is_ours {
            if let Found::Tick(tick) = found {
                self.ledger.marks[tick].add(Marks::OTHER_FILE);
            }
            self.found.report.not_checked.add(item(&format!("a run of revision {}", run.revision)));
            return;
        }
        match found {
            Found::Tick(_) | Found::Open if !right => {
                self.found.report.too_many.add(item("its id or its cluster is not that of the tick"));
            }
            Found::Tick(tick) if self.ledger.tick(tick).0.cluster != *cluster => {
                self.found.report.too_many.add(item(&format!("in the topic {cluster}")));
            }
            Found::Tick(tick) if self.ledger.marks[tick].has(Marks::PUBLISHED) => {
                self.found.report.copies += 1;
            }
            Found::Tick(tick) => self.published(tick, written_at),
            Found::Open => {
                let opened = self.ledger.open(&run.job, run.scheduled_at);
                opened.into_iter().for_each(|tick| self.published(tick, written_at));
            }
            Found::Unnamed if self.is_by_unknown_zones(&run.job, run.scheduled_at) => {
                self.found.report.not_checked.add(item("the leader followed zone data that is not at hand"));
            }
            Found::Unnamed => self.found.report.too_many.add(item("the schedule names no such instant")),
            Found::NoJob => self.found.report.too_many.add(item("the file has no such job")),
        }
    }

    /// Notes a tick that a run holds back, where that is a run of before the period.
    fn hold(&mut self, by: RunId, job: &JobName, tick: DateTime<Utc>) {
        if self.ledger.tick_of(by).is_none() {
            self.found.held.add(by, job, tick);
        }
    }

    /// Whether the leader decided by zone data that is not at hand: then it is unknown whether there is such a tick.
    fn is_by_unknown_zones(&self, job: &JobName, at: DateTime<Utc>) -> bool {
        self.ledger.is_by_unknown(self.found.unknown_zones, job, at)
    }

    fn published(&mut self, tick: TickNo, written_at: DateTime<Utc>) {
        self.ledger.marks[tick].add(Marks::PUBLISHED);
        self.ledger.published[tick] = u32::try_from(written_at.timestamp()).unwrap_or(0);
    }

    /// Takes an event of `cron-runs`, which the broker had at `written_at`. Messages come before events.
    pub fn event(&mut self, event: &Event, written_at: DateTime<Utc>) {
        match event {
            Event::Alive { lease_ms, running, .. } => {
                for RunningAttempt { attempt, place } in running {
                    if let Some(tick) = self.tick_of(attempt.run, cluster_of(&place.topic)) {
                        self.sign(tick, attempt.attempt, written_at, *lease_ms);
                    }
                }
            }
            Event::Skipped { job, cluster, scheduled_at, blocked_by, .. } => {
                if let Some(tick) = self.tick_of(RunId::of(job, *scheduled_at), cluster.as_str()) {
                    self.ledger.marks[tick].add(Marks::SKIPPED);
                    self.blocked.insert(tick, *blocked_by);
                    self.hold(*blocked_by, job, *scheduled_at);
                }
            }
            Event::Queued { job, cluster, scheduled_at, blocked_by, .. } => {
                if let Some(tick) = self.tick_of(RunId::of(job, *scheduled_at), cluster.as_str()) {
                    self.ledger.marks[tick].add(Marks::QUEUED);
                    self.blocked.insert(tick, *blocked_by);
                    self.hold(*blocked_by, job, *scheduled_at);
                }
            }
            Event::Missed { job, cluster, from, to, count, reason, .. } => {
                let elsewhere = *to < self.found.period.since || *from > self.found.period.until;
                if !elsewhere && *job == JobName::any() {
                    return self.cursor_was_lost(cluster, *from, *to, *reason);
                }
                if elsewhere || self.ledger.cluster_of(job) != Some(cluster) {
                    return;
                }
                let interval = self.ledger.between(job, *from, *to);
                let again = self.ledger.marks[interval]
                    .iter_mut()
                    .filter_map(|marks| marks.miss(*reason).then_some(()));
                self.found.missed_again += again.count();
                let (job, from, to, count) = (job.clone(), *from, *to, *count);
                self.missed.push(Interval { job, from, to, count, named: 0, open: 0 });
            }
            Event::Claimed { attempt, place, .. } => {
                if self.found.begins.is_of_a_deleted_topic(place) {
                    self.found.made_anew.insert(place.topic.clone());
                }
                if let Some(tick) = self.tick_of(attempt.run, cluster_of(&place.topic)) {
                    // The first attempt: its message is that of the tick.
                    if attempt.attempt == 1 && self.found.begins.is_of_a_deleted_topic(place) {
                        self.ledger.marks[tick].add(Marks::TOPIC_DELETED);
                    }
                    self.tell(tick, event, written_at);
                }
            }
            Event::Ended { attempt, cluster, reason, detail, .. } => {
                if let Some(tick) = self.tick_of(attempt.run, cluster.as_str()) {
                    self.tell(tick, event, written_at);
                    let ended = Ended { at: written_at, reason: *reason, detail: detail.clone() };
                    self.ended.insert(tick, ended);
                }
            }
            Event::Finished { attempt, cluster, .. } | Event::Lost { attempt, cluster, .. } => {
                let tick = self.tick_of(attempt.run, cluster.as_str());
                tick.into_iter().for_each(|tick| self.tell(tick, event, written_at));
            }
            Event::Published { run, cluster, .. } => {
                if let Some(tick) = self.tick_of(*run, cluster.as_str()) {
                    self.ledger.marks[tick].add(Marks::SAID_PUBLISHED);
                }
            }
            // Said again in each reading, which harms nothing: ranges that overlap count once.
            Event::DeletedUnread { place, next_offset, .. } => self.found.unread.add(place, *next_offset),
            _ => {}
        }
    }

    /// It is unknown which ticks of a cluster were published: whatever has no other fate was missed.
    fn cursor_was_lost(
        &mut self,
        cluster: &ClusterName,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        reason: MissedReason,
    ) {
        for ticks in self.ledger.of_cluster(cluster, from, to) {
            let missed = self.ledger.marks[ticks].iter_mut().filter(|marks| !marks.has(Marks::PUBLISHED));
            let again = missed.filter_map(|marks| marks.miss(reason).then_some(()));
            self.found.missed_again += again.count();
        }
    }

    /// The tick of a run of a cluster. Another cluster may have a job of the same name, and so the same runs.
    fn tick_of(&self, run: RunId, cluster: &str) -> Option<TickNo> {
        self.ledger.tick_of(run).filter(|tick| self.ledger.tick(*tick).0.cluster.as_str() == cluster)
    }

    fn sign(&mut self, tick: TickNo, attempt: u32, written_at: DateTime<Utc>, lease_ms: u64) {
        // A run that is done needs no sign of life; one that came late, or stands in another partition, says nothing.
        if let fate @ (Fate::Silent | Fate::Told(_)) = &mut self.ledger.fates[tick] {
            let mut detail = take_detail(fate);
            detail.sign(attempt, written_at, lease_ms);
            *fate = Fate::Told(detail);
        }
    }

    /// Adds an event to a run's detail, which is kept in full unless it is a compact run.
    fn tell(&mut self, tick: TickNo, event: &Event, written_at: DateTime<Utc>) {
        let fate = &mut self.ledger.fates[tick];
        let mut detail = match *fate {
            Fate::Done { consumer, ended_ms } => {
                let name = self.consumers.name(consumer).cloned().unwrap_or_default();
                if is_told_already(event, &name, ended_ms) {
                    return;
                }
                Box::new(succeeded(name, ended_ms))
            }
            Fate::Silent | Fate::Told(_) => take_detail(fate),
        };
        detail.take(event, written_at);
        self.ledger.fates[tick] = match compacted(&detail) {
            Some(end) => {
                let ended_ms = end.ended_at.timestamp_millis();
                Fate::Done { consumer: self.consumers.number(&end.consumer), ended_ms }
            }
            None => Fate::Told(detail),
        };
    }
}

/// The cluster that a topic of attempts belongs to.
fn cluster_of(topic: &str) -> &str {
    topic.strip_suffix("-retry").unwrap_or(topic)
}
