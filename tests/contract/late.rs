//! Requests that arrive when nobody waits for them any more: the reason why claims ask for a new member id.

use std::time::Duration;

use kafka_cron::common::broker::{BrokerError, Commit};

use crate::ends::End;
use crate::members::{Member, alone, pair};
use crate::support::{soon, wait_until};

/// Commits, and loses the connection on which that is under way.
fn commit_late(member: &mut Member, partition: i32, offset: i64) {
    let commit = Commit { of: member.of(partition), offset, metadata: String::new() };
    let lost = member.client.commit(&member.holder, &[commit], soon());
    assert!(matches!(lost, Err(BrokerError::NoAnswer(_))), "{lost:?}");
}

fn await_committed(member: &mut Member, partition: i32, offset: i64) {
    wait_until("the late commit is applied", Duration::from_secs(20), || {
        (member.committed(partition) == Some(offset)).then_some(())
    });
}

pub fn a_late_commit_is_applied_although_its_member_joined_again(end: &impl End) {
    let (_leader, mut follower) = pair(end);
    end.late(1, &mut || commit_late(&mut follower, 1, 5));
    let before = follower.holder.clone();
    follower.join_again();
    assert_eq!(follower.holder, before);
    assert_eq!(follower.commit(1, 10), None);
    end.deliver();
    await_committed(&mut follower, 1, 5);
}

pub fn a_late_commit_is_refused_after_a_new_member_id(end: &impl End) {
    let mut member = alone(end);
    end.late(1, &mut || commit_late(&mut member, 0, 5));
    member.leave();
    member.request.member_id.clear();
    member.join_again();
    member.sync(&[]);
    assert_eq!(member.commit(0, 10), None);
    // A second one, in the new name, tells when the first has been judged.
    end.late(1, &mut || commit_late(&mut member, 1, 7));
    end.deliver();
    await_committed(&mut member, 1, 7);
    assert_eq!(member.committed(0), Some(10));
}
