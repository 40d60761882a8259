//! Says in the leader which producers that stand by have another job file or other time-zone data than it has.

use std::time::Instant;

use super::RunTracker;
use super::standbys::News;

impl RunTracker {
    /// How many producers have had a job file other than the leader's for a while; none where this one does not lead.
    pub fn differing(&self) -> usize {
        self.peers.differing_count()
    }

    /// How many have had zone data of another version than the leader's for a while; none where this one does not lead.
    pub fn zones_differing(&self) -> usize {
        self.zones.differing_count()
    }

    /// Compares what the standbys said with our own job file and zone data.
    pub(super) fn compare_files(&mut self, leads: bool, now: Instant) {
        let ours = &self.options.revision;
        match self.peers.compare(ours, leads, now) {
            Some(News::Differ(others)) => {
                let others: Vec<String> =
                    others.iter().map(|(name, revision)| format!("{name} has revision {revision}")).collect();
                let others = others.join(", ");
                log::error!(
                    "the producers' job files differ: {others}; ours is {ours}, and rules while we lead"
                );
            }
            Some(News::Same) => log::info!("no producer has another job file than ours any more: {ours}"),
            None => {}
        }
        let ours = &self.options.tzdata;
        match self.zones.compare(ours, leads, now) {
            Some(News::Differ(others)) => {
                let others: Vec<String> =
                    others.iter().map(|(name, version)| format!("{name} has tzdata {version}")).collect();
                let others = others.join(", ");
                log::warn!(
                    "the producers' time-zone data differs: {others}; ours is {ours}, and rules while we lead \
                     (update the host's package tzdata, or the program)"
                );
            }
            Some(News::Same) => log::info!("no producer has other time-zone data than ours any more: {ours}"),
            None => {}
        }
    }
}
