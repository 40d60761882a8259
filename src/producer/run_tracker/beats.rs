//! Writes the leader's beats to `cron-runs`.

use std::time::Duration;

use super::duties::Duties;
use super::heartbeat::Heartbeat;
use super::log_reader::{LogReader, partition_of};
use super::notes::Note;
use super::step::Step;
use crate::common::broker::{ProduceBatch, Record};
use crate::common::model::Event;
use crate::common::{topics, wire};

/// Writes the beats that are due, where they are written so often. A beat that fails has the log looked up.
pub fn write_due(step: &mut Step<'_>, heartbeat: &mut Heartbeat, log: &mut LogReader, every: Duration) {
    let due = heartbeat.due(step.now.mono, every);
    if due.is_empty() {
        return;
    }
    let (leader, now) = (&step.options.name, step.now);
    let batch = |(partition, number): &(i32, u64)| {
        let beat = Event::Beat { leader: leader.clone(), number: *number, at: now.wall };
        let timestamp_ms = now.wall.timestamp_millis();
        let key = Some(topics::beat_key(leader, *partition));
        let record = Record { key, value: Some(wire::encode(&beat)), timestamp_ms };
        ProduceBatch { to: partition_of(*partition), records: vec![record] }
    };
    let batches: Vec<ProduceBatch> = due.iter().map(batch).collect();
    for ((partition, _), written) in due.iter().zip(step.client.produce(&batches, step.by)) {
        match written {
            Ok(written) => {
                log.was_appended(*partition, written.base_offset);
                heartbeat.beat(*partition, Some(written.base_offset), now.mono);
            }
            Err(error) => {
                // The duty reports it if it lasts.
                if heartbeat.beat(*partition, None, now.mono) {
                    step.note(Note::BeatFailed { partition: *partition, error: error.clone() });
                }
                step.failed(Duties::Beats, error);
                log.look_up_soon();
            }
        }
    }
}
