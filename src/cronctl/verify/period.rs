//! What the topics can tell about: since when, and which job file was in force.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::reign::Reign;
use crate::common::broker::{BrokerError, Client, FetchedRecord};
use crate::common::scan::{First, Scan, scan};
use crate::common::words::{ClusterName, Event};
use crate::common::{topics, wire};
use crate::cronctl::instant::shown;

/// The key of `revision` events.
const REVISION: &[u8] = b"revision";

/// Which job file was in force when for these clusters, as far as `cron-runs` says.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub fn reign(client: &mut dyn Client, clusters: &[ClusterName]) -> Result<Reign, BrokerError> {
    let mut reign = Reign::default();
    scan(client, topics::RUNS, |_, record| {
        if record.key.as_deref() == Some(REVISION)
            && let Some(Ok(Event::Revision { cluster, revision, tzdata, from, .. })) =
                record.value.as_deref().map(wire::decode_event)
            && clusters.contains(&cluster)
        {
            reign.take(&revision, tzdata.as_deref(), from);
        }
    })?;
    Ok(reign)
}

/// Since when the topics tell of ticks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begins {
    /// The first instant that they can be asked about; `None` where they are empty.
    pub since: Option<DateTime<Utc>>,
    /// Topics whose records before the instant are deleted.
    cut: Vec<(String, DateTime<Utc>)>,
    /// Topics of which a partition has nothing left.
    emptied: BTreeSet<String>,
}

impl Begins {
    /// What must be known by whoever asks about a period that begins at `since`.
    pub fn notes(&self, since: DateTime<Utc>) -> Vec<String> {
        let before = self.cut.iter().filter(|(_, begins)| *begins > since);
        let before = before.map(|(topic, begins)| {
            format!("{topic} begins at {}: what stood before is deleted", shown(*begins))
        });
        let emptied = self.emptied.iter();
        let emptied =
            emptied.map(|topic| format!("{topic}: all that stood in one of its partitions is deleted"));
        before.chain(emptied).collect()
    }
}

/// Since when the topics tell of ticks: since the first job file was in force or the first tick was published, but not
/// of what retention has deleted.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub fn begins(
    client: &mut dyn Client,
    clusters: &[ClusterName],
    reign: &Reign,
) -> Result<Begins, BrokerError> {
    // Ticks are whole seconds: the first after an instant is not before the next millisecond.
    let in_force = reign.begins().map(|after| after + TimeDelta::milliseconds(1));
    let mut begins = Begins { since: in_force, ..Begins::default() };
    for topic in clusters.iter().map(topics::first).chain([topics::RUNS.to_owned()]) {
        for First { cut, record } in Scan::new(&topic).firsts(client)? {
            if cut && record.is_none() {
                begins.emptied.insert(topic.clone());
            }
            let Some(first) = record.as_ref().and_then(|record| instant(record, &topic)) else { continue };
            if topic != topics::RUNS {
                begins.since = Some(begins.since.map_or(first, |since| since.min(first)));
            }
            if cut {
                begins.cut.push((topic.clone(), first + TimeDelta::seconds(1)));
            }
        }
    }
    let whole = begins.cut.iter().map(|(_, from)| *from).max();
    begins.since = begins.since.max(whole);
    Ok(begins)
}

/// The instant that a record stands for: a message's tick, an event's time of writing.
fn instant(record: &FetchedRecord, topic: &str) -> Option<DateTime<Utc>> {
    if topic == topics::RUNS {
        return DateTime::from_timestamp_millis(record.timestamp_ms);
    }
    let attempt = wire::decode_attempt(record.value.as_deref()?).ok()?;
    Some(attempt.run.scheduled_at)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::common::broker::memory::MemoryBroker;
    use crate::common::broker::{Broker, ProduceBatch, Record, TopicPartition};
    use crate::common::clock::ManualClock;

    #[test]
    fn a_partition_of_which_all_is_deleted_is_told_of() {
        let broker = MemoryBroker::new(Arc::new(ManualClock::new(DateTime::UNIX_EPOCH)));
        let mut client = broker.client("test");
        let soon = || Instant::now() + Duration::from_secs(10);
        let clusters = [ClusterName::new("a").unwrap()];
        for spec in topics::all(&clusters, 2, 1) {
            client.create_topic(&spec, soon()).unwrap();
        }
        let notes = |client: &mut dyn Client| {
            begins(client, &clusters, &Reign::default()).unwrap().notes(DateTime::UNIX_EPOCH)
        };
        assert_eq!(notes(client.as_mut()), [""; 0]);
        let to = TopicPartition { topic: "a".to_owned(), partition: 1 };
        let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
        client.produce(&[ProduceBatch { to: to.clone(), records: vec![record] }], soon()).remove(0).unwrap();
        broker.faults().delete_records(&to, 1);
        assert_eq!(notes(client.as_mut()), ["a: all that stood in one of its partitions is deleted"]);
    }
}
