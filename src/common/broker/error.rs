//! What can go wrong between us and a broker, by what we may conclude from it.

use super::code_names::name;

/// A call that did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It was not sent: there was no broker to send it to, or the dialling failed. It was certainly not applied.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It was not sent: a quota of the broker's holds this client back for longer than the call could wait. Certainly
    /// not applied.
    #[error("held back by a quota of the broker: {0}")]
    Throttled(String),
    /// It was sent, and no answer came: it may have been applied, and may still be applied later.
    /// The connection that carried it has been given up.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// A broker answered with an error code.
    #[error("the broker refused: {0}")]
    Refused(ErrorCode),
    /// An answer came that makes no sense. Treated like no answer.
    #[error("an answer that cannot be read: {0}")]
    Nonsense(String),
}

impl BrokerError {
    /// The broker's error code, if that is what it is.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(code) => Some(*code),
            _ => None,
        }
    }

    /// The bounded word for metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "unreachable",
            Self::Throttled(_) => "throttled",
            Self::NoAnswer(_) => "no_answer",
            Self::Refused(code) => code.word(),
            Self::Nonsense(_) => "nonsense",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal;)*) => {
        /// Kafka's error codes, as far as this program acts on them (the protocol guide lists them all).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// Any other.
            Other(i16),
        }
        impl ErrorCode {
            /// The code for a number from the wire; `None` for 0, which is no error.
            pub fn from_wire(number: i16) -> Option<Self> {
                match number { 0 => None, $($number => Some(Self::$name),)* other => Some(Self::Other(other)) }
            }
            /// The bounded word for logs and metrics.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* Self::Other(_) => "other" }
            }
        }
    };
}
codes! {
    /// The offset is below the log's start or above its end.
    OffsetOutOfRange = 1, "offset_out_of_range";
    /// A batch did not survive the way.
    CorruptMessage = 2, "corrupt_message";
    /// No such topic or partition on this broker.
    UnknownTopicOrPartition = 3, "unknown_topic_or_partition";
    /// The partition has no leader at present.
    LeaderNotAvailable = 5, "leader_not_available";
    /// The leader is elsewhere.
    NotLeader = 6, "not_leader_or_follower";
    /// The broker itself ran out of time.
    RequestTimedOut = 7, "request_timed_out";
    /// The record is larger than `max.message.bytes`.
    MessageTooLarge = 10, "message_too_large";
    /// More than 4,096 bytes beside a committed offset.
    OffsetMetadataTooLarge = 12, "offset_metadata_too_large";
    /// The coordinator is still reading its log.
    CoordinatorLoading = 14, "coordinator_load_in_progress";
    /// There is no coordinator yet.
    CoordinatorNotAvailable = 15, "coordinator_not_available";
    /// The coordinator is elsewhere.
    NotCoordinator = 16, "not_coordinator";
    /// The batch is larger than a segment of the topic (`segment.bytes`).
    RecordListTooLarge = 18, "record_list_too_large";
    /// Fewer copies in sync than `min.insync.replicas`; not written.
    NotEnoughReplicas = 19, "not_enough_replicas";
    /// Fewer copies in sync than `min.insync.replicas`; written, but not yet safe.
    NotEnoughReplicasAfterAppend = 20, "not_enough_replicas_after_append";
    /// The generation is not the group's present one.
    IllegalGeneration = 22, "illegal_generation";
    /// The group has members that speak another assignor.
    InconsistentGroupProtocol = 23, "inconsistent_group_protocol";
    /// The group does not know the member.
    UnknownMemberId = 25, "unknown_member_id";
    /// The session time-out is outside the broker's limits.
    InvalidSessionTimeout = 26, "invalid_session_timeout";
    /// The group is between two generations.
    RebalanceInProgress = 27, "rebalance_in_progress";
    /// The topic's access list says no.
    TopicAuthorizationFailed = 29, "topic_authorization_failed";
    /// The group's access list says no.
    GroupAuthorizationFailed = 30, "group_authorization_failed";
    /// The record's time stamp is too far from the broker's clock (`message.timestamp.after.max.ms`, `.before.max.ms`).
    InvalidTimestamp = 32, "invalid_timestamp";
    /// A topic of that name exists.
    TopicAlreadyExists = 36, "topic_already_exists";
    /// Fewer brokers than copies asked for.
    InvalidReplicationFactor = 38, "invalid_replication_factor";
    /// The group has no room for another member.
    GroupMaxSizeReached = 81, "group_max_size_reached";
    /// Another process uses the same instance id.
    FencedInstanceId = 82, "fenced_instance_id";
    /// The topic takes no such record, as a compacted one takes none without a key (KIP-467).
    InvalidRecord = 87, "invalid_record";
    /// A commit of this offset is still under way.
    UnstableOffsetCommit = 88, "unstable_offset_commit";
    /// There is no topic of that id: it was deleted, and perhaps made anew under its name.
    UnknownTopicId = 100, "unknown_topic_id";
    /// The log on the broker's disk is of another topic of that name.
    InconsistentTopicId = 103, "inconsistent_topic_id";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Other(number) => match name(*number) {
                Some(name) => write!(f, "{name} (error code {number})"),
                None => write!(f, "error code {number}"),
            },
            known => f.write_str(known.word()),
        }
    }
}
