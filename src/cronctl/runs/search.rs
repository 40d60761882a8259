//! Finds what the topics hold about one run. They are searched from the newest records back, a period at a time, because
//! most questions are about a run of today, and a history may be of months.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::peek;
use super::run_detail::run_of;
use crate::common::broker::{BrokerError, Client, FetchedRecord};
use crate::common::model::{Attempt, ClusterName, Event, RunId};
use crate::common::scan::Scan;
use crate::common::wire::{self, DeadRecord};
use crate::common::{clock, topics};

/// How far back the periods reach, each from where the one before began. After the last one all the rest is read.
const PERIODS: [TimeDelta; 4] =
    [TimeDelta::minutes(15), TimeDelta::hours(3), TimeDelta::days(1), TimeDelta::days(7)];

/// Nothing is written about a run so long before it is due: producers lead by a clock that is wrong by no more than a tenth.
const BEFORE_DUE: TimeDelta = TimeDelta::seconds(10 * clock::CLOCK_TOLERANCE.num_seconds());

/// How much of the topics is searched.
#[derive(Debug, Clone, Copy)]
pub enum Reach {
    /// What was written since an instant.
    Since(DateTime<Utc>),
    /// All that is about the run; it is this instant now.
    All(DateTime<Utc>),
}

/// A record about the run.
#[derive(Debug)]
pub struct Found {
    /// Where it lies: topic, partition and offset.
    pub place: (String, i32, i64),
    /// When the record is dated.
    pub written_at: DateTime<Utc>,
    /// What it says.
    pub says: Says,
}

/// What a record says about a run.
#[derive(Debug)]
pub enum Says {
    /// The message of an attempt.
    Message(Attempt),
    /// A dead letter, or that one was put back.
    Dead(Box<DeadRecord>),
    /// What happened.
    Event(Event),
}

/// All that the topics hold about a run within reach: messages before events, each topic's in their order.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub fn search(
    run: RunId,
    clusters: &[ClusterName],
    reach: Reach,
    client: &mut dyn Client,
) -> Result<Vec<Found>, BrokerError> {
    let mut topics: Vec<Topic> = sources(clusters).into_iter().map(Topic::new).collect();
    let starts = match reach {
        Reach::Since(since) => vec![Some(since)],
        Reach::All(now) => PERIODS.iter().map(|back| Some(now - *back)).chain([None]).collect(),
    };
    for start in starts {
        for topic in &mut topics {
            topic.read_back_to(start, (run, clusters), client)?;
        }
        let due = topics.iter().flat_map(|topic| &topic.found).filter_map(|found| found.due(run)).min();
        if due.zip(start).is_some_and(|(due, start)| start <= due - BEFORE_DUE) {
            break;
        }
    }
    Ok(topics.into_iter().flat_map(|topic| topic.found).collect())
}

/// How a topic's records are decoded.
type Decode = fn(&[u8], RunId, &[ClusterName]) -> Option<Says>;

/// The topics in which something may stand about a run.
fn sources(clusters: &[ClusterName]) -> Vec<(String, Decode)> {
    let of_cluster = |cluster: &ClusterName| -> [(String, Decode); 3] {
        [(topics::first(cluster), message), (topics::retry(cluster), message), (topics::dead(cluster), dead)]
    };
    clusters.iter().flat_map(of_cluster).chain([(topics::RUNS.to_owned(), event as Decode)]).collect()
}

/// A topic that is read backwards, a period at a time.
struct Topic {
    name: String,
    decode: Decode,
    /// Where the periods that have been read begin.
    read_from: BTreeMap<i32, i64>,
    /// In the order of the topic.
    found: Vec<Found>,
}

impl Topic {
    fn new((name, decode): (String, Decode)) -> Self {
        Self { name, decode, read_from: BTreeMap::new(), found: Vec::new() }
    }

    /// Reads what was written from an instant on, or all, and has not been read yet.
    fn read_back_to(
        &mut self,
        start: Option<DateTime<Utc>>,
        (run, clusters): (RunId, &[ClusterName]),
        client: &mut dyn Client,
    ) -> Result<(), BrokerError> {
        let mut scan = Scan::new(&self.name);
        if let Some(start) = start {
            scan.skip_to(client, start.timestamp_millis())?;
        }
        let from = scan.places().clone();
        let mut earlier = Vec::new();
        scan.read_below(client, &self.read_from, |partition, record: FetchedRecord| {
            let says = record.value.as_deref().and_then(|value| (self.decode)(value, run, clusters));
            let place = (self.name.clone(), partition, record.offset);
            let written_at = DateTime::from_timestamp_millis(record.timestamp_ms).unwrap_or_default();
            earlier.extend(says.map(|says| Found { place, written_at, says }));
        })?;
        earlier.append(&mut self.found);
        self.found = earlier;
        self.read_from = from;
        Ok(())
    }
}

impl Found {
    /// When the run was due, where the record says so in a way that fits the run's id.
    fn due(&self, run: RunId) -> Option<DateTime<Utc>> {
        let (job, due) = match &self.says {
            Says::Message(attempt) => (&attempt.run.job, attempt.run.scheduled_at),
            Says::Event(
                Event::Finished { job, scheduled_at, .. }
                | Event::Published { job, scheduled_at, .. }
                | Event::Queued { job, scheduled_at, .. }
                | Event::Skipped { job, scheduled_at, .. },
            ) => (job, *scheduled_at),
            _ => return None,
        };
        (RunId::of(job, due) == run).then_some(due)
    }
}

// Nearly all records are about other runs, and need not be decoded to see that.

fn message(value: &[u8], run: RunId, _: &[ClusterName]) -> Option<Says> {
    let is_elsewhere = peek::message(value).and_then(|about| about.run).is_some_and(|found| found != run);
    let attempt = if is_elsewhere { return None } else { wire::decode_attempt(value).ok()? };
    (attempt.run.id == run).then_some(Says::Message(attempt))
}

fn event(value: &[u8], run: RunId, clusters: &[ClusterName]) -> Option<Says> {
    let is_elsewhere = peek::event(value).and_then(|about| about.run).is_some_and(|found| found != run);
    let event = if is_elsewhere { return None } else { wire::decode_event(value).ok()? };
    (run_of(&event) == Some(run) && topics::concerns(&event, clusters)).then_some(Says::Event(event))
}

fn dead(value: &[u8], run: RunId, _: &[ClusterName]) -> Option<Says> {
    let record = wire::decode_dead(value).ok()?;
    let of = match &record {
        DeadRecord::Letter(letter) => letter.attempt.as_ref().map(|attempt| attempt.run.id),
        DeadRecord::Replayed(mark) => mark.attempt.map(|attempt| attempt.run),
    };
    (of == Some(run)).then(|| Says::Dead(Box::new(record)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::common::broker::memory::{Call, MemoryBroker};
    use crate::common::broker::{Broker, ProduceBatch, Record, TopicPartition};
    use crate::common::clock::{Clock, ManualClock};
    use crate::common::model::{AttemptRef, JobName, Place};

    fn job() -> JobName {
        "j".parse().unwrap()
    }

    fn ours() -> ClusterName {
        "c".parse().unwrap()
    }

    /// So long before now.
    fn ago(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(100) - TimeDelta::minutes(minutes)
    }

    fn queued(due: DateTime<Utc>) -> Event {
        let blocked_by = RunId::of(&job(), DateTime::UNIX_EPOCH);
        Event::Queued { job: job(), cluster: ours(), scheduled_at: due, blocked_by, at: due }
    }

    fn published(due: DateTime<Utc>) -> Event {
        let place = Place { topic: "c".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
        let run = RunId::of(&job(), due);
        Event::Published { run, job: job(), cluster: ours(), scheduled_at: due, place, at: due }
    }

    fn claimed(due: DateTime<Utc>) -> Event {
        let place = Place { topic: "c".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
        let attempt = AttemptRef { run: RunId::of(&job(), due), attempt: 1 };
        Event::Claimed { attempt, job: job(), place, consumer: "x".to_owned(), lease_ms: 1, at: due }
    }

    struct World {
        broker: MemoryBroker,
        client: Box<dyn Client>,
        clock: Arc<ManualClock>,
    }

    impl World {
        /// Two partitions, and events that were written so long ago, on both in turn.
        fn new(events: &[(i64, Event)]) -> Self {
            let clock = Arc::new(ManualClock::new(ago(0)));
            let broker = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>);
            let mut world = Self { client: broker.client("cronctl"), broker, clock };
            for spec in topics::all(&[ours()], 2, 1) {
                // Records are dated as they are written here.
                let spec = topics::TopicSpec { settings: Vec::new(), ..spec };
                let by = world.by();
                world.client.create_topic(&spec, by).unwrap();
            }
            for (partition, (minutes, event)) in [0, 1].into_iter().cycle().zip(events) {
                let timestamp_ms = ago(*minutes).timestamp_millis();
                let records = vec![Record { key: None, value: Some(wire::encode(event)), timestamp_ms }];
                let to = TopicPartition { topic: topics::RUNS.to_owned(), partition };
                let by = world.by();
                world.client.produce(&[ProduceBatch { to, records }], by).remove(0).unwrap();
            }
            world
        }

        fn by(&self) -> std::time::Instant {
            self.clock.monotonic() + Duration::from_secs(60)
        }

        /// How long ago that was written which is found, and how many fetches it took.
        fn found(&mut self, due: DateTime<Utc>, reach: Reach) -> (Vec<i64>, usize) {
            let before = self.broker.faults().made(Call::Fetch);
            let found = search(RunId::of(&job(), due), &[ours()], reach, self.client.as_mut()).unwrap();
            let mut minutes: Vec<i64> =
                found.iter().map(|found| (ago(0) - found.written_at).num_minutes()).collect();
            minutes.sort_unstable();
            (minutes, self.broker.faults().made(Call::Fetch) - before)
        }
    }

    const DAY: i64 = 24 * 60;

    #[test]
    fn all_of_a_run_is_found_however_long_ago_it_was_and_in_the_order_of_its_topic() {
        for age in [1, 14, 16, 170, 200, DAY - 1, DAY + 1, 3 * DAY, 8 * DAY, 90 * DAY] {
            let due = ago(age);
            let others = [ago(2), ago(DAY), ago(20 * DAY)].map(published);
            let events = [
                (90 * DAY, others[2].clone()),
                (age, published(due)),
                (age, others[1].clone()),
                (age, claimed(due)),
                (0, claimed(due)),
                (0, claimed(due)),
                (0, others[0].clone()),
            ];
            let mut world = World::new(&events);
            let (found, _) = world.found(due, Reach::All(ago(0)));
            assert_eq!(found, [0, 0, age, age], "{age}");
            let run = RunId::of(&job(), due);
            let records = search(run, &[ours()], Reach::All(ago(0)), world.client.as_mut()).unwrap();
            let mut places: Vec<_> = records.iter().map(|found| found.place.clone()).collect();
            for partition in [0, 1] {
                let of: Vec<_> = places.iter().filter(|place| place.1 == partition).collect();
                assert!(of.is_sorted(), "{places:?}");
            }
            places.sort();
            places.dedup();
            assert_eq!(places.len(), 4, "each once");
        }
    }

    #[test]
    fn what_was_said_long_before_the_run_was_published_is_found_too() {
        let due = ago(3 * DAY);
        let mut world = World::new(&[(3 * DAY, queued(due)), (1, published(due)), (0, claimed(due))]);
        assert_eq!(world.found(due, Reach::All(ago(0))).0, [0, 1, 3 * DAY]);
        assert_eq!(world.found(due, Reach::Since(ago(60))).0, [0, 1]);
    }

    #[test]
    fn of_a_run_of_today_no_more_is_read_than_of_today() {
        let old: Vec<(i64, Event)> =
            (0..5_000).map(|number| (50 * DAY - number, published(ago(50 * DAY - number)))).collect();
        let new = [(1, published(ago(1))), (0, claimed(ago(1)))];
        let mut world = World::new(&[&old[..], &new].concat());
        let (found, few) = world.found(ago(1), Reach::All(ago(0)));
        assert_eq!(found, [0, 1]);
        let (found, all) = world.found(ago(50 * DAY), Reach::All(ago(0)));
        assert_eq!(found, [50 * DAY]);
        assert!(few < all, "{few} {all}");
        assert_eq!(world.found(ago(7), Reach::All(ago(0))).0, [0; 0]);
    }

    #[test]
    fn a_message_whose_id_does_not_fit_its_instant_does_not_end_the_search() {
        let due = ago(3 * DAY);
        let Event::Published { run, job, cluster, place, at, .. } = published(due) else { unreachable!() };
        let foreign = Event::Published { run, job, cluster, scheduled_at: ago(1), place, at };
        let mut world = World::new(&[(3 * DAY, claimed(due)), (1, foreign)]);
        assert_eq!(world.found(due, Reach::All(ago(0))).0, [1, 3 * DAY]);
    }
}
