//! Members whose answers get lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ASSIGNOR, Change, Failing, Member, Options};
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{
    Broker, Client, ErrorCode, Holder, Join, JoinRequest, Owned, Share, Subscription,
};
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
        Self::with(broker, name, None)
    }

    fn with(broker: &MemoryBroker, name: &str, instance_id: Option<&str>) -> Self {
        let (group, topic) = ("g".to_owned(), "t".to_owned());
        let session_timeout = Duration::from_secs(600);
        let instance_id = instance_id.map(str::to_owned);
        let member = Member::new(Options { group, topic, instance_id, session_timeout });
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
            (member.id, Share { owned, shared_out: None })
        };
        let shares: Vec<_> = joined.members.into_iter().map(share).collect();
        drop(stranger.sync(&holder, ASSIGNOR, &shares, by));
    };
    shares_out(stranger.as_mut(), &request);
    let mut ours = Joining::new(&broker, "ours");
    for _ in 0..5 {
        ours.step(now);
        shares_out(stranger.as_mut(), &request);
    }
    assert_eq!(ours.share, None, "it takes nothing that a stranger gives");
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
