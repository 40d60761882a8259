//! What `cronctl verify` found, as text and as JSON.

use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::common::exit::Exit;
use crate::common::model::{JobName, RunId};
use crate::cronctl::instant::shown;
use crate::cronctl::screen::Screen;

/// How many of a kind are listed; all are counted.
pub const LISTED: usize = 100;

/// Findings of a kind: all are counted, and the first are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct List<T> {
    /// How many there are.
    pub total: usize,
    /// The first [`LISTED`].
    pub first: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { total: 0, first: Vec::new() }
    }
}

impl<T> List<T> {
    /// Counts one, and keeps it if there is room.
    pub fn add(&mut self, one: T) {
        self.total += 1;
        if self.first.len() < LISTED {
            self.first.push(one);
        }
    }
}

/// A tick or a run of interest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its job.
    pub job: JobName,
    /// The instant that the schedule named.
    pub scheduled_at: DateTime<Utc>,
    /// Its run.
    pub run: RunId,
    /// What is the matter.
    pub why: String,
}

/// An interval whose event does not agree with the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// The job.
    pub job: JobName,
    /// The first tick that is missed.
    pub from: DateTime<Utc>,
    /// The last tick that is missed.
    pub to: DateTime<Utc>,
    /// How many the event says there are.
    pub count: u64,
    /// How many the schedule names, and how many of those have no other fate.
    pub named: usize,
    /// Those without another fate.
    pub open: usize,
}

/// Ticks by their fate. Together they are all that the schedule names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ticks {
    /// All of them.
    pub named: usize,
    /// The message is in the cluster's topic, or was and its run was begun.
    pub published: usize,
    /// Those among the published whose message was deleted since, by retention or with its topic.
    pub message_deleted: usize,
    /// Those among the published that had waited for the run before.
    pub queued_first: usize,
    /// Those among the published that no consumer has begun.
    pub not_begun: usize,
    /// Skipped, because the run before was not finished.
    pub skipped: usize,
    /// In an interval that is recorded as missed.
    pub missed: usize,
    /// Published, and deleted by retention before a consumer claimed it.
    pub deleted_unread: usize,
    /// Waiting for the run before.
    pub queued: usize,
    /// Another job file was active.
    pub not_checked: usize,
    /// No trace.
    pub unaccounted: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is wrong, and everything could be checked.
    pub ok: bool,
    /// The first instant that was checked.
    pub since: DateTime<Utc>,
    /// The first instant that was asked about, where the topics tell only of later ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_since: Option<DateTime<Utc>>,
    /// The last one.
    pub until: DateTime<Utc>,
    /// The job file's revision.
    pub revision: String,
    /// How many jobs it has.
    pub jobs: usize,
    /// Fates.
    pub ticks: Ticks,
    /// Missed ticks by reason, each counted once.
    pub missed_by_reason: BTreeMap<&'static str, u64>,
    /// Messages that stand in a topic a second time; consumers drop them.
    pub copies: usize,
    /// Records that could not be read.
    pub unreadable: usize,
    /// Ticks without a trace.
    pub unaccounted: List<Item>,
    /// Messages that the schedule does not ask for.
    pub too_many: List<Item>,
    /// Attempts that were started more than once.
    pub doubled: List<Item>,
    /// Runs whose consumer shows no sign of life, and that no event calls lost.
    pub abandoned: List<Item>,
    /// Attempts that were published, and that no consumer has begun for long or ever will.
    pub not_begun: List<Item>,
    /// Ticks whose message retention deleted before a consumer claimed it.
    pub deleted_unread: List<Item>,
    /// Next attempts that were passed on and are gone: neither claimed, nor in the retry topic, nor a letter.
    pub lost_retries: List<Item>,
    /// Ticks that were held back by a run that is over, was never published or shows no sign of life.
    pub held_back: List<Item>,
    /// Intervals that do not agree with the schedule.
    pub miscounted: List<Interval>,
    /// Runs and ticks of another job file.
    pub not_checked: List<Item>,
    /// Runs that take long; no fault.
    pub unfinished: List<Item>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

impl Report {
    /// How the program ends.
    pub fn exit(&self) -> Exit {
        if self.ok { Exit::Done } else { Exit::Found }
    }

    /// One JSON object.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn json(&self, screen: &mut Screen) -> io::Result<()> {
        screen.say_json(self)
    }

    /// The same as text.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn words(&self, screen: &mut Screen) -> io::Result<()> {
        let Ticks { named, published, message_deleted, queued_first, not_begun, .. } = self.ticks;
        let Ticks { skipped, missed, deleted_unread, queued, not_checked, unaccounted, .. } = self.ticks;
        screen.say(format_args!(
            "{} to {}, revision {}: {named} ticks of {} jobs",
            shown(self.since),
            shown(self.until),
            self.revision,
            self.jobs
        ))?;
        let by_reason: Vec<String> =
            self.missed_by_reason.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons =
            if by_reason.is_empty() { String::new() } else { format!(" ({})", by_reason.join(", ")) };
        let begun = if not_begun == 0 { String::new() } else { format!(", {not_begun} not begun yet") };
        let deleted = match message_deleted {
            0 => String::new(),
            count => format!(", {count} were run and their messages are deleted since"),
        };
        screen.say(format_args!(
            "  published    {published} ({queued_first} of them after they had waited{begun}{deleted})"
        ))?;
        screen.say(format_args!("  skipped      {skipped}"))?;
        screen.say(format_args!("  missed       {missed}{reasons}"))?;
        if deleted_unread > 0 {
            screen.say(format_args!("  deleted      {deleted_unread} before a consumer claimed them"))?;
        }
        screen.say(format_args!("  waiting      {queued}"))?;
        screen.say(format_args!("  not checked  {not_checked}"))?;
        screen.say(format_args!("  unaccounted  {unaccounted}"))?;
        if self.copies > 0 {
            screen.say(format_args!("{} messages stand a second time, and are dropped", self.copies))?;
        }
        if self.unreadable > 0 {
            screen.say(format_args!("{} records cannot be read", self.unreadable))?;
        }
        items("ticks without a trace", &self.unaccounted, screen)?;
        items("messages that the schedule does not ask for", &self.too_many, screen)?;
        items("attempts started more than once", &self.doubled, screen)?;
        items("runs whose lease has run out", &self.abandoned, screen)?;
        items("published and not begun", &self.not_begun, screen)?;
        items("deleted before a consumer claimed them", &self.deleted_unread, screen)?;
        items("next attempts that are gone", &self.lost_retries, screen)?;
        items("held back by a run that is over or does not live", &self.held_back, screen)?;
        section("intervals that do not agree with the schedule", &self.miscounted, screen, |interval| {
            let Interval { job, from, to, count, named, open } = interval;
            let (from, to) = (shown(*from), shown(*to));
            format!("{job}  {from} to {to}  says {count}; {named} named, {open} of them without another fate")
        })?;
        items("messages that are not checked", &self.not_checked, screen)?;
        items("unfinished (no fault)", &self.unfinished, screen)?;
        for note in &self.notes {
            screen.say(format_args!("note: {note}"))?;
        }
        let from = self.asked_since.map(|_| format!(" from {} on", shown(self.since))).unwrap_or_default();
        screen.say(match (self.ok, self.ticks.named) {
            (true, 0) => "no tick is due in this period: this proves nothing".to_owned(),
            (true, _) => format!("every tick{from} is accounted for"),
            (false, _) => format!("NOT every tick{from} is accounted for"),
        })
    }
}

fn items(title: &str, list: &List<Item>, screen: &mut Screen) -> io::Result<()> {
    section(title, list, screen, |item| {
        format!("{}  {}  run {}  {}", shown(item.scheduled_at), item.job, item.run, item.why)
    })
}

fn section<T>(
    title: &str,
    list: &List<T>,
    screen: &mut Screen,
    line: impl Fn(&T) -> String,
) -> io::Result<()> {
    if list.total == 0 {
        return Ok(());
    }
    screen.say(format_args!("{title}: {}", list.total))?;
    for one in &list.first {
        screen.say(format_args!("  {}", line(one)))?;
    }
    match list.total - list.first.len() {
        0 => Ok(()),
        more => screen.say(format_args!("  and {more} more")),
    }
}
