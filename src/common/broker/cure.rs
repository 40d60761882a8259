//! What an operator can do about an error of Kafka's, in one sentence for each.

use super::{BrokerError, ErrorCode};

impl BrokerError {
    /// What would help, as a fragment that starts with a small letter; empty where only waiting does.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::NotSent(_) => {
                "see that the brokers run and that this host reaches what --brokers and the brokers' \
                 advertised.listeners name"
            }
            Self::Throttled(_) => {
                "raise the quota of this client id or user (producer_byte_rate, consumer_byte_rate, \
                 request_percentage), or have it do less"
            }
            Self::NoAnswer(_) => {
                "a broker hangs, is overloaded or throttles this client, or the network drops what it sends: see the \
                 broker's log and its quotas"
            }
            Self::Nonsense(_) => {
                "see that the address in --brokers is that of a Kafka broker, and its listener's protocol"
            }
            Self::Refused(code) => code.cure(),
        }
    }
}

impl ErrorCode {
    fn cure(self) -> &'static str {
        match self {
            Self::OffsetOutOfRange => "the log was cut or made anew; the position is looked up again",
            Self::CorruptMessage => {
                "see that the topic is not compacted (cleanup.policy=delete) and that the broker's disk is sound"
            }
            Self::UnknownTopicOrPartition | Self::UnknownTopicId | Self::InconsistentTopicId => {
                "create the topic: a running producer does that for the clusters of --clusters, if it may"
            }
            Self::LeaderNotAvailable | Self::NotLeader => {
                "start the brokers that hold a copy of the partition"
            }
            Self::RequestTimedOut | Self::NotEnoughReplicas | Self::NotEnoughReplicasAfterAppend => {
                "start the brokers that are down: too few copies are in sync for min.insync.replicas"
            }
            Self::MessageTooLarge => "raise max.message.bytes of the topic (1048588 is Kafka's default)",
            Self::RecordListTooLarge => "raise segment.bytes of the topic",
            Self::InvalidTimestamp => {
                "set this host's clock, and have the topic dated by the broker (message.timestamp.type=LogAppendTime)"
            }
            Self::InvalidRecord => "set cleanup.policy=delete for the topic",
            Self::OffsetMetadataTooLarge => {
                "raise offset.metadata.max.bytes of the brokers to 4096, Kafka's default"
            }
            Self::CoordinatorLoading | Self::CoordinatorNotAvailable | Self::NotCoordinator => {
                "see that the topic __consumer_offsets has a leader for each partition"
            }
            Self::IllegalGeneration | Self::UnknownMemberId | Self::RebalanceInProgress => {
                "the group rebalances; if it does so again and again, a member joins and leaves over and over"
            }
            Self::InconsistentGroupProtocol => {
                "programs of another kind are members of the group: stop them or choose another --group"
            }
            Self::InvalidSessionTimeout => {
                "choose a --session-timeout between the brokers' group.min.session.timeout.ms and \
                 group.max.session.timeout.ms (6 s and 30 min by default)"
            }
            Self::TopicAuthorizationFailed | Self::GroupAuthorizationFailed => {
                "grant the right: docs/OPERATIONS.md lists what each program needs"
            }
            Self::InvalidReplicationFactor => "start more brokers or give a smaller --replication-factor",
            Self::GroupMaxSizeReached => {
                "raise group.max.size of the brokers, or run fewer programs in the group"
            }
            Self::FencedInstanceId => "another process uses the same --instance-id: give each its own",
            Self::TopicAlreadyExists | Self::UnstableOffsetCommit => "",
            Self::Other(_) => "the broker's log says more",
        }
    }
}
