//! Which period the topics can tell about, and which job file was active in it.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use uuid::Uuid;

use super::revision_history::RevisionHistory;
use crate::common::broker::{BrokerError, Client, FetchedRecord};
use crate::common::clock::CLOCK_TOLERANCE;
use crate::common::model::{ClusterName, Event, Place};
use crate::common::scan::{First, Scan, scan};
use crate::common::{topics, wire};
use crate::cronctl::instant::shown;

/// The key of `revision` events.
const REVISION: &[u8] = b"revision";

/// Which job file was active when for these clusters, as far as `cron-runs` says.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub fn history(client: &mut dyn Client, clusters: &[ClusterName]) -> Result<RevisionHistory, BrokerError> {
    let mut history = RevisionHistory::default();
    scan(client, topics::RUNS, |_, record| {
        if record.key.as_deref() == Some(REVISION)
            && let Some(Ok(Event::Revision { cluster, revision, tzdata, from, .. })) =
                record.value.as_deref().map(wire::decode_event)
            && clusters.contains(&cluster)
        {
            history.take(&revision, tzdata.as_deref(), from);
        }
    })?;
    Ok(history)
}

/// Since when the topics tell of ticks, and of which of them retention has deleted something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begins {
    /// The first instant of which there is a record; `None` where the topics are empty.
    pub since: Option<DateTime<Utc>>,
    /// Topics of which records are deleted. What was written after the instant is there; [`NOTHING_LEFT`] where a partition
    /// has no record, so that it is unknown until when it had some.
    cut: BTreeMap<String, DateTime<Utc>>,
    /// The ids of the topics that are there.
    ids: BTreeMap<String, Uuid>,
}

/// A partition has lost all of its records.
const NOTHING_LEFT: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

impl Begins {
    /// Whether the message of a tick, or what was passed on at an instant, may have been deleted from a topic.
    pub fn may_be_deleted(&self, topic: &str, at: DateTime<Utc>) -> bool {
        self.cut.get(topic).is_some_and(|cut| at <= *cut)
    }

    /// Whether a message lay in a topic that has been deleted since, whatever bears its name today.
    pub fn is_of_a_deleted_topic(&self, place: &Place) -> bool {
        !place.topic_id.is_nil() && self.ids.get(&place.topic).is_some_and(|id| *id != place.topic_id)
    }

    /// The first instant that can be checked of a period that is to begin at `asked`, or where the records begin.
    ///
    /// The events of `cron-runs` tell the fate of a tick although its message is deleted; where they are deleted too,
    /// nothing does.
    ///
    /// # Errors
    /// Nothing can be checked, and why.
    pub fn first_checked(
        &self,
        asked: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, String> {
        let wanted = asked
            .or(self.since)
            .ok_or("the topics are empty: --since says from when on there should be ticks")?;
        if wanted > until {
            return Err(format!("the period begins at {wanted}, after its end {until}"));
        }
        let Some(cut) = self.cut.get(topics::RUNS) else { return Ok(wanted) };
        if *cut == NOTHING_LEFT {
            let runs = topics::RUNS;
            return Err(format!(
                "nothing can be checked: all that stood in a partition of {runs} is deleted, so it cannot be known what became \
                 of ticks"
            ));
        }
        // The first whole second after it.
        let from = cut.duration_trunc(TimeDelta::seconds(1)).unwrap_or(*cut) + TimeDelta::seconds(1);
        if from > until {
            let (runs, from, until) = (topics::RUNS, shown(from), shown(until));
            return Err(format!(
                "nothing can be checked: what {runs} told of ticks before {from} is deleted, and the period ends at {until}"
            ));
        }
        Ok(wanted.max(from))
    }

    /// What a reader must know about a period that begins at `since`, and was to begin at `asked`.
    pub fn notes(&self, asked: Option<DateTime<Utc>>, since: DateTime<Utc>) -> Vec<String> {
        let wanted = asked.or(self.since).filter(|wanted| *wanted < since);
        let clipped = wanted.map(|wanted| {
            let (runs, wanted, since) = (topics::RUNS, shown(wanted), shown(since));
            format!(
                "from {wanted} to {since} nothing can be checked: what {runs} told of that time is deleted"
            )
        });
        let cut = self.cut.iter().filter(|(topic, at)| *topic != topics::RUNS && **at >= since);
        let cut = cut.map(|(topic, at)| {
            let what = if *at == NOTHING_LEFT {
                format!("all that stood in one of the partitions of {topic} is deleted")
            } else {
                format!("retention has deleted messages of {topic}, up to about {}", shown(*at))
            };
            format!("{what}: what became of those is taken from {}", topics::RUNS)
        });
        clipped.into_iter().chain(cut).collect()
    }
}

/// Since when the topics tell of ticks: since the first job file was active or the first tick was published.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub fn begins(
    client: &mut dyn Client,
    clusters: &[ClusterName],
    history: &RevisionHistory,
) -> Result<Begins, BrokerError> {
    // Ticks are whole seconds: the first after an instant is not before the next millisecond.
    let active_since = history.begins().map(|after| after + TimeDelta::milliseconds(1));
    let mut begins = Begins { since: active_since, ..Begins::default() };
    let first = clusters.iter().map(topics::first);
    let retry = clusters.iter().map(topics::retry);
    for topic in first.clone().chain(retry).chain([topics::RUNS.to_owned()]) {
        if let Some(id) = Scan::new(&topic).topic_id(client)? {
            begins.ids.insert(topic.clone(), id);
        }
        for First { cut, record } in Scan::new(&topic).firsts(client)? {
            if clusters.iter().any(|cluster| topics::first(cluster) == topic)
                && let Some(tick) = record.as_ref().and_then(tick)
            {
                begins.since = Some(begins.since.map_or(tick, |since| since.min(tick)));
            }
            if cut {
                let written = record.map(|record| record.timestamp_ms);
                let written = written.and_then(DateTime::from_timestamp_millis).unwrap_or(NOTHING_LEFT);
                // The tick is an instant of the producer's clock.
                let at = written.checked_add_signed(CLOCK_TOLERANCE).unwrap_or(NOTHING_LEFT);
                let of = begins.cut.entry(topic.clone()).or_insert(at);
                *of = at.max(*of);
            }
        }
    }
    // Where no event says which file was active, events are the oldest records that there are.
    let events = begins.cut.get(topics::RUNS).filter(|cut| **cut != NOTHING_LEFT);
    begins.since = begins.since.or(events.copied());
    Ok(begins)
}

/// The tick that a message is about.
fn tick(message: &FetchedRecord) -> Option<DateTime<Utc>> {
    let attempt = wire::decode_attempt(message.value.as_deref()?).ok()?;
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
            let since = DateTime::UNIX_EPOCH;
            begins(client, &clusters, &RevisionHistory::default()).unwrap().notes(Some(since), since)
        };
        assert_eq!(notes(client.as_mut()), [""; 0]);
        let to = TopicPartition { topic: "a".to_owned(), partition: 1 };
        let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
        client.produce(&[ProduceBatch { to: to.clone(), records: vec![record] }], soon()).remove(0).unwrap();
        broker.faults().delete_records(&to, 1);
        let told = "all that stood in one of the partitions of a is deleted: what became of those is taken from cron-runs";
        assert_eq!(notes(client.as_mut()), [told]);
    }

    #[test]
    fn a_period_begins_where_events_tell_of_it() {
        let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
        let check =
            |since: Option<i64>, cut: Option<i64>, asked: Option<i64>, expected: Result<i64, &str>| {
                let cut = cut.map(|cut| if cut < 0 { NOTHING_LEFT } else { at(cut) });
                let begins = Begins {
                    ids: BTreeMap::new(),
                    since: since.map(at),
                    cut: cut.into_iter().map(|cut| (topics::RUNS.to_owned(), cut)).collect(),
                };
                let found = begins.first_checked(asked.map(at), at(100));
                match expected {
                    Ok(second) => assert_eq!(found, Ok(at(second))),
                    Err(why) => assert!(found.clone().is_err_and(|found| found.contains(why)), "{found:?}"),
                }
            };
        check(None, None, None, Err("the topics are empty"));
        check(None, None, Some(5), Ok(5));
        check(Some(20), None, None, Ok(20));
        check(Some(20), None, Some(5), Ok(5));
        check(Some(20), Some(30), None, Ok(31));
        check(Some(20), Some(30), Some(5), Ok(31));
        check(Some(20), Some(30), Some(50), Ok(50));
        check(Some(20), Some(100), Some(50), Err("nothing can be checked: what cron-runs told"));
        check(Some(20), Some(-1), Some(50), Err("nothing can be checked: all that stood in a partition"));
        check(Some(20), Some(30), Some(101), Err("after its end"));
    }
}
