//! What is to be seen, as text with colours but without places: the same for a terminal and for plain lines. Pure.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::board::FORGOTTEN;
use super::figures::{Figures, State, count};
use super::listed::{LISTED, Listed, Show};
use super::machine::{Kafka, Machine};
use super::messages::Standing;
use super::times::{instant, shown_second, span};
use crate::common::glyphs::harmless;
use crate::common::model::ClusterName;
use crate::cronctl::instant::shown;

/// A leader writes a beat at least six times in a lease of a minute; with two of them missing, something is wrong.
const BEATS: TimeDelta = TimeDelta::seconds(30);

/// Standbys say every ten seconds that they are there.
const STANDBY: TimeDelta = TimeDelta::seconds(30);

/// What is left of the name of a job where there is no room for all of it: with it, the other columns of the list fit into 80.
const JOB: u16 = 32;

/// What is due next is said by the job file alone.
const NO_FILE: &str = "- (give the job file)";

/// How something is meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tone {
    /// As anything else.
    #[default]
    Plain,
    /// It is well.
    Good,
    /// It deserves a look.
    Odd,
    /// It is wrong.
    Bad,
    /// It matters less.
    Faint,
}

/// Some text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// What it says. Nothing in it is obeyed by a terminal.
    pub text: String,
    /// How it is meant.
    pub tone: Tone,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// Whether its cells stand at its right edge.
    pub is_right: bool,
    /// Where there is not enough room: columns of the highest number go first.
    pub spare: u8,
    /// Its cells are cut, to no less than so many characters, before other columns go.
    pub cut_to: Option<u16>,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Its columns. The last one is cut where it does not fit.
    pub columns: Vec<Column>,
    /// Its rows; each has a cell for each column.
    pub rows: Vec<Vec<Text>>,
}

/// A run that is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Which.
    pub title: String,
    /// What is known about it.
    pub lines: Vec<Text>,
    /// How many of them are above the first that is shown.
    pub above: usize,
}

/// What is to be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// Where and when.
    pub title: String,
    /// Whether Kafka answers, who leads, and what is wrong.
    pub notes: Vec<Text>,
    /// The clusters.
    pub clusters: Table,
    /// The consumers.
    pub consumers: Table,
    /// What is listed of the runs.
    pub listing: Text,
    /// The runs.
    pub runs: Table,
    /// The selected one of them.
    pub selected: Option<usize>,
    /// The run that is open, in the place of the tables.
    pub opened: Option<Opened>,
    /// What the keys do; or the filter that is typed.
    pub help: String,
}

impl Text {
    fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: harmless(&text.into()).replace('\t', "    "), tone }
    }

    fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl Picture {
    /// The picture of the view at an instant.
    pub fn of(machine: &Machine, now: DateTime<Utc>) -> Self {
        let rows = machine.rows(now);
        Self {
            title: title(machine, now),
            notes: notes(machine, now),
            clusters: clusters(machine, now),
            consumers: consumers(machine, now),
            listing: listing(machine, rows.len()),
            selected: machine.place(&rows),
            runs: runs(&rows, machine.options.is_live, now),
            opened: opened(machine),
            help: help(machine),
        }
    }
}

fn title(machine: &Machine, now: DateTime<Utc>) -> String {
    let options = &machine.options;
    let now = shown_second(now);
    let window = span(options.window);
    harmless(&format!(
        "cronctl top  {now}  {}  the last {window}, every {}",
        options.brokers, options.interval
    ))
}

fn notes(machine: &Machine, now: DateTime<Utc>) -> Vec<Text> {
    let mut notes = Vec::new();
    match &machine.kafka {
        Kafka::Reading => {
            notes.push(Text::new(format!("reading: {} records so far", machine.records), Tone::Odd));
        }
        Kafka::Answers => {}
        Kafka::Away(since, failure) => {
            let cure = if failure.cure.is_empty() { String::new() } else { format!(" ({})", failure.cure) };
            let (at, ago) = (shown_second(*since), span(now - *since));
            let what = if failure.is_refusal { "Kafka refuses" } else { "Kafka is away" };
            let why = &failure.error;
            let known = if machine.is_read() {
                "what follows is from before"
            } else {
                "what it holds is not known yet"
            };
            let what = format!("{what} since {at} ({ago}); {known}: {why}{cure}");
            notes.push(Text::new(what, Tone::Bad));
        }
    }
    notes.push(leader(machine, now));
    if machine.board.is_cut {
        let what = "there are more unfinished runs than fit: the oldest of them are not counted".to_owned();
        notes.push(Text::new(what, Tone::Odd));
    }
    if let Some(trouble) = machine.board.look.as_ref().and_then(|look| look.file_trouble.as_ref()) {
        notes.push(Text::new(trouble.clone(), Tone::Bad));
    }
    for (at, trouble) in machine.board.troubles.iter().rev() {
        notes.push(Text::new(format!("{}  {trouble}", instant(*at, now)), Tone::Odd));
    }
    notes
}

fn leader(machine: &Machine, now: DateTime<Utc>) -> Text {
    if !machine.is_read() {
        return Text::new("leader: not known yet", Tone::Faint);
    }
    let (board, judged) = (&machine.board, machine.judged(now));
    let leads = board.leader();
    // One that leads stood by a moment ago.
    let stands_by = |(name, at): &(&String, &DateTime<Utc>)| {
        judged - **at < STANDBY && leads.as_ref().is_none_or(|(leader, _, _)| leader != name)
    };
    let standbys = board.standbys.iter().filter(stands_by).count();
    let more = match standbys {
        0 => "no standby".to_owned(),
        1 => "1 standby".to_owned(),
        more => format!("{more} standbys"),
    };
    let file = board.revision.as_ref().map_or_else(String::new, |revision| format!(", job file {revision}"));
    match leads {
        None => Text::new(format!("no producer leads, {more}"), Tone::Bad),
        Some((name, beats, others)) => {
            let others = if others == 0 {
                String::new()
            } else {
                format!(" (or one of {others} others that lead on this Kafka)")
            };
            let (silent, tone) = if judged - beats.last > BEATS {
                (format!(", and gave its last sign of life {} ago", span(now - beats.last)), Tone::Bad)
            } else {
                (String::new(), if standbys == 0 { Tone::Plain } else { Tone::Good })
            };
            Text::new(format!("{name}{others} leads{silent}, {more}{file}"), tone)
        }
    }
}

fn column(heading: &'static str, is_right: bool, spare: u8) -> Column {
    Column { heading, is_right, spare, cut_to: None }
}

fn clusters(machine: &Machine, now: DateTime<Utc>) -> Table {
    let mut columns = vec![column("CLUSTER", false, 0)];
    columns.extend(
        [
            ("RUNNING", 0),
            ("LATE", 0),
            ("FAILING", 0),
            ("HELD", 1),
            ("LAG", 0),
            ("RETRIES", 1),
            ("LETTERS", 0),
            ("MISSED", 4),
        ]
        .map(|(heading, spare)| column(heading, true, spare)),
    );
    columns.push(column("DUE NEXT", false, 3));
    let counted = count(machine.board.runs.entries(), machine.judged(now));
    let look = machine.board.look.as_ref();
    let others = columns.len() - 2;
    let unknown = |cluster: &ClusterName| {
        let figures = [cluster.as_str()].into_iter().chain(std::iter::repeat_n("-", others)).map(Text::plain);
        let next = if machine.options.has_file { Text::plain("-") } else { Text::new(NO_FILE, Tone::Faint) };
        figures.chain([next]).collect()
    };
    let rows = machine.board.clusters().iter().map(|cluster| {
        let figures = counted.get(cluster).cloned().unwrap_or_default();
        let standing = look.and_then(|look| look.clusters.get(cluster));
        if machine.is_read() { row_of(cluster, &figures, standing, machine, now) } else { unknown(cluster) }
    });
    Table { columns, rows: rows.collect() }
}

fn row_of(
    cluster: &ClusterName,
    figures: &Figures,
    standing: Option<&Standing>,
    machine: &Machine,
    now: DateTime<Utc>,
) -> Vec<Text> {
    let number =
        |count: usize, tone: Tone| Text::new(count.to_string(), if count == 0 { Tone::Plain } else { tone });
    let offset = |count: Option<i64>, tone: Tone| {
        let is_none = count.is_none_or(|count| count == 0);
        let text = count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        Text::new(text, if is_none { Tone::Plain } else { tone })
    };
    let running = match figures.silent {
        0 => number(figures.running, Tone::Good),
        silent => Text::new(format!("{} ({silent} silent)", figures.running), Tone::Bad),
    };
    let late = match figures.oldest {
        Some(oldest) => Text::new(format!("{} ({})", figures.late, span(now - oldest)), Tone::Bad),
        None => number(figures.late, Tone::Bad),
    };
    let missed = machine.board.missed(cluster);
    let next = match standing.and_then(|standing| standing.next.as_ref()) {
        _ if standing.is_some_and(|standing| standing.is_missing) => {
            Text::new("there is no such topic (yet)", Tone::Bad)
        }
        Some((at, job)) => Text::plain(format!("{} {job}", instant(*at, now))),
        None if machine.options.has_file => Text::new("nothing", Tone::Faint),
        None => Text::new(NO_FILE, Tone::Faint),
    };
    vec![
        Text::plain(cluster.as_str()),
        running,
        late,
        number(figures.failing, Tone::Bad),
        number(figures.held, Tone::Odd),
        offset(standing.map(|standing| standing.lag), Tone::Odd),
        offset(standing.map(|standing| standing.retry_lag), Tone::Odd),
        offset(standing.map(|standing| standing.letters), Tone::Bad),
        Text::new(missed.to_string(), if missed == 0 { Tone::Plain } else { Tone::Bad }),
        next,
    ]
}

fn consumers(machine: &Machine, now: DateTime<Utc>) -> Table {
    let board = &machine.board;
    let columns = vec![
        column("CONSUMER", false, 0),
        column("RUNNING", true, 0),
        column("HEARD", true, 0),
        column("TOPIC", false, 0),
    ];
    let mut running: HashMap<String, (usize, usize)> = HashMap::new();
    for entry in board.runs.entries() {
        let state = State::of(&entry, machine.judged(now));
        if let (State::Running | State::Silent, Some(consumer)) = (state, entry.detail.worker()) {
            let counts = running.entry(consumer.to_owned()).or_default();
            *counts = (counts.0 + 1, counts.1 + usize::from(state == State::Silent));
        }
    }
    let rows = board.consumers.iter().map(|(name, consumer)| {
        let (count, silent) = running.get(name).copied().unwrap_or_default();
        let ago = now - consumer.seen;
        let is_gone = count == 0 && ago > FORGOTTEN / 4;
        let usual = if is_gone { Tone::Faint } else { Tone::Plain };
        let tone = if silent > 0 { Tone::Bad } else { usual };
        vec![
            Text::new(name.clone(), tone),
            Text::new(count.to_string(), if count > 0 && silent == 0 { Tone::Good } else { tone }),
            Text::new(format!("{} ago", span(ago)), tone),
            Text::new(consumer.topic.clone().unwrap_or_else(|| "-".to_owned()), tone),
        ]
    });
    Table { columns, rows: rows.collect() }
}

fn listing(machine: &Machine, count: usize) -> Text {
    let rule = &machine.rule;
    if count == 0 && !machine.is_read() {
        return Text::new("runs: not known yet", Tone::Faint);
    }
    let mut what = match count {
        1 => "1 run".to_owned(),
        LISTED => format!("{LISTED} runs and more"),
        count => format!("{count} runs"),
    };
    let mut is_all = true;
    if rule.show != Show::All {
        (what, is_all) = (format!("{what}, {}", rule.show.word()), false);
    }
    if let Some(cluster) = &rule.cluster {
        (what, is_all) = (format!("{what}, of {cluster}"), false);
    }
    if !rule.text.is_empty() {
        (what, is_all) = (format!("{what}, with `{}`", rule.text), false);
    }
    if !machine.is_read() {
        (what, is_all) = (format!("{what} so far"), false);
    }
    Text::new(what, if is_all { Tone::Faint } else { Tone::Odd })
}

fn runs(rows: &[Listed], is_live: bool, now: DateTime<Utc>) -> Table {
    let columns = vec![
        column("DUE", false, 0),
        column("LATE", true, 1),
        column("TRIES", true, 2),
        column("TOOK", true, 1),
        Column { cut_to: Some(JOB), ..column("JOB", false, 0) },
        column("STATE", false, 0),
        column("CONSUMER", false, 3),
        column("RUN", false, 4),
    ];
    let row = |row: &Listed| {
        let spanned = |time: Option<TimeDelta>| Text::plain(time.map_or_else(|| "-".to_owned(), span));
        let due = row.due.map(|due| if is_live { instant(due, now) } else { shown(due) });
        let tone = match row.state {
            State::Running => Tone::Good,
            State::Silent | State::Late | State::Failed => Tone::Bad,
            State::Retrying | State::Held => Tone::Odd,
            State::Waiting => Tone::Plain,
            State::Over => Tone::Faint,
        };
        vec![
            Text::plain(due.unwrap_or_else(|| "-".to_owned())),
            spanned(row.late),
            Text::plain(row.tries.to_string()),
            spanned(row.took),
            Text::plain(row.job.as_str()),
            Text::new(row.words.clone(), tone),
            Text::plain(row.consumer.clone().unwrap_or_else(|| "-".to_owned())),
            Text::plain(row.run.to_string()),
        ]
    };
    Table { columns, rows: rows.iter().map(row).collect() }
}

fn opened(machine: &Machine) -> Option<Opened> {
    let detail = machine.detail.as_ref()?;
    let lines = match &detail.lines {
        None => vec![Text::new("reading what the topics hold about it", Tone::Faint)],
        Some(Err(error)) => vec![Text::new(error.clone(), Tone::Bad)],
        Some(Ok(lines)) if lines.is_empty() => {
            vec![Text::new("the topics hold nothing about this run", Tone::Odd)]
        }
        Some(Ok(lines)) => lines.iter().map(|line| Text::plain(line.clone())).collect(),
    };
    Some(Opened { title: format!("run {}", detail.run), lines, above: detail.above })
}

fn help(machine: &Machine) -> String {
    if machine.is_typing {
        return harmless(&format!("filter: {}_   Enter keeps it, Esc clears it", machine.rule.text));
    }
    let text = if machine.detail.is_some() {
        "Esc back  Up/Down/PgUp/PgDn scroll  q quit"
    } else if machine.has_selected() {
        "q quit  / filter  c cluster  s state  x all  Enter open  Esc deselect"
    } else {
        "q quit  / filter  c cluster  s state  x all  Up/Down select  Enter open"
    };
    text.to_owned()
}
