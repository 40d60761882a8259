//! What could not be read, on its way to the dead-letter topic. It stays a hole until its letter is confirmed, and
//! nothing else waits for that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{CALL, Call, Claimer, Effect, Failure, Report};
use crate::common::bounds;
use crate::common::broker::{BrokerError, Client};
use crate::common::clock::Now;
use crate::common::model::Event;
use crate::common::model::Place;
use crate::consumer::claiming::letters;
use crate::consumer::fetching::reading::Unreadable;

/// Letters that are written in one step, one round trip each. Claims wait for them meanwhile.
const LETTERS_PER_STEP: usize = 16;
/// How long letters rest after one could not be written.
const REST: Duration = Duration::from_secs(5);

/// Letters to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Unread {
    letters: VecDeque<Letter>,
    bytes: usize,
    /// Not before this instant, after one could not be written.
    rests_until: Option<Instant>,
}

#[derive(Debug)]
struct Letter {
    partition: i32,
    offset: i64,
    unreadable: Unreadable,
}

impl Letter {
    fn bytes(&self) -> usize {
        let record = self.unreadable.record.as_ref();
        record.map_or(0, |r| [&r.key, &r.value].into_iter().flatten().map(bytes::Bytes::len).sum())
    }
}

impl Unread {
    pub(super) fn push(&mut self, partition: i32, offset: i64, unreadable: Unreadable) {
        let letter = Letter { partition, offset, unreadable };
        self.bytes += letter.bytes();
        self.letters.push_back(letter);
    }

    /// Forgets the letters of a partition that is not ours any more, or is read anew.
    pub(super) fn forget(&mut self, partition: i32) {
        self.letters.retain(|letter| letter.partition != partition);
        self.bytes = self.letters.iter().map(Letter::bytes).sum();
    }

    pub(super) fn clear(&mut self) {
        *self = Self { rests_until: self.rests_until, ..Self::default() };
    }

    /// Whether there are as many as may be.
    pub(super) fn is_full(&self) -> bool {
        self.letters.len() >= bounds::READY_PER_PARTITION || self.bytes >= bounds::HELD_BYTES_PER_PARTITION
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Whether a step would write one.
    pub(super) fn is_busy(&self) -> bool {
        !self.letters.is_empty() && self.rests_until.is_none()
    }
}

impl Claimer {
    /// Writes letters for what could not be read; only a confirmed one settles its message.
    pub(super) fn write_letters(&mut self, client: &mut dyn Client, now: Now, effects: &mut Vec<Effect>) {
        if self.unread.rests_until.is_some_and(|until| now.mono < until) {
            return;
        }
        self.unread.rests_until = None;
        for _ in 0..LETTERS_PER_STEP {
            let Some(letter) = self.unread.letters.pop_front() else { return };
            self.unread.bytes -= letter.bytes();
            let Some(held) = self.partitions.get(&letter.partition) else { continue };
            let place = self.place(held.topic_id(), letter.partition, letter.offset);
            if let Err(error) = self.write_letter(client, &letter, &place, now) {
                effects.push(Effect::Report(Report::LetterUnwritten(letter.partition, error.clone())));
                self.unread.bytes += letter.bytes();
                // It goes to the end of the queue: the next ones may succeed.
                self.unread.letters.push_back(letter);
                self.unread.rests_until = Some(now.mono + REST);
                effects.push(Effect::Failed(Failure { call: Call::Letter, error }));
                return;
            }
            effects.push(Effect::Letter(letter.unreadable.reason));
            let (last_offset, reason) = (letter.unreadable.last_offset, letter.unreadable.detail);
            if let Some(held) = self.partitions.get_mut(&letter.partition) {
                held.settle(letter.offset, last_offset);
            }
            effects.push(Effect::Note(Event::Unreadable { place, last_offset, reason, at: now.wall }));
        }
    }

    fn write_letter(
        &self,
        client: &mut dyn Client,
        letter: &Letter,
        place: &Place,
        now: Now,
    ) -> Result<(), BrokerError> {
        let letter = letters::unread(&self.options.consumer, place.clone(), &letter.unreadable, now.wall);
        letters::write(client, &self.options.cluster, letter, now.mono + CALL)
    }
}
