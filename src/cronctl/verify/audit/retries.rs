//! Next attempts that were passed on: each must be claimed, stand in the retry topic, or have become a letter. Where the
//! retry topic was deleted, it is none of these.

use super::Audit;
use crate::common::model::{ClusterName, RunId};
use crate::common::topics;
use crate::cronctl::instant::shown;
use crate::cronctl::runs::run_detail::Stage;
use crate::cronctl::verify::tick_ledger::{Fate, TickNo};

/// A next attempt that no consumer has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Awaited {
    /// The tick of its run.
    pub tick: TickNo,
    /// Its number.
    attempt: u32,
}

impl Audit<'_, '_> {
    /// Notes which next attempts are to be found in the retry and dead-letter topics. Whether there is any. To be asked
    /// when all events were read: an attempt is in its topic before an event says that it was passed on.
    pub fn awaits_retries(&mut self) -> bool {
        for tick in self.ledger.numbers() {
            let Fate::Told(detail) = &self.ledger.fates[tick] else { continue };
            if detail.stage() != Stage::Retrying {
                continue;
            }
            let Some((number, _)) = detail.attempts.last() else { continue };
            let (job, at) = self.ledger.tick(tick);
            self.awaited.insert(RunId::of(&job.name, at), Awaited { tick, attempt: number + 1 });
        }
        !self.awaited.is_empty()
    }

    /// Notes that an attempt of a run stands in the retry topic of a cluster; `None`: one that cannot be read.
    pub fn retry(&mut self, cluster: &ClusterName, run: RunId, attempt: Option<u32>) {
        self.found(cluster, run, |awaited| attempt.is_none_or(|attempt| attempt >= awaited.attempt));
    }

    /// Notes that a run was given up after an attempt, by a letter in the dead-letter topic of a cluster.
    pub fn letter(&mut self, cluster: &ClusterName, run: RunId, attempt: u32) {
        self.found(cluster, run, |awaited| attempt + 1 >= awaited.attempt);
    }

    fn found(&mut self, cluster: &ClusterName, run: RunId, is_it: impl Fn(Awaited) -> bool) {
        let Some(awaited) = self.awaited.get(&run).copied() else { return };
        if self.ledger.tick(awaited.tick).0.cluster == *cluster && is_it(awaited) {
            self.awaited.remove(&run);
        }
    }

    /// What is the matter with a run whose next attempt is gone.
    pub(super) fn why_lost(&self, tick: TickNo) -> String {
        let topic = topics::retry(&self.ledger.tick(tick).0.cluster);
        let Fate::Told(detail) = &self.ledger.fates[tick] else { return String::new() };
        let number = detail.attempts.last().map_or(0, |(number, _)| number) + 1;
        let since = detail.quiet_since();
        let passed_on = since.map(|at| format!(" at {}", shown(at))).unwrap_or_default();
        let cause = if since.is_some_and(|at| self.found.begins.may_be_deleted(&topic, at)) {
            "retention may have deleted it"
        } else {
            "the topic was probably deleted and made again"
        };
        format!(
            "attempt {number} was passed on{passed_on}, is not in {topic} any more, not claimed and no letter: {cause}"
        )
    }
}
