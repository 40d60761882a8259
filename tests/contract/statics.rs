//! Who a member is: member ids and instance ids, and what a new one fences.

use std::time::{Duration, Instant};

use kafka_cron::common::broker::{BrokerError, Client, ErrorCode, Holder, JoinRequest};
use kafka_cron::common::membership::{self, Change, Options};

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

pub fn a_static_leader_that_comes_back_is_told_to_share_out_nothing(end: &impl End) {
    let first = only_static(end);
    assert!(!first.joined.skips_assignment, "the first one has to share out");
    let request = JoinRequest { member_id: String::new(), ..first.request };
    let mut back = Member::join(end.client(), request);
    assert!(back.joined.skips_assignment && back.leads(), "it leads, and sees who is a member");
    let other = back.share(&[1]);
    let shares = [(back.holder.member_id.clone(), other)];
    assert_eq!(back.sync(&shares), back.share(&[0, 1]), "what it shares out all the same is ignored");
    let before = back.holder.generation;
    back.join_again();
    assert_eq!((back.holder.generation, back.joined.skips_assignment), (before + 1, false), "now it may");
}

/// A member as the programs are one. Its clock goes on by a second with each step.
struct Program {
    member: membership::Member,
    client: Box<dyn Client>,
    now: Instant,
    partitions: usize,
}

impl Program {
    fn start(end: &dyn End, group: &str, topic: &str) -> Self {
        let options = Options {
            group: group.to_owned(),
            topic: topic.to_owned(),
            instance_id: Some("host-1".to_owned()),
            session_timeout: Duration::from_secs(60),
            counts_once_taken_up: false,
        };
        let member = membership::Member::new(options);
        Self { member, client: end.client(), now: Instant::now(), partitions: 0 }
    }

    fn steps(&mut self, count: usize) -> usize {
        for _ in 0..count {
            let (change, _) = self.member.step(self.client.as_mut(), self.now);
            if let Some(Change::Assigned { partitions, .. }) = change {
                self.partitions = partitions.len();
            }
            self.now += Duration::from_secs(1);
        }
        self.partitions
    }
}

pub fn partitions_added_while_the_groups_leader_restarts_are_shared_out(end: &impl End) {
    let ((topic, _), group) = (end.topic(2, &[]), unique("group"));
    assert_eq!(Program::start(end, &group, &topic).steps(3), 2);
    end.grow_topic(&topic, 4);
    let mut restarted = Program::start(end, &group, &topic);
    assert_eq!(restarted.steps(1), 2, "its restart moves nothing");
    assert_eq!(restarted.steps(10), 4);
}
