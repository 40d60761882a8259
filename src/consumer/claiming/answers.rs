//! What may be concluded from the answer to a claim's commit. Nothing runs on an unknown answer.

use crate::common::broker::{BrokerError, ErrorCode};

/// What the coordinator's answer to a commit means for the claim that it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The offset stands in our name: the attempt is ours to start.
    Granted,
    /// Our membership is over: the attempt is not ours. Should an earlier copy of the commit have landed, no consumer
    /// runs it, and the leader finds it when its lease is over.
    Refused,
    /// The broker will not take this commit from any member as long as a topic, a right or a setting is as it is. This
    /// sending of it was not applied. The attempt is not started, and the position is looked up anew, for an earlier
    /// sending may have been applied.
    Rejected(ErrorCode),
    /// The group is between two generations and the commit was not applied: the same one is sent again.
    NotApplied,
    /// It may have been applied or not: the same commit is sent again until it is granted or refused.
    Unknown,
}

/// The meaning of one partition's answer (`None` is no error).
pub fn to_partition(code: Option<ErrorCode>) -> Answer {
    match code {
        None => Answer::Granted,
        Some(ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) => {
            Answer::Refused
        }
        Some(
            code @ (ErrorCode::OffsetMetadataTooLarge
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::GroupAuthorizationFailed),
        ) => Answer::Rejected(code),
        Some(ErrorCode::RebalanceInProgress) => Answer::NotApplied,
        // Coordinator errors too: a coordinator that is being replaced may have written it before it said so.
        Some(_) => Answer::Unknown,
    }
}

/// Whether the commit may still be applied after a later one: it is under way on a connection that was given up.
/// Then a new member id is needed before the next claim, because the present generation would let it through.
pub fn may_arrive_late(error: &BrokerError) -> bool {
    match error {
        BrokerError::NoAnswer(_) | BrokerError::Nonsense(_) => true,
        BrokerError::NotSent(_) | BrokerError::Throttled(_) | BrokerError::Refused(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_no_error_starts_and_only_a_lost_membership_ends() {
        let rows = [
            (0, Answer::Granted),
            (22, Answer::Refused),
            (25, Answer::Refused),
            (82, Answer::Refused),
            (27, Answer::NotApplied),
            (14, Answer::Unknown),
            (15, Answer::Unknown),
            (16, Answer::Unknown),
            (7, Answer::Unknown),
            (-1, Answer::Unknown),
            (3, Answer::Rejected(ErrorCode::UnknownTopicOrPartition)),
            (12, Answer::Rejected(ErrorCode::OffsetMetadataTooLarge)),
            (29, Answer::Rejected(ErrorCode::TopicAuthorizationFailed)),
            (30, Answer::Rejected(ErrorCode::GroupAuthorizationFailed)),
            (28, Answer::Unknown),
        ];
        for (number, answer) in rows {
            assert_eq!(to_partition(ErrorCode::from_wire(number)), answer, "error code {number}");
        }
    }

    #[test]
    fn a_commit_without_an_answer_may_arrive_late() {
        assert!(may_arrive_late(&BrokerError::NoAnswer("time-out".to_owned())));
        assert!(may_arrive_late(&BrokerError::Nonsense("an answer of 352518912 bytes".to_owned())));
        assert!(!may_arrive_late(&BrokerError::NotSent("refused".to_owned())));
        assert!(!may_arrive_late(&BrokerError::Throttled("a quota".to_owned())));
        assert!(!may_arrive_late(&BrokerError::Refused(ErrorCode::NotCoordinator)));
    }
}
