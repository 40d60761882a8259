//! Reading what a cluster's topic holds already, a piece at a time. It may be millions of messages; between two pieces the
//! thread shows that it lives, cursors are committed, and clocks are compared.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{Published, Runs};
use super::{AFTER_FAILURE, AFTER_FAILURES, StartingPoint};
use crate::common::broker::{BrokerError, Client, ErrorCode, FetchedRecord};
use crate::common::model::{Attempt, RunId};
use crate::common::rests::Rests;
use crate::common::scan::Scan;
use crate::common::wire;

/// How far before a cursor the topics are read for what is published: clocks of hosts differ.
pub(super) const MARGIN_MS: i64 = 60_000;

/// A cluster of this term whose topic is still to be read for what is published.
#[derive(Debug)]
pub(super) struct Unread {
    pub number: usize,
    pub judged: StartingPoint,
    reading: Option<Reading>,
    rests: Rests,
}

impl Unread {
    pub fn new((number, judged): (usize, StartingPoint)) -> Self {
        Self { number, judged, reading: None, rests: Rests::new(AFTER_FAILURE, AFTER_FAILURES) }
    }

    /// For how long it rests after a failure.
    pub fn rests(&self, now: Instant) -> Option<std::time::Duration> {
        self.rests.left(now)
    }

    /// How many messages have been read so far.
    pub fn count(&self) -> usize {
        self.reading.as_ref().map_or(0, |reading| reading.count)
    }

    /// Reads a piece, and returns what the topic holds once all of it is read. What was read stays read where a broker did not
    /// answer; after a refusal the topic may be another one, and is read anew.
    ///
    /// # Errors
    /// When Kafka refuses or does not answer: the cluster rests.
    pub fn read(
        &mut self,
        client: &mut dyn Client,
        topic: &str,
        now: Instant,
    ) -> Result<Option<Published>, BrokerError> {
        let read = match &mut self.reading {
            Some(reading) => reading.go_on(client),
            None => Reading::start(client, topic, self.judged.cursor).and_then(|mut reading| {
                let done = reading.go_on(client)?;
                self.reading = Some(reading);
                Ok(done)
            }),
        };
        match &read {
            Ok(_) => self.rests.succeeded(),
            Err(error) => {
                if error.code().is_some() {
                    self.reading = None;
                }
                self.rests.failed(now);
            }
        }
        read
    }
}

/// A topic that is being read.
#[derive(Debug)]
struct Reading {
    scan: Scan,
    topic_id: Uuid,
    /// Where the topic ended when reading began. A former leader writes nothing more: its cursors were refused before that.
    ends: BTreeMap<i32, i64>,
    cursor: DateTime<Utc>,
    runs: Runs,
    /// When the newest message was written, in milliseconds since the epoch; the cursor where there is none.
    last_ms: i64,
    count: usize,
}

impl Reading {
    fn start(client: &mut dyn Client, topic: &str, cursor: DateTime<Utc>) -> Result<Self, BrokerError> {
        let mut scan = Scan::new(topic);
        let topic_id = scan.topic_id(client)?.unwrap_or_default();
        scan.skip_to(client, cursor.timestamp_millis() - MARGIN_MS)?;
        let ends = scan.ends(client)?;
        let last_ms = cursor.timestamp_millis();
        Ok(Self { scan, topic_id, ends, cursor, runs: Runs::default(), last_ms, count: 0 })
    }

    /// Reads the next piece. All is known once the last one is read: the runs that the topic holds of what is owed since the
    /// cursor, and the latest instant that one of them may be due at. What is published has the time of its writer, who
    /// publishes nothing that is not due (but for a reboot's), or the broker's.
    fn go_on(&mut self, client: &mut dyn Client) -> Result<Option<Published>, BrokerError> {
        let piece = self.scan.read_some(client, &self.ends)?;
        piece.iter().for_each(|(partition, record)| self.take(*partition, record));
        let is_all = self.scan.short_of(&self.ends).is_empty();
        if !is_all && !piece.is_empty() {
            return Ok(None);
        }
        if self.scan.topic_id(client)?.unwrap_or_default() != self.topic_id {
            return Err(BrokerError::Refused(ErrorCode::InconsistentTopicId));
        }
        if !is_all {
            // The log was cut.
            return Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange));
        }
        let mut runs = std::mem::take(&mut self.runs);
        runs.sort();
        let until = DateTime::from_timestamp_millis(self.last_ms.saturating_add(MARGIN_MS));
        let until = until.unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(Some(Published { topic_id: self.topic_id, runs, until }))
    }

    fn take(&mut self, partition: i32, record: &FetchedRecord) {
        self.count += 1;
        self.last_ms = self.last_ms.max(record.timestamp_ms);
        let key = record.key.as_deref().and_then(|key| str::from_utf8(key).ok()?.parse::<RunId>().ok());
        let Some(id) = key else { return };
        let place = (partition, record.offset);
        match record.value.as_deref().and_then(|value| wire::decode_attempt(value).ok()) {
            // The key decides which run this is, whatever the value says; and a tick's run has the id that the tick gives it.
            Some(Attempt { run, .. }) if run.id == id && id == RunId::of(&run.job, run.scheduled_at) => {
                // A reboot may lie at the cursor.
                if run.scheduled_at >= self.cursor {
                    self.runs.add(&run.job, run.scheduled_at, place);
                }
            }
            _ => self.runs.add_other(id, place),
        }
    }
}
