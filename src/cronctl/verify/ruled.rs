//! Which zone data was active when, as far as it is at hand: the leader names the version that it follows, and this host may
//! have that version, in its own tzdata or in the program.

use chrono::{DateTime, TimeDelta, Utc};

use super::calendar::{Calendar, NotUnderstood, Period};
use super::revision_history::Piece;
use super::tzif::Rules;
use crate::common::zones::Zones;
use crate::producer::jobfile::{JobFile, Written};

/// The pieces of time and their zone data.
#[derive(Debug)]
pub struct Ruled<'a> {
    pieces: Vec<Piece<'a>>,
    /// The version by which the job file was read.
    ours: &'a str,
    at_hand: &'a [Zones],
}

impl<'a> Ruled<'a> {
    /// The pieces; `at_hand` are the versions that this host has.
    pub fn new(pieces: Vec<Piece<'a>>, file: &'a JobFile, at_hand: &'a [Zones]) -> Self {
        Self { pieces, ours: &file.tzdata, at_hand }
    }

    fn is_ours(&self, piece: &Piece<'_>) -> bool {
        piece.tzdata.is_none_or(|version| version == self.ours)
    }

    fn find(&self, piece: &Piece<'_>) -> Option<&Zones> {
        self.at_hand.iter().find(|zones| piece.tzdata == Some(zones.version()))
    }

    /// The times of a period whose data is not at hand, each with its version: since when, and up to when.
    pub fn unknown(&self, period: Period) -> Vec<(DateTime<Utc>, DateTime<Utc>, String)> {
        let unknown = self.pieces.iter().filter(|piece| !self.is_ours(piece) && self.find(piece).is_none());
        unknown
            .filter_map(|piece| {
                let (since, until) = within(piece, period)?;
                Some((since, until, piece.tzdata.unwrap_or_default().to_owned()))
            })
            .collect()
    }

    /// The instants of a schedule in a period of its own clock, in seconds since the epoch, each by the data that ruled then;
    /// and whether its zone is one whose clock was never changed. `shift` is how much later its ticks are.
    ///
    /// # Errors
    /// The zone's data cannot be read.
    pub fn instants(
        &self,
        calendar: &Calendar,
        written: &Written,
        period: Period,
        shift: TimeDelta,
    ) -> Result<(Vec<i64>, bool), NotUnderstood> {
        let data = written.zone.data();
        let read = |bytes: &[u8]| {
            Rules::read(bytes).ok_or_else(|| NotUnderstood(format!("of {}", written.zone.name())))
        };
        let own = read(data.bytes())?;
        let mut all = Vec::new();
        for piece in &self.pieces {
            let Some((since, until)) = within(piece, period) else { continue };
            let other = self.find(piece).filter(|_| !self.is_ours(piece));
            let other = other.and_then(|zones| zones.get(data.name())).map(|data| read(data.bytes()));
            let other = other.transpose()?;
            let rules = other.as_ref().unwrap_or(&own);
            all.extend(calendar.instants(rules, since - shift, until - shift));
        }
        Ok((all, own.is_fixed()))
    }
}

/// The part of a period that lies in a piece, both ends included.
fn within(piece: &Piece<'_>, period: Period) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let after = piece.since.map(|since| since + TimeDelta::nanoseconds(1));
    let since = after.map_or(period.since, |after| after.max(period.since));
    let until = piece.until.map_or(period.until, |until| until.min(period.until));
    (since <= until).then_some((since, until))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cronctl::verify::revision_history::RevisionHistory;
    use crate::producer::jobfile;

    #[test]
    fn each_time_is_judged_by_the_data_that_ruled_then() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("Europe")).unwrap();
        // In this version London's clock is Tokyo's.
        let tokyo = Zones::bundled().get("Asia/Tokyo").unwrap().bytes().to_vec();
        fs::write(directory.path().join("Europe/London"), tokyo).unwrap();
        fs::write(directory.path().join("tzdata.zi"), "# version 2025b\n").unwrap();
        let at_hand = Zones::all(Some(directory.path()));
        let text = "CRON_TZ=Europe/London\n0 12 * * * a [name=noon] x\n";
        let file = jobfile::parse("jobs", text.as_bytes(), &["a".parse().unwrap()]).unwrap();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let check = |events: &[(&str, &str)], expected: &[&str], unknown: usize| {
            let mut history = RevisionHistory::default();
            events.iter().for_each(|(tzdata, from)| history.take("r", Some(tzdata), at(from)));
            let ruled = Ruled::new(history.pieces(), &file, &at_hand);
            let period = Period { since: at("2026-11-01T00:00:00Z"), until: at("2026-11-03T00:00:00Z") };
            let calendar = Calendar::read("0 12 * * *").unwrap();
            let (found, is_fixed) =
                ruled.instants(&calendar, &file.written[0], period, TimeDelta::zero()).unwrap();
            let expected: Vec<i64> = expected.iter().map(|tick| at(tick).timestamp()).collect();
            assert_eq!((found, is_fixed), (expected, false), "{events:?}");
            assert_eq!(ruled.unknown(period).len(), unknown, "{events:?}");
        };
        let (first, second) = ("2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z");
        check(&[], &[first, second], 0);
        check(&[("2026f", first)], &[first, second], 0);
        check(&[("2025b", first)], &["2026-11-01T03:00:00Z", "2026-11-02T03:00:00Z"], 0);
        // Taken up at noon of the first day: that tick was the old data's, which had named another.
        let change = [("2025b", "2026-10-01T00:00:00Z"), ("2026f", first)];
        check(&change, &["2026-11-01T03:00:00Z", second], 0);
        let back = [("2026f", "2026-10-01T00:00:00Z"), ("2025b", first)];
        check(&back, &[first, "2026-11-02T03:00:00Z"], 0);
        check(&[("2019z", first)], &[first, second], 1);
    }
}
