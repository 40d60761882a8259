//! The report prints the last steps of a run that failed (`KAFKA_CRON_TRACE` says how many), and which faults the runs met
//! together.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// The last steps of a run. A run is made without, and made again with them when it has failed.
#[derive(Debug)]
pub struct Trace {
    on: bool,
    lines: VecDeque<String>,
}

const LINES: usize = 40;

fn lines() -> usize {
    std::env::var("KAFKA_CRON_TRACE").ok().and_then(|text| text.parse().ok()).unwrap_or(LINES)
}

impl Trace {
    pub fn new(on: bool) -> Self {
        Self { on, lines: VecDeque::new() }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    pub fn push(&mut self, line: String) {
        if self.lines.len() >= lines() {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("    {line}\n")).collect()
    }
}

/// How often each kind of thing happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<&'static str, u64>);

impl Counts {
    pub fn add(&mut self, kind: &'static str, count: u64) {
        *self.0.entry(kind).or_default() += count;
    }

    pub fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|(kind, count)| self.add(kind, *count));
    }

    /// Those of `kinds` that never happened.
    pub fn missing<'a>(&self, kinds: &[&'a str]) -> Vec<&'a str> {
        kinds.iter().filter(|kind| self.0.get(**kind).is_none_or(|count| *count == 0)).copied().collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(kind, count)| writeln!(f, "{count:>10}  {kind}"))
    }
}

/// Every kind of fault. One that is never met over all seeds fails the test.
pub const KINDS: [&str; 30] = [
    "above a quota",
    "answer lost",
    "applied but refused",
    "away",
    "clock back",
    "clock forward",
    "commit arrived late",
    "copy far behind",
    "copy published",
    "gap in the log",
    "kill",
    "kill between two writes",
    "leave",
    "letter too large",
    "malformed published",
    "not sent",
    "open transaction",
    "partition added",
    "produce arrived late",
    "refused",
    "request lost",
    "restart",
    "retry too large",
    "retention above the offset",
    "retention below the offset",
    "slow commit",
    "slow write",
    "stall",
    "topic made anew",
    "what was read got lost",
];

/// What must have been met where there are ambushes.
pub const KINDS_OF_AMBUSHES: [&str; 5] =
    ["ambush of a claim", "ambush of a leader", "declared lost", "kill", "read to the end in a term"];

/// What must have been met where producers take part.
pub const KINDS_OF_ALL: [&str; 20] = [
    "clock of a host jumps",
    "cursor ahead",
    "declared lost",
    "job file swapped",
    "kill",
    "kill between two writes",
    "late request far behind",
    "leave",
    "order read",
    "partition added",
    "read to the end in a term",
    "reboots published",
    "runs replaced",
    "runs replaced unstarted",
    "stall",
    "term begun",
    "tick too large",
    "ticks missed",
    "ticks queued",
    "ticks skipped",
];
