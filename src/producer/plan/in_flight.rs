//! The batches that were handed out and are not on record yet. Of each, the cursor needs only the oldest instant.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use super::batch::{Batch, Source};

/// The oldest instants of the batches in flight, in the order of handing out.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    current: VecDeque<DateTime<Utc>>,
    backlog: VecDeque<DateTime<Utc>>,
}

impl InFlight {
    /// Notes a batch that is handed out.
    pub(super) fn add(&mut self, batch: &Batch) {
        if let (Some(oldest), Some(of_source)) = (batch.oldest(), self.of(batch.source)) {
            of_source.push_back(oldest);
        }
    }

    /// The oldest batch of that source is on record. A confirmation too many does no harm.
    pub(super) fn confirmed(&mut self, source: Source) {
        self.of(source).and_then(VecDeque::pop_front);
    }

    /// Nothing of the batch of that source that was handed out last has to be written.
    pub(super) fn nothing_left(&mut self, source: Source) {
        self.of(source).and_then(VecDeque::pop_back);
    }

    /// The oldest instant in flight. An interval that is handed out later may begin earlier, so this looks at all of
    /// them; they are as few as the scheduler lets be in flight.
    pub(super) fn oldest(&self) -> Option<DateTime<Utc>> {
        self.current.iter().chain(&self.backlog).min().copied()
    }

    /// Those of a source; the plan hands out no extra batches.
    fn of(&mut self, source: Source) -> Option<&mut VecDeque<DateTime<Utc>>> {
        match source {
            Source::Current => Some(&mut self.current),
            Source::Backlog => Some(&mut self.backlog),
            Source::Extra => None,
        }
    }
}
