//! Members that leave, stay away, or are kept out.

use std::time::Duration;

use super::fixture::{Joining, world};
use crate::common::broker::memory::{Call, Fate};
use crate::common::broker::{
    Broker, Client, ErrorCode, Holder, Join, JoinRequest, Owned, Share, Subscription,
};
use crate::common::membership::{ASSIGNOR, Change, Failing};

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
fn a_member_leaves_the_group_once_and_a_static_one_leaves_it_to_its_session_unless_it_hands_over() {
    for (instance_id, joins, hands_over, leaves) in [
        (None, true, false, 1),
        (None, false, false, 0),
        (Some("i"), true, false, 0),
        (Some("i"), true, true, 1),
        (Some("i"), false, true, 0),
    ] {
        let (broker, now) = world(1);
        let mut joining = Joining::with(&broker, "m", instance_id);
        if joins {
            joining.step(now);
        }
        if hands_over {
            joining.member.hand_over();
        }
        for change in [joins.then_some(Change::Lost), None] {
            joining.member.stay_away(Duration::from_secs(5));
            assert_eq!(joining.member.step(joining.client.as_mut(), now).0, change);
        }
        assert_eq!(broker.faults().made(Call::Leave), leaves, "{instance_id:?}, hands over: {hands_over}");
        let mut other = Joining::with(&broker, "other", Some("o"));
        other.step(now);
        assert_eq!(other.share.is_some(), leaves > 0 || !joins, "the share is there for others");
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
