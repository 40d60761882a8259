//! What follows from events: batches only under a proven lease, cursors, job files, and the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::common::membership::Standing;
use crate::producer::job::{self, Job};
use crate::producer::leadership::{Published, Runs, Start};
use crate::producer::plan::Batch;
use crate::producer::publisher::Confirmed;
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};
use crate::producer::run_tracker::open_runs::Followed;

const SESSION: Duration = Duration::from_secs(6);

/// A scheduler of the cluster `c`, which is stepped by hand.
struct Bench {
    scheduler: Scheduler,
    standing: Standing,
    began: Instant,
}

fn wall(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn job(name: &str, overlap: job::Overlap) -> Arc<Job> {
    Arc::new(Job { cluster: "c".parse().unwrap(), overlap, ..job::sample(name, "* * * * * *") })
}

fn file(job: &Arc<Job>, revision: &str) -> ActiveJobs {
    ActiveJobs { jobs: vec![Arc::clone(job)], revision: Arc::from(revision), tzdata: "2026f".into() }
}

impl Bench {
    /// One that leads from second 0, with one job.
    fn leading(job: &Arc<Job>) -> Self {
        let began = Instant::now();
        let standing = Standing::new(began);
        standing.tell(Some(began));
        let lease = LeaderLease::new(standing.clone(), SESSION);
        let names = vec!["c".parse().unwrap()];
        let mut bench = Self {
            scheduler: Scheduler::new(names, file(job, "r"), "me".to_owned(), lease),
            standing,
            began,
        };
        let (term, losses) = (Term::FIRST, bench.standing.losses());
        bench.led(leadership::Effect::Begin { term, losses });
        let published = Published { topic_id: Uuid::nil(), runs: Runs::default(), until: wall(0) };
        let start = Start { cursor: wall(0), reboot: None, published, is_gap: false };
        bench.led(leadership::Effect::Start { term, cluster: 0, start });
        bench
    }

    fn led(&mut self, told: leadership::Effect) {
        let effects = self.handle(Event::Leadership(told), 0);
        effects.into_iter().for_each(|effect| self.confirm(effect, 0));
    }

    fn now(&self, second: i64) -> Now {
        Now { wall: wall(second), mono: self.began + Duration::from_secs(second.unsigned_abs()) }
    }

    fn handle(&mut self, event: Event, second: i64) -> Vec<Effect> {
        let now = self.now(second);
        self.scheduler.handle(event, now)
    }

    fn confirm(&mut self, effect: Effect, second: i64) {
        if let Effect::Publish(cluster, batch) = effect {
            self.handle(Event::Confirmed(Confirmed::of(cluster, &batch)), second);
        }
    }

    /// Proves the membership, takes what is due, and confirms it.
    fn published(&mut self, second: i64) -> Vec<Batch> {
        self.standing.tell(Some(self.now(second).mono));
        let mut batches = Vec::new();
        for effect in self.handle(Event::Time, second) {
            if let Effect::Publish(cluster, batch) = effect {
                self.handle(Event::Confirmed(Confirmed::of(cluster, &batch)), second);
                batches.push(batch);
            }
        }
        batches
    }

    /// The instants of the ticks that are published, in seconds.
    fn ticks(&mut self, second: i64) -> Vec<i64> {
        let batches = self.published(second);
        let instant = |at: DateTime<Utc>| (at - wall(0)).num_seconds();
        batches.iter().flat_map(|batch| &batch.ticks).map(|tick| instant(tick.at)).collect()
    }
}

fn history_read(of: Followed) -> RunNews {
    RunNews::HistoryRead { of, over: Arc::default() }
}

fn asks(effects: &[Effect]) -> Vec<&FollowRequest> {
    effects.iter().filter_map(|effect| if let Effect::Ask(ask) = effect { Some(ask) } else { None }).collect()
}

fn reports(effects: &[Effect]) -> Vec<&Report> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Report(told) = effect { Some(told) } else { None })
        .collect()
}

#[test]
fn nothing_is_handed_over_while_the_membership_is_not_proven_and_operators_are_told_once() {
    let mut bench = Bench::leading(&job("one", job::Overlap::Allow));
    assert_eq!(bench.ticks(1), [1]);
    // The lease lapses two thirds of a session after the proof.
    let effects = bench.handle(Event::Time, 6);
    assert_eq!(reports(&effects), [&Report::Suspended]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Publish(..))), "{effects:?}");
    assert!(reports(&bench.handle(Event::Time, 7)).is_empty(), "it was told");
    assert_eq!(bench.scheduler.wait(bench.now(7)), SOON, "the next tick is due, and waits for the proof");
    assert_eq!(bench.ticks(8), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(reports(&bench.handle(Event::Time, 13)), [&Report::Suspended], "again");
}

#[test]
fn a_cursor_is_told_when_it_has_moved_and_only_then() {
    let mut bench = Bench::leading(&job("one", job::Overlap::Allow));
    let cursors = |effects: &[Effect]| {
        let cursor = |effect: &Effect| if let Effect::Commit(keep) = effect { keep.cursors[0] } else { None };
        effects.iter().filter_map(cursor).collect::<Vec<_>>()
    };
    bench.standing.tell(Some(bench.now(1).mono));
    let effects = bench.handle(Event::Time, 1);
    let before = wall(1) - TimeDelta::milliseconds(1);
    assert_eq!(cursors(&effects), [before], "the tick is not confirmed yet");
    assert!(cursors(&bench.handle(Event::Time, 1)).is_empty());
    let Some(Effect::Publish(_, batch)) = effects.into_iter().find(|e| matches!(e, Effect::Publish(..)))
    else {
        panic!("a tick is due")
    };
    let confirmed = Confirmed::of(0, &batch);
    assert_eq!(bench.scheduler.levels().map(|levels| levels.in_flight).collect::<Vec<_>>(), [1]);
    assert_eq!(cursors(&bench.handle(Event::Confirmed(confirmed), 1)), [wall(1)]);
    assert_eq!(bench.scheduler.levels().map(|levels| levels.in_flight).collect::<Vec<_>>(), [0]);
}

#[test]
fn at_the_end_nothing_more_is_handed_over_and_what_is_in_flight_moves_the_cursor() {
    let mut bench = Bench::leading(&job("one", job::Overlap::Allow));
    bench.standing.tell(Some(bench.now(1).mono));
    let effects = bench.handle(Event::Time, 1);
    let Some(Effect::Publish(_, batch)) = effects.into_iter().find(|e| matches!(e, Effect::Publish(..)))
    else {
        panic!("a tick is due")
    };
    assert!(bench.handle(Event::Stop, 3).iter().all(|effect| matches!(effect, Effect::Commit(_))));
    assert!(bench.scheduler.is_busy());
    let effects = bench.handle(Event::Confirmed(Confirmed::of(0, &batch)), 3);
    let [Effect::Commit(keep)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(keep.cursors, [Some(wall(2) - TimeDelta::milliseconds(1))], "the next tick is owed");
    assert!(!bench.scheduler.is_busy());
}

#[test]
fn a_term_that_is_over_hands_nothing_over_and_says_that_what_is_on_its_way_is_of_no_interest() {
    let mut bench = Bench::leading(&job("one", job::Overlap::Allow));
    let effects = bench.handle(Event::Leadership(leadership::Effect::End), 1);
    assert_eq!(reports(&effects), [&Report::TermEnded]);
    assert_eq!((bench.ticks(2), bench.scheduler.term()), (vec![], None));
    assert!(bench.scheduler.wait(bench.now(2)) > SOON, "there is nothing to wait for");
}

#[test]
fn a_file_that_is_taken_back_while_the_next_one_is_read_for_leaves_nothing_held_back() {
    // The next file has the job in another cluster.
    let one = job("one", job::Overlap::Skip);
    let two = Arc::new(Job { cluster: "d".parse().unwrap(), ..Job::clone(&one) });
    let mut bench = Bench::leading(&one);
    let one_followed = || Clusters::overlapping(&file(&one, "r"));
    let read = RunNews::ReadToEnd { term: Term::FIRST, over: Arc::default() };
    bench.handle(Event::Runs(vec![history_read(one_followed()), read]), 0);
    let effects = bench.handle(Event::JobFile(file(&two, "next")), 1);
    assert_eq!(reports(&effects), [&Report::FileWaits(Arc::from("next"))]);
    let [FollowRequest::Follow(next)] = asks(&effects)[..] else { panic!("{effects:?}") };
    let next = Followed::clone(next);
    for effect in effects {
        bench.confirm(effect, 1);
    }
    let effects = bench.handle(Event::JobFile(file(&one, "back")), 2);
    assert_eq!(reports(&effects), [&Report::FileActive(Arc::from("back"), 1, Arc::from("2026f"))]);
    let [FollowRequest::Active(revision, _), FollowRequest::Follow(again)] = asks(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((&**revision, again), ("back", &one_followed()));
    for effect in effects {
        bench.confirm(effect, 2);
    }
    bench.handle(Event::Runs(vec![history_read(next)]), 2);
    assert_eq!(bench.ticks(3), [0; 0], "held back until it is known");
    let effects = bench.handle(Event::Runs(vec![history_read(one_followed())]), 3);
    // The run of second 1 is not over.
    let is_skipped =
        |effect: &Effect| matches!(effect, Effect::Publish(_, batch) if !batch.events.is_empty());
    assert!(effects.iter().any(is_skipped), "{effects:?}");
}
