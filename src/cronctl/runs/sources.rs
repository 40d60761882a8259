//! What runs are listed from: the clusters' topics and `cron-runs`, and which of their records are listed.

use chrono::{DateTime, Utc};

use super::run_list::RunList;
use super::spool::Listed;
use crate::common::broker::{BrokerError, Client, FetchedRecord};
use crate::common::model::{ClusterName, Event, JobName};
use crate::common::scan::Scan;
use crate::common::{topics, wire};

/// What is new since the last look, besides what the run list knows.
#[derive(Debug, Default)]
pub struct News {
    /// Ticks that will never be run.
    pub missed: Vec<Event>,
    /// Messages of clusters' topics that cannot be read: each has a dead letter.
    pub unreadable: usize,
}

/// Topics that are read on.
#[derive(Clone)]
pub struct Sources {
    messages: Vec<Scan>,
    events: Scan,
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
            messages: clusters.iter().map(|cluster| Scan::new(&topics::first(cluster))).collect(),
            events: Scan::new(topics::RUNS),
            since_ms: since.timestamp_millis(),
        };
        for scan in sources.messages.iter_mut().chain([&mut sources.events]) {
            scan.skip_to(client, sources.since_ms)?;
        }
        Ok(sources)
    }

    /// How many records there are to read, at most.
    ///
    /// # Errors
    /// When a broker refuses or does not answer.
    pub fn count(&self, client: &mut dyn Client) -> Result<u64, BrokerError> {
        let mut count = 0;
        for scan in self.messages.iter().chain([&self.events]) {
            for (partition, end) in scan.ends(client)? {
                let next = scan.places().get(&partition).copied().unwrap_or(0);
                count += u64::try_from(end - next).unwrap_or(0);
            }
        }
        Ok(count)
    }

    /// Reads what has come since the last look.
    ///
    /// # Errors
    /// When a broker refuses or does not answer.
    pub fn read(
        &mut self,
        client: &mut dyn Client,
        news: &mut News,
        mut take: impl FnMut(&Listed<'_>, &mut News),
    ) -> Result<(), BrokerError> {
        let since_ms = self.since_ms;
        let mut listed = |is_event: bool, record: &FetchedRecord| match record.value.as_deref() {
            _ if record.timestamp_ms < since_ms => {}
            Some(value) => take(&Listed { is_event, written_ms: record.timestamp_ms, value }, news),
            None => news.unreadable += usize::from(!is_event),
        };
        for scan in &mut self.messages {
            scan.read(client, |_, record| listed(false, &record))?;
        }
        self.events.read(client, |_, record| listed(true, &record))?;
        Ok(())
    }
}

/// Which records are listed.
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

    /// Whether a record may be of these, as far as that shows before it is decoded.
    pub fn may_want(&self, listed: &Listed<'_>) -> bool {
        self.job.is_none() || listed.job().is_none_or(|job| self.wants(job))
    }

    /// Whether an event is of these.
    pub fn takes(&self, event: &Event) -> bool {
        topics::concerns(event, self.clusters) && job_of(event).is_none_or(|job| self.wants(job.as_str()))
    }

    /// Enters a record in a list of runs.
    pub fn take(&self, listed: &Listed<'_>, runs: &mut RunList, news: &mut News) {
        if !self.may_want(listed) || listed.run().is_some_and(|run| !runs.takes(run)) {
            return;
        }
        if !listed.is_event {
            match wire::decode_attempt(listed.value) {
                Ok(attempt) if self.wants(attempt.run.job.as_str()) => drop(runs.message(&attempt)),
                Ok(_) => {}
                Err(_) => news.unreadable += 1,
            }
        } else if let Ok(event) = wire::decode_event(listed.value)
            && self.takes(&event)
        {
            let written_at = DateTime::from_timestamp_millis(listed.written_ms).unwrap_or_default();
            runs.event(&event, written_at);
            if matches!(event, Event::Missed { .. }) {
                news.missed.push(event);
            }
        }
    }
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
