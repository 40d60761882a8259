//! When a member is stepped, and the change that its receiver has not taken yet. The thread and the simulation both go by it.

use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use super::Change;

/// How soon a change is offered again that has found no place.
const AGAIN: Duration = Duration::from_millis(20);

/// The rounds of a member.
#[derive(Debug, Default)]
pub struct Rounds {
    /// When the member is stepped next; none: at once.
    due: Option<Instant>,
    untaken: Option<Change>,
}

impl Rounds {
    /// The member was asked for something, or it was stepped for the first time: the next step is due at once.
    pub fn is_asked(&mut self) {
        self.due = None;
    }

    /// Whether the member is to be stepped. Otherwise there is only something to pass on.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    /// A step is over: what it has changed, and how long the member waits from `now` on. A newer change replaces one that
    /// was not taken.
    pub fn stepped(&mut self, change: Option<Change>, now: Instant, wait: Duration) {
        self.due = Some(now + wait);
        self.untaken = change.or(self.untaken.take());
    }

    /// Offers what has changed to the receiver. Returns `false` when that is gone.
    pub fn send(&mut self, to: &Sender<Change>) -> bool {
        let Some(change) = self.untaken.take() else { return true };
        match to.try_send(change) {
            Ok(()) => true,
            Err(TrySendError::Full(change)) => {
                self.untaken = Some(change);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// How long to wait for the next step, or until a change is offered again.
    pub fn wait(&self, now: Instant) -> Duration {
        let wait = self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        if self.untaken.is_some() { wait.min(AGAIN) } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_newer_change_replaces_one_that_was_not_taken_and_the_member_is_not_stepped_for_that() {
        let (changes, taken) = bounded(1);
        let (mut rounds, now, second) = (Rounds::default(), Instant::now(), Duration::from_secs(1));
        assert!(rounds.is_due(now) && rounds.wait(now).is_zero());
        rounds.stepped(Some(Change::Lost), now, second);
        assert!(rounds.send(&changes));
        assert_eq!((rounds.is_due(now), rounds.wait(now)), (false, second));
        // The first is not taken, so the second finds no place, and the third takes its place.
        rounds.stepped(Some(Change::Lost), now, second);
        assert!(rounds.send(&changes));
        assert_eq!((rounds.is_due(now), rounds.wait(now)), (false, AGAIN));
        rounds.stepped(Some(Change::Fenced), now, second);
        rounds.stepped(None, now, second);
        assert_eq!(taken.try_recv(), Ok(Change::Lost));
        assert!(rounds.send(&changes));
        assert_eq!(taken.try_iter().collect::<Vec<_>>(), [Change::Fenced]);
        rounds.is_asked();
        assert!(rounds.is_due(now));
        drop(taken);
        assert!(rounds.send(&changes), "there is nothing to be told");
        rounds.stepped(Some(Change::Lost), now, second);
        assert!(!rounds.send(&changes));
    }
}
