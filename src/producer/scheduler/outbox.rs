//! What the scheduler wants to tell other threads and has not told yet. The scheduler never waits on a send: what finds
//! no place in a channel stays here and is offered again.

use std::collections::VecDeque;
use std::mem::discriminant;

use crossbeam_channel::TrySendError;

use super::messages::{Channels, Effect, Report};
use crate::producer::leadership::CursorCommit;
use crate::producer::plan::Batch;
use crate::producer::run_tracker::messages::FollowRequest;

/// What is still to be told. It is bounded: the scheduler hands over few batches of a cluster before they are confirmed,
/// and of everything else only the newest is kept.
#[derive(Debug, Default)]
pub struct Outbox {
    batches: VecDeque<(usize, Batch)>,
    cursors: Option<CursorCommit>,
    asks: VecDeque<FollowRequest>,
}

impl Outbox {
    /// Takes what follows from an event, and returns what operators are told.
    pub fn take(&mut self, effects: Vec<Effect>) -> Vec<Report> {
        let mut reports = Vec::new();
        for effect in effects {
            match effect {
                Effect::Publish(cluster, batch) => self.batches.push_back((cluster, batch)),
                // Older cursors are dropped: offered after the newer ones, they would set the cursor back.
                Effect::Commit(cursors) => self.cursors = Some(cursors),
                Effect::Ask(ask) => {
                    self.asks.retain(|other| discriminant(other) != discriminant(&ask));
                    self.asks.push_back(ask);
                }
                Effect::Report(report) => {
                    if report == Report::TermEnded {
                        self.batches.clear();
                        self.cursors = None;
                    }
                    reports.push(report);
                }
            }
        }
        reports
    }

    /// Sends what finds a place. Returns `false` when a receiver is gone without which the scheduler cannot go on.
    pub fn send(&mut self, to: &Channels) -> bool {
        let mut left = VecDeque::new();
        for (cluster, batch) in self.batches.drain(..) {
            match to.batches[cluster].try_send(batch) {
                Ok(()) => {}
                // Batches of an earlier term are still there; their publisher abandons them as soon as it looks.
                Err(TrySendError::Full(batch)) => left.push_back((cluster, batch)),
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        self.batches = left;
        while let Some(ask) = self.asks.pop_front() {
            // Disconnected: the run tracker has ended, and so will the program.
            if let Err(TrySendError::Full(ask)) = to.asks.try_send(ask) {
                self.asks.push_front(ask);
                break;
            }
        }
        let Some(cursors) = self.cursors.take() else { return true };
        match to.cursors.try_send(cursors) {
            Ok(()) => true,
            Err(TrySendError::Full(cursors)) => {
                self.cursors = Some(cursors);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// Whether something is still to be sent.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.cursors.is_none() && self.asks.is_empty()
    }

    /// Takes the last cursors.
    pub fn last_cursors(&mut self) -> Option<CursorCommit> {
        self.cursors.take()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use crossbeam_channel::{Receiver, bounded, never};

    use super::*;
    use crate::producer::leadership::Term;
    use crate::producer::plan::Source;

    fn batch(revision: &str) -> Effect {
        Effect::Publish(0, Batch::new(Term::FIRST, Source::Current, &Arc::from(revision)))
    }

    fn cursors(reads: i64) -> Effect {
        let reads = BTreeMap::from([(0, reads)]);
        Effect::Commit(CursorCommit { term: Term::FIRST, cursors: Vec::new(), reads })
    }

    fn follow() -> Effect {
        Effect::Ask(FollowRequest::Follow(Arc::default()))
    }

    fn active(revision: &str) -> Effect {
        Effect::Ask(FollowRequest::Active(Arc::from(revision), Arc::from("2026f")))
    }

    /// Channels with one place each, and their ends.
    fn channels() -> (Channels, Receiver<Batch>, Receiver<CursorCommit>, Receiver<FollowRequest>) {
        let ((batches, to), (cursors, kept), (asks, asked)) = (bounded(1), bounded(1), bounded(1));
        let (confirmed, leadership, files, runs) = (never(), never(), never(), never());
        let channels = Channels { batches: vec![batches], confirmed, leadership, cursors, files, runs, asks };
        (channels, to, kept, asked)
    }

    #[test]
    fn what_finds_no_place_is_sent_later_in_its_order_and_of_cursors_and_requests_only_the_newest() {
        let (channels, batches, kept, asked) = channels();
        let mut outbox = Outbox::default();
        outbox.take(vec![batch("1"), batch("2"), cursors(1), active("1")]);
        assert!(outbox.send(&channels) && !outbox.is_empty(), "one batch has no place");
        outbox.take(vec![batch("3"), cursors(2), cursors(3), active("2"), follow(), active("3")]);
        assert!(outbox.send(&channels));
        let mut revisions = Vec::new();
        let (mut reads, mut requests) = (Vec::new(), Vec::new());
        while !outbox.is_empty() || !batches.is_empty() || !kept.is_empty() || !asked.is_empty() {
            revisions.extend(batches.try_iter().map(|batch| batch.revision.to_string()));
            reads.extend(kept.try_iter().map(|keep| keep.reads[&0]));
            requests.extend(asked.try_iter().map(|ask| match ask {
                FollowRequest::Follow(_) => "follow".to_owned(),
                FollowRequest::Active(revision, _) => revision.to_string(),
                FollowRequest::End(_) => "end".to_owned(),
            }));
            assert!(outbox.send(&channels));
        }
        assert_eq!((revisions, reads), (["1", "2", "3"].map(str::to_owned).to_vec(), vec![1, 3]));
        assert_eq!(requests, ["1", "follow", "3"]);
    }

    #[test]
    fn nothing_of_a_term_that_is_over_is_sent_any_more() {
        let (channels, batches, kept, _asked) = channels();
        let mut outbox = Outbox::default();
        let reports =
            outbox.take(vec![batch("1"), cursors(1), Effect::Report(Report::TermEnded), batch("2")]);
        assert_eq!(reports, [Report::TermEnded]);
        assert!(outbox.send(&channels) && outbox.is_empty());
        assert_eq!(batches.try_iter().map(|batch| batch.revision.to_string()).collect::<Vec<_>>(), ["2"]);
        assert!(kept.is_empty());
    }

    #[test]
    fn without_a_publisher_or_leadership_it_cannot_go_on_and_without_a_run_tracker_it_can() {
        let check = |effect: Effect, expected: bool| {
            let (channels, batches, kept, asked) = channels();
            drop((batches, kept, asked));
            let mut outbox = Outbox::default();
            outbox.take(vec![effect]);
            assert_eq!(outbox.send(&channels), expected);
        };
        check(batch("1"), false);
        check(cursors(1), false);
        check(follow(), true);
    }
}
