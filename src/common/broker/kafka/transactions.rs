//! Transactions of other programs (KIP-98): what was written in one that was aborted is not delivered.
//!
//! These programs write in none. But a foreign program may write attempts in one, and take them back.

use std::collections::HashSet;

use kafka_protocol::messages::fetch_response::AbortedTransaction;

use crate::common::broker::FetchedRecord;

/// What the key of a control record says, in its second number: the transaction ended without effect.
const ABORT: i16 = 0;

/// The aborted transactions of a partition, as a leader names them beside the batches: for each its writer, and the first
/// offset that it wrote. It ends at the next marker of its writer.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// The latest first, so that the next one to begin is the last.
    to_begin: Vec<(i64, i64)>,
    begun: HashSet<i64>,
}

impl Aborted {
    /// Takes in what a leader names; nothing where it was not asked for committed records alone.
    pub(super) fn new(named: &[AbortedTransaction]) -> Self {
        let mut to_begin: Vec<(i64, i64)> =
            named.iter().map(|aborted| (aborted.first_offset, aborted.producer_id.0)).collect();
        to_begin.sort_unstable_by(|a, b| b.cmp(a));
        Self { to_begin, begun: HashSet::new() }
    }

    /// Whether a transactional batch of a writer was taken back. Batches come in the order of their offsets.
    pub(super) fn holds(&mut self, producer: i64, last_offset: i64) -> bool {
        self.begin(last_offset);
        self.begun.contains(&producer)
    }

    /// Takes in a marker: the records of a control batch.
    pub(super) fn marker(&mut self, producer: i64, last_offset: i64, records: &[FetchedRecord]) {
        self.begin(last_offset);
        let kind = records.first().and_then(|record| record.key.as_deref()?.get(2..4)?.try_into().ok());
        if kind.map(i16::from_be_bytes) == Some(ABORT) {
            self.begun.remove(&producer);
        }
    }

    fn begin(&mut self, last_offset: i64) {
        while let Some((_, producer)) = self.to_begin.pop_if(|(first, _)| *first <= last_offset) {
            self.begun.insert(producer);
        }
    }
}
