//! The group side of the port: classic membership and fenced commits.
//!
//! Real brokers do not check who owns a partition: any member of the present generation may commit any partition.
//! What they do check is member id, instance id and generation, and on that the claims stand.

use std::time::Duration;

use super::{BrokerError, Deadline, ErrorCode, TopicPartition};

/// What a member says about itself when it joins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics that it reads.
    pub topics: Vec<String>,
    /// What it was assigned last, so that partitions can stay.
    pub owned: Vec<Owned>,
    /// The generation of that assignment; `-1` for none: this process was never assigned anything. A member that has lost its
    /// partitions names any generation that is not negative.
    pub owned_generation: i32,
}

/// Partitions of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Topic name.
    pub topic: String,
    /// Partition numbers.
    pub partitions: Vec<i32>,
}

/// A wish to be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// Group.
    pub group: String,
    /// Empty for a new member, which is then told one ([`Join::Named`]).
    pub member_id: String,
    /// Static membership (KIP-345).
    pub instance_id: Option<String>,
    /// Silence after which the coordinator takes the member for dead.
    pub session_timeout: Duration,
    /// How long the coordinator waits for the others to join again.
    pub rebalance_timeout: Duration,
    /// The assignor's name, the same for all members.
    pub protocol: String,
    /// What it wants to read.
    pub subscription: Subscription,
}

/// A member, as the group's leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Member id.
    pub id: String,
    /// Instance id, where it is a static one.
    pub instance_id: Option<String>,
    /// What it wants to read and has read. A member of another program reads nothing, as far as we are concerned.
    pub subscription: Subscription,
}

/// What comes of a wish to be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// The coordinator has made up a member id, and wants it with the same wish again (KIP-394). A member that asks again
    /// without it, because an answer was lost, leaves a ghost behind: the others wait for that one until its session
    /// ends.
    Named(String),
    /// A member.
    Joined(Joined),
}

/// Membership in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The group's generation.
    pub generation: i32,
    /// Our member id.
    pub member_id: String,
    /// All members if we are the group's leader; empty otherwise.
    pub members: Vec<Member>,
    /// We are the leader and must not share out: what was shared out before we came back is still active (KIP-814, a
    /// static member's restart). What we share out all the same is ignored.
    pub skips_assignment: bool,
}

/// What one member gets, as the group's leader has shared it out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// The member's partitions.
    pub owned: Vec<Owned>,
    /// How many partitions were shared out to all members; `None`: another program has shared out, or we have no share.
    pub shared_out: Option<i32>,
    /// Whether no member was ever assigned anything before: all of them have just been started.
    pub is_first: bool,
}

/// In whose name a request is made: what the broker compares before it applies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Group.
    pub group: String,
    /// Member id; empty together with generation −1 for a commit to an empty group.
    pub member_id: String,
    /// Instance id, for a static member.
    pub instance_id: Option<String>,
    /// Generation under which what is committed was held.
    pub generation: i32,
}

/// An offset to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Partition.
    pub of: TopicPartition,
    /// The next offset to read.
    pub offset: i64,
    /// At most 4,096 bytes of text (`offset.metadata.max.bytes`).
    pub metadata: String,
}

/// An offset that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// The text beside it.
    pub metadata: String,
}

/// Group membership and commits. Each call goes to the group's coordinator, which is looked up where it is not
/// known and again after an answer that says so. No call repeats a request after [`BrokerError::NoAnswer`].
pub trait Group: Send {
    /// Joins, or joins again. Blocks while the group gathers, up to the deadline.
    ///
    /// # Errors
    /// The coordinator's refusal, or no answer.
    fn join(&mut self, request: &JoinRequest, by: Deadline) -> Result<Join, BrokerError>;

    /// Hands in the shares (the leader) or nothing (the others), and returns our own share.
    ///
    /// # Errors
    /// The coordinator's refusal, or no answer.
    fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        shares: &[(String, Share)],
        by: Deadline,
    ) -> Result<Share, BrokerError>;

    /// A sign of life.
    ///
    /// # Errors
    /// The coordinator's refusal (`RebalanceInProgress`: join again), or no answer.
    fn heartbeat(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError>;

    /// Leaves the group at once.
    ///
    /// # Errors
    /// The coordinator's refusal, or no answer.
    fn leave(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError>;

    /// Commits offsets in a holder's name and returns one answer for each, in order: `None` is granted.
    ///
    /// # Errors
    /// When no answer came: then nothing is known about any of them.
    fn commit(
        &mut self,
        holder: &Holder,
        commits: &[Commit],
        by: Deadline,
    ) -> Result<Vec<Option<ErrorCode>>, BrokerError>;

    /// The committed offsets, not counting commits that are still under way (`require_stable`): in order, `None`
    /// where there is none.
    ///
    /// # Errors
    /// The coordinator's refusal (`UnstableOffsetCommit`: ask again), or no answer.
    fn committed(
        &mut self,
        group: &str,
        of: &[TopicPartition],
        by: Deadline,
    ) -> Result<Vec<Option<Committed>>, BrokerError>;

    /// Who is a member of a group now, each as the client id and the host that the coordinator knows it by; empty where
    /// there is no such group. Needs the right to describe the group.
    ///
    /// # Errors
    /// The coordinator's refusal, or no answer.
    fn members(&mut self, group: &str, by: Deadline) -> Result<Vec<String>, BrokerError>;
}
