//! What a member is to be, what it is asked for, what became of its share, and why it is of no use.

use std::time::Duration;

use crate::common::broker::{BrokerError, Holder, TopicPartition};

/// What a member is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Group.
    pub group: String,
    /// The topic that is read.
    pub topic: String,
    /// Static membership (KIP-345): a restart within the session time-out moves nothing.
    pub instance_id: Option<String>,
    /// Silence after which the coordinator takes the member for dead.
    pub session_timeout: Duration,
    /// Whether what this member holds counts as assigned only from [`Event::TakenUp`] on, for
    /// [`Change::Assigned::is_first`].
    pub counts_once_taken_up: bool,
}

/// What a member is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// To come back under a new member id, see [`Member::join_as_new`](super::Member::join_as_new).
    JoinAsNew,
    /// To leave the group for so long, see [`Member::stay_away`](super::Member::stay_away).
    StayAway(Duration),
    /// To tell the group from the next generation on that what its share asks for is being done, see
    /// [`Member::taken_up`](super::Member::taken_up).
    TakenUp,
    /// To leave the group at the end even as a static member, see [`Member::hand_over`](super::Member::hand_over).
    HandOver,
}

/// What operators are told of a step, besides [`Failing`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The group could not be left; the session time-out does it.
    NotLeft(BrokerError),
    /// What was attempted failed for long; it is tried again.
    TryingAgain(&'static str, BrokerError),
    /// What was attempted failed, for we are no member of this generation; we join anew.
    JoiningAnew(&'static str, BrokerError),
    /// Another process uses our instance id.
    Fenced,
}

/// What became of our share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new generation began and this is our share of it, also where it is the same as before.
    Assigned {
        /// In whose name to commit.
        holder: Holder,
        /// Our partitions; empty where there are more members than partitions.
        partitions: Vec<TopicPartition>,
        /// Whether the group has no other member.
        alone: bool,
        /// Whether no member of the group was assigned anything in an earlier generation, or no member has taken up what it was
        /// assigned ([`Options::counts_once_taken_up`]): all have just been started.
        is_first: bool,
    },
    /// We are no member any more; another one may read what was ours.
    Lost,
    /// Another process uses our instance id. There is nothing to wait for.
    Fenced,
}

/// Why a member is of no use at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failing {
    /// A call to the coordinator failed; it is made again.
    Call {
        /// What was attempted.
        attempt: &'static str,
        /// What came of it.
        error: BrokerError,
    },
    /// Another program leads the group, and its shares are not ours.
    Strangers,
    /// The topic does not exist.
    NoTopic,
    /// Another process uses our instance id.
    Fenced,
}
