//! Members come and go.

use std::time::{Duration, Instant};

use kafka_cron::common::broker::{BrokerError, ErrorCode, Join, JoinRequest, Share};

use crate::ends::End;
use crate::members::{BY_HAND, Member, alone, join, join_beside, pair, wish};
use crate::support::{soon, unique};

pub fn members_get_what_their_leader_shares_out(end: &impl End) {
    let (mut leader, mut follower) = pair(end);
    let ids: Vec<&str> = leader.joined.members.iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&follower.holder.member_id.as_str()));
    let subscription = &leader.joined.members[0].subscription;
    assert_eq!(*subscription, leader.request.subscription, "it comes as it was sent");
    assert_eq!((leader.heartbeat(), follower.heartbeat()), (Ok(()), Ok(())));
    // Asked again, the share is the same.
    assert_eq!(follower.sync(&[]), follower.share(&[1]));
}

pub fn a_follower_waits_for_the_leaders_shares(end: &impl End) {
    let mut leader = alone(end);
    let request = wish(&leader.request.group, &leader.of(0).topic);
    let mut follower = join_beside(end, &mut leader, request);
    let soon = Instant::now() + Duration::from_millis(300);
    let early = follower.client.sync(&follower.holder, BY_HAND, &[], soon);
    assert!(matches!(early, Err(BrokerError::NoAnswer(_))), "{early:?}");
    assert_eq!(follower.heartbeat(), Ok(()), "who waits for shares is alive");
    let shares = [(follower.holder.member_id.clone(), leader.share(&[0, 1]))];
    assert_eq!(leader.sync(&shares), Share::default(), "who is left out has nothing");
    assert_eq!(follower.sync(&[]), leader.share(&[0, 1]));
}

pub fn leaving_makes_the_others_share_out_anew(end: &impl End) {
    let (mut leader, mut follower) = pair(end);
    let before = leader.holder.generation;
    leader.leave();
    assert_eq!(leader.heartbeat(), Err(BrokerError::Refused(ErrorCode::UnknownMemberId)));
    follower.follow();
    assert_eq!(follower.holder.generation, before + 1);
    assert_eq!(follower.joined.members.len(), 1, "and now it leads");
}

pub fn a_new_member_is_one_under_the_id_that_it_was_told_however_often_it_asks(end: &impl End) {
    let (topic, _) = end.topic(2, &[]);
    let request = wish(&unique("group"), &topic);
    let Ok(Join::Named(member_id)) = end.client().join(&request, soon()) else { panic!("it is told its id") };
    let named = JoinRequest { member_id: member_id.clone(), ..request };
    // As if the answer to this had been lost.
    Member::join(end.client(), named.clone());
    let mut member = Member::join(end.client(), named);
    assert_eq!((&member.holder.member_id, member.joined.members.len()), (&member_id, 1), "and no ghost");
    let mine = member.share(&[0, 1]);
    assert_eq!(member.sync(&[(member_id, mine.clone())]), mine);
}

pub fn a_silent_member_is_put_out_when_its_session_ends(end: &impl End) {
    let (topic, _) = end.topic(2, &[]);
    let shortest = Duration::from_secs(6);
    let request = JoinRequest { session_timeout: shortest, ..wish(&unique("group"), &topic) };
    let mut silent = Member::join(end.client(), request.clone());
    let began = Instant::now();
    silent.sync(&[]);
    // The newcomer waits for the silent one, for half a minute if need be, but only as long as that is a member.
    let newcomer =
        Member::join(end.client(), JoinRequest { rebalance_timeout: Duration::from_secs(18), ..request });
    let waited = began.elapsed();
    assert!(waited >= shortest - Duration::from_millis(500), "{waited:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    assert_eq!(newcomer.joined.members.len(), 1);
    assert_eq!(silent.heartbeat(), Err(BrokerError::Refused(ErrorCode::UnknownMemberId)));
}

pub fn the_leader_that_joins_again_begins_a_new_generation(end: &impl End) {
    let mut leader = alone(end);
    let before = leader.holder.clone();
    leader.join_again();
    assert_eq!(leader.holder.generation, before.generation + 1);
    assert_eq!(leader.holder.member_id, before.member_id);
}

pub fn members_that_do_not_fit_are_refused(end: &impl End) {
    let mut leader = alone(end);
    let request = wish(&leader.request.group, &leader.of(0).topic);
    let mut client = end.client();
    let mut check = |request: JoinRequest, code: ErrorCode| {
        let refused = join(&mut *client, request.clone()).map(|_| ());
        assert_eq!(refused, Err(BrokerError::Refused(code)), "{request:?}");
    };
    let other = JoinRequest { protocol: "other".to_owned(), ..request.clone() };
    check(other, ErrorCode::InconsistentGroupProtocol);
    let short = JoinRequest { session_timeout: Duration::from_secs(5), ..request.clone() };
    check(short, ErrorCode::InvalidSessionTimeout);
    check(JoinRequest { member_id: "stranger".to_owned(), ..request.clone() }, ErrorCode::UnknownMemberId);
    let group = unique("group");
    check(JoinRequest { member_id: "stranger".to_owned(), group, ..request }, ErrorCode::UnknownMemberId);
    assert_eq!(leader.heartbeat(), Ok(()), "the group is as it was");
    let wrong = leader.client.sync(&leader.holder, "other", &[], soon());
    assert_eq!(wrong, Err(BrokerError::Refused(ErrorCode::InconsistentGroupProtocol)));
    leader.holder.generation -= 1;
    let stale = leader.client.sync(&leader.holder, BY_HAND, &[], soon());
    assert_eq!(stale, Err(BrokerError::Refused(ErrorCode::IllegalGeneration)));
}
