//! The state of the view, and what follows from keys and from what was read.

use chrono::{DateTime, TimeDelta, Utc};

use super::board::Board;
use super::listed::{Listed, Rule, Show, listed};
use super::messages::{Effect, Event, Failure, Key, Look};
use crate::common::exit::Exit;
use crate::common::model::{ClusterName, RunId};

/// How many characters a filter may have.
const FILTER: usize = 100;

/// How many lines a page key moves.
const PAGE: usize = 10;

/// After so many records, the first look says how many there were.
const COUNTED: u64 = 20_000;

/// What is written about a run is not older than the run, but for the clocks of two hosts.
const BEFORE_DUE: TimeDelta = TimeDelta::minutes(5);

/// How the view is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The brokers, as they are shown.
    pub brokers: String,
    /// The clusters.
    pub clusters: Vec<ClusterName>,
    /// The producers' group.
    pub group: String,
    /// How far back runs are read and shown.
    pub window: TimeDelta,
    /// How often the topics are looked at, in words.
    pub interval: String,
    /// Whether there is a job file to say what is due next.
    pub has_file: bool,
    /// Whether a terminal shows the view, and keys come from it.
    pub is_live: bool,
    /// Whether one look is enough.
    pub is_once: bool,
    /// What a run must contain to be listed.
    pub filter: String,
}

/// Whether Kafka answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kafka {
    /// It has not been read to the end yet.
    Reading,
    /// It did when it was asked last.
    Answers,
    /// It has not since this instant; why, as the last try says.
    Away(DateTime<Utc>, Failure),
}

/// A run that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Which.
    pub run: RunId,
    /// What the topics hold about it; none until they have been read.
    pub lines: Option<Result<Vec<String>, String>>,
    /// How many lines are above the first that is shown.
    pub above: usize,
    since: Option<DateTime<Utc>>,
    is_asked: bool,
    is_over: bool,
}

/// The view.
#[derive(Debug)]
pub struct Machine {
    /// How it is to be.
    pub options: Options,
    /// What is known.
    pub board: Board,
    /// Whether Kafka answers.
    pub kafka: Kafka,
    /// Which runs are listed.
    pub rule: Rule,
    /// The filter is being typed.
    pub is_typing: bool,
    /// The run that is open.
    pub detail: Option<Detail>,
    /// How many records have been read.
    pub records: u64,
    /// When Kafka answered last.
    answered: Option<DateTime<Utc>>,
    selected: Option<RunId>,
    /// Where the selected run stood, for when it is gone.
    row: usize,
    looks: u32,
}

impl Machine {
    /// Creates a view on which nothing is known.
    pub fn new(options: Options) -> Self {
        let mut board = Board::new(options.clusters.clone());
        board.group.clone_from(&options.group);
        let rule = Rule { text: options.filter.clone(), cluster: None, show: Show::All };
        Self {
            options,
            board,
            kafka: Kafka::Reading,
            rule,
            is_typing: false,
            detail: None,
            records: 0,
            answered: None,
            selected: None,
            row: 0,
            looks: 0,
        }
    }

    /// Takes what has happened, and says what follows.
    pub fn handle(&mut self, event: Event, now: DateTime<Utc>) -> Vec<Effect> {
        match event {
            Event::Told(told) => {
                let before = self.records / COUNTED;
                self.records = self.records.saturating_add(told.len() as u64);
                told.iter().for_each(|told| self.board.take(told));
                // What is new is drawn when the look is over; the first one may take its time.
                let is_told = self.kafka == Kafka::Reading && self.records / COUNTED > before;
                if is_told { vec![Effect::Draw] } else { Vec::new() }
            }
            Event::Looked(look) => self.looked(*look, now),
            Event::Failed(failure) => self.failed(failure, now),
            Event::Detail(run, lines) => {
                let is_over = self.board.runs.get(run).is_some_and(|entry| entry.is_over());
                if let Some(detail) = self.detail.as_mut().filter(|detail| detail.run == run) {
                    // What was known stays while it cannot be read again.
                    if lines.is_ok() || !matches!(detail.lines, Some(Ok(_))) {
                        detail.is_over = lines.is_ok() && is_over;
                        detail.lines = Some(lines);
                    }
                    detail.is_asked = false;
                }
                vec![Effect::Draw]
            }
            Event::Key(Key::Interrupt) => vec![Effect::Quit(Exit::Done)],
            Event::Key(Key::Suspend) => vec![Effect::Suspend, Effect::Repaint],
            Event::Key(Key::Repaint) => vec![Effect::Repaint],
            Event::Key(key) if self.is_typing => self.typed(key),
            Event::Key(key) if self.detail.is_some() => self.read(key),
            Event::Key(key) => self.pressed(key, now),
            Event::Redraw => vec![Effect::Draw],
            Event::Stop(exit) => vec![Effect::Quit(exit)],
        }
    }

    fn looked(&mut self, look: Look, now: DateTime<Utc>) -> Vec<Effect> {
        self.kafka = Kafka::Answers;
        self.answered = Some(now);
        self.looks = self.looks.saturating_add(1);
        self.board.looked(look, now, self.options.window);
        let wanted = self.board.wanted();
        // One more look tells which jobs those are that began before the window.
        let is_enough = wanted.is_empty() || self.looks > 1;
        let mut effects = Vec::new();
        if !wanted.is_empty() {
            effects.push(Effect::Find(wanted));
        }
        if let Some(detail) = self.detail.as_mut().filter(|detail| !detail.is_asked && !detail.is_over) {
            detail.is_asked = true;
            effects.push(Effect::Open(detail.run, detail.since));
        }
        if !self.options.is_once || is_enough {
            effects.extend([Effect::Draw, Effect::Snapshot]);
        }
        if self.options.is_once && is_enough {
            effects.push(Effect::Quit(Exit::Done));
        }
        effects
    }

    fn failed(&mut self, failure: Failure, now: DateTime<Utc>) -> Vec<Effect> {
        let since = if let Kafka::Away(since, _) = &self.kafka { *since } else { now };
        let cure = if failure.cure.is_empty() { String::new() } else { format!(" ({})", failure.cure) };
        let complaint = Effect::Complain(format!("{}{cure}", failure.error));
        self.kafka = Kafka::Away(since, failure);
        if self.options.is_once {
            return vec![complaint, Effect::Quit(Exit::Kafka)];
        }
        vec![complaint, Effect::Draw]
    }

    /// A key while the filter is typed.
    fn typed(&mut self, key: Key) -> Vec<Effect> {
        match key {
            Key::Enter => self.is_typing = false,
            Key::Esc => {
                self.rule.text.clear();
                self.is_typing = false;
            }
            Key::Backspace => drop(self.rule.text.pop()),
            Key::Char(c) if self.rule.text.chars().count() < FILTER => self.rule.text.push(c),
            _ => {}
        }
        vec![Effect::Draw]
    }

    /// A key while a run is open.
    fn read(&mut self, key: Key) -> Vec<Effect> {
        let Some(detail) = &mut self.detail else { return Vec::new() };
        let count = detail.lines.as_ref().and_then(|lines| lines.as_ref().ok()).map_or(0, Vec::len);
        detail.above = match key {
            Key::Char('q') => return vec![Effect::Quit(Exit::Done)],
            Key::Esc | Key::Backspace => {
                self.detail = None;
                return vec![Effect::Draw];
            }
            other => moved(other, detail.above, count).unwrap_or(detail.above),
        };
        vec![Effect::Draw]
    }

    fn pressed(&mut self, key: Key, now: DateTime<Utc>) -> Vec<Effect> {
        match key {
            Key::Esc if self.selected.is_some() => (self.selected, self.row) = (None, 0),
            Key::Char('q') | Key::Esc => return vec![Effect::Quit(Exit::Done)],
            Key::Char('/') => self.is_typing = true,
            Key::Char('c') => self.rule.cluster = self.next_cluster(),
            Key::Char('s') => self.rule.show = self.rule.show.next(),
            Key::Char('x') => self.rule = Rule::default(),
            Key::Enter => return self.open(now),
            key => {
                let rows = self.rows(now);
                let at = self.place(&rows);
                let moved = moved(key, at.unwrap_or(0), rows.len());
                // The first key down selects the first line.
                let to = moved.map(|to| if at.is_none() && key == Key::Down { 0 } else { to });
                if let Some((to, row)) = to.and_then(|to| Some((to, rows.get(to)?))) {
                    (self.selected, self.row) = (Some(row.run), to);
                }
            }
        }
        vec![Effect::Draw]
    }

    fn next_cluster(&self) -> Option<ClusterName> {
        let clusters = self.board.clusters();
        match &self.rule.cluster {
            None => clusters.first().cloned(),
            Some(shown) => {
                let at = clusters.iter().position(|cluster| cluster == shown)?;
                clusters.get(at + 1).cloned()
            }
        }
    }

    fn open(&mut self, now: DateTime<Utc>) -> Vec<Effect> {
        let rows = self.rows(now);
        let Some(row) = rows.get(self.place(&rows).unwrap_or(0)) else { return Vec::new() };
        let since = row.due.map(|due| due - BEFORE_DUE);
        let detail = Detail { run: row.run, lines: None, above: 0, since, is_asked: true, is_over: false };
        self.selected = Some(row.run);
        self.detail = Some(detail);
        vec![Effect::Open(row.run, since), Effect::Draw]
    }

    /// The instant by which it is judged what is late or silent: what has happened since Kafka answered last is not known.
    pub fn judged(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.answered.unwrap_or(now)
    }

    /// Whether the topics have been read to their ends at least once.
    pub fn is_read(&self) -> bool {
        self.answered.is_some()
    }

    /// The runs that are listed.
    pub fn rows(&self, now: DateTime<Utc>) -> Vec<Listed> {
        listed(&self.board, &self.rule, self.judged(now), now)
    }

    /// Whether a run is selected.
    pub fn has_selected(&self) -> bool {
        self.selected.is_some()
    }

    /// Where the selected run stands among the listed ones; where it is gone, the one that took its place.
    pub fn place(&self, rows: &[Listed]) -> Option<usize> {
        let selected = self.selected?;
        let found = rows.iter().position(|row| row.run == selected);
        found.or(rows.len().checked_sub(1).map(|last| last.min(self.row)))
    }
}

/// Where a key leads to in a list of so many lines; none for a key that leads nowhere.
fn moved(key: Key, at: usize, count: usize) -> Option<usize> {
    let last = count.saturating_sub(1);
    Some(match key {
        Key::Up => at.saturating_sub(1),
        Key::Down => (at + 1).min(last),
        Key::PageUp => at.saturating_sub(PAGE),
        Key::PageDown => (at + PAGE).min(last),
        Key::Home => 0,
        Key::End => last,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
