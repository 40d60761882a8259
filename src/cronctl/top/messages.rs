//! What the machine of `cronctl top` takes and what it asks for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::common::exit::Exit;
use crate::common::model::{self, Attempt, ClusterName, JobName, Place, RunId};

/// What happens to the view.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Records were read.
    Told(Vec<Told>),
    /// The topics have been read to their ends, and the offsets were looked up.
    Looked(Box<Look>),
    /// Kafka refused or did not answer.
    Failed(Failure),
    /// What the topics hold about a run, as lines; or why that is not known.
    Detail(RunId, Result<Vec<String>, String>),
    /// A key was pressed.
    Key(Key),
    /// The terminal has another size, or a second has passed.
    Redraw,
    /// A signal asks the program to end, or the terminal is gone.
    Stop(Exit),
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A message of a cluster's topic.
    Message(Attempt),
    /// An event, and when the broker had it.
    Event(model::Event, DateTime<Utc>),
    /// The message of an attempt that the machine asked for; none where it is gone.
    Found(RunId, Option<Attempt>),
}

/// What the offsets and the job file say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// By cluster.
    pub clusters: BTreeMap<ClusterName, Standing>,
    /// What is wrong with the job file now, where one was given.
    pub file_trouble: Option<String>,
}

/// Where a cluster's topics stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Messages of first attempts that no consumer has claimed.
    pub lag: i64,
    /// The same of the retry topic: retries that wait for their instant are among them.
    pub retry_lag: i64,
    /// Letters that were not put back.
    pub letters: i64,
    /// The cluster's topic does not exist.
    pub is_missing: bool,
    /// The next tick of the job file, and its job.
    pub next: Option<(DateTime<Utc>, JobName)>,
}

/// Why Kafka said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub error: String,
    /// What would help; may be empty.
    pub cure: String,
    /// A broker answered, and refused.
    pub is_refusal: bool,
}

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// Ten lines up.
    PageUp,
    /// Ten lines down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// Opens, or accepts what was typed.
    Enter,
    /// Back, or out.
    Esc,
    /// Takes the last character back.
    Backspace,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Repaint,
    /// A character.
    Char(char),
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The picture has changed.
    Draw,
    /// A look at Kafka is over, well or not: what is shown without a terminal is shown now.
    Snapshot,
    /// Something is wrong: said on standard error where there is no terminal to show it.
    Complain(String),
    /// The reader is to look for the messages of these attempts, with its next look.
    Find(Vec<(RunId, Place)>),
    /// The detail thread is to read what the topics hold about a run since an instant.
    Open(RunId, Option<DateTime<Utc>>),
    /// Something else may have written to the terminal: all of the picture is drawn anew.
    Repaint,
    /// The program stops until the shell has it go on.
    Suspend,
    /// The view ends.
    Quit(Exit),
}
