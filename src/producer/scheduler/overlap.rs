//! What happens at a tick of a job whose runs must not overlap (`overlap=skip|queue|replace`): the tick is published, queued
//! or skipped, and which runs are to end so that a tick need not wait.
//!
//! A run blocks from the decision to publish it until it is known to be over (done, dead, or lost with no attempt
//! left), so two ticks in one batch see each other although neither is on record yet. The rule asks no other part of
//! the program: its caller tells it what is known of runs.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::common::model::{JobName, RunId};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job;
use crate::producer::plan::timetable::Tick;
use crate::producer::run_tracker::messages::RunsToEnd;

/// All jobs that do not allow overlaps: their runs that are not over, and the ticks that wait for those.
#[derive(Debug)]
pub struct ExclusiveJobs {
    jobs: HashMap<JobName, Runs>,
    /// Those of which a tick waits that replaces the runs before it.
    replacing: BTreeSet<JobName>,
    /// Which runs are to end may have changed since that was last asked.
    has_changed: bool,
}

/// What is to be done about a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TickDecision {
    /// Publish it.
    Publish,
    /// Put it on record as queued; [`ExclusiveJobs::over`] says when it is to be published.
    Queue {
        /// The run that is not over.
        blocked_by: RunId,
        /// The older ticks whose place it takes: put them on record as skipped.
        instead_of: Vec<Queued>,
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

impl Default for ExclusiveJobs {
    fn default() -> Self {
        // What was to end before is not to end any more.
        Self { jobs: HashMap::new(), replacing: BTreeSet::new(), has_changed: true }
    }
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
        let mut instead_of = Vec::new();
        if runs.queued.iter().any(|queued| queued.tick.at == tick.at) {
            return TickDecision::Queue { blocked_by, instead_of };
        }
        match tick.job.overlap {
            job::Overlap::Queue if runs.queued.is_empty() => {}
            job::Overlap::Replace if runs.queued.iter().all(|queued| queued.gives_place_to(tick)) => {
                instead_of.extend(runs.queued.drain(..));
            }
            _ => return TickDecision::Skip { blocked_by },
        }
        runs.queued.push_back(Queued { tick: tick.clone(), revision: Arc::clone(revision) });
        self.note(&tick.job.name);
        TickDecision::Queue { blocked_by, instead_of }
    }

    /// The runs that are to end, because a tick waits that replaces them; `None` where that has not changed since this was last
    /// asked.
    pub fn changed_ends(&mut self) -> Option<RunsToEnd> {
        std::mem::take(&mut self.has_changed).then(|| {
            let waiting = self.replacing.iter().filter_map(|job| {
                let runs = self.jobs.get(job)?;
                Some((job, runs, &runs.queued.back()?.tick.job.cluster))
            });
            let ends = waiting.flat_map(|(job, runs, cluster)| {
                runs.open.iter().map(|run| (*run, (job.clone(), cluster.clone())))
            });
            Arc::new(ends.collect())
        })
    }

    /// Notes whether a job has a tick that waits and replaces the runs before it, after its runs have changed.
    fn note(&mut self, job: &JobName) {
        let runs = self.jobs.get(job);
        let waits = runs.and_then(|runs| runs.queued.back());
        if waits.is_some_and(|queued| queued.tick.job.overlap == job::Overlap::Replace) {
            self.replacing.insert(job.clone());
            self.has_changed = true;
        } else {
            self.has_changed |= self.replacing.remove(job);
        }
    }

    /// A run is in its topic, whichever producer published it. The call does no harm for a run that was decided here or
    /// is over already.
    pub fn published(&mut self, job: &JobName, run: RunId) {
        let runs = self.jobs.entry(job.clone()).or_default();
        if runs.last_over != Some(run) {
            runs.begin(run);
            self.note(job);
        }
    }

    /// A run is over, or will never begin. The queued tick to publish now, if there is one: its run blocks from here
    /// on. Only for jobs that do not allow overlaps: each job that it hears of takes up memory until it is gone from
    /// the job file.
    pub fn over(&mut self, job: &JobName, run: RunId) -> Option<Queued> {
        let runs = self.jobs.entry(job.clone()).or_default();
        runs.open.retain(|open| *open != run);
        runs.last_over = Some(run);
        let queued = if runs.open.is_empty() { runs.queued.pop_front() } else { None };
        if let Some(queued) = &queued {
            runs.begin(RunId::of(job, queued.tick.at));
        }
        self.note(job);
        queued
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
        self.replacing.retain(|name| in_file.contains(name));
        self.has_changed = true;
        queued
    }
}

impl Queued {
    /// Whether a newer tick takes its place. A job that has moved to another cluster since is an exception: two clusters put
    /// the two ticks on record, each by itself.
    fn gives_place_to(&self, tick: &Tick) -> bool {
        self.tick.at < tick.at && self.tick.job.cluster == tick.job.cluster
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

    #[expect(clippy::needless_pass_by_value, reason = "rows are shorter without references")]
    fn check(overlap: &mut ExclusiveJobs, tick: &Tick, expected: TickDecision) {
        assert_eq!(overlap.decide(tick, &"one".into()), expected, "{} at {}", tick.job.name, tick.at);
    }

    fn skipped_for(tick: &Tick) -> TickDecision {
        TickDecision::Skip { blocked_by: run(tick) }
    }

    fn queued_for(tick: &Tick) -> TickDecision {
        TickDecision::Queue { blocked_by: run(tick), instead_of: Vec::new() }
    }

    fn replace(seconds: i64) -> Tick {
        tick("replace", job::Overlap::Replace, seconds)
    }

    /// A tick waits for the run of one, and takes the place of another.
    fn instead(blocked_by: &Tick, instead_of: Tick) -> TickDecision {
        TickDecision::Queue { blocked_by: run(blocked_by), instead_of: vec![queued(instead_of)] }
    }

    /// The runs that are to end are those of these ticks, and were others before.
    fn check_ends(overlap: &mut ExclusiveJobs, expected: &[Tick]) {
        let ends = overlap.changed_ends().expect("they have changed");
        let job = |tick: &Tick| (tick.job.name.clone(), tick.job.cluster.clone());
        assert_eq!(*ends, expected.iter().map(|tick| (run(tick), job(tick))).collect());
        assert_eq!(overlap.changed_ends(), None);
    }

    #[test]
    fn the_newest_tick_waits_and_the_run_before_it_is_to_end() {
        let mut overlap = ExclusiveJobs::default();
        check(&mut overlap, &replace(1), Publish);
        check_ends(&mut overlap, &[]);
        check(&mut overlap, &replace(2), queued_for(&replace(1)));
        check_ends(&mut overlap, &[replace(1)]);
        check(&mut overlap, &replace(3), instead(&replace(1), replace(2)));
        check(&mut overlap, &replace(3), queued_for(&replace(1)));
        check_ends(&mut overlap, &[replace(1)]);
        // One of the backlog, which is decided after the newest.
        check(&mut overlap, &replace(2), skipped_for(&replace(1)));
        assert_eq!(over(&mut overlap, &replace(1)), Some(queued(replace(3))));
        check_ends(&mut overlap, &[]);
        check(&mut overlap, &replace(4), queued_for(&replace(3)));
        check_ends(&mut overlap, &[replace(3)]);
    }

    #[test]
    fn every_run_that_is_not_over_is_to_end_whoever_published_it_and_however_late_it_is_known() {
        let mut overlap = ExclusiveJobs::default();
        for second in [1, 2] {
            overlap.published(&replace(second).job.name, run(&replace(second)));
        }
        check(&mut overlap, &replace(3), queued_for(&replace(2)));
        check_ends(&mut overlap, &[replace(1), replace(2)]);
        assert_eq!(over(&mut overlap, &replace(2)), None);
        check_ends(&mut overlap, &[replace(1)]);
        overlap.published(&replace(0).job.name, run(&replace(0)));
        check_ends(&mut overlap, &[replace(0), replace(1)]);
    }

    #[test]
    fn a_tick_that_replaces_nothing_ends_nothing() {
        let mut overlap = ExclusiveJobs::default();
        check(&mut overlap, &queue(1), Publish);
        check(&mut overlap, &queue(2), queued_for(&queue(1)));
        check(&mut overlap, &skip(1), Publish);
        check(&mut overlap, &skip(2), skipped_for(&skip(1)));
        check_ends(&mut overlap, &[]);
        // The file has changed: the newest tick goes by what it says.
        let replaces = tick("queue", job::Overlap::Replace, 3);
        check(&mut overlap, &replaces, instead(&queue(1), queue(2)));
        check_ends(&mut overlap, &[queue(1)]);
        check(&mut overlap, &queue(4), skipped_for(&queue(1)));
    }

    #[test]
    fn a_job_that_is_gone_or_has_moved_ends_no_run_and_takes_no_place() {
        let mut overlap = ExclusiveJobs::default();
        check(&mut overlap, &replace(1), Publish);
        check(&mut overlap, &replace(2), queued_for(&replace(1)));
        check_ends(&mut overlap, &[replace(1)]);
        let moved = Job { cluster: "elsewhere".parse().unwrap(), ..Job::clone(&replace(3).job) };
        check(&mut overlap, &Tick { job: Arc::new(moved), ..replace(3) }, skipped_for(&replace(1)));
        let file = ActiveJobs { jobs: Vec::new(), revision: "two".into(), tzdata: "2026f".into() };
        assert_eq!(overlap.forget(&file), [queued(replace(2))]);
        check_ends(&mut overlap, &[]);
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
