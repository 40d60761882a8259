//! The batches that were handed out and are not on record yet. Of each, the cursor needs only the oldest instant.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use super::portion::{Kind, PlanBatch};

/// The oldest instants of the batches in flight, in the order of handing out.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    current: VecDeque<DateTime<Utc>>,
    past: VecDeque<DateTime<Utc>>,
}

impl InFlight {
    /// Notes a batch that is handed out.
    pub(super) fn add(&mut self, portion: &PlanBatch) {
        if let Some(oldest) = portion.oldest() {
            self.of(portion.kind).push_back(oldest);
        }
    }

    /// The oldest batch of that kind is on record. A confirmation too many does no harm.
    pub(super) fn confirmed(&mut self, kind: Kind) {
        self.of(kind).pop_front();
    }

    /// Nothing of the batch of that kind that was handed out last has to be written.
    pub(super) fn nothing_left(&mut self, kind: Kind) {
        self.of(kind).pop_back();
    }

    /// The oldest instant in flight. An interval that is handed out later may begin earlier, so this looks at all of
    /// them; they are as few as the scheduler lets be in flight.
    pub(super) fn oldest(&self) -> Option<DateTime<Utc>> {
        self.current.iter().chain(&self.past).min().copied()
    }

    fn of(&mut self, kind: Kind) -> &mut VecDeque<DateTime<Utc>> {
        match kind {
            Kind::Current => &mut self.current,
            Kind::Backlog => &mut self.past,
        }
    }
}
