//! A record that was told and is not confirmed yet, and what becomes of it if no broker will ever take it.

use super::super::reports::Report;
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

    /// Makes something else of what no broker will ever take; `false` when nothing is left to be written.
    pub fn becomes_less(&mut self, consumer: &str) -> bool {
        self.was_tried = false;
        let topic = &self.record.topic;
        let Some(report) = &mut self.whose else {
            log::error!("{topic} takes no event of {} bytes: it is not written", self.record.value.len());
            return false;
        };
        let name = report.name();
        if self.is_last {
            if report.is_terse {
                log::error!("run {}, attempt {}: {topic} does not take its end", name.run, name.attempt);
                return false;
            }
            report.is_terse = true;
            self.record = report.finished(consumer);
            return true;
        }
        let Some(fit) = report.fit.smaller() else {
            log::error!("run {}: {topic} takes not even a bare letter, and there is none", name.run);
            self.goes_on(consumer);
            return true;
        };
        log::warn!("run {}, attempt {}: {topic} does not take it", name.run, name.attempt);
        report.fit = fit;
        match report.passed_on(consumer) {
            Some(less) => self.record = less,
            None => self.goes_on(consumer),
        }
        true
    }
}
