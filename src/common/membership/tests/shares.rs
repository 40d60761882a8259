//! Shares, also where answers get lost.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Joining, options, world};
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, ErrorCode};
use crate::common::clock::{Clock, SystemClock};
use crate::common::membership::Options;
use crate::common::topics::TopicSpec;

/// The second of two members meets a fate in its call of that kind after `before` others.
fn check(lost: Call, before: usize, fate: Fate) {
    let (broker, now) = world(4);
    let mut first = Joining::new(&broker, "first");
    first.step(now);
    assert_eq!(first.share, Some((1, 4)), "alone, it has all");
    let mut second = Joining::new(&broker, "second");
    let mut met = 0;
    broker.faults().decide(Box::new(move |name, call| {
        let is_it = name == "second" && call == lost;
        met += usize::from(is_it);
        (is_it && met == before + 1).then_some(fate)
    }));
    second.step(now);
    for _ in 0..10 {
        first.step(now);
        second.step(now);
    }
    assert!(broker.faults().made(lost) > before, "{lost:?} {fate:?}");
    let (first, second) = (first.share.unwrap(), second.share.unwrap());
    assert_eq!(
        (first.1, second.1, first.0 - second.0),
        (2, 2, 0),
        "{lost:?} after {before}, {fate:?}: both know the same generation, and nobody else is in it"
    );
}

#[test]
fn a_member_that_was_not_told_its_share_asks_again() {
    // Of the two requests by which a new one joins, the second makes it a member.
    for (lost, before) in [(Call::Join, 1), (Call::Sync, 0)] {
        for fate in [Fate::NotSent, Fate::RequestLost, Fate::AnswerLost] {
            check(lost, before, fate);
        }
    }
    check(Call::Join, 0, Fate::NotSent);
    check(Call::Join, 0, Fate::RequestLost);
}

#[test]
fn a_member_without_a_share_is_no_proven_holder() {
    let (broker, now) = world(1);
    let (mut first, mut second) = (Joining::new(&broker, "first"), Joining::new(&broker, "second"));
    for _ in 0..10 {
        first.step(now);
        second.step(now);
    }
    assert_eq!((first.share.unwrap().1, second.share.unwrap().1), (1, 0));
    assert_eq!((first.member.proven(), second.member.proven()), (Some(now), Some(now)), "both are members");
    assert_eq!((first.member.proven_holder(), second.member.proven_holder()), (Some(now), None));
}

#[test]
fn a_group_has_just_been_started_until_one_of_its_members_was_assigned_something() {
    let broker = MemoryBroker::stepped(Arc::new(SystemClock));
    let now = SystemClock.monotonic();
    let at = |second| now + Duration::from_secs(second);
    let mut first = Joining::new(&broker, "first");
    (0..10).for_each(|later| first.step(at(later)));
    let spec = TopicSpec { name: "t".to_owned(), partitions: 1, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, at(20)).unwrap();
    (10..20).for_each(|later| first.step(at(later)));
    assert_eq!(first.share.unwrap().1, 1);
    assert!(first.is_first, "while the topic was not there, there was no assignment");
    let mut second = Joining::new(&broker, "second");
    for later in 20..30 {
        second.step(at(later));
        first.step(at(later));
    }
    assert!(second.share.is_some() && !first.is_first && !second.is_first);
    // A process that comes back under another id has not just been started.
    drop(second.client);
    first.member.join_as_new();
    (30..40).for_each(|later| first.step(at(later)));
    assert!(!first.is_first);
}

#[test]
fn a_group_whose_members_count_once_they_have_taken_up_their_share_has_just_been_started_until_then() {
    let (broker, now) = world(1);
    let joining = |name| Joining::of(&broker, name, Options { counts_once_taken_up: true, ..options() });
    let mut first = joining("first");
    first.step(now);
    assert_eq!((first.share, first.is_first), (Some((1, 1)), true));
    let step = |members: &mut [&mut Joining]| {
        (0..10).for_each(|_| members.iter_mut().for_each(|member| member.step(now)));
    };
    let mut second = joining("second");
    step(&mut [&mut second, &mut first]);
    assert_eq!((first.share, second.share), (Some((2, 1)), Some((2, 0))), "who has it keeps it");
    assert!(first.is_first && second.is_first, "nobody has begun");
    first.member.taken_up();
    let mut third = joining("third");
    step(&mut [&mut third, &mut second, &mut first]);
    assert!(third.share.is_some() && !first.is_first && !second.is_first && !third.is_first);
}

#[test]
fn partitions_that_are_added_while_the_leader_restarts_are_shared_out() {
    let (broker, now) = world(2);
    let mut before = Joining::with(&broker, "before", Some("i"));
    before.step(now);
    assert_eq!(before.share, Some((1, 2)));
    broker.faults().grow_topic("t", 6);
    let mut after = Joining::with(&broker, "after", Some("i"));
    after.step(now);
    assert_eq!(after.share, Some((1, 2)), "its restart moves nothing");
    for second in 1..10 {
        after.step(now + Duration::from_secs(second));
    }
    assert_eq!(after.share, Some((2, 6)), "and then it finds the others");
    for second in 10..20 {
        after.step(now + Duration::from_secs(second));
    }
    assert_eq!(after.share, Some((2, 6)), "once");
}

#[test]
fn a_restart_of_a_static_leader_moves_nothing_where_nothing_was_added() {
    let (broker, now) = world(2);
    Joining::with(&broker, "before", Some("i")).step(now);
    let mut after = Joining::with(&broker, "after", Some("i"));
    for second in 0..20 {
        after.step(now + Duration::from_secs(second));
    }
    assert_eq!(after.share, Some((1, 2)));
}

#[test]
fn a_member_that_meets_the_next_rebalance_while_it_asks_for_its_share_joins_that_at_once() {
    let (broker, now) = world(2);
    let mut joining = Joining::new(&broker, "m");
    broker.faults().next(Call::Sync, Fate::Refused(ErrorCode::RebalanceInProgress));
    assert_eq!(joining.member.step(joining.client.as_mut(), now), (None, Duration::ZERO));
    joining.step(now);
    assert_eq!(joining.share.map(|share| share.1), Some(2));
}
