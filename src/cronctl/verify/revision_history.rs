//! The revision history: which job file was active when, from `revision` events in the order in which they were written.

use chrono::{DateTime, Utc};

use super::calendar::Period;

/// The revisions and since when each was active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevisionHistory {
    /// Ticks after the instant are those of the revision, up to the next entry's.
    since: Vec<(DateTime<Utc>, String)>,
    /// The same of the versions of zone data; `None` where the leader did not say.
    zones: Vec<(DateTime<Utc>, Option<String>)>,
}

/// How long a file was active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term<'a> {
    /// Ticks after this instant are its own.
    pub since: DateTime<Utc>,
    /// The last instant whose ticks are its own; none while it is active.
    pub until: Option<DateTime<Utc>>,
    /// Its revision.
    pub of: &'a str,
}

/// How long zone data of one version was active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Ticks after this instant are its own; none at the beginning.
    pub since: Option<DateTime<Utc>>,
    /// The last instant whose ticks are its own; none at the end.
    pub until: Option<DateTime<Utc>>,
    /// The version; none where the leader did not say.
    pub tzdata: Option<&'a str>,
}

impl RevisionHistory {
    /// Takes the next event. The later one counts from its instant on, whatever an earlier one said about that time.
    pub fn take(&mut self, revision: &str, tzdata: Option<&str>, from: DateTime<Utc>) {
        self.zones.retain(|(since, _)| *since < from);
        if self.zones.last().map(|(_, present)| present.as_deref()) != Some(tzdata) {
            self.zones.push((from, tzdata.map(str::to_owned)));
        }
        self.since.retain(|(since, _)| *since < from);
        if self.since.last().is_none_or(|(_, present)| present != revision) {
            self.since.push((from, revision.to_owned()));
        }
    }

    /// The revision that a tick belongs to; `None` where no event says it.
    pub fn of(&self, tick: DateTime<Utc>) -> Option<&str> {
        let after = self.since.partition_point(|(since, _)| *since < tick);
        after.checked_sub(1).map(|last| self.since[last].1.as_str())
    }

    /// The files other than this that were active in a period.
    pub fn others(&self, revision: &str, period: Period) -> Vec<Term<'_>> {
        let ends = self.since.iter().skip(1).map(|(since, _)| Some(*since)).chain([None]);
        let terms = self.since.iter().zip(ends).map(|((since, of), until)| Term { since: *since, until, of });
        let overlaps = |term: &Term<'_>| {
            term.since < period.until && term.until.is_none_or(|until| until >= period.since)
        };
        terms.filter(|term| term.of != revision && overlaps(term)).collect()
    }

    /// All of time, cut where the leader took up other zone data. The first piece reaches back for ever: whatever came before
    /// the first event is taken to have followed what it names.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let ends = self.zones.iter().skip(1).map(|(since, _)| Some(*since)).chain([None]);
        let pieces = self.zones.iter().zip(ends).enumerate();
        let mut pieces: Vec<Piece<'_>> = pieces
            .map(|(number, ((since, tzdata), until))| Piece {
                since: Some(*since).filter(|_| number > 0),
                until,
                tzdata: tzdata.as_deref(),
            })
            .collect();
        if pieces.is_empty() {
            pieces.push(Piece { since: None, until: None, tzdata: None });
        }
        pieces
    }

    /// The instant after which the first ticks are accounted for.
    pub fn begins(&self) -> Option<DateTime<Utc>> {
        self.since.first().map(|(since, _)| *since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_tick_belongs_to_the_file_that_was_in_force_before_it() {
        let check = |events: &[(&str, i64)], ticks: &[(i64, Option<&str>)]| {
            let mut history = RevisionHistory::default();
            events.iter().for_each(|(revision, from)| history.take(revision, None, at(*from)));
            for (tick, revision) in ticks {
                assert_eq!(history.of(at(*tick)), *revision, "{events:?} at {tick}");
            }
        };
        check(&[], &[(5, None)]);
        check(&[("a", 10)], &[(9, None), (10, None), (11, Some("a"))]);
        check(&[("a", 10), ("b", 20)], &[(20, Some("a")), (21, Some("b"))]);
        check(&[("a", 10), ("a", 20)], &[(11, Some("a")), (30, Some("a"))]);
        // A leader that came up with another file, for ticks that the one before had not published.
        check(&[("a", 10), ("b", 20), ("c", 15)], &[(15, Some("a")), (16, Some("c")), (30, Some("c"))]);
        check(&[("a", 10), ("b", 20), ("a", 15)], &[(30, Some("a"))]);
        check(&[("a", 10), ("b", 5)], &[(4, None), (6, Some("b")), (11, Some("b"))]);
    }

    #[test]
    fn the_files_of_a_period_are_those_in_force_at_an_instant_of_it() {
        let check = |since: i64, until: i64, expected: &[&str]| {
            let mut history = RevisionHistory::default();
            [("x", 10), ("mine", 20), ("y", 30)]
                .iter()
                .for_each(|(of, from)| history.take(of, None, at(*from)));
            let period = Period { since: at(since), until: at(until) };
            let others = history.others("mine", period);
            let others: Vec<&str> = others.iter().map(|term| term.of).collect();
            assert_eq!(others, expected, "{since} to {until}");
        };
        check(21, 30, &[]);
        check(20, 30, &["x"]);
        check(21, 31, &["y"]);
        check(1, 40, &["x", "y"]);
        check(1, 10, &[]);
    }

    #[test]
    fn time_is_cut_where_other_zone_data_was_taken_up() {
        let mut history = RevisionHistory::default();
        let whole = |tzdata| Piece { since: None, until: None, tzdata };
        assert_eq!(history.pieces(), [whole(None)]);
        history.take("a", Some("2025b"), at(10));
        assert_eq!(history.pieces(), [whole(Some("2025b"))]);
        history.take("b", Some("2025b"), at(15));
        history.take("b", Some("2026f"), at(20));
        let (old, new) = (whole(Some("2025b")), whole(Some("2026f")));
        let (before, after) = (Piece { until: Some(at(20)), ..old }, Piece { since: Some(at(20)), ..new });
        assert_eq!(history.pieces(), [before, after]);
        assert_eq!(history.of(at(30)), Some("b"));
    }
}
