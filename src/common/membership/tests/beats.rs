//! How often a member asks for what, and the thread that steps it.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Joining, world};
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, ErrorCode};
use crate::common::clock::{Clock, ManualClock};
use crate::common::http::Health;
use crate::common::membership::{Change, Failing, Member, Membership, Options};
use crate::common::metrics::{Beats, Metrics};
use crate::common::topics::TopicSpec;

#[test]
fn a_member_proves_its_membership_at_once_after_joining_for_joining_may_have_taken_long() {
    let (broker, now) = world(1);
    let mut joining = Joining::new(&broker, "first");
    let (change, wait) = joining.member.step(joining.client.as_mut(), now);
    assert!(matches!(change, Some(Change::Assigned { .. })), "{change:?}");
    assert_eq!(wait, Duration::ZERO);
    let later = now + Duration::from_secs(5);
    joining.member.step(joining.client.as_mut(), later);
    assert_eq!(joining.member.proven(), Some(later));
}

#[test]
fn a_member_that_leads_nothing_looks_up_no_topic() {
    let (broker, now) = world(2);
    let (mut first, mut second) = (Joining::new(&broker, "first"), Joining::new(&broker, "second"));
    first.step(now);
    let refused = Fate::Refused(ErrorCode::TopicAuthorizationFailed);
    broker
        .faults()
        .decide(Box::new(move |name, call| (name == "second" && call == Call::Topic).then_some(refused)));
    for second_of in 0..10 {
        first.step(now + Duration::from_secs(second_of));
        second.step(now + Duration::from_secs(second_of));
    }
    assert_eq!((second.share.map(|share| share.1), second.member.failing()), (Some(1), None));
}

#[test]
fn a_member_beats_once_a_second() {
    for session_secs in [6, 600] {
        let (broker, now) = world(1);
        let options = Options {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            instance_id: None,
            session_timeout: Duration::from_secs(session_secs),
            counts_once_taken_up: false,
        };
        let (mut member, mut client) = (Member::new(options), broker.client("m"));
        member.step(client.as_mut(), now);
        for _ in 0..2 {
            let (_, wait) = member.step(client.as_mut(), now);
            assert_eq!(wait, Duration::from_secs(1), "{session_secs} s");
        }
    }
}

#[test]
fn a_topic_that_is_missing_is_told_looked_for_twice_a_second_by_the_leader_alone_and_found() {
    let (broker, now) = world(2);
    broker.faults().delete_topic("t");
    let (mut first, mut second) = (Joining::new(&broker, "first"), Joining::new(&broker, "second"));
    for _ in 0..4 {
        first.step(now);
        second.step(now);
    }
    assert_eq!((first.share.unwrap().1, second.share.unwrap().1), (0, 0));
    assert_eq!(first.member.failing(), Some(&Failing::NoTopic));
    assert_eq!(second.member.failing(), Some(&Failing::NoTopic));
    let at = |milli| now + Duration::from_millis(milli);
    let wait = |joining: &mut Joining, milli| joining.member.step(joining.client.as_mut(), at(milli)).1;
    assert_eq!(wait(&mut first, 600), Duration::from_millis(500), "the leader looks");
    assert_eq!(wait(&mut second, 600), Duration::from_secs(1), "and nobody else");
    let made = broker.faults().made(Call::Topic);
    for milli in (601..1_100).step_by(10) {
        wait(&mut first, milli);
    }
    assert_eq!(broker.faults().made(Call::Topic), made, "not before it is time");
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, at(1_000)).unwrap();
    first.step(at(1_100));
    for _ in 0..4 {
        second.step(at(1_200));
        first.step(at(1_200));
    }
    assert_eq!((first.share.unwrap().1, second.share.unwrap().1), (1, 1));
    assert_eq!((first.member.failing(), second.member.failing()), (None, None));
}

/// The thread with a clock that the test turns.
#[test]
fn the_thread_beats_as_often_as_its_member_asks_tells_what_fails_and_does_what_it_is_asked() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
    let spec = TopicSpec { name: "t".to_owned(), partitions: 2, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, clock.monotonic() + PATIENCE).unwrap();
    broker.faults().refuse(Call::Join, "g", ErrorCode::GroupAuthorizationFailed);
    let metrics = Metrics::new();
    let (health, beats) = (Health::new(&metrics), Beats::new(&metrics));
    let options = Options {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        instance_id: None,
        session_timeout: Duration::from_secs(600),
        counts_once_taken_up: false,
    };
    let (membership, changes, standing) = Membership::start(
        options,
        broker.client("m"),
        Arc::<ManualClock>::clone(&clock),
        health.duty("group"),
        beats.thread("membership"),
    )
    .unwrap();
    for _ in 0..3 {
        assert!(clock.ring_next(PATIENCE), "it tries again");
    }
    let owed = health.owed();
    assert!(matches!(&owed[..], [one] if one.starts_with("group: joining group g: ")), "{owed:?}");
    broker.faults().allow(Call::Join, "g");
    let next = || {
        for _ in 0..100 {
            if let Ok(change) = changes.try_recv() {
                return change;
            }
            assert!(clock.ring_next(PATIENCE), "the thread does not come round");
        }
        panic!("it is told nothing");
    };
    let Change::Assigned { holder, .. } = next() else { panic!("it is assigned all") };
    for _ in 0..2 {
        assert!(clock.ring_next(PATIENCE));
    }
    assert_eq!(health.owed(), [""; 0]);
    let made = broker.faults().made(Call::Heartbeat);
    for _ in 0..10 {
        assert!(clock.ring_next(PATIENCE), "it waits for its next beat");
    }
    let beats = broker.faults().made(Call::Heartbeat) - made;
    assert!((8..=11).contains(&beats), "{beats} in ten seconds");
    membership.join_as_new();
    let Change::Assigned { holder: anew, .. } = next() else { panic!("it is assigned all again") };
    assert_ne!(anew.member_id, holder.member_id);
    membership.ask(crate::common::membership::Event::StayAway(Duration::from_secs(20)));
    let left = clock.monotonic();
    assert_eq!(next(), Change::Lost);
    assert!(!standing.holds(clock.monotonic(), PATIENCE), "it holds nothing while it is away");
    assert!(matches!(next(), Change::Assigned { .. }), "and comes back");
    assert!(clock.monotonic() - left >= Duration::from_secs(20));
}

#[test]
fn a_leader_looks_for_more_partitions_every_five_seconds() {
    let (broker, now) = world(2);
    let mut joining = Joining::new(&broker, "m");
    joining.step(now);
    let looked = |second: u64, joining: &mut Joining| {
        let before = broker.faults().made(Call::Topic);
        joining.step(now + Duration::from_secs(second));
        broker.faults().made(Call::Topic) > before
    };
    let looked_at: Vec<u64> = (1..=16).filter(|second| looked(*second, &mut joining)).collect();
    assert_eq!(looked_at, [1, 6, 11, 16]);
}

#[test]
fn a_member_with_a_short_session_beats_six_times_in_it() {
    let beats_every = |session_ms: u64| {
        let (group, topic, instance_id) = ("g".to_owned(), "t".to_owned(), None);
        let session_timeout = Duration::from_millis(session_ms);
        let options = Options { group, topic, instance_id, session_timeout, counts_once_taken_up: false };
        Member::new(options).beat_every().as_millis()
    };
    assert_eq!([3_000, 6_000, 45_000].map(beats_every), [500, 1_000, 1_000]);
}
