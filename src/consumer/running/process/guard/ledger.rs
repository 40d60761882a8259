//! What the guard is told, and what it knows from it. Both sides keep the same ledger: the consumer, so that it can
//! tell a new guard everything at once.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rustix::process::Pid;

use crate::consumer::running::process::mark::Mark;

/// One line on the pipe. Far shorter than `PIPE_BUF`, so that lines of several threads do not mix (pipe(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A process of this attempt is about to be started: from now on it may be there.
    Starting(u64, Mark),
    /// It leads the process group of this number.
    Runs(u64, Pid),
    /// It is over, and nothing is left of its group. Any other group may have the number now.
    Over(u64),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting(serial, mark) => writeln!(f, "starting {serial} {mark}"),
            Self::Runs(serial, group) => writeln!(f, "runs {serial} {group}"),
            Self::Over(serial) => writeln!(f, "over {serial}"),
        }
    }
}

/// A line that is none: written by a stranger, or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoLine;

impl FromStr for Line {
    type Err = NoLine;
    fn from_str(text: &str) -> Result<Self, NoLine> {
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next().ok_or(NoLine);
        let (kind, serial) = (word()?, word()?.parse().map_err(|_| NoLine)?);
        match kind {
            "starting" => word()?.parse().map(|mark| Self::Starting(serial, mark)).map_err(|_| NoLine),
            "runs" => {
                // Signals to the groups 0 and 1 mean ourselves and everybody (kill(2)).
                let group = word()?.parse().ok().filter(|number| *number > 1).and_then(Pid::from_raw);
                group.map(|group| Self::Runs(serial, group)).ok_or(NoLine)
            }
            "over" => Ok(Self::Over(serial)),
            _ => Err(NoLine),
        }
    }
}

/// What is under way, by serial number.
#[derive(Debug, Default)]
pub struct Ledger(BTreeMap<u64, (Mark, Option<Pid>)>);

impl Ledger {
    /// Enters a line.
    pub fn enter(&mut self, line: Line) {
        match line {
            Line::Starting(serial, mark) => drop(self.0.insert(serial, (mark, None))),
            Line::Runs(serial, group) => {
                if let Some((_, known)) = self.0.get_mut(&serial) {
                    *known = Some(group);
                }
            }
            Line::Over(serial) => drop(self.0.remove(&serial)),
        }
    }

    /// The lines that make another ledger the same.
    pub fn lines(&self) -> impl Iterator<Item = Line> {
        self.0.iter().flat_map(|(serial, (mark, group))| {
            let runs = group.map(|group| Line::Runs(*serial, group));
            std::iter::once(Line::Starting(*serial, mark.clone())).chain(runs)
        })
    }

    /// The attempts that are under way.
    pub fn marks(&self) -> Vec<Mark> {
        self.0.values().map(|(mark, _)| mark.clone()).collect()
    }

    /// Forgets what has a process group: only what was about to be started, and may not have been, is left.
    pub fn keep_what_starts(&mut self) {
        self.0.retain(|_, (_, group)| group.is_none());
    }

    /// Whether there is what was about to be started.
    pub fn has_starts(&self) -> bool {
        self.0.values().any(|(_, group)| group.is_none())
    }

    /// Their process groups, as far as they are known.
    pub fn groups(&self) -> impl Iterator<Item = Pid> {
        self.0.values().filter_map(|(_, group)| *group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "00000000-0000-0000-0000-000000000001/a/1";

    fn check(lines: &[&str], groups: &[i32], runs: usize) {
        let mut ledger = Ledger::default();
        lines.iter().filter_map(|line| line.parse().ok()).for_each(|line| ledger.enter(line));
        let of =
            |ledger: &Ledger| ledger.groups().map(|group| group.as_raw_nonzero().get()).collect::<Vec<_>>();
        assert_eq!((of(&ledger), ledger.marks().len()), (groups.to_vec(), runs), "{lines:?}");

        let mut copy = Ledger::default();
        ledger.lines().for_each(|line| copy.enter(line.to_string().parse().unwrap()));
        assert_eq!((of(&copy), copy.marks()), (groups.to_vec(), ledger.marks()), "a new guard: {lines:?}");
    }

    #[test]
    fn the_ledger_holds_what_was_started_and_is_not_over() {
        let starting = format!("starting 7 {MARK}");
        let another = format!("starting 8 {MARK}");
        check(&[&starting], &[], 1);
        check(&[&starting, "runs 7 4711"], &[4711], 1);
        check(&[&starting, "runs 7 4711", "over 7"], &[], 0);
        check(&[&starting, "runs 7 4711", &another, "runs 8 4712", "over 7"], &[4712], 1);
        check(&["runs 7 4711", "over 9"], &[], 0);
    }

    #[test]
    fn a_line_that_is_none_ends_nobody() {
        let starting = format!("starting 7 {MARK}");
        for wrong in
            ["runs 7 0", "runs 7 1", "runs 7 -1", "runs 7 x", "runs 7", "runs x 4711", "", "ruins 7 4711"]
        {
            assert_eq!(wrong.parse::<Line>(), Err(NoLine), "{wrong}");
            check(&[&starting, wrong], &[], 1);
        }
    }
}
