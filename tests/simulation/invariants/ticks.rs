//! Ticks: each has a fate on record before a cursor passes it, and only the leader says one.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::model::{Attempt, JobName, RunId};

use crate::jobs;

/// How far ahead of the broker's clock a leader's may be when it publishes: as far as it may be off, and as long as a call
/// takes that compares the two.
const TOLERANCE: TimeDelta = TimeDelta::seconds(35);

#[derive(Debug, Clone)]
struct Tick {
    job: JobName,
    at: DateTime<Utc>,
    published: bool,
    missed: bool,
    skipped: bool,
    /// Its job is in every file.
    is_owed: bool,
}

impl Tick {
    fn has_fate(&self) -> bool {
        self.published || self.missed || self.skipped
    }
}

/// All ticks of the job files, and what is on record of them.
#[derive(Debug, Clone, Default)]
pub struct Ticks {
    ticks: Vec<Tick>,
    /// The fates of ticks of reboots: published or skipped.
    reboots: BTreeSet<(String, DateTime<Utc>)>,
    by_run: HashMap<RunId, usize>,
    /// The first cursor that was committed: ticks before it belong to no producer.
    first: Option<DateTime<Utc>>,
    /// The same, of before all cursors were lost: what belonged to no producer then does not belong to one now.
    first_before: Option<DateTime<Utc>>,
    /// The cursor that was seen last, and how many were seen in the present term.
    last: Option<(DateTime<Utc>, u32)>,
    /// The cursor that is committed, also by a request that arrived late.
    committed: Option<DateTime<Utc>>,
    /// Who began the last term.
    leader: Option<String>,
    /// What time it is at the broker, where leaders compare their clocks with it.
    pub brokers_time: Option<DateTime<Utc>>,
    /// A cursor was lost with all copies: what is due since a day before is owed.
    is_lost: bool,
    /// The first promise that was broken.
    pub broken: Option<String>,
}

impl Ticks {
    /// Those of the job files, computed once for all runs.
    pub fn of_files() -> Self {
        static TICKS: OnceLock<Ticks> = OnceLock::new();
        TICKS.get_or_init(Self::new).clone()
    }

    fn new() -> Self {
        let mut ticks = Vec::new();
        for (job, is_owed) in jobs::all() {
            let mut at = jobs::begin() - TimeDelta::seconds(1);
            while let Some(next) = job.next(at).filter(|next| *next < jobs::end()) {
                at = next;
                ticks.push(Tick {
                    job: job.name.clone(),
                    at: next,
                    published: false,
                    missed: false,
                    skipped: false,
                    is_owed,
                });
            }
        }
        let by_run =
            ticks.iter().enumerate().map(|(number, tick)| (RunId::of(&tick.job, tick.at), number)).collect();
        Self {
            ticks,
            reboots: BTreeSet::new(),
            by_run,
            first: None,
            first_before: None,
            last: None,
            committed: None,
            leader: None,
            brokers_time: None,
            is_lost: false,
            broken: None,
        }
    }

    fn breaks(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// A producer begins a term: from here on no other one says what becomes of ticks.
    pub fn begins(&mut self, producer: &str) {
        self.leader = Some(producer.to_owned());
        self.last = self.last.map(|(cursor, _)| (cursor, 0));
    }

    /// No copy of the cursor is left: ticks before the next one belong to no producer.
    pub fn cursor_is_lost(&mut self) {
        self.first_before = self.first_before.max(self.first.take());
        (self.committed, self.last) = (None, None);
        self.is_lost = true;
    }

    /// Who began the last term.
    pub fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    /// A producer is about to write fates.
    pub fn writes(&mut self, producer: &str) {
        if self.leader.as_deref() != Some(producer) {
            let leader = self.leader.clone();
            self.breaks(|| format!("{producer} writes fates although {leader:?} leads"));
        }
    }

    /// A first attempt stands in the cluster's topic.
    pub fn published(&mut self, attempt: &Attempt) {
        let run = &attempt.run;
        match self.by_run.get(&run.id) {
            Some(number) if attempt.attempt == 1 => {
                let tick = &mut self.ticks[*number];
                tick.published = true;
                if (&run.job, run.scheduled_at) != (&tick.job, tick.at) {
                    let what = format!("{} of {} has the id of another", run.scheduled_at, run.job);
                    self.breaks(|| what);
                }
                let early = self.brokers_time.map(|now| run.scheduled_at - now);
                if let Some(early) = early.filter(|early| *early > TOLERANCE) {
                    let (job, at) = (&run.job, run.scheduled_at);
                    self.breaks(|| {
                        format!("{job} at {at} is published {early} before it is due by the broker's clock")
                    });
                }
            }
            _ if is_reboot(&run.job) && run.id == RunId::of(&run.job, run.scheduled_at) => {
                self.reboots.insert((run.job.to_string(), run.scheduled_at));
            }
            _ if self.is_lost && run.scheduled_at < jobs::begin() => {}
            _ => self.breaks(|| format!("{attempt:?} is published, and is no tick of the job file")),
        }
    }

    /// A leader says by its clock that ticks are missed because their job's deadline has passed.
    pub fn missed_for_deadline(&mut self, job: &JobName, to: DateTime<Utc>, wall: DateTime<Utc>) {
        if jobs::deadline(job).is_none_or(|deadline| wall - to <= deadline) {
            self.breaks(|| {
                format!("{job} at {to} is missed for its deadline at {wall}, which has not passed")
            });
        }
    }

    /// Ticks are on record as missed.
    pub fn missed(&mut self, job: &JobName, (from, to): (DateTime<Utc>, DateTime<Utc>), count: u64) {
        // Those that stand in the topic need not be among them.
        let (mut covered, mut open) = (0, 0);
        for tick in self.ticks.iter_mut().filter(|tick| tick.job == *job && (from..=to).contains(&tick.at)) {
            tick.missed = true;
            covered += 1;
            open += u64::from(!tick.published);
        }
        let is_of_before = self.is_lost && from < jobs::begin();
        if !(open..=covered).contains(&count) && !is_of_before {
            self.breaks(|| {
                format!("{count} ticks of {job} are missed from {from} to {to}, not {open} to {covered}")
            });
        }
    }

    /// A tick is on record as skipped.
    pub fn skipped(&mut self, job: &JobName, at: DateTime<Utc>) {
        match self.by_run.get(&RunId::of(job, at)) {
            Some(number) => self.ticks[*number].skipped = true,
            None if is_reboot(job) => drop(self.reboots.insert((job.to_string(), at))),
            None if self.is_lost && at < jobs::begin() => {}
            None => self.breaks(|| format!("{job} at {at} is skipped, and is no tick of a job file")),
        }
    }

    /// A cursor is committed, and beside it the instant of a reboot. It never goes back within a term, with two
    /// exceptions that cost nothing: from what the take-over itself commits, which may lie a moment behind the tick of a
    /// reboot, and by a request that arrives late, after a newer one.
    pub fn cursor(&mut self, offset: i64, metadata: &str, is_late: bool) {
        let cursor = DateTime::from_timestamp_millis(offset).unwrap();
        let reboot = metadata.split(';').nth(1).and_then(|text| text.parse().ok());
        let reboot = reboot.and_then(DateTime::from_timestamp_millis).filter(|at| *at < cursor);
        let has_fate = |job: &&str, at| self.reboots.contains(&((*job).to_owned(), at));
        if let Some(at) = reboot
            && let Some(job) = jobs::REBOOTS.iter().find(|job| !has_fate(job, at))
        {
            self.breaks(|| {
                format!("the cursor {cursor} is ahead of the tick of {job} of the reboot at {at}")
            });
        }
        self.first.get_or_insert(self.first_before.map_or(cursor, |before| before.max(cursor)));
        // A take-over that is given up may repeat, with another text beside it, what a late request had committed.
        let is_repeated = self.committed.replace(cursor) == Some(cursor);
        // A late request may be of a take-over that was given up. What the leader commits next goes by its own cursor.
        if !is_late && !is_repeated {
            let seen = self.last.map_or(0, |(_, seen)| seen);
            let last = self.last.replace((cursor, seen + 1));
            if let Some((last, _)) = last.filter(|(last, _)| cursor < *last && seen > 1) {
                self.breaks(|| format!("the cursor goes back within a term, from {last} to {cursor}"));
            }
        }
        if let Some(tick) = self.without_fate(cursor) {
            self.breaks(|| format!("the cursor {cursor} is ahead of {tick}"));
        }
    }

    /// A tick up to an instant that has no fate on record.
    fn without_fate(&self, until: DateTime<Utc>) -> Option<String> {
        let first = self.first?;
        let is_open = |tick: &&Tick| tick.is_owed && first < tick.at && tick.at <= until && !tick.has_fate();
        self.ticks.iter().find(is_open).map(|tick| format!("the tick of {} at {}", tick.job, tick.at))
    }

    /// A tick of the whole file that has no fate on record.
    pub fn unaccounted(&self) -> Option<String> {
        if self.first.is_none() {
            return Some("no cursor was ever committed".to_owned());
        }
        if let Some(tick) = self.without_fate(jobs::end()) {
            return Some(format!("{tick} has no fate on record"));
        }
        if let Some(job) = self.never_rebooted() {
            return Some(format!("no tick of {job} has a fate, although the first start is a reboot"));
        }
        // A cursor that stands still has every take-over begin there.
        let (cursor, _) = self.last?;
        (cursor < jobs::end())
            .then(|| format!("the cursor stands still at {cursor} although every tick has its fate"))
    }

    /// A job that is due at a reboot, and never was. What the first producer owed may be lost with the cursor beside which it stands.
    fn never_rebooted(&self) -> Option<&'static str> {
        let has_fate = |job: &&str| self.reboots.iter().any(|(of, _)| of == *job);
        jobs::REBOOTS.into_iter().find(|job| !self.is_lost && !has_fate(job))
    }

    /// How many reboots were published, and how many ticks skipped.
    pub fn others(&self) -> (usize, usize) {
        (self.reboots.len(), self.ticks.iter().filter(|tick| tick.skipped && !tick.published).count())
    }

    /// How many were published, and how many missed.
    pub fn totals(&self) -> (usize, usize) {
        let missed = |tick: &&Tick| tick.missed && !tick.published;
        (self.ticks.iter().filter(|tick| tick.published).count(), self.ticks.iter().filter(missed).count())
    }
}

fn is_reboot(job: &JobName) -> bool {
    jobs::REBOOTS.contains(&job.as_str())
}
