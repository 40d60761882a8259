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
    /// The generation of that assignment; `-1` for none.
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
    /// Empty for a new member; the two-step handshake for the id (KIP-394) is the client's work.
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
    /// What it wants to read and has read.
    pub subscription: Subscription,
}

/// Membership in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The group's generation.
    pub generation: i32,
    /// Our member id.
    pub member_id: String,
    /// All members if we are the group's leader and must assign; empty otherwise.
    pub members: Vec<Member>,
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
    fn join(&mut self, request: &JoinRequest, by: Deadline) -> Result<Joined, BrokerError>;

    /// Hands in the assignment (the leader) or nothing (the others), and returns our own share.
    ///
    /// # Errors
    /// The coordinator's refusal, or no answer.
    fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        assignment: &[(String, Vec<Owned>)],
        by: Deadline,
    ) -> Result<Vec<Owned>, BrokerError>;

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
}
