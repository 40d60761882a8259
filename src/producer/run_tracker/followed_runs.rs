//! The runs of the jobs whose runs may not overlap: which of them are open or over, and whether all of `cron-runs` was
//! read that tells of them. This is what the scheduler is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::ends::Ends;
use super::heartbeat::Heartbeat;
use super::history::History;
use super::leases::Leases;
use super::log_reader::ends_now;
use super::messages::{Effect, RunNews};
use super::open_runs::{Followed, OpenRuns, Said};
use super::step::Step;
use crate::common::broker::BrokerError;
use crate::common::model::{Event, Then};
use crate::producer::leadership::Term;

/// The runs of the jobs that are followed.
#[derive(Debug)]
pub struct FollowedRuns {
    known: OpenRuns,
    /// What is still to be read for `known`; `None` when all was.
    history: Option<History>,
    /// The ends of `cron-runs` when following began, or other jobs were asked for: what had been claimed by then is known
    /// only when all below them was read. None until they are looked up.
    ends_when_asked: Option<BTreeMap<i32, i64>>,
    /// Whether all was read once, so that new open runs are told at once.
    has_told: bool,
    /// The term in which it was told that all was read.
    told_in: Option<Term>,
}

impl FollowedRuns {
    /// Creates the runs of these jobs, of which nothing was read yet. A run that has waited for `look_after` is looked for.
    pub fn new(jobs: Followed, look_after: Duration) -> Self {
        let known = OpenRuns::new(jobs, look_after);
        Self {
            history: (!known.is_idle()).then(History::default),
            ends_when_asked: None,
            has_told: known.is_idle(),
            told_in: None,
            known,
        }
    }

    /// What is known of the runs.
    pub fn known(&self) -> &OpenRuns {
        &self.known
    }

    /// Follows the runs of other jobs from now on: those of a job file that is about to become active. All of `cron-runs`
    /// is read again, then the open runs are told, and then [`RunNews::HistoryRead`].
    pub fn follow(&mut self, jobs: Followed, ends: &Ends) {
        self.known.follow(jobs);
        self.history = Some(History::until_now(ends));
        self.ends_when_asked = None;
        self.told_in = None;
    }

    /// The log is another one, with these ends. What it holds is read from its start, and a leader tells again that all was
    /// read.
    pub fn start_anew(&mut self, ends: BTreeMap<i32, i64>) {
        if self.history.is_some() {
            self.history = Some(History::until(ends));
        }
        self.ends_when_asked = None;
        self.told_in = None;
    }

    /// This producer does not lead: in its next term it tells again that all was read.
    pub fn stand_by(&mut self) {
        self.told_in = None;
    }

    /// Whether the history is still to be read.
    pub fn is_reading_history(&self) -> bool {
        self.history.is_some()
    }

    /// Reads on, by one fetch, in the part of `cron-runs` before the offset where following began, and returns the events
    /// that were read. When all is read, tells which runs are open.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn read_history(
        &mut self,
        step: &mut Step<'_>,
        ends: &Ends,
        leases: &Leases,
    ) -> Result<Vec<Event>, BrokerError> {
        let Some(history) = self.history.as_mut().filter(|_| !ends.is_empty()) else { return Ok(Vec::new()) };
        let until = match &self.ends_when_asked {
            Some(ends) => ends.clone(),
            None => self.ends_when_asked.insert(ends_now(step, ends)?).clone(),
        };
        match history.read(step.client, ends, &step.options.clusters, step.by)? {
            Some(events) => {
                // Open runs are told when all is read.
                events.iter().for_each(|event| drop(self.known.take(event, step.now.mono)));
                return Ok(events);
            }
            // A claim in the history counts only if its attempt is known to be under way.
            None if !ends.has_read(&until) => {}
            None => {
                (self.history, self.has_told) = (None, true);
                self.known.all_was_read(&leases.runs());
                self.known.open().into_iter().for_each(|run| step.tell(RunNews::Unfinished(run)));
                let of = Followed::clone(self.known.followed());
                step.tell(RunNews::HistoryRead { of, over: self.known.over() });
            }
        }
        Ok(Vec::new())
    }

    /// Takes an event that was read at `now`, and returns what the scheduler must know of it. `was_over` says whether the
    /// end of the attempt that it is about was known before: an attempt that was declared lost may end all the same, while
    /// another attempt of its run is under way.
    pub fn take(&mut self, event: &Event, was_over: bool, now: Instant) -> Vec<Effect> {
        let mut news = Vec::new();
        let is_late = match self.known.take(event, now) {
            Said::Unfinished(run) => {
                news.extend(self.has_told.then_some(RunNews::Unfinished(run)));
                was_over
            }
            Said::Over => false,
            Said::LateEnd => true,
            Said::Nothing => was_over,
        };
        match event {
            Event::Finished { attempt, job, then: Then::Done | Then::Dead, .. } if !is_late => {
                news.push(RunNews::Over { job: Some(job.clone()), run: attempt.run });
            }
            Event::Lost { attempt, job, then: Then::Done | Then::Dead, .. } if !is_late => {
                news.push(RunNews::Over { job: job.clone(), run: attempt.run });
            }
            Event::Ended { attempt, job, .. } if !is_late => {
                news.push(RunNews::Over { job: Some(job.clone()), run: attempt.run });
            }
            _ => {}
        }
        news.into_iter().map(Effect::Tell).collect()
    }

    /// The topics in which runs have waited for long, as [`OpenRuns::take_long_waiting`] has it.
    pub fn take_long_waiting(&mut self, leases: &Leases, now: Instant) -> BTreeSet<String> {
        self.known.take_long_waiting(&leases.runs(), now)
    }

    /// Tells once in each term that all was read, when a beat of this term was read back from every partition.
    pub fn tell_read_to_end(&mut self, step: &mut Step<'_>, heartbeat: &Heartbeat) {
        let is_news = step.leads != self.told_in && self.history.is_none() && heartbeat.seen().is_some();
        if let Some(term) = step.leads.filter(|_| is_news) {
            self.told_in = step.leads;
            step.tell(RunNews::ReadToEnd { term, over: self.known.over() });
        }
    }

    /// Forgets what was over so long ago, unless the history, which may tell of it, is still to be read.
    pub fn forget(&mut self, now: Instant, after: Duration) {
        if self.history.is_none() {
            self.known.forget(now, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_reader::LogReader;
    use super::super::tests::fixture::{World, followed, name};
    use super::*;
    use crate::common::model::{AttemptRef, EndReason, Place};

    fn runs() -> FollowedRuns {
        FollowedRuns::new(followed(&["j"]), Duration::from_secs(60))
    }

    fn ended(run: u128) -> Event {
        Event::Ended {
            attempt: name(run),
            job: "j".parse().unwrap(),
            cluster: "c".parse().unwrap(),
            scheduled_at: None,
            reason: EndReason::Unclaimable,
            detail: String::new(),
            by: "p".to_owned(),
            at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn claimed(attempt: AttemptRef, place: &Place) -> Event {
        let (job, consumer) = ("j".parse().unwrap(), "one".to_owned());
        let (place, at) = (place.clone(), chrono::DateTime::UNIX_EPOCH);
        Event::Claimed { attempt, job, place, consumer, lease_ms: 1, at }
    }

    fn over(run: u128) -> Effect {
        Effect::Tell(RunNews::Over { job: Some("j".parse().unwrap()), run: name(run).run })
    }

    #[test]
    fn open_runs_are_told_when_the_history_is_read_and_those_that_begin_after_it_at_once() {
        let mut world = World::new();
        let place = world.publish(1, 0);
        world.note(1, &place);
        let mut log = LogReader::default();
        world.in_step(None, |step| log.look_up(step)).0.unwrap();
        let (mut runs, leases, now) = (runs(), Leases::default(), world.mono());
        assert_eq!(runs.take(&claimed(name(2), &place), false, now), [], "the history is still to be read");
        let mut told = Vec::new();
        for _ in 0..10 {
            let (read, effects) = world.in_step(None, |step| runs.read_history(step, log.ends(), &leases));
            read.unwrap();
            told.extend(effects);
            world.in_step(None, |step| {
                log.fetch(step, false);
                for read in log.take_arrived(step) {
                    read.events.iter().for_each(|(_, event)| drop(runs.take(event, false, now)));
                }
            });
        }
        assert!(!runs.is_reading_history());
        let is_open = matches!(&told[..], [Effect::Tell(RunNews::Unfinished(open)), Effect::Tell(RunNews::HistoryRead { .. })] if open.run == name(1).run);
        assert!(is_open, "the claim of run 2 did not count: {told:?}");
        let news = runs.take(&claimed(name(3), &place), false, now);
        assert!(
            matches!(&news[..], [Effect::Tell(RunNews::Unfinished(open))] if open.run == name(3).run),
            "{news:?}"
        );
    }

    #[test]
    fn a_run_is_told_to_be_over_unless_its_end_was_known_or_comes_late() {
        let place = Place { topic: "c".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
        let (mut runs, now) = (runs(), Instant::now());
        assert_eq!(runs.take(&ended(1), false, now), [over(1)]);
        assert_eq!(runs.take(&ended(1), true, now), []);
        runs.take(&claimed(AttemptRef { attempt: 2, ..name(2) }, &place), false, now);
        assert_eq!(runs.take(&ended(2), false, now), [], "its second attempt is under way");
    }

    #[test]
    fn that_all_was_read_is_told_once_in_a_term_and_again_after_anything_that_makes_it_unsure() {
        let mut world = World::new();
        let term = Some(Term::FIRST);
        let (mut runs, now) = (FollowedRuns::new(followed(&[]), Duration::from_secs(60)), world.mono());
        let mut heartbeat = Heartbeat::new(now);
        heartbeat.follow(0, now);
        heartbeat.lead(term, now);
        let tells = |world: &mut World, runs: &mut FollowedRuns, heartbeat: &Heartbeat| {
            world.in_step(term, |step| runs.tell_read_to_end(step, heartbeat)).1.len()
        };
        assert_eq!(tells(&mut world, &mut runs, &heartbeat), 0, "no beat was read back");
        heartbeat.beat(0, Some(0), now);
        heartbeat.read_to(0, 1, now);
        let mut twice = |runs: &mut FollowedRuns| {
            (tells(&mut world, runs, &heartbeat), tells(&mut world, runs, &heartbeat))
        };
        assert_eq!(twice(&mut runs), (1, 0));
        runs.stand_by();
        assert_eq!(twice(&mut runs), (1, 0));
        runs.start_anew(BTreeMap::new());
        assert_eq!(twice(&mut runs), (1, 0));
        runs.follow(followed(&["j"]), &Ends::default());
        assert_eq!(twice(&mut runs), (0, 0), "the history is still to be read");
        let (told, _) = world.in_step(None, |step| runs.tell_read_to_end(step, &heartbeat));
        assert_eq!(told, (), "a standby tells nothing");
    }
}
