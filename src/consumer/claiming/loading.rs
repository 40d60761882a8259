//! Where each assigned partition goes on: asks the broker, and `cron-runs` where the broker has forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::messages::Report;
use super::position::{Finding, LogEnds, Position, resume, without_claimed};
use crate::common::broker::{
    BrokerError, Client, Deadline, ErrorCode, NodeId, Position as End, TopicPartition, TopicState, Want,
};
use crate::common::model::{Event, Place};
use crate::common::{bounds, topics, wire};

/// A partition and where it goes on.
#[derive(Debug)]
pub struct Loaded {
    /// Its number.
    pub partition: i32,
    /// Whether the group has no offset for this log.
    pub is_new: bool,
    /// Its log.
    pub log: LogEnds,
    /// Where to go on.
    pub position: Position,
}

/// How long looking up may take in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a broker that did not answer is left alone, doubled with each time, and at most.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Looks up where partitions go on, and remembers what a further try need not find out again.
#[derive(Debug, Default)]
pub struct Loading {
    on_record: OnRecord,
    /// Brokers that did not answer: how often in a row, and until when they are left alone.
    silent: BTreeMap<NodeId, (u32, Instant)>,
    /// Until when there is nothing to be had, because brokers are left alone.
    rests_until: Option<Instant>,
    error: Option<BrokerError>,
    /// What operators have not been told yet.
    reports: Vec<Report>,
}

impl Loading {
    /// Looks up where partitions of `(topic, group)` go on. The committed offsets are read first and the logs' ends after
    /// them, so that an end below an offset really means a log that was cut. A partition whose ends cannot be had now, for
    /// it has no leader or its leader does not answer, is left out of the answer and holds up no other: of a broker that
    /// does not answer one partition is asked for, and that not again before a while.
    ///
    /// # Errors
    /// The coordinator's refusal, or no answer about anything: ask again.
    pub fn load(
        &mut self,
        client: &mut dyn Client,
        (topic, group): (&str, &str),
        partitions: &[i32],
        now: Instant,
    ) -> Result<Vec<Loaded>, BrokerError> {
        (self.rests_until, self.error) = (None, None);
        let by = now + PATIENCE;
        let of: Vec<TopicPartition> =
            partitions.iter().map(|p| TopicPartition { topic: topic.to_owned(), partition: *p }).collect();
        let committed = client.committed(group, &of, by)?;
        let missing = || BrokerError::Refused(ErrorCode::UnknownTopicOrPartition);
        let state = client.topic(topic, by)?.ok_or_else(missing)?;
        let mut all = Vec::with_capacity(of.len());
        // Whether something was left out that may be had at any time.
        let mut soon = false;
        for (of, committed) in of.iter().zip(committed) {
            match self.ends(client, of, &state, now) {
                Ok(Some((start, end))) => {
                    let log = LogEnds { topic_id: state.id, start, end };
                    let position = resume(committed.as_ref(), log);
                    let made_anew = position.finding == Some(Finding::TopicMadeAnew);
                    let is_new = committed.is_none() || made_anew;
                    all.push(Loaded { partition: of.partition, is_new, log, position });
                }
                Ok(None) => {}
                Err(error) => {
                    self.reports.push(Report::PositionUnknown(of.partition, error.clone()));
                    soon |= error.code().is_some();
                    self.error = Some(error);
                }
            }
        }
        // Ends are asked for by the topic's name: were they those of another topic by now, the id would be another, too.
        if client.topic(topic, by)?.ok_or_else(missing)?.id != state.id {
            return Err(BrokerError::Refused(ErrorCode::InconsistentTopicId));
        }
        if all.iter().any(Loaded::has_no_offset) {
            match self.by_claims(client, (topic, state.id), &mut all, by) {
                Ok(()) => {}
                Err(error) => {
                    self.reports.push(Report::ClaimsUnknown(error.clone()));
                    all.retain(|loaded| !loaded.has_no_offset());
                    soon = true;
                    self.error = Some(error);
                }
            }
        }
        self.rests_until = self.rests_until.filter(|_| !soon);
        Ok(all)
    }

    /// Where those go on that have no offset: by the claims on record.
    fn by_claims(
        &mut self,
        client: &mut dyn Client,
        (topic, topic_id): (&str, Uuid),
        all: &mut [Loaded],
        by: Deadline,
    ) -> Result<(), BrokerError> {
        self.on_record.read(client, topic, topic_id, by)?;
        let mut positions = Vec::new();
        for loaded in all.iter_mut().filter(|loaded| loaded.has_no_offset()) {
            let of = TopicPartition { topic: topic.to_owned(), partition: loaded.partition };
            let position = self.on_record.position(client, &of, loaded, by)?;
            positions.push((loaded, position));
        }
        // All or none, so that nothing is told twice.
        for (loaded, (position, remembered_from)) in positions {
            let LogEnds { start, end, .. } = loaded.log;
            if remembered_from > start {
                self.reports.push(Report::Unremembered(loaded.partition, start..remembered_from.min(end)));
            }
            loaded.position = position;
        }
        Ok(())
    }

    /// Where a partition's log begins and ends; `None` while its leader is left alone.
    fn ends(
        &mut self,
        client: &mut dyn Client,
        of: &TopicPartition,
        state: &TopicState,
        now: Instant,
    ) -> Result<Option<(i64, i64)>, BrokerError> {
        let led = state.partitions.iter().find(|led| led.partition == of.partition);
        let leader = led.and_then(|led| led.leader);
        let leader = leader.ok_or(BrokerError::Refused(ErrorCode::LeaderNotAvailable))?;
        if let Some((_, until)) = self.silent.get(&leader).filter(|(_, until)| now < *until) {
            self.rests_until = Some(self.rests_until.map_or(*until, |rests| rests.min(*until)));
            return Ok(None);
        }
        match ends(client, of, now + PATIENCE) {
            Err(error) if error.code().is_none() => {
                let (times, until) = self.silent.entry(leader).or_insert((0, now));
                *until = now + (REST * 2_u32.pow((*times).min(4))).min(LONGEST_REST);
                *times += 1;
                self.rests_until = Some(self.rests_until.map_or(*until, |rests| rests.min(*until)));
                Err(error)
            }
            answer => {
                self.silent.remove(&leader);
                answer.map(Some)
            }
        }
    }

    /// Until when a further try would bring nothing.
    pub fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// Why a partition was left out.
    pub fn take_error(&mut self) -> Option<BrokerError> {
        self.error.take()
    }

    /// What operators are to be told of the last try.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// All that was asked for was had: what was claimed is read anew the next time.
    pub fn is_done(&mut self) {
        self.on_record = OnRecord::default();
    }
}

impl Loaded {
    fn has_no_offset(&self) -> bool {
        self.position.finding.as_ref().is_some_and(Finding::has_no_offset)
    }
}

fn ends(client: &mut dyn Client, of: &TopicPartition, by: Deadline) -> Result<(i64, i64), BrokerError> {
    Ok((client.offset(of, End::Start, by)?, client.offset(of, End::End, by)?))
}

/// The claims that `cron-runs` knows of one topic, as far as they have been read. It may hold more than can be read
/// before a deadline: the next call goes on where this one stopped.
#[derive(Debug, Default)]
struct OnRecord {
    topic_id: Uuid,
    /// Where reading each partition of `cron-runs` goes on.
    next: BTreeMap<i32, i64>,
    /// Whether retention has deleted something of it before it was read.
    lacks_some: bool,
    /// When the oldest record was written that is left of a partition of which something is deleted, in milliseconds since the
    /// epoch: the latest of these. What was claimed before may be forgotten.
    begins_ms: Option<i64>,
    claims: BTreeMap<i32, BTreeSet<i64>>,
}

impl OnRecord {
    /// Where a partition without an offset goes on. Messages that are older than what is left of `cron-runs` count as claimed
    /// where the group is known to have claimed anything: to run them a second time would be worse than not at all. Tells also
    /// at which offset the others begin.
    fn position(
        &self,
        client: &mut dyn Client,
        of: &TopicPartition,
        loaded: &Loaded,
        by: Deadline,
    ) -> Result<(Position, i64), BrokerError> {
        let none = BTreeSet::new();
        let claimed = self.claims.get(&loaded.partition).unwrap_or(&none);
        let remembered_from = match self.begins_ms.filter(|_| !self.claims.is_empty()) {
            Some(begins_ms) => client.offset(of, End::Since(begins_ms), by)?,
            None => 0,
        };
        let finding = loaded.position.finding.clone();
        let position = without_claimed(loaded.log, claimed, (!self.lacks_some, remembered_from), finding);
        Ok((position, remembered_from))
    }

    /// Reads on to the end.
    fn read(
        &mut self,
        client: &mut dyn Client,
        topic: &str,
        topic_id: Uuid,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        if self.topic_id != topic_id {
            *self = Self { topic_id, ..Self::default() };
        }
        let runs = client.topic(topics::RUNS, by)?;
        for state in runs.map(|runs| runs.partitions).unwrap_or_default() {
            let from = TopicPartition { topic: topics::RUNS.to_owned(), partition: state.partition };
            let (start, end) = ends(client, &from, by)?;
            let next = self.next.entry(state.partition).or_insert(0);
            let mut is_cut = *next < start;
            self.lacks_some |= is_cut;
            *next = start.max(*next);
            while *next < end {
                let want = Want { from: from.clone(), offset: *next, max_bytes: bounds::FETCH_BYTES };
                let fetched = client.fetch_one(state.leader, want, Duration::from_millis(100), by)?;
                let Some(fetched) = fetched else { break };
                if let Some(first) = fetched.records.first().filter(|_| is_cut) {
                    self.begins_ms = self.begins_ms.max(Some(first.timestamp_ms));
                    is_cut = false;
                }
                for value in fetched.records.iter().filter_map(|record| record.value.as_deref()) {
                    if let Ok(Event::Claimed { place, .. }) = wire::decode_event(value)
                        && (place.topic.as_str(), place.topic_id) == (topic, topic_id)
                    {
                        self.claims.entry(place.partition).or_default().insert(place.offset);
                    }
                }
                *next = fetched.next_offset;
            }
        }
        Ok(())
    }
}

/// The event for a finding at `place`, where it has one; of the rest operators alone are told.
pub fn event(finding: &Finding, place: Place, at: DateTime<Utc>) -> Option<Event> {
    match finding {
        Finding::DeletedUnread { from, to, .. } => {
            let place = Place { offset: *from, ..place };
            Some(Event::DeletedUnread { place, next_offset: *to, at })
        }
        Finding::Truncated { committed, end } => {
            let place = Place { offset: *committed, ..place };
            Some(Event::Truncated { place, end_offset: *end, at })
        }
        Finding::TopicMadeAnew | Finding::NoOffset | Finding::UnreadableHoles(_) => None,
    }
}
