//! Members whose answers get lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ASSIGNOR, Change, Failing, Member, Options};
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{
    Broker, Client, ErrorCode, Holder, Join, JoinRequest, Owned, Share, Subscription,
};
use crate::common::clock::{Clock, ManualClock, SystemClock};
use crate::common::http::Health;
use crate::common::membership::Membership;
use crate::common::metrics::{Beats, Metrics};
use crate::common::topics::TopicSpec;

struct Joining {
    member: Member,
    client: Box<dyn Client>,
    /// The generation and the number of partitions of the newest share.
    share: Option<(i32, usize)>,
    /// Whether the group had just been started then.
    is_first: bool,
}

impl Joining {
    fn new(broker: &MemoryBroker, name: &str) -> Self {
        Self::with(broker, name, None)
    }

    fn with(broker: &MemoryBroker, name: &str, instance_id: Option<&str>) -> Self {
        let (group, topic) = ("g".to_owned(), "t".to_owned());
        let session_timeout = Duration::from_secs(600);
        let instance_id = instance_id.map(str::to_owned);
        let member = Member::new(Options { group, topic, instance_id, session_timeout });
        Self { member, client: broker.client(name), share: None, is_first: false }
    }

    fn step(&mut self, now: Instant) {
        if let (Some(Change::Assigned { holder, partitions, is_first, .. }), _) =
            self.member.step(self.client.as_mut(), now)
        {
            self.share = Some((holder.generation, partitions.len()));
            self.is_first = is_first;
        }
    }
}

/// A broker with the topic `t`, and the instant.
fn world(partitions: i32) -> (MemoryBroker, Instant) {
    let broker = MemoryBroker::stepped(Arc::new(SystemClock));
    let now = SystemClock.monotonic();
    let spec = TopicSpec { name: "t".to_owned(), partitions, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, now + Duration::from_secs(1)).unwrap();
    (broker, now)
}

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
fn whoever_was_fenced_stays_out_whatever_it_is_asked() {
    let (broker, now) = world(2);
    let mut first = Joining::with(&broker, "first", Some("i"));
    first.step(now);
    let mut second = Joining::with(&broker, "second", Some("i"));
    second.step(now);
    assert_eq!(first.member.step(first.client.as_mut(), now).0, Some(Change::Fenced));
    // A claim whose answer was lost asks for this.
    first.member.join_as_new();
    first.member.stay_away(Duration::from_secs(1));
    for second in 1..5 {
        let (change, wait) = first.member.step(first.client.as_mut(), now + Duration::from_secs(second));
        assert_eq!((change, wait > Duration::from_secs(1)), (None, true));
    }
    assert_eq!(first.member.failing(), Some(&Failing::Fenced));
    second.share = None;
    second.step(now + Duration::from_secs(5));
    assert_eq!((second.share, second.member.failing()), (None, None), "the other goes on as it was");
}

#[test]
fn members_take_no_part_where_another_program_shares_out() {
    let (broker, now) = world(2);
    let by = now + Duration::from_secs(600);
    let mut stranger = broker.client("stranger");
    let mut request = JoinRequest {
        group: "g".to_owned(),
        member_id: String::new(),
        instance_id: None,
        session_timeout: Duration::from_secs(600),
        rebalance_timeout: Duration::from_secs(600),
        protocol: ASSIGNOR.to_owned(),
        subscription: Subscription::default(),
    };
    let Ok(Join::Named(member_id)) = stranger.join(&request, by) else { panic!("it is told its id") };
    request.member_id = member_id;
    let shares_out = |stranger: &mut dyn Client, request: &JoinRequest| {
        let Ok(Join::Joined(joined)) = stranger.join(request, by) else { return };
        let holder = Holder {
            group: "g".to_owned(),
            member_id: joined.member_id,
            instance_id: None,
            generation: joined.generation,
        };
        let share = |member: crate::common::broker::Member| {
            let owned = vec![Owned { topic: "t".to_owned(), partitions: vec![0, 1] }];
            (member.id, Share { owned, shared_out: None, is_first: false })
        };
        let shares: Vec<_> = joined.members.into_iter().map(share).collect();
        drop(stranger.sync(&holder, ASSIGNOR, &shares, by));
    };
    shares_out(stranger.as_mut(), &request);
    let mut ours = Joining::new(&broker, "ours");
    let mut left_at = Vec::new();
    for second in 0..30 {
        let left = broker.faults().made(Call::Leave);
        let (change, _) = ours.member.step(ours.client.as_mut(), now + Duration::from_secs(second));
        assert_eq!(change, None, "it takes nothing that a stranger gives, and loses nothing by it");
        left_at.extend((broker.faults().made(Call::Leave) > left).then_some(second));
        shares_out(stranger.as_mut(), &request);
    }
    assert!(left_at.len() > 2 && left_at.windows(2).all(|two| two[1] - two[0] >= 5), "{left_at:?}");
    assert_eq!((ours.member.failing(), ours.member.proven()), (Some(&Failing::Strangers), None));
}

/// How many calls of a kind a member makes in a minute in which each is refused. It takes its steps when it asks for
/// them.
fn made_while_refused(call: Call, code: ErrorCode, is_member: bool) -> usize {
    let (broker, began) = world(2);
    let mut joining = Joining::new(&broker, "m");
    if is_member {
        joining.step(began);
    }
    let of = if call == Call::Topic { "t" } else { "g" };
    broker.faults().refuse(call, of, code);
    let before = broker.faults().made(call);
    let (mut now, mut steps) = (began, 0);
    while now < began + Duration::from_secs(60) {
        let (_, wait) = joining.member.step(joining.client.as_mut(), now);
        steps += 1;
        assert!(steps < 1_000, "{call:?} {code}: it spins");
        now += wait;
    }
    // With a heartbeat that is answered so it joins again, and well.
    let is_well = (call, code) == (Call::Heartbeat, ErrorCode::RebalanceInProgress);
    assert_eq!(joining.member.failing().is_some(), !is_well, "{call:?} {code}: who is told?");
    broker.faults().made(call) - before
}

#[test]
fn no_refusal_makes_a_member_ask_again_and_again() {
    for code in [
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::CoordinatorLoading,
        ErrorCode::NotCoordinator,
        ErrorCode::InvalidSessionTimeout,
        ErrorCode::InconsistentGroupProtocol,
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::UnknownMemberId,
        ErrorCode::IllegalGeneration,
        ErrorCode::RebalanceInProgress,
        ErrorCode::Other(-1),
    ] {
        for (call, is_member) in
            [(Call::Join, false), (Call::Sync, false), (Call::Topic, false), (Call::Heartbeat, true)]
        {
            let made = made_while_refused(call, code, is_member);
            assert!((1..=130).contains(&made), "{call:?} {code}: made {made} times in a minute");
        }
    }
}

#[test]
fn a_member_that_is_asked_to_join_as_new_without_end_rests_in_between() {
    let (broker, now) = world(2);
    let mut member = Joining::new(&broker, "m");
    for milli in 0..5_000 {
        member.member.join_as_new();
        member.step(now + Duration::from_millis(milli));
    }
    // Its leaving is a generation as well.
    let generations = member.share.unwrap().0;
    assert!((8..=24).contains(&generations), "{generations} in five seconds");
}

#[test]
fn a_member_that_stays_away_leaves_its_share_to_others_and_comes_back_in_time() {
    let (broker, now) = world(1);
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

#[test]
fn a_member_is_missing_while_it_is_outside_and_not_by_its_own_wish() {
    let (broker, now) = world(1);
    let mut first = Joining::with(&broker, "first", Some("i"));
    assert!(first.member.is_missing(), "it has not joined yet");
    first.step(now);
    assert!(!first.member.is_missing(), "it is a member");
    first.member.stay_away(Duration::from_secs(5));
    first.step(now);
    assert!(!first.member.is_missing(), "it was asked to stay away");
    first.step(now + Duration::from_secs(5));
    broker.faults().refuse(Call::Heartbeat, "g", ErrorCode::UnknownMemberId);
    first.step(now + Duration::from_secs(6));
    assert!(first.member.is_missing(), "the coordinator does not know it");
    broker.faults().allow(Call::Heartbeat, "g");
    first.step(now + Duration::from_secs(7));
    Joining::with(&broker, "second", Some("i")).step(now + Duration::from_secs(8));
    first.step(now + Duration::from_secs(9));
    assert_eq!(first.member.failing(), Some(&Failing::Fenced));
    assert!(!first.member.is_missing(), "it will never be one again");
}

#[test]
fn a_member_leaves_the_group_once_and_a_static_one_leaves_it_to_its_session() {
    for (instance_id, joins, leaves) in [(None, true, 1), (None, false, 0), (Some("i"), true, 0)] {
        let (broker, now) = world(1);
        let mut joining = Joining::with(&broker, "m", instance_id);
        if joins {
            joining.step(now);
        }
        for change in [joins.then_some(Change::Lost), None] {
            joining.member.stay_away(Duration::from_secs(5));
            assert_eq!(joining.member.step(joining.client.as_mut(), now).0, change);
        }
        assert_eq!(broker.faults().made(Call::Leave), leaves, "{instance_id:?}");
    }
}

#[test]
fn a_member_that_the_coordinator_no_longer_knows_has_lost_its_share_and_asks_again_at_once() {
    for code in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration] {
        let (broker, now) = world(2);
        let mut joining = Joining::new(&broker, "m");
        joining.step(now);
        for fate in [Fate::NotSent, Fate::Refused(ErrorCode::NotCoordinator)] {
            broker.faults().next(Call::Heartbeat, fate);
            let (change, rest) = joining.member.step(joining.client.as_mut(), now);
            assert!(change.is_none() && !rest.is_zero(), "{fate:?} says nothing about its membership");
        }
        broker.faults().next(Call::Heartbeat, Fate::Refused(code));
        let found = joining.member.step(joining.client.as_mut(), now);
        assert_eq!(found, (Some(Change::Lost), Duration::ZERO), "{code}");
        assert_eq!(joining.member.proven(), None);
        broker.faults().next(Call::Join, Fate::Refused(code));
        let (change, rest) = joining.member.step(joining.client.as_mut(), now);
        assert!(change.is_none() && !rest.is_zero(), "it has nothing more to lose, and does not hurry again");
    }
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
    membership.stay_away(Duration::from_secs(20));
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
        Member::new(Options { group, topic, instance_id, session_timeout }).beat_every().as_millis()
    };
    assert_eq!([3_000, 6_000, 45_000].map(beats_every), [500, 1_000, 1_000]);
}
