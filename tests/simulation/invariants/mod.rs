//! The oracle: reads every log and every commit after each step, hears of every start, and says which promise is
//! broken. It knows the wire format and the text beside an offset, and none of the consumer's rules.

mod attempts;
mod fates;
mod orders;
mod overlaps;
mod reads;
mod ticks;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_cron::common::broker::{Client, Committed, Position, TopicPartition, Want};
use kafka_cron::common::clock::Now;
use kafka_cron::common::model::{Attempt, AttemptRef, Event, MissedReason, Place, Then};
use kafka_cron::common::wire;
use kafka_cron::consumer::claiming::machine::{Claimed, Counts};
use uuid::Uuid;

use self::attempts::{Attempts, LogId, Message};
pub use self::orders::Orders;
pub use self::overlaps::Overlaps;
use self::reads::Reads;
pub use self::ticks::Ticks;
use crate::world::{CLUSTER, PARTITIONS, RETRY, Sizes, partition};

/// How much of an event the trace shows.
const LINE: usize = 400;

/// What became of a consumer.
#[derive(Debug, Default)]
struct Known {
    counts: Counts,
    /// Killed: what it had under way is the leader's to find.
    gone: bool,
    /// Left, or fenced: what it had not started may be left, what it had started not.
    left: bool,
}

/// Sees everything.
pub struct Oracle {
    client: Box<dyn Client>,
    next: BTreeMap<TopicPartition, i64>,
    attempts: BTreeMap<LogId, Attempts>,
    /// The id of each topic of attempts that is there.
    present: BTreeMap<&'static str, Uuid>,
    /// The topics that partitions were added to.
    grown: BTreeSet<Uuid>,
    /// Topics that were deleted when they had another number of partitions than they are made with.
    shrunk: BTreeSet<&'static str>,
    /// What is committed, as the broker has it.
    as_written: BTreeMap<TopicPartition, Committed>,
    started: BTreeMap<AttemptRef, (Place, String)>,
    places: BTreeSet<(LogId, i64)>,
    finished: BTreeMap<AttemptRef, Then>,
    given_up: BTreeSet<AttemptRef>,
    /// Where the messages of attempts lie whose letters say no more than that.
    given_up_at: BTreeSet<(LogId, i64)>,
    /// How many letters are about attempts that would be tried again if the next one were not too large, and how many ticks
    /// were too large.
    letters_for_retries: u64,
    ticks_too_large: u64,
    /// How large records may be.
    pub sizes: Sizes,
    lost: BTreeSet<AttemptRef>,
    /// When each attempt was heard of, by the monotonic clock.
    heard: BTreeMap<AttemptRef, Vec<Instant>>,
    consumers: BTreeMap<String, Known>,
    /// The cursor that was looked at last: what has a fate keeps it.
    cursor: Option<Committed>,
    pub ticks: Ticks,
    pub overlaps: Overlaps,
    pub orders: Orders,
    reads: Reads,
    /// What is read next was written by requests that arrived late.
    pub late: bool,
    /// Whether producers take part: then attempts of consumers that are gone are found.
    pub has_producers: bool,
    pub lease: Duration,
    now: Instant,
    /// What was read, for the trace; nothing where none is kept.
    pub read: Option<Vec<String>>,
    /// The first promise that was broken.
    pub broken: Option<String>,
}

/// A record as the trace shows it.
fn line(of: &TopicPartition, offset: i64, value: &[u8]) -> String {
    let what = if let Ok(Attempt { run, attempt, .. }) = wire::decode_attempt(value) {
        format!("{} at {}, attempt {attempt}, run {}", run.job, run.scheduled_at, run.id)
    } else {
        String::from_utf8_lossy(value).chars().take(LINE).collect()
    };
    format!("{}/{}:{offset} {what}", of.topic, of.partition)
}

fn of(place: &Place) -> LogId {
    LogId { topic_id: place.topic_id, partition: place.partition }
}

impl Oracle {
    pub fn new(client: Box<dyn Client>, by: Instant) -> Self {
        let others = ["cron-runs", "c-dead", "cron-orders"].map(|topic| partition(topic, 0));
        let others = others.into_iter().chain([partition("cron-runs", 1)]);
        let mut oracle = Self {
            client,
            next: others.map(|of| (of, 0)).collect(),
            attempts: BTreeMap::new(),
            present: BTreeMap::new(),
            grown: BTreeSet::new(),
            shrunk: BTreeSet::new(),
            as_written: BTreeMap::new(),
            started: BTreeMap::new(),
            places: BTreeSet::new(),
            finished: BTreeMap::new(),
            given_up: BTreeSet::new(),
            given_up_at: BTreeSet::new(),
            letters_for_retries: 0,
            ticks_too_large: 0,
            sizes: Sizes::default(),
            lost: BTreeSet::new(),
            heard: BTreeMap::new(),
            cursor: None,
            ticks: Ticks::default(),
            overlaps: Overlaps::default(),
            orders: Orders::default(),
            reads: Reads::default(),
            late: false,
            has_producers: false,
            lease: Duration::ZERO,
            now: Instant::now(),
            read: None,
            consumers: BTreeMap::new(),
            broken: None,
        };
        [CLUSTER, RETRY].into_iter().for_each(|topic| oracle.is_there(topic, by));
        oracle
    }

    /// A topic of attempts is there, and nothing of it was read yet.
    fn is_there(&mut self, topic: &'static str, by: Instant) {
        let topic_id = self.client.topic(topic, by).unwrap().unwrap().id;
        self.present.insert(topic, topic_id);
        for number in 0..PARTITIONS {
            self.attempts.insert(LogId { topic_id, partition: number }, Attempts::default());
            self.next.insert(partition(topic, number), 0);
        }
    }

    /// A topic of attempts was deleted, and all that stood in it, with what its group has committed.
    pub fn deleted_topic(&mut self, topic: &'static str, now: Instant) {
        if self.partitions(topic) != PARTITIONS {
            self.shrunk.insert(topic);
        }
        let Some(topic_id) = self.present.remove(topic) else { return };
        self.next.retain(|of, _| of.topic != topic);
        self.as_written.retain(|of, _| of.topic != topic);
        let all = self.attempts.iter_mut().filter(|(of, _)| of.topic_id == topic_id);
        for (_, attempts) in all {
            for (offset, message) in attempts.messages.range(attempts.start..) {
                let Some(name) = message.name else { continue };
                let is_claimed = !attempts.is_unclaimed(*offset) || attempts.claims.contains_key(offset);
                if !is_claimed {
                    self.overlaps.deleted_unread(name, now);
                }
            }
            attempts.start = attempts.end;
            attempts.deleted = Some(now);
        }
        let by = now + Duration::from_secs(1);
        let cursors = [partition(CLUSTER, 0), partition(RETRY, 0)];
        let cursors = self.client.committed("cron-leader", &cursors, by).unwrap();
        if cursors.iter().all(Option::is_none) {
            // Both topics were deleted before a leader kept its cursor again.
            self.ticks.cursor_is_lost();
        }
    }

    /// A topic of attempts is there again, under another id. `client` knows nothing of the one before.
    pub fn made_anew(&mut self, topic: &'static str, client: Box<dyn Client>, by: Instant) {
        self.client = client;
        self.is_there(topic, by);
        if self.shrunk.contains(topic) {
            // A writer that has not heard of it yet chooses among as many partitions as there were before.
            self.grown.insert(self.present[topic]);
        }
    }

    /// A topic of attempts has a partition more, of this number.
    pub fn grown(&mut self, topic: &'static str, number: i32) {
        let topic_id = self.present[topic];
        self.grown.insert(topic_id);
        self.attempts.insert(LogId { topic_id, partition: number }, Attempts::default());
        self.next.insert(partition(topic, number), 0);
    }

    /// How many partitions a topic of attempts has; none where it is not there.
    pub fn partitions(&self, topic: &str) -> i32 {
        let count = self.next.keys().filter(|of| of.topic == topic).count();
        i32::try_from(count).unwrap()
    }

    /// Whether a cursor was ever committed.
    pub fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    /// How far behind the newest message of an attempt the end of a partition is; none where there is no such message.
    pub fn behind(&self, of: &TopicPartition, attempt: AttemptRef) -> Option<i64> {
        let attempts = self.attempts.get(&self.present(of)?)?;
        let newest = attempts.messages.iter().rev().find(|(_, message)| message.name == Some(attempt));
        newest.map(|(offset, _)| attempts.end - offset)
    }

    fn present(&self, of: &TopicPartition) -> Option<LogId> {
        let topic_id = *self.present.get(of.topic.as_str())?;
        Some(LogId { topic_id, partition: of.partition })
    }

    fn breaks(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    /// The offset that a group has committed.
    pub fn committed(&self, of: &TopicPartition) -> Option<i64> {
        self.attempts.get(&self.present(of)?)?.committed.as_ref().map(|(next, _)| *next)
    }

    pub fn start(&self, of: &TopicPartition) -> i64 {
        self.present(of).map_or(0, |of| self.attempts[&of].start)
    }

    pub fn end(&self, of: &TopicPartition) -> i64 {
        self.present(of).map_or(0, |of| self.attempts[&of].end)
    }

    /// Retention has deleted what lies below an offset.
    pub fn deleted(&mut self, of: &TopicPartition, below: i64) {
        let present = self.present(of);
        if let Some(attempts) = present.and_then(|of| self.attempts.get_mut(&of)) {
            let gone = attempts.messages.range(attempts.start..below);
            let gone = gone.filter_map(|(_, message)| message.name);
            gone.for_each(|name| self.overlaps.deleted(name));
            attempts.start = attempts.start.max(below);
        }
    }

    /// A consumer's counts.
    pub fn counts(&mut self, consumer: &str, counts: Counts) {
        self.known(consumer).counts = counts;
    }

    /// A consumer was killed.
    pub fn killed(&mut self, consumer: &str) {
        self.known(consumer).gone = true;
    }

    /// A consumer takes nothing more.
    pub fn left(&mut self, consumer: &str) {
        self.known(consumer).left = true;
    }

    fn known(&mut self, consumer: &str) -> &mut Known {
        self.consumers.entry(consumer.to_owned()).or_default()
    }

    /// Reads on, and judges what was written and committed.
    pub fn observe(&mut self, by: Instant) {
        let wants: Vec<Want> = self
            .next
            .iter()
            .map(|(from, offset)| Want { from: from.clone(), offset: *offset, max_bytes: 1 << 20 })
            .collect();
        let answers = self.client.fetch(1, &wants, Duration::ZERO, by).unwrap();
        // Attempts and letters before events: what is said to be passed on stands there by then.
        let mut events = Vec::new();
        for (want, answer) in wants.into_iter().zip(answers) {
            let Ok(fetched) = answer else {
                // All that had been written is known; it was deleted.
                let start = self.client.offset(&want.from, Position::Start, by).unwrap();
                self.next.insert(want.from, start);
                continue;
            };
            self.next.insert(want.from.clone(), fetched.next_offset);
            let of = self.present(&want.from);
            if let Some(attempts) = of.and_then(|of| self.attempts.get_mut(&of)) {
                attempts.end = fetched.end_offset;
            }
            for record in fetched.records {
                let value = record.value.unwrap_or_default();
                if let Some(read) = &mut self.read {
                    read.push(line(&want.from, record.offset, &value));
                }
                match want.from.topic.as_str() {
                    topic @ (CLUSTER | RETRY) => {
                        self.message((of.unwrap(), topic), record.offset, &value, record.timestamp_ms);
                    }
                    "c-dead" => self.letter(&value),
                    "cron-orders" => self.orders.ordered(&wire::decode_order(&value).unwrap()),
                    _ => {
                        events.push((
                            want.from.partition,
                            record.offset,
                            wire::decode_event(&value).unwrap(),
                        ));
                    }
                }
            }
        }
        // The deadline of the calls lies a second ahead.
        self.now = by - Duration::from_secs(1);
        events.iter().for_each(|(partition, offset, event)| self.event(event, (*partition, *offset)));
        self.look_at_commits(by);
        self.look_at_leaders_commits(by);
        self.late = false;
        let broken = self.ticks.broken.take().or_else(|| self.overlaps.broken.take());
        if let Some(broken) = broken.or_else(|| self.orders.broken.take()) {
            self.breaks(|| broken);
        }
    }

    /// A leader of this name puts on record what becomes of a tick; `now` is the time by its clocks.
    pub fn decided(&mut self, event: &Event, leader: &str, now: Now) {
        self.overlaps.decided(event, now.mono);
        let led = |from| self.overlaps.led(from, now.mono);
        self.orders.decided(event, leader, now.mono, led);
        if let Event::Missed { job, to, reason: MissedReason::Deadline, .. } = event {
            self.ticks.missed_for_deadline(job, *to, now.wall);
        }
    }

    /// An attempt's process is started by a consumer.
    pub fn started(&mut self, claimed: &Claimed, consumer: &str) {
        self.orders.started(claimed, consumer);
        let place = &claimed.place;
        let of = of(place);
        let attempt = AttemptRef { run: claimed.attempt.run.id, attempt: claimed.attempt.attempt };
        let attempts = &self.attempts[&of];
        let Some(message) = attempts.messages.get(&place.offset).copied() else {
            return self.breaks(|| format!("{place:?} was started, and nothing stands there"));
        };
        let claims = attempts.claims.get(&place.offset);
        let mine = claims.into_iter().flatten().filter(|(by, _)| by == consumer);
        let on_record = mine.map(|(_, at)| *at).max();
        let broken = if message.name != Some(attempt) {
            Some("is not what its place says")
        } else if on_record.is_none() {
            Some("is started without a claim on record")
        } else if message.not_before > on_record {
            Some("is claimed before its instant")
        } else if attempts.is_unclaimed(place.offset) {
            Some("is started although its partition's commit does not claim it")
        } else if attempt.attempt > message.attempts {
            Some("is one more than the run may have")
        } else {
            None
        };
        if let Some(broken) = broken {
            self.breaks(|| format!("{consumer}: {attempt:?} at {place:?} {broken}"));
        }
        self.places.insert((of, place.offset));
        if let Some((first, by)) = self.started.insert(attempt, (place.clone(), consumer.to_owned())) {
            // A copy whose original retention has deleted cannot be known as one: the documented limit.
            let outlived = first.offset < self.attempts[&self::of(&first)].start && first != *place;
            // Where the number of partitions changes, a copy may go to another one than its original: the documented limit.
            let is_elsewhere = first.topic_id == place.topic_id && first.partition != place.partition;
            let is_moved = is_elsewhere && self.grown.contains(&place.topic_id);
            if !outlived && !is_moved {
                self.breaks(|| {
                    format!(
                        "{attempt:?} was started by {by} at {first:?} and again by {consumer} at {place:?}"
                    )
                });
            }
        }
    }

    /// How many retries, letters and ticks were too large for their topics.
    pub fn too_large(&self) -> (u64, u64, u64) {
        (self.letters_for_retries, self.given_up_at.len() as u64, self.ticks_too_large)
    }

    /// How many attempts were started, finished, and lost with their consumer.
    pub fn totals(&self) -> (usize, usize) {
        (self.started.len(), self.finished.len())
    }
}
