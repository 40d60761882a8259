//! What runs are listed from: the clusters' topics and `cron-runs`, and which of their records are listed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};

use super::peek;
use super::run_list::RunList;
use crate::common::broker::{BrokerError, Client};
use crate::common::model::{Attempt, ClusterName, Event, JobName, RunId};
use crate::common::scan::Scan;
use crate::common::{topics, wire};

/// A record as it was read.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// Of `cron-runs`, with the milliseconds since the epoch at which it was written.
    Event(i64, &'a [u8]),
    /// Of that cluster's topic; nothing where it has no value.
    Message(&'a ClusterName, Option<&'a [u8]>),
}

/// Topics that are read on.
#[derive(Clone)]
pub struct Sources {
    events: Scan,
    messages: Vec<(ClusterName, Scan)>,
    /// What was written before is passed over.
    since_ms: i64,
}

impl Sources {
    /// Creates sources that are read from what was written since an instant.
    ///
    /// # Errors
    /// When a broker refuses or does not answer.
    pub fn since(
        client: &mut dyn Client,
        clusters: &[ClusterName],
        since: DateTime<Utc>,
    ) -> Result<Self, BrokerError> {
        let mut sources = Self {
            events: Scan::new(topics::RUNS),
            messages: clusters.iter().map(|of| (of.clone(), Scan::new(&topics::first(of)))).collect(),
            since_ms: since.timestamp_millis(),
        };
        for scan in sources.messages.iter_mut().map(|(_, scan)| scan).chain([&mut sources.events]) {
            scan.skip_to(client, sources.since_ms)?;
        }
        Ok(sources)
    }

    /// Reads what has come since the last look, until `take` breaks off: first the events, because most runs take little room
    /// once it is known that they are over.
    ///
    /// # Errors
    /// When a broker refuses or does not answer.
    pub fn read(
        &mut self,
        client: &mut dyn Client,
        mut take: impl FnMut(Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), BrokerError> {
        let (since_ms, all) = (self.since_ms, BTreeMap::new());
        let messages = self.messages.iter_mut().map(|(cluster, scan)| (Some(&*cluster), scan));
        for (cluster, scan) in std::iter::once((None, &mut self.events)).chain(messages) {
            let mut then = ControlFlow::Continue(());
            scan.read_while(client, &all, |_, record| {
                then = match (cluster, record.value.as_deref()) {
                    _ if record.timestamp_ms < since_ms => ControlFlow::Continue(()),
                    (None, None) => ControlFlow::Continue(()),
                    (None, Some(value)) => take(Record::Event(record.timestamp_ms, value)),
                    (Some(cluster), value) => take(Record::Message(cluster, value)),
                };
                then
            })?;
            if then.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What is new, besides what the list of runs knows.
#[derive(Debug, Default)]
pub struct News {
    /// Ticks that will never be run, and when that was written.
    pub missed: Vec<(Event, DateTime<Utc>)>,
    /// Messages of clusters' topics that cannot be read: each has a dead letter.
    pub unreadable: usize,
}

impl News {
    /// Enters the ticks that will never be run in a list of those that waited, once these are known.
    pub fn tell(&self, runs: &mut RunList) {
        for (event, written_at) in &self.missed {
            runs.event(event, *written_at);
        }
    }
}

/// Which records are listed.
#[derive(Debug, Clone, Copy)]
pub struct Rule<'a> {
    /// The job, where one is named.
    pub job: Option<&'a JobName>,
    /// The clusters.
    pub clusters: &'a [ClusterName],
}

impl Rule<'_> {
    /// What is about no job in particular is about this one, too.
    fn wants(&self, of: &str) -> bool {
        self.job.is_none_or(|job| job.as_str() == of || of == JobName::ANY)
    }

    /// The attempt that a message of a cluster's topic holds, if it is listed. One that cannot be read, or is of another
    /// cluster, is counted: it becomes a dead letter.
    pub fn message(&self, cluster: &ClusterName, value: Option<&[u8]>, news: &mut News) -> Option<Attempt> {
        match value.map(wire::decode_attempt) {
            Some(Ok(attempt)) if attempt.run.cluster == *cluster => {
                Some(attempt).filter(|attempt| self.wants(attempt.run.job.as_str()))
            }
            _ => {
                news.unreadable += 1;
                None
            }
        }
    }

    /// Whether an event may be listed, as far as that shows before it is decoded.
    pub fn may_list(&self, event: &[u8]) -> bool {
        self.job.is_none() || peek::event(event).and_then(|about| about.job).is_none_or(|job| self.wants(job))
    }

    /// The event, if it is listed.
    pub fn event(&self, value: &[u8]) -> Option<Event> {
        if !self.may_list(value) {
            return None;
        }
        let is_listed = |event: &Event| {
            topics::concerns(event, self.clusters) && job_of(event).is_none_or(|job| self.wants(job.as_str()))
        };
        wire::decode_event(value).ok().filter(is_listed)
    }

    /// Enters a record in a list of runs.
    pub fn take(&self, record: Record<'_>, runs: &mut RunList, news: &mut News) {
        match record {
            Record::Message(cluster, value) => {
                if let Some(attempt) = self.message(cluster, value, news) {
                    runs.message(&attempt);
                }
            }
            Record::Event(_, value) if run_of_event(value).is_some_and(|run| !runs.takes(run)) => {}
            Record::Event(written_ms, value) => match self.event(value) {
                Some(event @ Event::Missed { .. }) => news.missed.push((event, written_at(written_ms))),
                Some(event) => {
                    runs.event(&event, written_at(written_ms));
                }
                None => {}
            },
        }
    }
}

/// The run that an event is about, as far as that shows before it is decoded.
pub fn run_of_event(value: &[u8]) -> Option<RunId> {
    peek::event(value).and_then(|about| about.run)
}

/// An instant of the broker's.
pub fn written_at(written_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(written_ms).unwrap_or_default()
}

/// The job that an event names, where it is about a run or about ticks that were missed.
fn job_of(event: &Event) -> Option<&JobName> {
    match event {
        Event::Claimed { job, .. }
        | Event::Finished { job, .. }
        | Event::Published { job, .. }
        | Event::Queued { job, .. }
        | Event::Skipped { job, .. }
        | Event::Ended { job, .. }
        | Event::Missed { job, .. } => Some(job),
        Event::Lost { job, .. } => job.as_ref(),
        _ => None,
    }
}
