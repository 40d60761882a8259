//! Orders: the leader asks consumers to end the runs for which a newer tick of their job waits (`overlap=replace`).
//!
//! The scheduler says which runs those are, whenever that changes; it is the only one who knows. An order that is written
//! again says nothing new, so it is written until the run is over: consumers that start meanwhile hear of it, and the next
//! leader asks again, too.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::duties::Duties;
use super::messages::{Effect, RunsToEnd};
use super::notes::Note;
use super::step::Step;
use crate::common::model::{ClusterName, Order, OrderReason, RunId};
use crate::common::outgoing::Outgoing;

/// How often an order is written again.
const AGAIN: Duration = Duration::from_secs(10);
/// How soon one that was not confirmed is written again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// For how long a run may go on, after its end was asked for, before the log says so. Most commands end within the default
/// time of grace, ten seconds.
const LONG: Duration = Duration::from_secs(60);
/// How many orders are written in a step: the tracker has other work.
const PER_STEP: usize = 1_000;

/// The runs that are to end, and when that was said.
#[derive(Debug, Default)]
pub struct Orders {
    wanted: RunsToEnd,
    asked: BTreeMap<RunId, Asked>,
    is_unordered: bool,
}

#[derive(Debug)]
struct Asked {
    since: Instant,
    /// When it is written again.
    again: Instant,
    /// The log has said that the run goes on.
    is_noted: bool,
}

impl Orders {
    /// These runs are to end from now on, and no others.
    pub fn want(&mut self, runs: RunsToEnd) {
        self.asked.retain(|run, _| runs.contains_key(run));
        self.wanted = runs;
    }

    /// This producer does not lead at present. Where it leads again, it asks anew for what is wanted then.
    pub fn stop(&mut self) {
        self.asked.clear();
        self.is_unordered = false;
    }

    /// Whether the last orders were not confirmed.
    pub fn is_unordered(&self) -> bool {
        self.is_unordered
    }

    /// How long runs have gone on since their end was asked for, with their clusters.
    pub fn waits(&self, now: Instant) -> impl Iterator<Item = (&ClusterName, Duration)> {
        self.asked.iter().filter_map(move |(run, asked)| {
            let (_, cluster) = self.wanted.get(run)?;
            Some((cluster, now.saturating_duration_since(asked.since)))
        })
    }

    /// Writes the orders that are due.
    pub fn write_due(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono;
        let is_due = |run: &RunId| self.asked.get(run).is_none_or(|asked| asked.again <= now);
        let due = self.wanted.iter().filter(|(run, _)| is_due(run)).take(PER_STEP);
        let order = |(run, (job, cluster)): (&RunId, &(_, ClusterName))| Order::End {
            run: *run,
            job: Clone::clone(job),
            cluster: cluster.clone(),
            reason: OrderReason::Replaced,
            by: step.options.name.clone(),
            at: step.now.wall,
        };
        let orders: Vec<Order> = due.map(order).collect();
        if orders.is_empty() {
            self.is_unordered &= !self.wanted.is_empty();
            return;
        }
        for Order::End { run, job, cluster, .. } in &orders {
            let asked = self.asked.entry(*run).or_insert_with(|| {
                let (cluster, job) = (cluster.clone(), job.clone());
                step.effects.push(Effect::Note(Note::AskedToEnd { cluster, run: *run, job }));
                Asked { since: now, again: now, is_noted: false }
            });
            asked.again = now + AGAIN;
            let waits = now.saturating_duration_since(asked.since);
            if waits >= LONG && !std::mem::replace(&mut asked.is_noted, true) {
                let (cluster, run, job) = (cluster.clone(), *run, job.clone());
                step.effects.push(Effect::Note(Note::GoesOn { cluster, run, job, waits }));
            }
        }
        let (records, at_ms) =
            (orders.iter().map(Outgoing::order).collect(), step.now.wall.timestamp_millis());
        self.is_unordered = false;
        for unwritten in step.writer.write(step.client, records, at_ms, step.by) {
            self.is_unordered = true;
            for Order::End { run, .. } in &orders {
                let is_of = |record: &Outgoing| record.key == run.to_string().as_bytes();
                if let Some(asked) = self.asked.get_mut(run).filter(|_| unwritten.records.iter().any(is_of)) {
                    asked.again = now + AFTER_FAILURE;
                }
            }
            step.note(Note::Unordered { error: unwritten.error.clone() });
            step.failed(Duties::Orders, unwritten.error);
        }
    }
}
