//! What both programs say where they cannot know whether the clock of their host is right.

use super::broker::BrokerError;
use super::topics;

/// What the log says where the broker's time cannot be known, for no topic that is written to tells it, and it may not be
/// asked for.
pub fn said(error: &BrokerError) -> String {
    format!(
        "it cannot be known whether this host's clock is right: topic {runs} does not tell the broker's time, and the cluster's \
         was not told ({error}); set message.timestamp.type=LogAppendTime for {runs}, or allow to describe the cluster",
        runs = topics::RUNS
    )
}
