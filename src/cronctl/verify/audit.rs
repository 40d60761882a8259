//! The audit: folds the clusters' topics and then `cron-runs` into the book, and says what is wrong. Pure; the topics
//! are streamed through it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::book::{Book, Fate, Found, Marks, Period, TickNo};
use super::reign::Reign;
use super::report::{Interval, Item, List, Report, Ticks};
use crate::common::words::{Attempt, ClusterName, Event, Outcome, RunId, RunningAttempt, Then};
use crate::cronctl::instant::shown;
use crate::cronctl::runs::story::{End, Stage, Story, Try};

/// A run that has no time-out is unfinished for a long time after this.
const LONG: Duration = Duration::from_secs(60 * 60);

/// How long a leader may take to publish a tick that waited, once nothing stands in its way.
const RELEASE: TimeDelta = TimeDelta::seconds(60);

/// What is known after some of the records.
pub struct Audit<'a> {
    book: Book,
    revision: &'a str,
    period: Period,
    reign: Reign,
    /// Consumers by name, and their names by number.
    consumers: HashMap<String, u32>,
    names: Vec<String>,
    missed: Vec<Interval>,
    /// What stood in the way of a tick that waited.
    blocked: HashMap<TickNo, RunId>,
    report: Report,
}

impl<'a> Audit<'a> {
    /// An audit of a book for the job file of that revision.
    pub fn new(book: Book, revision: &'a str, period: Period, reign: Reign) -> Self {
        let report = Report {
            ok: false,
            since: period.since,
            until: period.until,
            revision: revision.to_owned(),
            jobs: book.job_count(),
            ticks: Ticks::default(),
            missed_by_reason: BTreeMap::new(),
            copies: 0,
            unreadable: 0,
            unaccounted: List::default(),
            too_many: List::default(),
            doubled: List::default(),
            abandoned: List::default(),
            miscounted: List::default(),
            not_checked: List::default(),
            unfinished: List::default(),
            notes: Vec::new(),
        };
        Self {
            book,
            revision,
            period,
            reign,
            consumers: HashMap::new(),
            names: Vec::new(),
            missed: Vec::new(),
            blocked: HashMap::new(),
            report,
        }
    }

    /// Counts a record that cannot be read.
    pub fn unreadable(&mut self) {
        self.report.unreadable += 1;
    }

    /// Adds what a reader of the report must know.
    pub fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    /// Takes a message of a cluster's topic.
    pub fn message(&mut self, cluster: &ClusterName, attempt: &Attempt) {
        let run = &attempt.run;
        if !self.period.has(run.scheduled_at) {
            return;
        }
        let found = self.book.find(&run.job, run.scheduled_at);
        let item = |why: &str| Item {
            job: run.job.clone(),
            scheduled_at: run.scheduled_at,
            run: run.id,
            why: why.to_owned(),
        };
        if run.revision != self.revision {
            if let Found::Tick(tick) = found {
                self.book.marks[tick].add(Marks::OTHER_FILE);
            }
            self.report.not_checked.add(item(&format!("a run of revision {}", run.revision)));
            return;
        }
        let right = run.id == RunId::of(&run.job, run.scheduled_at) && run.cluster == *cluster;
        match found {
            Found::Tick(_) | Found::Open if !right => {
                self.report.too_many.add(item("its id or its cluster is not that of the tick"));
            }
            Found::Tick(tick) if self.book.tick(tick).0.cluster != *cluster => {
                self.report.too_many.add(item(&format!("in the topic {cluster}")));
            }
            Found::Tick(tick) if self.book.marks[tick].has(Marks::PUBLISHED) => self.report.copies += 1,
            Found::Tick(tick) => self.book.marks[tick].add(Marks::PUBLISHED),
            Found::Open => {}
            Found::Unnamed => self.report.too_many.add(item("the schedule names no such instant")),
            Found::NoJob => self.report.too_many.add(item("the file has no such job")),
        }
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
            Event::Skipped { job, cluster, scheduled_at, .. } => {
                if let Some(tick) = self.tick_of(RunId::of(job, *scheduled_at), cluster.as_str()) {
                    self.book.marks[tick].add(Marks::SKIPPED);
                }
            }
            Event::Queued { job, cluster, scheduled_at, blocked_by, .. } => {
                if let Some(tick) = self.tick_of(RunId::of(job, *scheduled_at), cluster.as_str()) {
                    self.book.marks[tick].add(Marks::QUEUED);
                    self.blocked.insert(tick, *blocked_by);
                }
            }
            Event::Missed { job, cluster, from, to, count, reason, .. } => {
                let elsewhere = *to < self.period.since || *from > self.period.until;
                if elsewhere || self.book.cluster_of(job) != Some(cluster) {
                    return;
                }
                *self.report.missed_by_reason.entry(reason.word()).or_default() += count;
                let interval = self.book.between(job, *from, *to);
                self.book.marks[interval].iter_mut().for_each(|marks| marks.add(Marks::MISSED));
                let (job, from, to, count) = (job.clone(), *from, *to, *count);
                self.missed.push(Interval { job, from, to, count, named: 0, open: 0 });
            }
            Event::Claimed { attempt, place, .. } => {
                let tick = self.tick_of(attempt.run, cluster_of(&place.topic));
                tick.into_iter().for_each(|tick| self.tell(tick, event, written_at));
            }
            Event::Finished { attempt, cluster, .. } | Event::Lost { attempt, cluster, .. } => {
                let tick = self.tick_of(attempt.run, cluster.as_str());
                tick.into_iter().for_each(|tick| self.tell(tick, event, written_at));
            }
            _ => {}
        }
    }

    /// The tick of a run of a cluster. Another cluster may have a job of the same name, and so the same runs.
    fn tick_of(&self, run: RunId, cluster: &str) -> Option<TickNo> {
        self.book.tick_of(run).filter(|tick| self.book.tick(*tick).0.cluster.as_str() == cluster)
    }

    fn sign(&mut self, tick: TickNo, attempt: u32, written_at: DateTime<Utc>, lease_ms: u64) {
        // A run that is done needs no sign of life; one that came late, or stands in another partition, says nothing.
        if let fate @ (Fate::Silent | Fate::Told(_)) = &mut self.book.fates[tick] {
            let mut story = take_story(fate);
            story.sign(attempt, written_at, lease_ms);
            *fate = Fate::Told(story);
        }
    }

    /// Adds an event to a run's story, which is kept as long as it is not the usual one.
    fn tell(&mut self, tick: TickNo, event: &Event, written_at: DateTime<Utc>) {
        let fate = &mut self.book.fates[tick];
        let mut story = match *fate {
            Fate::Done { consumer, ended_ms } => {
                let name = usize::try_from(consumer).ok().and_then(|number| self.names.get(number));
                let name = name.cloned().unwrap_or_default();
                if is_told_already(event, &name, ended_ms) {
                    return;
                }
                Box::new(usual(name, ended_ms))
            }
            Fate::Silent | Fate::Told(_) => take_story(fate),
        };
        story.take(event, written_at);
        self.book.fates[tick] = match as_usual(&story) {
            Some(end) => {
                let ended_ms = end.ended_at.timestamp_millis();
                Fate::Done { consumer: number(&mut self.consumers, &mut self.names, &end.consumer), ended_ms }
            }
            None => Fate::Told(story),
        };
    }

    /// What was found; `now` is when the topics were read.
    pub fn finish(mut self, now: DateTime<Utc>) -> Report {
        self.report.ticks.named = self.book.numbers().len();
        for tick in self.book.numbers() {
            self.judge(tick, now);
            self.judge_run(tick, now);
        }
        self.judge_intervals();
        let others = self.reign.others(self.revision, self.period);
        let notes = others.iter().map(|term| {
            let until = term.until.map_or_else(|| "the end".to_owned(), shown);
            let (since, of) = (shown(term.since), term.of);
            format!("from {since} to {until} the job file of revision {of} was in force: not checked")
        });
        self.report.notes.extend(notes);
        let report = &self.report;
        let faults = [
            report.unaccounted.total,
            report.too_many.total,
            report.doubled.total,
            report.abandoned.total,
            report.miscounted.total,
            report.not_checked.total,
            report.ticks.not_checked,
            others.len(),
        ];
        self.report.ok = faults.iter().all(|count| *count == 0);
        self.report
    }

    fn item(&self, tick: TickNo, why: String) -> Item {
        let (job, scheduled_at) = self.book.tick(tick);
        Item { job: job.name.clone(), scheduled_at, run: RunId::of(&job.name, scheduled_at), why }
    }

    /// The one fate of a tick: *published* outranks all others.
    fn judge(&mut self, tick: TickNo, now: DateTime<Utc>) {
        let marks = self.book.marks[tick];
        let elsewhere = marks.has(Marks::OTHER_FILE) || self.is_of_another_file(tick);
        let waits = marks.has(Marks::QUEUED) && !self.is_free(tick, now);
        let ticks = &mut self.report.ticks;
        if marks.has(Marks::PUBLISHED) {
            ticks.published += 1;
            ticks.queued_first += usize::from(marks.has(Marks::QUEUED));
        } else if elsewhere {
            ticks.not_checked += 1;
        } else if marks.has(Marks::SKIPPED) {
            ticks.skipped += 1;
        } else if marks.has(Marks::MISSED) {
            ticks.missed += 1;
        } else if waits {
            ticks.queued += 1;
        } else {
            ticks.unaccounted += 1;
            let why = match (&self.book.fates[tick], marks.has(Marks::QUEUED)) {
                (Fate::Silent, false) => "neither a message nor an event",
                (Fate::Silent, true) => "it waited, the run before it is over, and it was not published",
                _ => "it was run, but its message is not in the topic",
            };
            let item = self.item(tick, why.to_owned());
            self.report.unaccounted.add(item);
        }
    }

    fn is_of_another_file(&self, tick: TickNo) -> bool {
        self.reign.of(self.book.tick(tick).1).is_some_and(|of| of != self.revision)
    }

    /// Whether what a tick waited for has been over for so long that the tick should have been published.
    fn is_free(&self, tick: TickNo, now: DateTime<Utc>) -> bool {
        let blocking = self.blocked.get(&tick).and_then(|run| self.book.tick_of(*run));
        let ended = blocking.and_then(|run| match &self.book.fates[run] {
            Fate::Silent => None,
            Fate::Done { ended_ms, .. } => DateTime::from_timestamp_millis(*ended_ms),
            Fate::Told(story) => story.last_end().filter(|_| story.stage().is_over()).map(|end| end.ended_at),
        });
        ended.is_some_and(|ended| ended + RELEASE < now)
    }

    /// What became of the run of a tick.
    fn judge_run(&mut self, tick: TickNo, now: DateTime<Utc>) {
        let nobody = Story::default();
        let story = match &self.book.fates[tick] {
            Fate::Done { .. } => return,
            Fate::Told(story) => &**story,
            Fate::Silent if self.book.marks[tick].has(Marks::PUBLISHED) => &nobody,
            Fate::Silent => return,
        };
        let twice: Vec<String> = story
            .started_twice()
            .map(|(number, tried)| {
                let by: Vec<&str> = tried.ends.iter().map(|end| end.consumer.as_str()).collect();
                format!("attempt {number} by {}", by.join(" and by "))
            })
            .collect();
        let (job, scheduled_at) = self.book.tick(tick);
        let worker = story.worker().unwrap_or("nobody").to_owned();
        let stage = story.stage();
        let abandoned = story.is_abandoned(now);
        let limits = job.limits;
        let limit = limits.timeout_ms.map(|timeout| Duration::from_millis(timeout + limits.grace_ms));
        let long = scheduled_at + limit.filter(|_| stage == Stage::Running).unwrap_or(LONG) < now;
        for why in twice {
            let item = self.item(tick, why);
            self.report.doubled.add(item);
        }
        if abandoned {
            let item = self.item(tick, format!("claimed by {worker}"));
            self.report.abandoned.add(item);
        } else if long && !stage.is_over() {
            let item = self.item(tick, format!("{} ({worker})", stage.word()));
            self.report.unfinished.add(item);
        }
    }

    /// An interval says how many ticks it stands for. Those that were published all the same need not be among them;
    /// more than the schedule names cannot be.
    fn judge_intervals(&mut self) {
        for mut interval in std::mem::take(&mut self.missed) {
            let whole = self.period.has(interval.from) && self.period.has(interval.to);
            let other = [interval.from, interval.to]
                .iter()
                .any(|at| self.reign.of(*at).is_some_and(|of| of != self.revision));
            if !whole || other {
                continue;
            }
            let ticks = self.book.between(&interval.job, interval.from, interval.to);
            let elsewhere = |marks: &&Marks| {
                marks.has(Marks::PUBLISHED) || marks.has(Marks::SKIPPED) || marks.has(Marks::OTHER_FILE)
            };
            interval.named = ticks.len();
            interval.open = interval.named - self.book.marks[ticks].iter().filter(elsewhere).count();
            let count = usize::try_from(interval.count).unwrap_or(usize::MAX);
            if !(interval.open..=interval.named).contains(&count) {
                self.report.miscounted.add(interval);
            }
        }
    }
}

/// The cluster that a topic of attempts belongs to.
fn cluster_of(topic: &str) -> &str {
    topic.strip_suffix("-retry").unwrap_or(topic)
}

/// The story of a fate that is told anew.
fn take_story(fate: &mut Fate) -> Box<Story> {
    match std::mem::take(fate) {
        Fate::Told(story) => story,
        Fate::Silent | Fate::Done { .. } => Box::default(),
    }
}

/// The usual story: one attempt, one end, a success. Who else wrote that they would run it plays no part.
fn as_usual(story: &Story) -> Option<End> {
    let (number, tried) = story.attempts.last_key_value()?;
    let [end] = &tried.ends[..] else { return None };
    let usual = story.attempts.len() == 1
        && *number == 1
        && tried.lost.is_none()
        && end.outcome == Outcome::Succeeded
        && end.then == Then::Done;
    usual.then(|| end.clone())
}

/// The usual story, as much of it as was kept.
fn usual(consumer: String, ended_ms: i64) -> Story {
    let ended_at = DateTime::from_timestamp_millis(ended_ms).unwrap_or_default();
    let (outcome, then) = (Outcome::Succeeded, Then::Done);
    let end = End { consumer, outcome, then, started_at: ended_at, ended_at };
    let tried = Try { ends: vec![end], ..Try::default() };
    Story { attempts: BTreeMap::from([(1, tried)]) }
}

/// Whether an event is a copy of what the usual story was made of, or adds nothing to it.
fn is_told_already(event: &Event, consumer: &str, ended: i64) -> bool {
    match event {
        Event::Claimed { attempt, .. } => attempt.attempt == 1,
        Event::Finished { attempt, consumer: by, ended_at, .. } => {
            attempt.attempt == 1 && by == consumer && ended_at.timestamp_millis() == ended
        }
        _ => false,
    }
}

fn number(consumers: &mut HashMap<String, u32>, names: &mut Vec<String>, name: &str) -> u32 {
    if let Some(known) = consumers.get(name) {
        return *known;
    }
    let number = u32::try_from(names.len()).unwrap_or(u32::MAX);
    names.push(name.to_owned());
    consumers.insert(name.to_owned(), number);
    number
}
