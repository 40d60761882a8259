//! Commits: in whose name they are let through.

use kafka_cron::common::broker::{BrokerError, Commit, ErrorCode, Holder, TopicPartition};

use crate::ends::End;
use crate::members::{Member, alone, pair, share_out, wish};
use crate::support::{soon, unique};

pub fn a_commit_under_another_generation_is_refused(end: &impl End) {
    let mut member = alone(end);
    assert_eq!(member.committed(0), None);
    assert_eq!(member.commit(0, 3), None);
    assert_eq!(member.committed(0), Some(3));
    for generation in [member.holder.generation - 1, member.holder.generation + 1] {
        let stale = Holder { generation, ..member.holder.clone() };
        assert_eq!(member.commit_as(&stale, 0, 5), Some(ErrorCode::IllegalGeneration));
        let beat = member.client.heartbeat(&stale, soon());
        assert_eq!(beat, Err(BrokerError::Refused(ErrorCode::IllegalGeneration)));
    }
    assert_eq!(member.committed(0), Some(3));
    assert_eq!(member.commit(0, 1), None, "an offset may go back");
    assert_eq!(member.committed(0), Some(1));
}

pub fn a_commit_by_somebody_else_is_refused(end: &impl End) {
    let (mut leader, mut follower) = pair(end);
    let stranger = Holder { member_id: "stranger".to_owned(), ..leader.holder.clone() };
    assert_eq!(leader.commit_as(&stranger, 0, 5), Some(ErrorCode::UnknownMemberId));
    let nobody = Holder { member_id: String::new(), generation: -1, ..leader.holder.clone() };
    assert_eq!(leader.commit_as(&nobody, 0, 5), Some(ErrorCode::UnknownMemberId));
    follower.leave();
    assert_eq!(follower.commit(1, 5), Some(ErrorCode::UnknownMemberId));
    let gone = follower.client.leave(&follower.holder, soon());
    assert_eq!(gone, Err(BrokerError::Refused(ErrorCode::UnknownMemberId)));
    let unheard_of = Holder { group: unique("group"), ..leader.holder.clone() };
    assert_eq!(leader.commit_as(&unheard_of, 0, 5), Some(ErrorCode::IllegalGeneration));
    assert_eq!((leader.committed(0), leader.committed(1)), (None, None));
}

/// This is what claims must live with: a commit under the right generation counts, whoever was assigned what.
pub fn any_member_may_commit_any_partition(end: &impl End) {
    let (mut leader, mut follower) = pair(end);
    assert_eq!(follower.commit(0, 7), None);
    assert_eq!(leader.committed(0), Some(7));
}

pub fn an_empty_group_takes_commits_without_a_generation(end: &impl End) {
    let mut member = alone(end);
    member.leave();
    let nobody = Holder { member_id: String::new(), generation: -1, ..member.holder.clone() };
    assert_eq!(member.commit_as(&nobody, 0, 4), None);
    assert_eq!(member.committed(0), Some(4));
    let new = Holder { group: unique("group"), ..nobody };
    assert_eq!(member.commit_as(&new, 0, 4), None, "also one that nobody has heard of");
}

pub fn a_groups_members_are_told_until_they_leave(end: &impl End) {
    let mut member = alone(end);
    let group = member.holder.group.clone();
    let members = member.client.members(&group, soon()).unwrap();
    assert!(matches!(members.as_slice(), [one] if one.contains(" at ")), "{members:?}");
    member.leave();
    assert_eq!(member.client.members(&group, soon()), Ok(Vec::new()));
    assert_eq!(member.client.members(&unique("group"), soon()), Ok(Vec::new()), "nobody has heard of it");
}

pub fn a_refusal_for_one_partition_is_for_that_one_alone(end: &impl End) {
    let mut member = alone(end);
    let commit = |of: TopicPartition, bytes: usize| Commit { of, offset: 2, metadata: "m".repeat(bytes) };
    let missing = TopicPartition { topic: unique("missing"), partition: 0 };
    let beyond = member.of(7);
    let commits = [
        commit(member.of(0), 4097),
        commit(missing.clone(), 0),
        commit(beyond, 0),
        commit(member.of(1), 4096),
    ];
    let codes = member.client.commit(&member.holder, &commits, soon()).unwrap();
    let unknown = Some(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(codes, [Some(ErrorCode::OffsetMetadataTooLarge), unknown, unknown, None]);
    let of = [member.of(1), missing, member.of(0)];
    let committed = member.client.committed(&member.holder.group, &of, soon()).unwrap();
    let lengths: Vec<Option<usize>> =
        committed.iter().map(|committed| committed.as_ref().map(|c| c.metadata.len())).collect();
    assert_eq!(lengths, [Some(4096), None, None]);
}

pub fn commits_are_let_through_while_members_gather_and_not_while_shares_are_made(end: &impl End) {
    let mut leader = alone(end);
    let before = leader.holder.clone();
    let request = wish(&before.group, &leader.of(0).topic);
    let client = end.client();
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| Member::join(client, request));
        // Who has been told to join again still commits what it claimed.
        let gathers = Err(BrokerError::Refused(ErrorCode::RebalanceInProgress));
        while leader.heartbeat() != gathers {
            std::thread::yield_now();
        }
        assert_eq!(leader.commit(0, 1), None);
        leader.join_again();
        assert_eq!(leader.commit(0, 2), Some(ErrorCode::RebalanceInProgress));
        assert_eq!(leader.commit_as(&before, 0, 2), Some(ErrorCode::IllegalGeneration));
        let mut follower = joining.join().unwrap();
        share_out(&mut leader, &mut follower);
    });
    assert_eq!(leader.committed(0), Some(1));
    assert_eq!(leader.commit(0, 2), None);
}
