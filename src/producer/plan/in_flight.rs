//! The portions that were handed out and are not on record yet. Of each, the cursor needs the oldest instant alone.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use super::portion::{Kind, PlanBatch};

/// The oldest instants of the portions under way, in the order of handing out.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    present: VecDeque<DateTime<Utc>>,
    past: VecDeque<DateTime<Utc>>,
}

impl InFlight {
    /// A portion is handed out.
    pub(super) fn add(&mut self, portion: &PlanBatch) {
        if let Some(oldest) = portion.oldest() {
            self.of(portion.kind).push_back(oldest);
        }
    }

    /// The oldest portion of that kind is on record. One too many is harmless.
    pub(super) fn confirmed(&mut self, kind: Kind) {
        self.of(kind).pop_front();
    }

    /// The portion of that kind that was handed out last has nothing that is to be written.
    pub(super) fn nothing_left(&mut self, kind: Kind) {
        self.of(kind).pop_back();
    }

    /// The oldest instant that is under way. An interval that is handed out later may begin earlier, so all are asked:
    /// they are as few as the timer lets be under way.
    pub(super) fn oldest(&self) -> Option<DateTime<Utc>> {
        self.present.iter().chain(&self.past).min().copied()
    }

    fn of(&mut self, kind: Kind) -> &mut VecDeque<DateTime<Utc>> {
        match kind {
            Kind::Current => &mut self.present,
            Kind::Backlog => &mut self.past,
        }
    }
}
