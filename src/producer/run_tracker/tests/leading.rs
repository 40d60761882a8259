//! Which producer decides, and when none may.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::fixture::{LEASE, LEASE_AND_A_BIT, World, of};
use crate::common::broker::ErrorCode;
use crate::common::broker::memory::{Call, Fate};
use crate::common::topics;
use crate::producer::run_tracker::messages::FollowRequest;
use crate::producer::run_tracker::notes::Note;

#[test]
fn a_standby_decides_nothing_and_a_new_leader_waits_a_lease() {
    let mut world = World::new();
    let mut standby = world.producer("p", false);
    world.start(1, 2);
    world.pass(10 * LEASE, &mut [&mut standby]);
    assert_eq!((world.fates(), standby.tracker.watched()), ((0, 0, 0), 1));
    standby.leads = true;
    world.pass(LEASE - 1, &mut [&mut standby]);
    assert_eq!(world.fates(), (0, 0, 0));
    world.pass(LEASE_AND_A_BIT - LEASE + 1, &mut [&mut standby]);
    assert_eq!(world.fates(), (1, 0, 1));
}

/// With a fate for each call of the leader's of a kind nothing is declared, and once it is over a lease must pass.
fn check_blind(call: Call, fate: Fate) {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    let of_leader = move |client: &str, of: Call| (client == "p" && of == call).then_some(fate);
    world.faults().decide(Box::new(of_leader));
    world.pass(10 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "{call:?} {fate:?}");
    world.faults().decide(Box::new(|_, _| None));
    world.pass(LEASE - 10, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "{call:?} {fate:?}: the lease starts anew");
    world.pass(LEASE_AND_A_BIT - LEASE + 10, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1), "{call:?} {fate:?}");
}

#[test]
fn a_leader_that_does_not_see_the_end_declares_nothing() {
    check_blind(Call::Produce, Fate::RequestLost);
    check_blind(Call::Produce, Fate::Refused(ErrorCode::NotEnoughReplicas));
    check_blind(Call::Fetch, Fate::NotSent);
}

#[test]
fn a_leader_that_cannot_ask_for_the_offset_declares_nothing() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    let refused = Fate::Refused(ErrorCode::UnstableOffsetCommit);
    world.faults().decide(Box::new(move |_, call| (call == Call::Committed).then_some(refused)));
    world.pass(10 * LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0));
    world.faults().decide(Box::new(|_, _| None));
    world.pass(5, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1), "nothing is to be waited for when it can be asked");
}

#[test]
fn a_partition_that_is_away_for_a_while_starts_the_leases_anew() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    world.pass(30, &mut [&mut leader]);
    for partition in 0..2 {
        world.faults().lead(&of(topics::RUNS, partition), None);
        world.pass(25, &mut [&mut leader]);
        world.faults().lead(&of(topics::RUNS, partition), Some(1));
        world.pass(5, &mut [&mut leader]);
    }
    assert_eq!(
        world.fates(),
        (0, 0, 0),
        "90 seconds, in none of which a consumer could have said that it is alive"
    );
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn a_leader_that_was_stopped_waits_a_lease() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let place = world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    world.clock.turn(Duration::from_secs(10 * LEASE));
    world.pass(LEASE - 5, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0), "what was written meanwhile is read first");
    world.alive(1, &place, "one");
    world.pass(LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0));
    world.pass(LEASE_AND_A_BIT - LEASE, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn a_leader_that_dies_before_it_says_lost_is_followed_by_one_that_writes_the_same_attempt() {
    let mut world = World::new();
    let mut first = world.producer("p", true);
    let mut second = world.producer("q", false);
    world.start(1, 2);
    world.pass(LEASE, &mut [&mut second, &mut first]);
    let mut seconds = 0;
    while world.retried().is_empty() {
        seconds += 1;
        assert!(seconds < LEASE, "nothing was passed on");
        world.pass(1, &mut [&mut second]);
        // Of a step in which no beat is due, the first write is the next attempt.
        let beats = !first.beats_due(world.mono()).is_empty();
        let writes = AtomicUsize::new(0);
        world.faults().decide(Box::new(move |client, call| {
            let counts = client == "p" && call == Call::Produce && !beats;
            (counts && writes.fetch_add(1, Ordering::Relaxed) > 0).then_some(Fate::RequestLost)
        }));
        world.step(&mut first);
        world.faults().decide(Box::new(|_, _| None));
    }
    drop(first);
    assert_eq!(world.fates(), (1, 0, 0), "it died in between");
    second.leads = true;
    world.pass(LEASE_AND_A_BIT, &mut [&mut second]);
    assert_eq!(world.fates(), (2, 0, 1));
    let names: Vec<_> = world.retried().iter().map(|next| (next.run.id, next.attempt)).collect();
    assert_eq!(names[0], names[1], "a copy, which consumers drop");
}

#[test]
fn nothing_is_said_to_be_lost_before_its_letter_is_confirmed() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 0);
    world.pass(5, &mut [&mut leader]);
    world.faults().lead(&of("c-dead", 0), None);
    world.pass(3 * LEASE, &mut [&mut leader]);
    assert_eq!(world.lost(), []);
    world.faults().lead(&of("c-dead", 0), Some(1));
    world.pass(5, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 1, 1));
}

#[test]
fn what_could_not_be_written_is_written_later() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    world.faults().lead(&of("c-retry", 0), None);
    world.pass(3 * LEASE, &mut [&mut leader]);
    assert_eq!(world.lost(), []);
    world.faults().lead(&of("c-retry", 0), Some(1));
    world.pass(5, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1));
}

#[test]
fn a_leader_sees_which_producers_have_another_job_file_and_that_they_have_it_no_more() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    let (mut same, mut other) = (world.producer("q", false), world.producer("r", false));
    other.tracker.handle(FollowRequest::Active("old".into(), "2026f".into()));
    world.pass(25, &mut [&mut leader, &mut same, &mut other]);
    assert_eq!(leader.tracker.differing(), 0, "a deploy takes a while");
    world.pass(20, &mut [&mut leader, &mut same, &mut other]);
    let differing = |producer: &super::fixture::Producer| producer.tracker.differing();
    assert_eq!((differing(&leader), differing(&same), differing(&other)), (1, 0, 0));
    let others = vec![("r".to_owned(), "old".to_owned())];
    assert_eq!(leader.notes, [Note::FilesDiffer { others, ours: "r".to_owned() }]);
    other.tracker.handle(FollowRequest::Active("r".into(), "2026f".into()));
    world.pass(15, &mut [&mut leader, &mut same, &mut other]);
    assert_eq!(leader.tracker.differing(), 0);
    other.tracker.handle(FollowRequest::Active("r".into(), "2026g".into()));
    world.pass(45, &mut [&mut leader, &mut same, &mut other]);
    let zones = |producer: &super::fixture::Producer| producer.tracker.zones_differing();
    assert_eq!((zones(&leader), zones(&same), zones(&other), leader.tracker.differing()), (1, 0, 0, 0));
    let others = vec![("r".to_owned(), "2026g".to_owned())];
    let ours = || "2026f".to_owned();
    let agree = Note::FilesAgree { ours: "r".to_owned() };
    assert_eq!(leader.notes[1..], [agree, Note::ZonesDiffer { others, ours: ours() }]);
    other.tracker.handle(FollowRequest::Active("r".into(), "2026f".into()));
    world.pass(15, &mut [&mut leader, &mut same, &mut other]);
    assert_eq!(leader.notes[3..], [Note::ZonesAgree { ours: ours() }]);
}

#[test]
fn a_leader_misses_its_beats_only_where_they_were_written_and_are_not_read_back() {
    let check = |call: Option<Call>, expected: bool| {
        let mut world = World::new();
        let mut leader = world.producer("p", true);
        world.pass(5, &mut [&mut leader]);
        assert!(!leader.misses_beats(), "all is well");
        let of_leader =
            move |client: &str, of: Call| (client == "p" && Some(of) == call).then_some(Fate::NotSent);
        world.faults().decide(Box::new(of_leader));
        world.pass(LEASE, &mut [&mut leader]);
        assert_eq!(leader.misses_beats(), expected, "{call:?}");
        let delay = leader.tracker.beat_delay(world.mono());
        assert_eq!(delay > Duration::from_secs(2), expected, "{call:?}: {delay:?}");
    };
    check(None, false);
    check(Some(Call::Produce), false);
    check(Some(Call::Fetch), true);
}

#[test]
fn the_log_says_once_that_beats_fail_and_once_that_they_are_read_back_again() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    world.pass(5, &mut [&mut leader]);
    assert_eq!(leader.notes, []);
    let of_leader = |client: &str, of: Call| client == "p" && of == Call::Produce;
    world.faults().decide(Box::new(move |client, of| of_leader(client, of).then_some(Fate::NotSent)));
    world.pass(LEASE, &mut [&mut leader]);
    world.faults().decide(Box::new(|_, _| None));
    world.pass(LEASE, &mut [&mut leader]);
    let said: Vec<String> = leader.notes.iter().map(ToString::to_string).collect();
    let starts =
        ["a beat on cron-runs/0: ", "a beat on cron-runs/1: ", "the end of cron-runs is out of sight"];
    let starts = [&starts[..], &["the end of cron-runs is in sight again"]].concat();
    assert!(said.len() == starts.len(), "{said:?}");
    assert!(said.iter().zip(&starts).all(|(said, start)| said.starts_with(start)), "{said:?}");
}

#[test]
fn a_tail_is_behind_while_there_is_more_to_read_at_once() {
    let mut world = World::new();
    let mut standby = world.producer("p", false);
    world.pass(5, &mut [&mut standby]);
    assert!(!standby.tracker.is_behind(), "all was read");
    standby.tracker.handle(FollowRequest::Follow(super::fixture::followed(&["j"])));
    world.start(1, 0);
    world.step(&mut standby);
    assert!(standby.tracker.is_behind(), "it reads all again");
    world.pass(5, &mut [&mut standby]);
    assert!(!standby.tracker.is_behind());
}
