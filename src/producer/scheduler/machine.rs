//! The scheduler as a state machine: what follows from who leads, from what is on record, from job files and from the
//! time. The thread and the simulation feed it with the same events, and carry out what follows by the same
//! [outbox](super::outbox). It never learns that Kafka exists.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::clusters::Clusters;
use super::levels::Levels;
use super::messages::{Effect, Event, LONGEST_WAIT, Report, SOON};
use super::reload::Reload;
use crate::common::clock::{Now, Skew};
use crate::common::model::ClusterName;
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::leadership::{self, LeaderLease, Term};
use crate::producer::run_tracker::messages::FollowRequest;

/// The scheduler's state.
#[derive(Debug)]
pub struct Scheduler {
    clusters: Clusters,
    reload: Reload,
    /// The leader lease, granted for each of our terms.
    lease: LeaderLease,
    /// While we lead: how our clock stands to the broker's.
    skew: Option<Skew>,
    /// We lead, and our membership has not been proven for too long.
    is_suspended: bool,
    is_stopping: bool,
}

impl Scheduler {
    /// Creates the scheduler of a producer of this name, which does not lead yet.
    pub fn new(clusters: Vec<ClusterName>, file: ActiveJobs, name: String, lease: LeaderLease) -> Self {
        let clusters = Clusters::new(clusters, file, name);
        let reload = Reload::new(&clusters);
        Self { clusters, reload, lease, skew: None, is_suspended: false, is_stopping: false }
    }

    /// Takes an event. What follows from it includes what is due by now, however often the machine is asked.
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Leadership(told) => self.led(told, now, &mut effects),
            Event::Confirmed(confirmed) => self.clusters.confirmed(confirmed),
            Event::JobFile(file) => self.reload.take(file, &mut self.clusters, &mut effects),
            Event::Runs(news) => news.iter().for_each(|told| self.clusters.told(told)),
            Event::Time => {}
            Event::Stop => self.is_stopping = true,
        }
        let wall = self.believed(now);
        if !self.is_stopping {
            self.reload.activate(&mut self.clusters, wall, &mut effects);
            self.hand_over(now, wall, &mut effects);
        }
        effects.extend(self.clusters.changed_ends().map(|runs| Effect::Ask(FollowRequest::End(runs))));
        effects.extend(self.clusters.moved_cursors(wall).map(Effect::Commit));
        effects
    }

    /// How long until the next tick is due, at most until the thread must look again: the wall clock may jump.
    pub fn wait(&self, now: Now) -> Duration {
        // Ticks that are due while our membership is not proven wait for the proof.
        if self.is_suspended { SOON } else { self.clusters.wait(self.believed(now), LONGEST_WAIT) }
    }

    /// Whether a batch is in flight.
    pub fn is_busy(&self) -> bool {
        self.clusters.is_busy()
    }

    /// The term; none while another producer leads.
    pub fn term(&self) -> Option<Term> {
        self.clusters.term()
    }

    /// What operators are shown of each cluster.
    pub fn levels(&self) -> impl Iterator<Item = Levels> {
        self.clusters.levels()
    }

    /// The time, as far as our wall clock can be believed.
    fn believed(&self, now: Now) -> DateTime<Utc> {
        self.skew.map_or(now.wall, |skew| skew.believed(now))
    }

    fn led(&mut self, told: leadership::Effect, now: Now, effects: &mut Vec<Effect>) {
        match told {
            leadership::Effect::Begin { term, losses } => {
                self.clusters.begin(term);
                self.lease.grant(term, losses);
            }
            leadership::Effect::Start { term, cluster, start } => {
                self.clusters.start(term, cluster, start, self.believed(now));
            }
            leadership::Effect::End => {
                self.lease.revoke();
                self.clusters.end();
                self.skew = None;
                effects.push(Effect::Report(Report::TermEnded));
            }
            leadership::Effect::Clock(skew) => self.skew = Some(skew),
            leadership::Effect::ClockBehind(_)
            | leadership::Effect::ClockOff(_)
            | leadership::Effect::Kept(_)
            | leadership::Effect::Failed(_)
            | leadership::Effect::Warn(_)
            | leadership::Effect::GiveWay(_) => {}
        }
    }

    /// Hands over what is due and has room.
    fn hand_over(&mut self, now: Now, wall: DateTime<Utc>, effects: &mut Vec<Effect>) {
        let was_suspended = std::mem::take(&mut self.is_suspended);
        let Some(term) = self.clusters.term() else { return };
        if !self.lease.holds(term, now.mono) {
            self.is_suspended = true;
            if !was_suspended {
                effects.push(Effect::Report(Report::Suspended));
            }
            return;
        }
        while let Some((cluster, batch)) = self.clusters.next_batch(wall) {
            effects.push(Effect::Publish(cluster, batch));
        }
    }
}

#[cfg(test)]
mod tests;
