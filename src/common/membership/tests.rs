//! Members whose answers get lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Change, Member, Options};
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{Broker, Client};
use crate::common::clock::{Clock, SystemClock};
use crate::common::topics::TopicSpec;

struct Joining {
    member: Member,
    client: Box<dyn Client>,
    /// The generation and the number of partitions of the newest share.
    share: Option<(i32, usize)>,
}

impl Joining {
    fn new(broker: &MemoryBroker, name: &str) -> Self {
        let (group, topic) = ("g".to_owned(), "t".to_owned());
        let session_timeout = Duration::from_secs(600);
        let member = Member::new(Options { group, topic, instance_id: None, session_timeout });
        Self { member, client: broker.client(name), share: None }
    }

    fn step(&mut self, now: Instant) {
        if let (Some(Change::Assigned { holder, partitions, .. }), _) =
            self.member.step(self.client.as_mut(), now)
        {
            self.share = Some((holder.generation, partitions.len()));
        }
    }
}

fn check(lost: Call, fate: Fate) {
    let broker = MemoryBroker::stepped(Arc::new(SystemClock));
    let now = SystemClock.monotonic();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 4, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, now + Duration::from_secs(1)).unwrap();
    let mut first = Joining::new(&broker, "first");
    first.step(now);
    assert_eq!(first.share, Some((1, 4)), "alone, it has all");
    let mut second = Joining::new(&broker, "second");
    second.step(now);
    broker.faults().next(lost, fate);
    for _ in 0..10 {
        first.step(now);
        second.step(now);
    }
    assert!(broker.faults().all_met(), "{lost:?} {fate:?}");
    let (first, second) = (first.share.unwrap(), second.share.unwrap());
    assert_eq!(
        (first.1, second.1, first.0 - second.0),
        (2, 2, 0),
        "{lost:?} {fate:?}: both know the same generation"
    );
}

#[test]
fn a_member_that_was_not_told_its_share_asks_again() {
    for lost in [Call::Join, Call::Sync] {
        for fate in [Fate::NotSent, Fate::RequestLost, Fate::AnswerLost] {
            check(lost, fate);
        }
    }
}

#[test]
fn a_member_that_stays_away_leaves_its_share_to_others_and_comes_back_in_time() {
    let broker = MemoryBroker::stepped(Arc::new(SystemClock));
    let now = SystemClock.monotonic();
    let spec = TopicSpec { name: "t".to_owned(), partitions: 1, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, now + Duration::from_secs(1)).unwrap();
    let (mut first, mut second) = (Joining::new(&broker, "first"), Joining::new(&broker, "second"));
    first.step(now);
    assert_eq!(first.share, Some((1, 1)));
    first.member.stay_away(Duration::from_secs(30));
    let (change, _) = first.member.step(first.client.as_mut(), now);
    assert_eq!((change, first.member.proven()), (Some(Change::Lost), None));
    second.step(now);
    assert_eq!(second.share.map(|share| share.1), Some(1), "another one has it at once");
    for after in [0, 15, 29] {
        let (change, wait) = first.member.step(first.client.as_mut(), now + Duration::from_secs(after));
        assert_eq!(change, None, "after {after} s");
        assert!(!wait.is_zero() && wait <= Duration::from_secs(1), "its thread comes round");
    }
    first.share = None;
    for _ in 0..10 {
        first.step(now + Duration::from_secs(30));
        second.step(now + Duration::from_secs(30));
    }
    assert_eq!(
        first.share.map(|share| share.1),
        Some(0),
        "it is a member again, and the share stays where it is"
    );
}
