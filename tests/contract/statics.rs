//! Who a member is: member ids and instance ids, and what a new one fences.

use kafka_cron::common::broker::{BrokerError, ErrorCode, Holder, JoinRequest};

use crate::ends::End;
use crate::members::{Member, alone, pair, wish};
use crate::support::unique;

pub fn joining_again_with_the_old_id_fences_nothing(end: &impl End) {
    let (_leader, mut follower) = pair(end);
    let before = follower.holder.clone();
    follower.join_again();
    assert_eq!(follower.holder, before, "the present generation, and no new one");
    assert_eq!(follower.commit_as(&before, 1, 5), None);
    assert_eq!(follower.sync(&[]), follower.share(&[1]));
}

pub fn a_new_member_id_fences_the_old_one(end: &impl End) {
    let mut member = alone(end);
    let before = member.holder.clone();
    member.leave();
    member.request.member_id.clear();
    member.join_again();
    member.sync(&[]);
    assert_ne!(member.holder.member_id, before.member_id);
    assert_eq!(member.commit_as(&before, 0, 5), Some(ErrorCode::UnknownMemberId));
    assert_eq!((member.commit(0, 6), member.committed(0)), (None, Some(6)));
}

/// The only member of a group, by an instance id.
fn only_static(end: &dyn End) -> Member {
    let (topic, _) = end.topic(2, &[]);
    let request = JoinRequest { instance_id: Some("host-1".to_owned()), ..wish(&unique("group"), &topic) };
    let mut member = Member::join(end.client(), request);
    let mine = member.share(&[0, 1]);
    assert_eq!(member.sync(&[(member.holder.member_id.clone(), mine.clone())]), mine);
    member
}

pub fn a_second_process_with_an_instance_id_fences_the_first(end: &impl End) {
    let mut first = only_static(end);
    let request = JoinRequest { member_id: String::new(), ..first.request.clone() };
    let mut second = Member::join(end.client(), request);
    assert_eq!(second.holder.generation, first.holder.generation, "nobody else is disturbed");
    assert_ne!(second.holder.member_id, first.holder.member_id);
    assert_eq!(first.heartbeat(), Err(BrokerError::Refused(ErrorCode::FencedInstanceId)));
    assert_eq!(first.commit(0, 5), Some(ErrorCode::FencedInstanceId));
    let bare = Holder { instance_id: None, ..first.holder.clone() };
    assert_eq!(first.commit_as(&bare, 0, 5), Some(ErrorCode::UnknownMemberId), "its id is nobody's now");
    let again = first.client.join(&first.request, crate::support::soon()).map(|_| ());
    assert_eq!(again, Err(BrokerError::Refused(ErrorCode::FencedInstanceId)));
    assert_eq!((second.heartbeat(), second.commit(0, 6)), (Ok(()), None));
}

pub fn a_static_member_that_comes_back_keeps_its_share(end: &impl End) {
    let gone = only_static(end);
    let request = JoinRequest { member_id: String::new(), ..gone.request };
    let mut back = Member::join(end.client(), request);
    assert_eq!(back.sync(&[]), back.share(&[0, 1]), "and nobody shared out anew");
    let joined = &back.joined.members;
    assert!(joined.iter().all(|member| member.instance_id.as_deref() == Some("host-1")));
    back.leave();
    assert_eq!(back.heartbeat(), Err(BrokerError::Refused(ErrorCode::UnknownMemberId)));
}
