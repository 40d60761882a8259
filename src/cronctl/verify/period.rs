//! Which period the topics can tell about, and which job file was active in it.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use uuid::Uuid;

use super::revision_history::RevisionHistory;
use crate::common::broker::{BrokerError, Client, FetchedRecord};
use crate::common::clock::CLOCK_TOLERANCE;
use crate::common::model::{ClusterName, Event, Place, RunId};
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
    /// The first instant whose ticks a producer had to publish: no producer had led these clusters before. `None` where the
    /// events do not reach back so far, so that ticks of any time may be owed.
    planned: Option<DateTime<Utc>>,
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
        let owed = |asked: DateTime<Utc>| self.planned.map_or(asked, |planned| asked.max(planned));
        let wanted = asked
            .map(owed)
            .or(self.since)
            .ok_or("the topics are empty: --since says from when on there should be ticks")?;
        if wanted > until && asked.is_some_and(|asked| asked <= until) {
            let (planned, until) = (shown(wanted), shown(until));
            return Err(format!(
                "nothing can be checked: the first producer of these clusters began at {planned}, and the period ends at {until}"
            ));
        }
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
        let from = next_second(*cut);
        if from > until {
            let (runs, from, until) = (topics::RUNS, shown(from), shown(until));
            return Err(format!(
                "nothing can be checked: what {runs} told of ticks before {from} is deleted, and the period ends at {until}"
            ));
        }
        Ok(wanted.max(from))
    }

    /// Whether `cron-runs` still tells of all ticks from an instant on.
    pub fn tells_since(&self, since: DateTime<Utc>) -> bool {
        self.cut.get(topics::RUNS).is_none_or(|cut| *cut != NOTHING_LEFT && next_second(*cut) <= since)
    }

    /// What a reader must know where a period begins at `since` and was to begin at `asked`.
    pub fn clipped(&self, asked: Option<DateTime<Utc>>, since: DateTime<Utc>) -> Option<String> {
        let wanted = asked.or(self.since).filter(|wanted| *wanted < since)?;
        let (runs, wanted) = (topics::RUNS, shown(wanted));
        if self.planned == Some(since) {
            return Some(format!(
                "checked from {}, when the first producer of these clusters began: no tick was owed before",
                shown(since)
            ));
        }
        let since = shown(since);
        Some(format!(
            "from {wanted} to {since} nothing can be checked: what {runs} told of that time is deleted"
        ))
    }

    /// What a reader must know of messages that are deleted, of a period that begins at `since`.
    pub fn cuts(&self, since: DateTime<Utc>) -> impl Iterator<Item = String> {
        let cut = self.cut.iter().filter(move |(topic, at)| *topic != topics::RUNS && **at >= since);
        cut.map(|(topic, at)| {
            let what = if *at == NOTHING_LEFT {
                format!("all that stood in one of the partitions of {topic} is deleted")
            } else {
                format!("retention has deleted messages of {topic}, up to about {}", shown(*at))
            };
            format!("{what}: what became of those is taken from {}", topics::RUNS)
        })
    }
}

/// The first whole second after an instant.
fn next_second(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(at) + TimeDelta::seconds(1)
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
    let mut begins = Begins::default();
    let mut first_tick: Option<DateTime<Utc>> = None;
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
                first_tick = Some(first_tick.map_or(tick, |first| first.min(tick)));
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
    let first = |since: Option<DateTime<Utc>>| since.into_iter().chain(first_tick).min();
    begins.since = first(active_since);
    // Where all events are there, they tell when the first producer began. What was published before shows that others were
    // there once, and were deleted with their topic.
    if let Some(after) = history.begins().filter(|_| !begins.cut.contains_key(topics::RUNS)) {
        begins.planned = first(Some(next_second(after)));
    }
    // Where no event says which file was active, events are the oldest records that there are.
    let events = begins.cut.get(topics::RUNS).filter(|cut| **cut != NOTHING_LEFT);
    begins.since = begins.since.or(events.copied());
    Ok(begins)
}

/// The tick that a message is about. What another program wrote under an id of its own is about none.
fn tick(message: &FetchedRecord) -> Option<DateTime<Utc>> {
    let run = wire::decode_attempt(message.value.as_deref()?).ok()?.run;
    Some(run.scheduled_at).filter(|at| run.id == RunId::of(&run.job, *at))
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
            let begins = begins(client, &clusters, &RevisionHistory::default()).unwrap();
            begins.clipped(Some(since), since).into_iter().chain(begins.cuts(since)).collect::<Vec<_>>()
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
                    planned: None,
                    ids: BTreeMap::new(),
                    since: since.map(at),
                    cut: cut.iter().copied().map(|cut| (topics::RUNS.to_owned(), cut)).collect(),
                };
                let found = begins.first_checked(asked.map(at), at(100));
                match expected {
                    Ok(second) => {
                        assert_eq!(found, Ok(at(second)));
                        assert!(begins.tells_since(at(second)));
                        assert_eq!(
                            begins.tells_since(at(second - 1)),
                            cut.is_none_or(|cut| cut < at(second - 2))
                        );
                    }
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

    #[test]
    fn nothing_is_owed_before_the_first_producer_began() {
        let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
        let begins = Begins { since: Some(at(20)), planned: Some(at(20)), ..Begins::default() };
        let check = |asked: Option<i64>, until: i64, expected: Result<i64, &str>, noted: usize| {
            let asked = asked.map(at);
            let found = begins.first_checked(asked, at(until));
            let clipped = found.as_ref().ok().and_then(|since| begins.clipped(asked, *since));
            assert_eq!(clipped.iter().count(), noted);
            match expected {
                Ok(second) => assert_eq!(found, Ok(at(second))),
                Err(why) => assert!(found.clone().is_err_and(|found| found.contains(why)), "{found:?}"),
            }
        };
        check(None, 100, Ok(20), 0);
        check(Some(5), 100, Ok(20), 1);
        check(Some(20), 100, Ok(20), 0);
        check(Some(50), 100, Ok(50), 0);
        check(Some(5), 20, Ok(20), 1);
        check(Some(5), 19, Err("the first producer of these clusters began at 1970-01-01T00:00:20Z"), 0);
        check(Some(101), 100, Err("after its end"), 0);
    }
}
