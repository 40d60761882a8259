//! The calls that clients make, and what may become of each.

use std::time::Duration;

use crate::common::broker::ErrorCode;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named after the call of the port")]
pub enum Call {
    BrokerCount,
    ClusterTime,
    CreateTopic,
    TopicSettings,
    Topic,
    Produce,
    Fetch,
    Offset,
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit,
    Committed,
    Members,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The broker was not reached: not applied, `NotSent`.
    NotSent,
    /// The request is lost on its way: not applied, `NoAnswer`.
    RequestLost,
    /// The answer is lost on its way: applied, `NoAnswer`.
    AnswerLost,
    /// The request stays in the buffers of a connection that is given up: `NoAnswer`, and applied when the test says
    /// so ([`Faults::deliver`](super::Faults::deliver)).
    Late,
    /// Applied and answered, and the answer says that the client is above a quota: for so long every other call of the
    /// client is held back ([`BrokerError::Throttled`](crate::common::broker::BrokerError)).
    AboveQuota(Duration),
    /// Refused and not applied.
    Refused(ErrorCode),
    /// Applied and answered with an error, as by a coordinator that steps down.
    AppliedButRefused(ErrorCode),
}
