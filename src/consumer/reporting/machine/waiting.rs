//! A record that was told and is not confirmed yet, and what becomes of it if no broker will ever take it.

use super::super::reports::Report;
use super::Instead;
use crate::common::outgoing::Outgoing;

/// Something that was told and is not confirmed yet.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Whose end it is.
    pub whose: Option<Report>,
    /// What is to be confirmed next: of an end first what the attempt is passed on as, and then `finished`.
    pub record: Outgoing,
    /// Whether nothing follows that.
    pub is_last: bool,
    /// It was tried and not confirmed, so it waits until its topic has rested.
    pub was_tried: bool,
    /// How much it counts for in what may wait.
    pub bytes: usize,
}

impl Waiting {
    /// The next attempt or the letter is confirmed (or no topic takes it): `finished` follows.
    pub fn goes_on(&mut self, consumer: &str) {
        if let Some(report) = &self.whose {
            self.record = report.finished(consumer);
        }
        (self.is_last, self.was_tried) = (true, false);
    }

    /// Makes something else of what no broker will ever take, and returns what.
    pub fn becomes_less(&mut self, consumer: &str) -> Instead {
        self.was_tried = false;
        let Some(report) = &mut self.whose else { return Instead::NoEvent(self.record.value.len()) };
        let name = report.name();
        if self.is_last {
            if report.is_terse {
                return Instead::NoEnd(name);
            }
            report.is_terse = true;
            self.record = report.finished(consumer);
            return Instead::EndWithoutOutput(name);
        }
        let Some(fit) = report.fit.smaller() else {
            self.goes_on(consumer);
            return Instead::NoLetter(name.run);
        };
        report.fit = fit;
        match report.passed_on(consumer) {
            Some(less) => self.record = less,
            None => self.goes_on(consumer),
        }
        Instead::Smaller(name)
    }
}
