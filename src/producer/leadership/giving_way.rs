//! Giving way: a producer that cannot take everything over for long lets another one try, because its own host, network
//! or rights may be what keeps it from that.
//!
//! Where Kafka itself fails, the others fare no better, and two producers must not hand the lead to and fro. So a
//! producer gives way only where another one is a member at that moment. It stays away for a while that doubles each
//! time, up to an hour; meanwhile the other producer is alone, and keeps the lead however it fares. A topic that does
//! not exist is not the producer's fault, and no reason to give way.

use std::time::{Duration, Instant};

use super::messages::{Call, Effect};
use crate::common::broker::{BrokerError, ErrorCode};

/// For how long a producer tries before it gives way.
pub(super) const TRIES: Duration = Duration::from_secs(60);
/// A failure after so long without one is a new trouble. What fails is tried every two seconds or so, but a call may wait.
const QUIET: Duration = Duration::from_secs(30);
/// How long it stays away the first time, and at most.
const FIRST_AWAY: Duration = Duration::from_secs(120);
const LONGEST_AWAY: Duration = Duration::from_secs(3_600);

/// What is known of how the takeover goes.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when it fails, and when it last did.
    fails: Option<(Instant, Instant)>,
    /// How often we gave way since we had everything.
    times: u32,
}

impl Patience {
    /// Notes that nothing is left to be taken over.
    pub(super) fn has_all(&mut self) {
        *self = Self::default();
    }

    /// Notes that a term is over, and the next one has its own time; or that it goes on.
    pub(super) fn ends(&mut self) {
        self.fails = None;
    }

    /// Notes what came of a step after which something is still to be taken over. Returns for how long to stay away, where
    /// we give way.
    pub(super) fn step(
        &mut self,
        effects: &[Effect],
        (has_company, leads_some): (bool, bool),
        now: Instant,
    ) -> Option<Duration> {
        if !effects.iter().any(|effect| is_reason(effect, leads_some)) {
            return None;
        }
        let goes_on = self.fails.filter(|(_, last)| now < *last + QUIET);
        let since = goes_on.map_or(now, |(since, _)| since);
        self.fails = Some((since, now));
        if now < since + TRIES || !has_company {
            return None;
        }
        let away = FIRST_AWAY * 2_u32.saturating_pow(self.times.min(8));
        self.times = self.times.saturating_add(1);
        self.fails = None;
        Some(away.min(LONGEST_AWAY))
    }
}

/// Whether it may be our own trouble. A quota is of all producers together, and a right that one topic lacks is no reason to
/// interrupt the others.
fn is_reason(effect: &Effect, leads_some: bool) -> bool {
    let Effect::Failed(failure) = effect else { return false };
    let is_of_topic = match failure.error.code() {
        Some(ErrorCode::UnknownTopicOrPartition) => true,
        Some(ErrorCode::TopicAuthorizationFailed) => leads_some,
        _ => false,
    };
    let is_of_all = matches!(failure.error, BrokerError::Throttled(_));
    failure.call != Call::CursorCommit && !is_of_topic && !is_of_all
}
