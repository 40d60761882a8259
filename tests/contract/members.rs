//! Members for the rows about groups.

use std::time::Duration;

use kafka_cron::common::broker::{
    BrokerError, Client, Commit, ErrorCode, Holder, Join, JoinRequest, Joined, Owned, Share, Subscription,
    TopicPartition,
};

use crate::ends::End;
use crate::support::{soon, unique, wait_until};

/// The name of an assignor that nobody has: shares are made by hand here.
pub const BY_HAND: &str = "by-hand";

/// A member of a group.
pub struct Member {
    pub client: Box<dyn Client>,
    pub request: JoinRequest,
    pub holder: Holder,
    pub joined: Joined,
}

/// A wish to join, for a group and a topic.
pub fn wish(group: &str, topic: &str) -> JoinRequest {
    JoinRequest {
        group: group.to_owned(),
        member_id: String::new(),
        instance_id: None,
        session_timeout: Duration::from_secs(30),
        rebalance_timeout: Duration::from_secs(30),
        protocol: BY_HAND.to_owned(),
        subscription: Subscription { topics: vec![topic.to_owned()], owned: vec![], owned_generation: -1 },
    }
}

/// Joins, as a new member by the id that it is told.
pub fn join(client: &mut dyn Client, mut request: JoinRequest) -> Result<Joined, BrokerError> {
    loop {
        match client.join(&request, soon())? {
            Join::Named(member_id) => request.member_id = member_id,
            Join::Joined(joined) => return Ok(joined),
        }
    }
}

impl Member {
    pub fn join(mut client: Box<dyn Client>, request: JoinRequest) -> Self {
        let joined = join(&mut *client, request.clone()).unwrap();
        let holder = Holder {
            group: request.group.clone(),
            member_id: String::new(),
            instance_id: request.instance_id.clone(),
            generation: -1,
        };
        let mut member = Self { client, request, holder, joined: joined.clone() };
        member.take(joined);
        member
    }

    fn take(&mut self, joined: Joined) {
        self.request.member_id.clone_from(&joined.member_id);
        self.holder.member_id.clone_from(&joined.member_id);
        self.holder.generation = joined.generation;
        self.joined = joined;
    }

    pub fn join_again(&mut self) {
        let joined = join(&mut *self.client, self.request.clone()).unwrap();
        self.take(joined);
    }

    pub fn leads(&self) -> bool {
        !self.joined.members.is_empty()
    }

    pub fn sync(&mut self, shares: &[(String, Share)]) -> Share {
        self.client.sync(&self.holder, BY_HAND, shares, soon()).unwrap()
    }

    pub fn heartbeat(&mut self) -> Result<(), BrokerError> {
        self.client.heartbeat(&self.holder, soon())
    }

    /// Waits until the group gathers for another generation, and joins it.
    pub fn follow(&mut self) {
        wait_until("the group gathers", Duration::from_secs(20), || {
            let gathers = BrokerError::Refused(ErrorCode::RebalanceInProgress);
            self.heartbeat().err().map(|error| assert_eq!(error, gathers))
        });
        self.join_again();
    }

    pub fn leave(&mut self) {
        self.client.leave(&self.holder, soon()).unwrap();
    }

    /// Commits one offset in the member's name, or another's.
    pub fn commit_as(&mut self, holder: &Holder, partition: i32, offset: i64) -> Option<ErrorCode> {
        let of = self.of(partition);
        let commit = Commit { of, offset, metadata: String::new() };
        self.client.commit(holder, &[commit], soon()).unwrap().remove(0)
    }

    pub fn commit(&mut self, partition: i32, offset: i64) -> Option<ErrorCode> {
        self.commit_as(&self.holder.clone(), partition, offset)
    }

    pub fn committed(&mut self, partition: i32) -> Option<i64> {
        let of = self.of(partition);
        let committed = self.client.committed(&self.holder.group, &[of], soon()).unwrap().remove(0);
        committed.map(|committed| committed.offset)
    }

    pub fn of(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: self.request.subscription.topics[0].clone(), partition }
    }

    /// A share of the member's topic.
    pub fn share(&self, partitions: &[i32]) -> Share {
        let topic = self.request.subscription.topics[0].clone();
        Share {
            owned: vec![Owned { topic, partitions: partitions.to_vec() }],
            shared_out: Some(2),
            is_first: false,
        }
    }
}

/// The only member of a new group, with both partitions of a new topic.
pub fn alone(end: &dyn End) -> Member {
    let (topic, _) = end.topic(2, &[]);
    let mut member = Member::join(end.client(), wish(&unique("group"), &topic));
    let mine = member.share(&[0, 1]);
    assert_eq!(member.sync(&[(member.holder.member_id.clone(), mine.clone())]), mine);
    member
}

/// A leader with partition 0 and a follower with partition 1, in a stable group.
pub fn pair(end: &dyn End) -> (Member, Member) {
    let mut leader = alone(end);
    let request = wish(&leader.request.group, &leader.of(0).topic);
    let mut follower = join_beside(end, &mut leader, request);
    share_out(&mut leader, &mut follower);
    (leader, follower)
}

/// Joins a group beside its only member, which joins again.
pub fn join_beside(end: &dyn End, other: &mut Member, request: JoinRequest) -> Member {
    let client = end.client();
    let new = std::thread::scope(|scope| {
        let joining = scope.spawn(|| Member::join(client, request));
        other.follow();
        joining.join().unwrap()
    });
    assert!(other.leads() && !new.leads());
    assert_eq!(other.holder.generation, new.holder.generation);
    new
}

/// Partition 0 to the leader, 1 to the follower.
pub fn share_out(leader: &mut Member, follower: &mut Member) {
    let (first, second) = (leader.share(&[0]), leader.share(&[1]));
    let shares = [
        (leader.holder.member_id.clone(), first.clone()),
        (follower.holder.member_id.clone(), second.clone()),
    ];
    assert_eq!(leader.sync(&shares), first);
    assert_eq!(follower.sync(&[]), second);
}
