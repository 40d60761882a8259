//! What is found over all readings: the report as it grows, and what holds for the jobs of every reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::calendar::Period;
use super::held::Held;
use super::period::Begins;
use super::report::{List, Report, Ticks};
use super::revision_history::RevisionHistory;
use super::tick_ledger::UnknownZones;
use super::unread::Unread;
use crate::common::topics;
use crate::cronctl::instant::shown;

/// The findings so far.
pub struct Findings<'a> {
    /// The report that they make.
    pub report: Report,
    /// The job file's revision.
    pub revision: &'a str,
    /// What is checked.
    pub period: Period,
    /// Which job file was active when.
    pub history: &'a RevisionHistory,
    /// How long a published attempt may wait for a worker.
    pub begun_within: Duration,
    /// Of which topics something is deleted.
    pub begins: Begins,
    /// When the leader followed zone data that is not at hand.
    pub unknown_zones: &'a UnknownZones,
    /// Whether a job was among those read whose instants depend on zone data.
    pub has_uncertain: bool,
    /// Topics that were deleted and made again: consumers have claimed messages of the former one.
    pub made_anew: BTreeSet<String>,
    /// What consumers say was deleted before they claimed it.
    pub unread: Unread,
    /// The runs of before the period that hold something back.
    pub held: Held,
    /// How often a tick is recorded as missed that was recorded before.
    pub missed_again: usize,
    /// How many runs an operator has ended.
    pub ended_by_operators: usize,
    /// Up to when another job file was active, where its runs show that and no event tells: up to the first event, because the
    /// events of the period are there, and one would tell of a change.
    pub other_file_until: Option<DateTime<Utc>>,
}

impl<'a> Findings<'a> {
    /// Creates findings about so many jobs of the file of a revision, before anything is read.
    pub fn new(
        (revision, jobs): (&'a str, usize),
        period: Period,
        history: &'a RevisionHistory,
        begun_within: Duration,
        begins: Begins,
        unknown_zones: &'a UnknownZones,
    ) -> Self {
        let report = Report {
            ok: false,
            since: period.since,
            asked_since: None,
            until: period.until,
            revision: revision.to_owned(),
            jobs,
            ticks: Ticks::default(),
            missed_by_reason: BTreeMap::new(),
            copies: 0,
            unreadable: 0,
            unaccounted: List::default(),
            too_many: List::default(),
            doubled: List::default(),
            abandoned: List::default(),
            not_begun: List::default(),
            deleted_unread: List::default(),
            lost_retries: List::default(),
            held_back: List::default(),
            miscounted: List::default(),
            not_checked: List::default(),
            unfinished: List::default(),
            notes: Vec::new(),
        };
        Self {
            report,
            revision,
            period,
            history,
            begun_within,
            begins,
            unknown_zones,
            has_uncertain: false,
            made_anew: BTreeSet::new(),
            unread: Unread::default(),
            held: Held::default(),
            missed_again: 0,
            ended_by_operators: 0,
            other_file_until: None,
        }
    }

    /// Adds what a reader of the report must know.
    pub fn note(&mut self, note: String) {
        self.report.notes.push(note);
    }

    /// The report, once all jobs were read; `now` is when that began.
    pub fn finish(mut self, now: DateTime<Utc>) -> Report {
        self.report.notes.extend(self.begins.cuts(self.period.since));
        for fault in std::mem::take(&mut self.held).faults(now) {
            self.report.held_back.add(fault);
        }
        let others = self.history.others(self.revision, self.period);
        let notes = others.iter().map(|term| {
            let until = term.until.map_or_else(|| "the end".to_owned(), shown);
            let (since, of) = (shown(term.since), term.of);
            format!("from {since} to {until} the job file of revision {of} was active: not checked")
        });
        self.report.notes.extend(notes);
        if let Some(until) = self.other_file_until {
            let (runs, until) = (topics::RUNS, shown(until));
            self.note(format!(
                "up to {until} another job file was active, as its runs show ({runs} does not reach back so far): not checked"
            ));
        }
        let unknown = if self.has_uncertain { self.unknown_zones } else { &[] };
        let notes = unknown.iter().map(|(since, until, version)| {
            let (since, until) = (shown(*since), shown(*until));
            format!(
                "from {since} to {until} the leader followed tzdata {version}, which is not at hand: jobs in zones whose \
                 clocks change are not checked"
            )
        });
        self.report.notes.extend(notes);
        let notes = self.made_anew.iter().map(|topic| {
            format!(
                "{topic} was deleted and made again: what became of its former messages is taken from {}",
                topics::RUNS
            )
        });
        self.report.notes.extend(notes);
        if self.ended_by_operators > 0 {
            self.note(format!("{} runs were ended by an operator", self.ended_by_operators));
        }
        if self.missed_again > 0 {
            self.note(format!(
                "{} times a tick is recorded as missed that had been recorded before: leaders that take over decide anew; \
                 each tick is counted once",
                self.missed_again
            ));
        }
        let report = &self.report;
        let faults = [
            report.unaccounted.total,
            report.too_many.total,
            report.doubled.total,
            report.abandoned.total,
            report.not_begun.total,
            report.deleted_unread.total,
            report.lost_retries.total,
            report.held_back.total,
            report.miscounted.total,
            report.not_checked.total,
            report.ticks.not_checked,
            others.len(),
            unknown.len(),
        ];
        self.report.ok = faults.iter().all(|count| *count == 0);
        self.report
    }
}
