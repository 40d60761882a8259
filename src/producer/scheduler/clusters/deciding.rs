//! Decides what becomes of ticks that are due, once the open runs are known.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Cluster, Clusters, exclusive};
use crate::common::bounds::TICKS_PER_BATCH;
use crate::common::model::{Event, JobName, Place, RunId};
use crate::producer::job;
use crate::producer::plan::timetable::Tick;
use crate::producer::run_tracker::OVER_REMEMBERED;
use crate::producer::scheduler::cluster_term::ClusterTerm;
use crate::producer::scheduler::events;
use crate::producer::scheduler::overlap::{ExclusiveJobs, Queued, TickDecision};

/// Decides the ticks of one cluster.
pub(super) struct Deciding<'a> {
    overlap: &'a mut ExclusiveJobs,
    unfinished: &'a BTreeMap<RunId, JobName>,
    over: &'a HashSet<RunId>,
    pub term: &'a mut ClusterTerm,
    now: DateTime<Utc>,
    /// To be published.
    pub due: Vec<Tick>,
    /// To be put on record.
    pub events: Vec<Event>,
    /// Ticks that waited and whose place others have taken, and what is to be put on record about them.
    replaced: Vec<(Queued, Event)>,
}

impl Clusters {
    /// For a cluster whose ticks this producer owns.
    pub(super) fn deciding(&mut self, number: usize, now: DateTime<Utc>) -> Option<Deciding<'_>> {
        let Self { overlap, unfinished, over, clusters, .. } = self;
        let Cluster { term, .. } = clusters.get_mut(number)?;
        let (term, due, events, replaced) = (term.as_mut()?, Vec::new(), Vec::new(), Vec::new());
        Some(Deciding { overlap, unfinished, over, term, now, due, events, replaced })
    }

    /// A run that stood in the topic when the term began, and is not over, blocks its job before anything is decided:
    /// current ticks go first, and the run may be of a tick in the backlog. The producer that published it may have
    /// died before that was on record.
    pub(super) fn take_published(&mut self, number: usize, now: DateTime<Utc>) {
        let is_owed = |cluster: &Cluster| cluster.term.as_ref().is_some_and(ClusterTerm::owes_published);
        if !self.clusters.get(number).is_some_and(is_owed) {
            return;
        }
        let (file, former) = (self.file.clone(), self.former.clone());
        let Some(mut deciding) = self.deciding(number, now) else { return };
        let passed = deciding.term.cursor(now);
        let all = deciding.term.take_published(exclusive(&file).chain(former.values()));
        for some in all.chunks(TICKS_PER_BATCH) {
            some.iter().for_each(|(tick, place)| deciding.found(tick, place.clone()));
            let (events, revision) = (std::mem::take(&mut deciding.events), Arc::clone(&file.revision));
            // All of them are published. Where the cursor has passed the first, it does not go back for that to be said.
            let from = some[0].0.at.max(passed + TimeDelta::milliseconds(1));
            deciding.term.decided(Vec::new(), events, &revision, from);
        }
    }

    /// Decides the ticks that were held back until the open runs were known.
    pub(super) fn decide_held_back(&mut self, number: usize, now: DateTime<Utc>) {
        let Some(mut deciding) = self.deciding(number, now) else { return };
        while let Some((ticks, revision)) = deciding.term.take_held_back() {
            let from = ticks.iter().map(|tick| tick.at).min().unwrap_or(now);
            ticks.into_iter().for_each(|tick| deciding.decide(tick, &revision));
            let (due, events) = (std::mem::take(&mut deciding.due), std::mem::take(&mut deciding.events));
            deciding.term.decided(due, events, &revision, from);
            deciding.give_places();
        }
    }
}

impl Deciding<'_> {
    /// Puts on record what became of the ticks whose place others have taken: after what was decided before, for a tick may
    /// have been queued in the same batch.
    pub fn give_places(&mut self) {
        for (queued, skipped) in std::mem::take(&mut self.replaced) {
            self.term.gives_place(&queued, skipped);
        }
    }

    /// Decides a tick of a job file.
    pub fn decide(&mut self, tick: Tick, revision: &Arc<str>) {
        if self.term.published(&tick).is_some() || self.is_known(&tick) {
            return self.term.waits_no_more(&tick);
        }
        match self.overlap.decide(&tick, revision) {
            TickDecision::Publish => self.due.push(tick),
            TickDecision::Queue { blocked_by, instead_of } => {
                self.replaced.extend(instead_of.into_iter().map(|queued| {
                    let skipped = events::skipped(&queued.tick, blocked_by, self.now);
                    (queued, skipped)
                }));
                self.term.waits(&tick);
                self.events.push(events::queued(&tick, blocked_by, self.now));
            }
            TickDecision::Skip { blocked_by } => {
                self.events.push(events::skipped(&tick, blocked_by, self.now));
                self.term.waits_no_more(&tick);
            }
        }
    }

    /// Whether `cron-runs` knows the run of a tick: it was published, and retention may have deleted it since. If the
    /// scheduler published it again, it would run again, and no consumer would say a second time that it is over.
    fn is_known(&self, tick: &Tick) -> bool {
        let run = RunId::of(&tick.job.name, tick.at);
        tick.job.overlap != job::Overlap::Allow
            && (self.over.contains(&run) || self.unfinished.contains_key(&run))
    }

    /// A run of an earlier term stands in the topic.
    fn found(&mut self, tick: &Tick, place: Place) {
        let run = RunId::of(&tick.job.name, tick.at);
        let is_known = self.unfinished.contains_key(&run);
        // The scheduler remembers nothing of runs that were over long ago.
        let is_old = tick.at < self.now - TimeDelta::from_std(OVER_REMEMBERED).unwrap_or(TimeDelta::MAX);
        if self.over.contains(&run) || (is_old && !is_known) {
            return;
        }
        self.overlap.published(&tick.job.name, run);
        if !is_known && !place.topic_id.is_nil() {
            self.events.push(events::published(tick, place, self.now));
        }
    }
}
