//! What happens at a tick of a job whose runs must not overlap (`overlap=skip|queue`): the tick is published, queued or
//! skipped.
//!
//! A run blocks from the decision to publish it until it is known to be over (done, dead, or lost with no attempt
//! left), so two ticks in one batch see each other although neither is on record yet. The rule asks no other part of
//! the program: its caller tells it what is known of runs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::common::model::{JobName, RunId};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job;
use crate::producer::plan::timetable::Tick;

/// All jobs that do not allow overlaps: their runs that are not over, and the ticks that wait for those.
#[derive(Debug, Default)]
pub struct ExclusiveJobs {
    jobs: HashMap<JobName, Runs>,
}

/// What is to be done about a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickDecision {
    /// Publish it.
    Publish,
    /// Put it on record as queued; [`ExclusiveJobs::over`] says when it is to be published.
    Queue {
        /// The run that is not over.
        blocked_by: RunId,
    },
    /// Put it on record as skipped.
    Skip {
        /// The run that is not over.
        blocked_by: RunId,
    },
}

/// A tick that waits for the run before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The tick.
    pub tick: Tick,
    /// Of the job file that owes it.
    pub revision: Arc<str>,
}

/// What is known of one job.
#[derive(Debug, Default)]
struct Runs {
    /// Those not over, the latest last. More than one where an older one was replayed, or the job allowed overlaps.
    open: Vec<RunId>,
    /// The last run that was over: the news of its publication may come later than the news of its end.
    last_over: Option<RunId>,
    /// One; more only where more were on record.
    queued: VecDeque<Queued>,
}

impl ExclusiveJobs {
    /// What is to be done about a tick. With [`TickDecision::Publish`] its run blocks from here on (but that of a job that
    /// allows overlaps is not remembered); if it cannot be published after all, say that it is [`over`](Self::over).
    /// To decide a tick again that is published or queued changes nothing.
    pub fn decide(&mut self, tick: &Tick, revision: &Arc<str>) -> TickDecision {
        if tick.job.overlap == job::Overlap::Allow {
            return TickDecision::Publish;
        }
        let run = RunId::of(&tick.job.name, tick.at);
        let runs = self.jobs.entry(tick.job.name.clone()).or_default();
        let blocked_by = match runs.open.last() {
            Some(last) if !runs.open.contains(&run) => *last,
            _ => {
                runs.begin(run);
                return TickDecision::Publish;
            }
        };
        if runs.queued.iter().any(|queued| queued.tick.at == tick.at) {
            return TickDecision::Queue { blocked_by };
        }
        if tick.job.overlap != job::Overlap::Queue || !runs.queued.is_empty() {
            return TickDecision::Skip { blocked_by };
        }
        runs.queued.push_back(Queued { tick: tick.clone(), revision: Arc::clone(revision) });
        TickDecision::Queue { blocked_by }
    }

    /// A run is in its topic, whichever producer published it. The call does no harm for a run that was decided here or
    /// is over already.
    pub fn published(&mut self, job: &JobName, run: RunId) {
        let runs = self.jobs.entry(job.clone()).or_default();
        if runs.last_over != Some(run) {
            runs.begin(run);
        }
    }

    /// A run is over, or will never begin. The queued tick to publish now, if there is one: its run blocks from here
    /// on. Only for jobs that do not allow overlaps: each job that it hears of takes up memory until it is gone from
    /// the job file.
    pub fn over(&mut self, job: &JobName, run: RunId) -> Option<Queued> {
        let runs = self.jobs.entry(job.clone()).or_default();
        runs.open.retain(|open| *open != run);
        runs.last_over = Some(run);
        if !runs.open.is_empty() {
            return None;
        }
        let queued = runs.queued.pop_front()?;
        runs.begin(RunId::of(job, queued.tick.at));
        Some(queued)
    }

    /// Whether it has heard of the job.
    pub fn knows(&self, job: &JobName) -> bool {
        self.jobs.contains_key(job)
    }

    /// The jobs that a run blocks, for when only the run is known.
    pub fn jobs_of(&self, run: RunId) -> Vec<JobName> {
        self.jobs.iter().filter(|(_, runs)| runs.open.contains(&run)).map(|(job, _)| job.clone()).collect()
    }

    /// A new job file: the queued ticks of jobs that are gone from it, which will never be run. Their runs go on
    /// blocking until they are over, for the job may come back.
    pub fn forget(&mut self, file: &ActiveJobs) -> Vec<Queued> {
        let in_file: HashSet<&JobName> = file.jobs.iter().map(|job| &job.name).collect();
        let gone = self.jobs.iter_mut().filter(|(name, _)| !in_file.contains(name));
        let queued = gone.flat_map(|(_, runs)| std::mem::take(&mut runs.queued)).collect();
        self.jobs.retain(|name, runs| in_file.contains(name) || !runs.open.is_empty());
        queued
    }
}

impl Runs {
    fn begin(&mut self, run: RunId) {
        if !self.open.contains(&run) {
            self.open.push(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::TickDecision::Publish;
    use super::*;
    use crate::producer::job::{Job, sample};

    /// The tick of a job at a number of seconds.
    fn tick(name: &str, overlap: job::Overlap, seconds: i64) -> Tick {
        let job = Arc::new(Job { overlap, ..sample(name, "@every 1s") });
        Tick { job, at: DateTime::from_timestamp(seconds, 0).expect("an instant") }
    }

    fn skip(seconds: i64) -> Tick {
        tick("skip", job::Overlap::Skip, seconds)
    }

    fn queue(seconds: i64) -> Tick {
        tick("queue", job::Overlap::Queue, seconds)
    }

    fn run(tick: &Tick) -> RunId {
        RunId::of(&tick.job.name, tick.at)
    }

    fn queued(tick: Tick) -> Queued {
        Queued { tick, revision: "one".into() }
    }

    fn check(overlap: &mut ExclusiveJobs, tick: &Tick, expected: TickDecision) {
        assert_eq!(overlap.decide(tick, &"one".into()), expected, "{} at {}", tick.job.name, tick.at);
    }

    fn skipped_for(tick: &Tick) -> TickDecision {
        TickDecision::Skip { blocked_by: run(tick) }
    }

    fn queued_for(tick: &Tick) -> TickDecision {
        TickDecision::Queue { blocked_by: run(tick) }
    }

    fn over(overlap: &mut ExclusiveJobs, tick: &Tick) -> Option<Queued> {
        overlap.over(&tick.job.name, run(tick))
    }

    #[test]
    fn a_tick_is_skipped_while_the_run_before_it_is_not_over() {
        let mut overlap = ExclusiveJobs::default();
        check(&mut overlap, &skip(1), Publish);
        check(&mut overlap, &skip(2), skipped_for(&skip(1)));
        check(&mut overlap, &tick("other", job::Overlap::Skip, 2), Publish);
        assert_eq!(over(&mut overlap, &skip(1)), None);
        check(&mut overlap, &skip(3), Publish);
        check(&mut overlap, &skip(4), skipped_for(&skip(3)));
    }

    #[test]
    fn one_tick_waits_and_the_next_is_skipped() {
        let mut overlap = ExclusiveJobs::default();
        check(&mut overlap, &queue(1), Publish);
        check(&mut overlap, &queue(2), queued_for(&queue(1)));
        check(&mut overlap, &queue(3), skipped_for(&queue(1)));
        assert_eq!(over(&mut overlap, &queue(1)), Some(queued(queue(2))));
        check(&mut overlap, &queue(4), queued_for(&queue(2)));
        assert_eq!(over(&mut overlap, &queue(2)), Some(queued(queue(4))));
        assert_eq!(over(&mut overlap, &queue(4)), None);
        check(&mut overlap, &queue(5), Publish);
    }

    #[test]
    fn deciding_again_changes_nothing() {
        let mut overlap = ExclusiveJobs::default();
        for _ in 0..2 {
            check(&mut overlap, &queue(1), Publish);
            check(&mut overlap, &queue(2), queued_for(&queue(1)));
        }
        assert_eq!(over(&mut overlap, &queue(1)), Some(queued(queue(2))));
        assert_eq!(over(&mut overlap, &queue(2)), None);
    }

    #[test]
    fn a_job_that_allows_overlaps_is_published_and_not_remembered() {
        let mut overlap = ExclusiveJobs::default();
        for seconds in 1..4 {
            check(&mut overlap, &tick("a", job::Overlap::Allow, seconds), Publish);
        }
        assert!(overlap.jobs.is_empty());
    }

    #[test]
    fn word_of_a_run_that_comes_late_or_twice_blocks_nobody() {
        let mut overlap = ExclusiveJobs::default();
        let first = skip(1);
        check(&mut overlap, &first, Publish);
        over(&mut overlap, &first);
        overlap.published(&first.job.name, run(&first));
        check(&mut overlap, &skip(2), Publish);
        overlap.published(&first.job.name, run(&skip(2)));
        over(&mut overlap, &first);
        check(&mut overlap, &skip(3), skipped_for(&skip(2)));
        over(&mut overlap, &skip(2));
        check(&mut overlap, &skip(4), Publish);
        // The end may be read before anything else is known of the job: they stand in two partitions.
        let mut standby = ExclusiveJobs::default();
        over(&mut standby, &first);
        standby.published(&first.job.name, run(&first));
        check(&mut standby, &skip(2), Publish);
    }

    #[test]
    fn every_run_that_is_not_over_blocks_whoever_published_it() {
        let mut overlap = ExclusiveJobs::default();
        let [replayed, latest] = [queue(1), queue(2)];
        overlap.published(&replayed.job.name, run(&replayed));
        overlap.published(&latest.job.name, run(&latest));
        check(&mut overlap, &queue(3), queued_for(&latest));
        assert_eq!(over(&mut overlap, &latest), None);
        check(&mut overlap, &queue(4), skipped_for(&replayed));
        assert_eq!(over(&mut overlap, &replayed), Some(queued(queue(3))));
    }

    #[test]
    fn a_removed_job_owes_no_queued_tick_and_blocks_when_it_comes_back() {
        let mut overlap = ExclusiveJobs::default();
        check(&mut overlap, &queue(1), Publish);
        check(&mut overlap, &queue(2), queued_for(&queue(1)));
        check(&mut overlap, &skip(1), Publish);
        over(&mut overlap, &skip(1));
        let file = |jobs| ActiveJobs { jobs, revision: "two".into(), tzdata: "2026f".into() };
        assert_eq!(overlap.forget(&file(vec![queue(1).job, skip(1).job])), []);
        assert_eq!(overlap.forget(&file(Vec::new())), [queued(queue(2))]);
        assert_eq!(overlap.jobs.len(), 1, "only what is not over is remembered");
        check(&mut overlap, &queue(3), queued_for(&queue(1)));
        assert_eq!(over(&mut overlap, &queue(1)), Some(queued(queue(3))));
    }

    #[test]
    fn what_is_known_of_a_run_names_the_jobs_that_it_blocks() {
        let mut overlap = ExclusiveJobs::default();
        let (first, other) = (skip(1), queue(1));
        assert!(!overlap.knows(&first.job.name));
        check(&mut overlap, &first, Publish);
        check(&mut overlap, &other, Publish);
        assert!(overlap.knows(&first.job.name));
        assert_eq!(overlap.jobs_of(run(&first)), std::slice::from_ref(&first.job.name));
        assert_eq!(overlap.jobs_of(run(&skip(2))), []);
        over(&mut overlap, &first);
        assert_eq!(overlap.jobs_of(run(&first)), []);
        assert!(overlap.knows(&first.job.name), "it was heard of");
    }
}
