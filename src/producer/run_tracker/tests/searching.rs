//! Searches: for how long they go on, how often they are made again, and what they may conclude.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use super::fixture::{LEASE, LEASE_AND_A_BIT, Producer, World, name, of, options};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::common::model::{AttemptRef, EndReason, Event, Then};
use crate::common::topics;
use crate::producer::run_tracker::messages::RunNews;
use crate::producer::run_tracker::{Duties, Effect, Options, RunTracker};

/// A leader that follows the runs of job `j` with leases of so many seconds.
fn leader_of(world: &World, lease: u64) -> Producer {
    let mut producer = world.producer("p", true);
    let options = Options { lease: Duration::from_secs(lease), ..options("p", &["j"]) };
    producer.tracker = RunTracker::new(options, world.mono());
    producer
}

/// The numbers of the runs that are on record as runs that no consumer will run.
fn ended(world: &mut World) -> Vec<u128> {
    let all = world.said(|event| matches!(event, Event::Ended { .. }));
    let run = |event: &Event| match event {
        Event::Ended { attempt, reason: EndReason::Unclaimable, .. } => Some(attempt.run.0.as_u128()),
        _ => None,
    };
    let mut runs: Vec<u128> = all.iter().filter_map(run).collect();
    runs.sort_unstable();
    runs
}

/// How the producer's calls fail from here on, and how often it has asked for committed offsets since.
struct Meddling {
    /// Whether its fetches fail from its next question for offsets on.
    blinds: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Meddling {
    fn with(world: &World) -> Self {
        let (blinds, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_blind, counted) = (Arc::clone(&blinds), Arc::clone(&asked));
        world.faults().decide(Box::new(move |client, call| {
            let asks = (client, call) == ("p", Call::Committed);
            let asked = counted.fetch_add(usize::from(asks), Ordering::Relaxed) + usize::from(asks);
            let fails = (client, call) == ("p", Call::Fetch) && asked > 0;
            (fails && is_blind.load(Ordering::Relaxed)).then_some(Fate::NotSent)
        }));
        Self { blinds, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A run that is published and that the group has passed without a claim.
fn passed(world: &mut World, run: u128) {
    let place = world.publish(run, 1);
    world.note(run, &place);
    world.commit(&place, place.offset + 1, &[]);
}

/// A leader that has found no message of run 1, and cannot read `cron-runs` on.
fn in_search() -> (World, Producer, Meddling) {
    let mut world = World::new();
    let mut leader = leader_of(&world, LEASE);
    passed(&mut world, 1);
    world.pass(5, &mut [&mut leader]);
    let meddling = Meddling::with(&world);
    meddling.blinds.store(true, Ordering::Relaxed);
    while meddling.asked() == 0 {
        world.pass(1, &mut [&mut leader]);
    }
    (world, leader, meddling)
}

#[test]
fn nothing_is_concluded_before_cron_runs_was_read_after_the_search() {
    let (mut world, mut leader, meddling) = in_search();
    // A search asks for the cursor and for the group's offset. One without an end is given up after half a minute, and made
    // again.
    world.pass(28, &mut [&mut leader]);
    assert_eq!((ended(&mut world), meddling.asked()), (vec![], 2));
    world.pass(6, &mut [&mut leader]);
    assert_eq!((ended(&mut world), meddling.asked()), (vec![], 4));
    // Meanwhile an operator has set the offset back, and the run was claimed and has ended.
    let place = crate::common::model::Place { offset: 0, ..world.publish(9, 0) };
    world.claim(1, &place, "one");
    world.finish(1, Then::Done);
    meddling.blinds.store(false, Ordering::Relaxed);
    world.pass(30, &mut [&mut leader]);
    assert_eq!(ended(&mut world), [0; 0], "it has run");
}

#[test]
fn a_run_that_is_heard_of_during_the_search_is_not_over_even_if_it_was_heard_of_before() {
    let (mut world, mut leader, meddling) = in_search();
    let again = world.publish(1, 1);
    world.note(1, &again);
    meddling.blinds.store(false, Ordering::Relaxed);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(ended(&mut world), [0; 0], "it was published again");
    world.commit(&again, again.offset + 1, &[]);
    world.pass(LEASE * 4, &mut [&mut leader]);
    assert_eq!(ended(&mut world), [1], "and passed again");
}

/// After how many seconds a run is said to be over whose tick the cursor has passed, or has not.
fn ended_after(is_passed: bool) -> u64 {
    let mut world = World::new();
    let mut leader = leader_of(&world, LEASE);
    if !is_passed {
        world.keep_cursor(DateTime::UNIX_EPOCH - TimeDelta::milliseconds(1));
    }
    passed(&mut world, 1);
    let ends = |secs: &u64| {
        world.pass(1, &mut [&mut leader]);
        *secs > LEASE * 10 || ended(&mut world) == [1]
    };
    (0..).find(ends).unwrap()
}

#[test]
fn a_run_whose_tick_the_cursor_has_not_passed_is_put_off_for_a_lease() {
    let [passed, not_passed] = [true, false].map(ended_after);
    assert!(passed < LEASE * 3, "{passed} s");
    let later = not_passed - passed;
    assert!((LEASE..LEASE + 10).contains(&later), "{later} s later: the scheduler may publish it again");
}

#[test]
fn a_search_that_is_refused_is_owed_made_again_every_few_seconds_and_owed_no_more_when_nothing_waits() {
    let mut world = World::new();
    let mut leader = leader_of(&world, LEASE);
    passed(&mut world, 1);
    world.pass(5, &mut [&mut leader]);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    world.faults().decide(Box::new(move |client, call| {
        let is_it = (client, call) == ("p", Call::Committed);
        counted.fetch_add(usize::from(is_it), Ordering::Relaxed);
        is_it.then_some(Fate::Refused(ErrorCode::GroupAuthorizationFailed))
    }));
    while asked.load(Ordering::Relaxed) == 0 {
        world.pass(1, &mut [&mut leader]);
    }
    world.pass(20, &mut [&mut leader]);
    let asked = asked.load(Ordering::Relaxed);
    assert!((4..=6).contains(&asked), "{asked} times in twenty seconds");
    assert!(!leader.is_done(Duties::LostAttempts));
    world.faults().decide(Box::new(|_, _| None));
    world.finish(1, Then::Done);
    world.pass(10, &mut [&mut leader]);
    assert!(leader.is_done(Duties::LostAttempts));
}

#[test]
fn that_a_run_is_over_is_put_on_record_again_where_that_failed() {
    let mut world = World::new();
    let mut leader = leader_of(&world, LEASE);
    passed(&mut world, 1);
    world.pass(5, &mut [&mut leader]);
    let is_asked = Arc::new(AtomicBool::new(false));
    let is_set = Arc::clone(&is_asked);
    let mut failed = false;
    world.faults().decide(Box::new(move |client, call| {
        if client != "p" {
            return None;
        }
        let asked = is_set.fetch_or(call == Call::Committed, Ordering::Relaxed);
        let fails = asked && call == Call::Produce && !std::mem::replace(&mut failed, true);
        fails.then_some(Fate::NotSent)
    }));
    while !is_asked.load(Ordering::Relaxed) {
        world.pass(1, &mut [&mut leader]);
    }
    world.pass(1, &mut [&mut leader]);
    assert!(!leader.is_done(Duties::LostAttempts), "it is owed");
    world.pass(3, &mut [&mut leader]);
    assert_eq!(ended(&mut world), [0; 0], "not at once");
    world.pass(3, &mut [&mut leader]);
    assert_eq!(ended(&mut world), [1]);
    world.pass(1, &mut [&mut leader]);
    assert!(leader.is_done(Duties::LostAttempts));
}

#[test]
fn a_leader_that_does_not_see_its_beats_looks_for_no_runs() {
    let mut world = World::new();
    passed(&mut world, 1);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let mut leader = leader_of(&world, LEASE);
    world.step(&mut leader);
    world.faults().decide(Box::new(move |client, call| {
        counted.fetch_add(usize::from((client, call) == ("p", Call::Committed)), Ordering::Relaxed);
        ((client, call) == ("p", Call::Produce)).then_some(Fate::NotSent)
    }));
    leader.tracker = leader_of(&world, LEASE).tracker;
    world.pass(1, &mut [&mut leader]);
    let begun = asked.load(Ordering::Relaxed);
    world.pass(3 * LEASE, &mut [&mut leader]);
    assert_eq!(asked.load(Ordering::Relaxed), begun);
}

#[test]
fn a_claim_of_which_a_new_leader_hears_nothing_is_judged_when_a_lease_has_passed() {
    const LONG: u64 = 600;
    let mut world = World::new();
    let (first, second) = (world.publish(1, 0), world.publish(2, 0));
    world.note(1, &first);
    world.note(2, &second);
    world.claim(1, &first, "one");
    // The next leader begins to follow here: whether the claim has counted is not known.
    for partition in 0..2 {
        let end = world.end_of_runs(partition);
        world.commit_for(topics::LEADER, of(topics::RUNS, partition), end, String::new());
    }
    world.faults().delete_records(&of("c", 0), 2);
    let mut leader = leader_of(&world, LONG);
    world.pass(5, &mut [&mut leader]);
    world.deleted_unread(&first, 2);
    world.pass(LONG - 20, &mut [&mut leader]);
    assert_eq!(ended(&mut world), [2], "nobody has claimed this one");
    world.pass(40, &mut [&mut leader]);
    assert_eq!(ended(&mut world), [1, 2]);
}

#[test]
fn a_check_of_a_lost_attempt_that_comes_to_no_end_is_given_up_after_half_a_minute() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    let other = world.start(2, 2);
    world.pass(LEASE - 5, &mut [&mut leader]);
    let meddling = Meddling::with(&world);
    meddling.blinds.store(true, Ordering::Relaxed);
    // Whenever the check is made, something was written that is still to be read.
    while meddling.asked() == 0 {
        world.clock.turn(Duration::from_millis(250));
        world.alive(2, &other, "two");
        world.step(&mut leader);
    }
    world.pass(28, &mut [&mut leader]);
    assert_eq!((world.fates(), meddling.asked()), ((0, 0, 0), 1));
    world.pass(6, &mut [&mut leader]);
    meddling.blinds.store(false, Ordering::Relaxed);
    world.pass(LEASE / 2, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "the leases begin anew");
    world.pass(2 * LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (2, 0, 2));
}

#[test]
fn no_more_attempts_are_passed_on_in_one_step_than_it_has_time_for() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    (0..100).for_each(|run| drop(world.start(run, 1)));
    while world.fates().2 == 0 {
        world.clock.turn(Duration::from_millis(250));
        world.step(&mut leader);
    }
    assert_eq!(world.fates(), (64, 0, 64));
}

#[test]
fn the_shortest_lease_under_way_says_how_often_beats_are_written() {
    let mut world = World::new();
    let mut leader = leader_of(&world, 2 * LEASE);
    let lease = Duration::from_secs(2 * LEASE);
    world.pass(1, &mut [&mut leader]);
    assert_eq!(leader.tracker.parts.beat_every(lease), Duration::from_secs(2 * LEASE / 6));
    world.start(1, 1);
    world.pass(1, &mut [&mut leader]);
    assert_eq!(leader.tracker.parts.beat_every(lease), Duration::from_secs(LEASE / 6));
    world.finish(1, Then::Done);
    world.pass(1, &mut [&mut leader]);
    assert_eq!(leader.tracker.parts.beat_every(lease), Duration::from_secs(2 * LEASE / 6));
}

#[test]
fn ends_are_remembered_for_four_leases_and_those_of_runs_for_an_hour_at_least() {
    let mut world = World::new();
    let mut leader = leader_of(&world, LEASE);
    world.start(1, 1);
    world.finish(1, Then::Done);
    world.pass(1, &mut [&mut leader]);
    let remembers = |leader: &Producer| {
        (leader.tracker.parts.leases.has_settled(&name(1)), leader.tracker.parts.runs.known().over().len())
    };
    let mut after = |secs: u64| {
        world.clock.turn(Duration::from_secs(secs));
        world.step(&mut leader);
        remembers(&leader)
    };
    assert_eq!(after(3 * LEASE), (true, 1));
    assert_eq!(after(2 * LEASE), (false, 1));
    assert_eq!(after(50 * LEASE), (false, 1));
    assert_eq!(after(9 * LEASE), (false, 0));
    // With long leases they are remembered for longer.
    let mut world = World::new();
    let mut leader = leader_of(&world, 1_800);
    world.finish(1, Then::Done);
    world.pass(1, &mut [&mut leader]);
    world.clock.turn(Duration::from_secs(7_000));
    world.step(&mut leader);
    assert_eq!(remembers(&leader).1, 1);
}

#[test]
fn where_cron_runs_is_led_is_looked_up_now_and_then() {
    let mut world = World::new();
    let mut producer = world.producer("p", false);
    world.pass(5, &mut [&mut producer]);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    world.faults().decide(Box::new(move |client, call| {
        counted.fetch_add(usize::from((client, call) == ("p", Call::Topic)), Ordering::Relaxed);
        None
    }));
    world.pass(120, &mut [&mut producer]);
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..=20).contains(&asked), "{asked} times in two minutes");
}

#[test]
fn what_is_told_late_of_an_attempt_ends_no_run_that_goes_on() {
    let mut world = World::new();
    let mut leader = leader_of(&world, LEASE);
    let place = world.publish(1, 3);
    world.note(1, &place);
    world.pass(2, &mut [&mut leader]);
    let (now, at) = (world.mono(), crate::common::clock::Clock::now(&*world.clock));
    let (job, cluster) = (|| "j".parse().unwrap(), || "c".parse().unwrap());
    let second = AttemptRef { attempt: 2, ..name(1) };
    let claimed = Event::Claimed {
        attempt: second,
        job: job(),
        place: crate::common::model::Place { topic: "c-retry".to_owned(), ..place.clone() },
        consumer: "two".to_owned(),
        lease_ms: 60_000,
        at,
    };
    let lost = |attempt| Event::Lost {
        attempt,
        job: Some(job()),
        cluster: cluster(),
        scheduled_at: None,
        consumer: "one".to_owned(),
        place: place.clone(),
        then: Then::Dead,
        at,
    };
    let ended = |attempt| Event::Ended {
        attempt,
        job: job(),
        cluster: cluster(),
        scheduled_at: None,
        reason: EndReason::Unclaimable,
        detail: String::new(),
        by: "p".to_owned(),
        at,
    };
    let mut over = |event: &Event| {
        let effects = leader.tracker.parts.take_event(event, (0, 1_000), now);
        effects.iter().any(|effect| matches!(effect, Effect::Tell(RunNews::Over { .. })))
    };
    assert!(!over(&claimed));
    assert!(!over(&lost(name(1))) && !over(&ended(name(1))), "the second attempt is under way");
    assert!(over(&lost(second)));
}

#[test]
fn attempts_are_found_to_be_lost_again_after_the_log_was_cut_during_a_check() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    let other = world.start(2, 2);
    world.pass(LEASE - 5, &mut [&mut leader]);
    let meddling = Meddling::with(&world);
    meddling.blinds.store(true, Ordering::Relaxed);
    while meddling.asked() == 0 {
        world.clock.turn(Duration::from_millis(250));
        (0..60).for_each(|_| (0..2).for_each(|partition| world.alive_in(partition, 2, &other)));
        world.step(&mut leader);
    }
    // Much of what the check wants to be read is gone, nothing of what was read, and the log will not be so long again before
    // long.
    for partition in 0..2 {
        let end = world.end_of_runs(partition) - 50;
        world.faults().cut(&of(topics::RUNS, partition), end);
    }
    meddling.blinds.store(false, Ordering::Relaxed);
    world.pass(40, &mut [&mut leader]);
    world.start(3, 2);
    world.pass(2 * LEASE_AND_A_BIT, &mut [&mut leader]);
    let lost = world.lost();
    let is_third = |event: &Event| matches!(event, Event::Lost { attempt, .. } if *attempt == name(3));
    assert!(lost.iter().any(is_third), "{lost:?}");
}
