//! Schedules: when a job is due. The semantics are those of Debian's cron, second by second, in every zone.
//!
//! Words become instants in three steps, each in a file of its own:
//!
//! 1. `expression` reads the words, one `field` after the other, into sets of numbers. It decides the two things that
//!    depend on a leading `*`: how the two day fields go together, and whether the schedule follows elapsed time.
//! 2. `matcher` finds the next local time that the sets name. It knows no zone: the `cron` crate does the search, on
//!    local time labelled as UTC, and does nothing else for us.
//! 3. `zone` turns local times into instants. It decides what happens to local times that a clock change swallows or
//!    shows twice.
//!
//! `every` is separate: `@every` counts elapsed time and needs neither a matcher nor a zone. `@reboot` names no instant
//! at all: the scheduler knows when the producers started, and hands out its one tick. `docs/decisions/` has the page
//! that gives the reasons, with the evidence.

mod error;
mod every;
mod expression;
mod field;
mod foreign;
mod matcher;
mod zone;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod noise;
#[cfg(test)]
pub(super) mod random;
#[cfg(test)]
mod simulation;

use chrono::{DateTime, Utc};

pub use error::ScheduleError;
use every::Every;
use expression::Words;
pub use expression::odd_steps;
use matcher::Matcher;

use super::zone::Zone;

/// A schedule in a zone. Two that mean the same in the same zone are equal, however they were written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schedule {
    rule: Rule,
    zone: Zone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Rule {
    Reboot,
    Every(Every),
    Local(Box<Matcher>),
}

impl Schedule {
    /// Reads five fields, six with seconds first, or an `@` word (`@daily`, `@every 90s`).
    ///
    /// # Errors
    /// What is wrong and what would be right; also for a schedule that can never match.
    pub fn parse(words: &str, zone: &Zone) -> Result<Self, ScheduleError> {
        let rule = match expression::read(words)? {
            // It has no time of day, so that it is the same one in all zones.
            Words::Reboot => return Ok(Self { rule: Rule::Reboot, zone: Zone::utc() }),
            Words::Every(every) => Rule::Every(every),
            Words::Local(expression) => Rule::Local(Box::new(Matcher::new(expression))),
        };
        Ok(Self { rule, zone: zone.clone() })
    }

    /// How many words a schedule may have that begins with the word `first`: the next one is not part of it.
    pub fn widths(first: &str) -> &'static [usize] {
        match first {
            "@every" => &[2],
            _ if first.starts_with('@') => &[1],
            _ => &[5, 6],
        }
    }

    /// Whether it is `@reboot`: due once when the producers start, at no instant that could be computed.
    pub fn is_reboot(&self) -> bool {
        self.rule == Rule::Reboot
    }

    /// The first instant after `after`, in whole seconds; `None` when there is none before the end of chrono's time, and
    /// for `@reboot`.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Reboot => None,
            Rule::Every(every) => every.next(after),
            Rule::Local(matcher) => zone::next(matcher, &self.zone, after),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn london() -> Zone {
        "Europe/London".parse().unwrap()
    }

    fn check_equal(one: &str, other: &str, equal: bool) {
        let parse = |words| Schedule::parse(words, &london()).expect(words);
        let set = HashSet::from([parse(one), parse(other)]);
        assert_eq!(set.len() == 1, equal, "{one} | {other}");
    }

    #[test]
    fn schedules_that_mean_the_same_are_one() {
        check_equal("@daily", "0 0 * * *", true);
        check_equal("0 0 * * SUN", "0 0 0 * * 7", true);
        check_equal("*/20 * * * *", "*/20 0-23 * * *", true);
        check_equal("1,2,3 4 * * *", "1-3 04 * * *", true);
        check_equal("@every 90s", "@every 1m30s", true);
    }

    #[test]
    fn a_leading_star_is_part_of_the_meaning() {
        check_equal("0 * * * *", "0 0-23 * * *", false);
        check_equal("0 0 1 * *", "0 0 1 * 0-7", false);
        check_equal("0 0 * * *", "1 0 * * *", false);
        check_equal("@every 24h", "@daily", false);
    }

    #[test]
    fn a_reboot_names_no_instant_and_no_zone() {
        let reboot = |zone: &Zone| Schedule::parse("@reboot", zone).expect("@reboot");
        assert!(reboot(&Zone::utc()).is_reboot());
        assert_eq!(reboot(&Zone::utc()), reboot(&london()));
        for after in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC] {
            assert_eq!(reboot(&Zone::utc()).next(after), None);
        }
        assert!(!Schedule::parse("@every 1s", &Zone::utc()).expect("@every").is_reboot());
    }

    #[test]
    fn the_first_word_says_how_many_may_follow() {
        for (first, widths) in
            [("@every", &[2][..]), ("@daily", &[1]), ("@reboot", &[1]), ("@nonsense", &[1]), ("*/5", &[5, 6])]
        {
            assert_eq!(Schedule::widths(first), widths, "{first}");
        }
    }
}
