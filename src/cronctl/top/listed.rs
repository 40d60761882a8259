//! Which runs are listed, and in which order: those first that are silent or late, then the others that are not over, then
//! those that are over, the newest of each first. Pure.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};

use super::board::Board;
use super::figures::State;
use crate::common::model::{ClusterName, JobName, Outcome, RunId};
use crate::cronctl::runs::entry::Entry;

/// How many runs are listed at most.
pub const LISTED: usize = 1_000;

/// With so many characters, a text may be a part of a run's id. A shorter one stands in too many of them by chance.
const ID: usize = 8;

/// Which runs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What job, run, cluster, consumer or state must contain; upper and lower case are the same.
    pub text: String,
    /// The cluster; none: all.
    pub cluster: Option<ClusterName>,
    /// How far they have come.
    pub show: Show,
}

/// Runs by how far they have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Show {
    /// All of them.
    #[default]
    All,
    /// Those of which an attempt is under way.
    Running,
    /// Those that no consumer has begun in time.
    Late,
    /// Those that failed, also those that will be tried again.
    Failing,
    /// Ticks that wait for the run before them.
    Held,
}

impl Show {
    /// The next one, in a circle.
    pub fn next(self) -> Self {
        match self {
            Self::All => Self::Running,
            Self::Running => Self::Late,
            Self::Late => Self::Failing,
            Self::Failing => Self::Held,
            Self::Held => Self::All,
        }
    }

    /// The word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Running => "running",
            Self::Late => "late",
            Self::Failing => "failing",
            Self::Held => "held",
        }
    }

    fn takes(self, state: State) -> bool {
        match self {
            Self::All => true,
            Self::Running => matches!(state, State::Running | State::Silent),
            Self::Late => state == State::Late,
            Self::Failing => matches!(state, State::Retrying | State::Failed | State::Silent),
            Self::Held => state == State::Held,
        }
    }
}

/// A run as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// Its cluster, where it is known.
    pub cluster: Option<ClusterName>,
    /// When it was due, where that is known.
    pub due: Option<DateTime<Utc>>,
    /// For counting and colours.
    pub state: State,
    /// For reading, with the outcome where that says more.
    pub words: String,
    /// From the instant when it was due to its first start; of one that no consumer has begun, until now.
    pub late: Option<TimeDelta>,
    /// How many attempts are known.
    pub tries: usize,
    /// How long the last attempt took.
    pub took: Option<TimeDelta>,
    /// Who has, or had, the last attempt.
    pub consumer: Option<String>,
}

/// The runs that a rule lists, in the states that they were in at `judged`; how long they have waited is counted until `now`.
pub fn listed(board: &Board, rule: &Rule, judged: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Listed> {
    let text = rule.text.to_lowercase();
    let mut rows: Vec<Listed> = board
        .runs
        .entries()
        .filter(|entry| rule.cluster.is_none() || rule.cluster == entry.cluster)
        .map(|entry| Listed::of(&entry, judged, now))
        .filter(|row| rule.show.takes(row.state) && row.has(&text))
        .collect();
    rows.sort_by(|one, other| one.rank().cmp(&other.rank()).then_with(|| one.job.cmp(&other.job)));
    rows.truncate(LISTED);
    rows
}

impl Listed {
    fn of(entry: &Entry, judged: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let state = State::of(entry, judged);
        let word = if state == State::Silent { "silent" } else { entry.word() };
        let end = entry.detail.last_end();
        let more = end
            .map(|end| &end.outcome)
            .filter(|outcome| outcome.word() != word && !matches!(state, State::Running | State::Silent));
        let started = entry.detail.started_at();
        let waits = matches!(state, State::Waiting | State::Late | State::Held).then_some(now);
        let is_under_way = matches!(state, State::Running | State::Silent);
        Self {
            run: entry.run,
            job: entry.job.clone(),
            cluster: entry.cluster.clone(),
            due: entry.scheduled_at,
            state,
            words: more.map_or_else(|| word.to_owned(), |more: &Outcome| format!("{word}: {more}")),
            late: entry.scheduled_at.zip(started.or(waits)).map(|(due, at)| at - due),
            tries: entry.detail.attempts.len(),
            took: end.filter(|_| !is_under_way).map(|end| end.ended_at - end.started_at),
            consumer: entry.detail.worker().map(str::to_owned),
        }
    }

    fn has(&self, text: &str) -> bool {
        let has = |field: &str| field.to_lowercase().contains(text);
        text.is_empty()
            || has(self.job.as_str())
            || has(&self.words)
            || (text.len() >= ID && self.run.to_string().contains(text))
            || self.cluster.as_ref().is_some_and(|cluster| has(cluster.as_str()))
            || self.consumer.as_ref().is_some_and(|consumer| has(consumer))
    }

    fn rank(&self) -> (u8, Reverse<Option<DateTime<Utc>>>) {
        let group = match self.state {
            // First, because a list may be cut.
            State::Silent | State::Late => 0,
            State::Over | State::Failed => 2,
            _ => 1,
        };
        (group, Reverse(self.due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::Then;
    use crate::cronctl::top::messages::Told;
    use crate::cronctl::top::sample::{at, claimed, cluster, finished, message, queued};

    fn board() -> Board {
        let mut board = Board::new(vec![cluster()]);
        let events = [
            claimed("Long", 10, 1),
            finished("quick", 60, 1, Outcome::Succeeded, Then::Done),
            finished("quick", 70, 1, Outcome::Succeeded, Then::Done),
            finished("bad", 65, 1, Outcome::Failed { code: 3 }, Then::Dead),
            finished("again", 66, 1, Outcome::TimedOut, Then::Retried),
            queued("held", 68),
        ];
        for event in events {
            board.take(&Told::Event(event, at(70)));
        }
        board.take(&Told::Message(message("new", 69)));
        board.take(&Told::Message(message("Long", 10)));
        board.take(&Told::Message(message("old", 20)));
        board
    }

    #[test]
    fn what_is_late_is_listed_first_then_what_is_not_over_and_the_newest_of_each() {
        let check = |rule: Rule, expected: &[&str]| {
            let rows = listed(&board(), &rule, at(71), at(71));
            let jobs: Vec<&str> = rows.iter().map(|row| row.job.as_str()).collect();
            assert_eq!(jobs, expected, "{rule:?}");
        };
        let all = ["old", "new", "held", "again", "Long", "quick", "bad", "quick"];
        check(Rule::default(), &all);
        let showing = |show| Rule { show, ..Rule::default() };
        check(showing(Show::Running), &["Long"]);
        check(showing(Show::Late), &["old"]);
        check(showing(Show::Failing), &["again", "bad"]);
        check(showing(Show::Held), &["held"]);
        let with = |text: &str| Rule { text: text.to_owned(), ..Rule::default() };
        check(with("lONG"), &["Long"]);
        check(with("exit code 3"), &["bad"]);
        check(with("one"), &["again", "Long", "quick", "bad", "quick"]);
        let run = listed(&board(), &with("old"), at(71), at(71))[0].run.to_string();
        check(with(&run), &["old"]);
        check(Rule { cluster: Some(cluster()), ..Rule::default() }, &all);
        check(Rule { cluster: Some("d".parse().unwrap()), ..Rule::default() }, &[]);
    }

    #[test]
    fn a_row_says_how_late_and_how_long() {
        let check = |job: &str, words: &str, late: Option<i64>, took: Option<i64>| {
            let rule = Rule { text: job.to_owned(), ..Rule::default() };
            let row = listed(&board(), &rule, at(71), at(71)).remove(0);
            let seconds = |span: Option<TimeDelta>| span.map(|span| span.num_seconds());
            assert_eq!(
                (row.words.as_str(), seconds(row.late), seconds(row.took)),
                (words, late, took),
                "{job}"
            );
        };
        check("Long", "running", None, None);
        check("bad", "given up: failed (exit code 3)", Some(0), Some(2));
        check("again", "waiting for retry: timed out", Some(0), Some(2));
        check("old", "waiting", Some(51), None);
        check("held", "queued", Some(3), None);
    }
}
