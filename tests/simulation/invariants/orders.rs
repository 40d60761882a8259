//! Runs that make room for a newer tick of their job: their end is asked for, none is replaced unasked, no consumer starts what
//! it knows to be replaced, and nothing follows a replaced attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use kafka_cron::common::model::{Event, Order, Outcome, RunId, Then};
use kafka_cron::consumer::claiming::machine::Claimed;

use crate::jobs;

/// For how long a producer may lead, after it has found that a tick waits behind a run, until it asks for the end of that run.
/// The call may fail.
const ASKED: Duration = Duration::from_secs(20);

/// The orders, and what became of them.
#[derive(Debug, Default)]
pub struct Orders {
    ordered: BTreeSet<RunId>,
    /// Which orders each consumer has read, and when the newest of each was written.
    heard: BTreeMap<(String, RunId), DateTime<Utc>>,
    /// Runs behind which a tick waits that replaces them, and whose end was not asked for: since when each leader knows.
    unasked: BTreeMap<RunId, BTreeMap<String, Instant>>,
    over: BTreeSet<RunId>,
    replaced: u64,
    unstarted: u64,
    pub broken: Option<String>,
}

impl Orders {
    fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// An order stands in the topic.
    pub fn ordered(&mut self, order: &Order) {
        let Order::End { run, job, .. } = order;
        self.unasked.remove(run);
        self.ordered.insert(*run);
        if !jobs::may_be_exclusive(job) {
            self.breaks(format!("run {run} of {job} is to end, which makes room for nothing"));
        }
    }

    /// A consumer has read an order.
    pub fn heard(&mut self, consumer: &str, run: RunId, at: DateTime<Utc>) {
        let heard = self.heard.entry((consumer.to_owned(), run)).or_insert(at);
        *heard = at.max(*heard);
    }

    /// A leader decides; `led` says for how long producers have led since an instant.
    pub fn decided(&mut self, event: &Event, leader: &str, now: Instant, led: impl Fn(Instant) -> Duration) {
        let (Event::Queued { job, blocked_by, .. } | Event::Skipped { job, blocked_by, .. }) = event else {
            return;
        };
        if !jobs::replaces(job) || self.ordered.contains(blocked_by) || self.over.contains(blocked_by) {
            return;
        }
        let known = self.unasked.entry(*blocked_by).or_default();
        let since = *known.entry(leader.to_owned()).or_insert(now);
        if led(since) > ASKED {
            self.breaks(format!(
                "{job} waits for run {blocked_by}, and its end was not asked for: since then, producers have led for {:?}",
                led(since)
            ));
        }
    }

    /// A consumer starts an attempt.
    pub fn started(&mut self, claimed: &Claimed, consumer: &str) {
        let heard = self.heard.get(&(consumer.to_owned(), claimed.attempt.run.id));
        let published_at = DateTime::from_timestamp_millis(claimed.published_ms).unwrap_or_default();
        if heard.is_some_and(|at| Order::is_about(*at, published_at)) {
            self.breaks(format!(
                "{consumer} starts {:?} and knows that it is to end",
                claimed.attempt.name()
            ));
        }
    }

    /// An event is on record.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Finished { attempt, outcome, then, started_at, ended_at, .. } => {
                if *then != Then::Retried {
                    self.over.insert(attempt.run);
                }
                if *outcome != Outcome::Replaced {
                    return;
                }
                self.replaced += 1;
                self.unstarted += u64::from(started_at == ended_at);
                if !self.ordered.contains(&attempt.run) {
                    self.breaks(format!("{attempt:?} is replaced, and no leader has asked for that"));
                }
                if *then != Then::Done {
                    self.breaks(format!("{attempt:?} is replaced, and then {then:?}"));
                }
            }
            Event::Lost { attempt, then: Then::Done | Then::Dead, .. } | Event::Ended { attempt, .. } => {
                self.over.insert(attempt.run);
            }
            _ => {}
        }
    }

    /// How many attempts were replaced, and how many of them were not started.
    pub fn totals(&self) -> (u64, u64) {
        (self.replaced, self.unstarted)
    }
}
