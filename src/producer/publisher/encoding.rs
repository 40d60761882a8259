//! The threads `encode-CLUSTER`: each makes the records of a batch while its publisher writes the one before. They only
//! compute, and wait only for their neighbours: the scheduler before them and the publisher after them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::{Receiver, bounded};

use super::counting::{Fact, Facts};
use super::records::message;
use crate::common::bounds::ENCODED_BATCHES;
use crate::common::model::ClusterName;
use crate::common::outgoing::Outgoing;
use crate::common::thread::{Joined, spawn};
use crate::common::topics;
use crate::producer::plan::Batch;

/// A batch and the records that it becomes.
#[derive(Debug)]
pub struct Encoded {
    pub(super) batch: Batch,
    /// To be written.
    pub(super) records: Vec<Outgoing>,
    /// By the keys of their records, the numbers of its ticks.
    pub(super) ticks: HashMap<Bytes, usize>,
    /// What its events tell of ticks that will never be run.
    pub(super) facts: Facts,
}

impl Encoded {
    /// Of a batch whose messages go to a topic.
    pub fn new(topic: &Arc<str>, batch: Batch) -> Self {
        let mut records: Vec<Outgoing> =
            batch.ticks.iter().map(|tick| message(topic, tick, &batch.revision)).collect();
        let ticks = records.iter().map(|record| record.key.clone()).zip(0..).collect();
        let jobs = batch.missed.iter().map(|missed| (&missed.job.name, &missed.job)).collect();
        let mut facts = Facts::new();
        for event in &batch.events {
            let record = Outgoing::event(event);
            facts.extend(Fact::of(event, &jobs).map(|fact| (record.value.clone(), fact)));
            records.push(record);
        }
        Self { batch, records, ticks, facts }
    }
}

/// Starts the thread. It ends when the sender of its batches or the receiver of its work is gone.
///
/// # Errors
/// The system's, when it has no room for a thread.
pub(super) fn start(
    cluster: &ClusterName,
    batches: Receiver<Batch>,
) -> io::Result<(Joined, Receiver<Encoded>)> {
    let topic: Arc<str> = topics::first(cluster).into();
    let (done, encoded) = bounded(ENCODED_BATCHES);
    let thread = spawn(&format!("encode-{cluster}"), move || {
        for batch in batches {
            // Disconnected: the publisher has given up, and the cursor knows what is not published.
            if done.send(Encoded::new(&topic, batch)).is_err() {
                return;
            }
        }
    })?;
    Ok((thread, encoded))
}
