//! Whether there is a topic to write claims to, which is looked up now and then, also while there is nothing to claim.

use std::time::{Duration, Instant};

use crate::common::broker::{BrokerError, Client};
use crate::common::topics;

/// How often the topic of claims is looked up, and how long that may take.
pub(super) const LOOK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(1);

/// When it is looked up next.
#[derive(Debug)]
pub(super) struct RunsTopic {
    look_at: Instant,
}

impl RunsTopic {
    /// Creates one that is looked up at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { look_at: now }
    }

    /// Looks whether there is such a topic; `None` when it is not time for that.
    pub(super) fn look(
        &mut self,
        client: &mut dyn Client,
        now: Instant,
    ) -> Option<Result<bool, BrokerError>> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now + LOOK;
        Some(client.topic(topics::RUNS, now + PATIENCE).map(|topic| topic.is_some()))
    }
}
