//! Bugs that are planted around the shipped code: a simulation that does not find them finds nothing. Each is what a
//! plausible consumer would do wrong, done on the code's behalf by a client that misleads it or by the driver.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use kafka_cron::common::broker::{
    Admin, BrokerError, Client, Commit, Committed, Deadline, ErrorCode, Fetched, FetchedRecord, Group,
    Holder, Join, JoinRequest, Log, NodeId, Position, ProduceBatch, Record, Share, TopicPartition,
    TopicState, Want, Written,
};
use kafka_cron::common::model::Event;
use kafka_cron::common::topics::TopicSpec;
use kafka_cron::common::wire;
use uuid::Uuid;

use crate::world::{CLUSTER, RETRY};

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The commit goes first, and `claimed` is written after it.
    CommitBeforeClaimed,
    /// A commit without an answer counts as granted.
    RunsOnUnknownAnswer,
    /// After a lost answer the old member id is kept; in a stable group that returns the same generation.
    KeepsItsMemberId,
    /// `finished` is written whether or not the next attempt is confirmed.
    FinishedBeforeRetry,
    /// A partition that is taken over is read from its first unclaimed offset, and copies of what lies before it are
    /// not known.
    ForgetsDuplicates,
    /// A new generation goes on from the offsets that the process remembers.
    KeepsItsOffsets,
    /// A batch counts as confirmed as soon as it was handed over, so that the cursor passes what is not written.
    ConfirmsTooEarly,
    /// The ends of `cron-runs` are not asked for after the committed offsets: what was read before them is all that is read.
    OffsetAfterTheLog,
    /// A sign of life is as old as its time stamp says, by whose clock ever.
    LeasesByTimeStamps,
    /// A publisher writes whether or not its producer still leads.
    WritesWithoutMandate,
    /// Overlaps are decided before all of `cron-runs` was read in the term.
    DecidesBeforeTheEnd,
    /// A cursor that had to wait is committed after newer ones.
    KeepsAnOlderCursor,
    /// Cursors are told and, but for the first of a process, never committed.
    KeepsNoCursor,
    /// A run that no producer has published blocks its job.
    BlocksByNoRun,
    /// Ticks are given up for their deadline before it has passed.
    ShortensTheDeadline,
    /// A topic that was made anew counts as the one before: only its name is looked at.
    GoesByTopicNames,
    /// What a topic will never take counts as written.
    DropsWhatIsTooLarge,
    /// The leader never says that a run is over whose message was deleted unread.
    EndsNoRun,
    /// The next leader is to read `cron-runs` from its end, whatever is under way.
    ReadsFromTheEnd,
    /// A job file becomes active at once, and no part of the producer asks which runs of its jobs are open.
    ReloadsAtOnce,
}

/// All of them, what is said when one is found, and how many of 100 runs that are directed at it ([`crate::aim`]) say so:
/// `KAFKA_CRON_SEEDS=100` measures that anew.
pub const ALL: [(Bug, &str, u32); 20] = [
    (Bug::CommitBeforeClaimed, "without a claim", 100),
    (Bug::RunsOnUnknownAnswer, "commit does not claim it", 100),
    (Bug::KeepsItsMemberId, "claims are undone", 72),
    (Bug::FinishedBeforeRetry, "before it was passed on", 100),
    (Bug::ForgetsDuplicates, "and again by", 77),
    (Bug::KeepsItsOffsets, "and again by", 43),
    (Bug::ConfirmsTooEarly, "is ahead of the tick", 95),
    (Bug::OffsetAfterTheLog, "although it was heard of", 24),
    (Bug::LeasesByTimeStamps, "although it was heard of", 96),
    (Bug::WritesWithoutMandate, "writes fates although", 100),
    (Bug::DecidesBeforeTheEnd, "is published beside", 51),
    (Bug::KeepsAnOlderCursor, "the cursor goes back", 100),
    (Bug::KeepsNoCursor, "the cursor stands still", 100),
    (Bug::BlocksByNoRun, "which nobody has published", 100),
    (Bug::ShortensTheDeadline, "which has not passed", 100),
    (Bug::GoesByTopicNames, "", 100),
    (Bug::DropsWhatIsTooLarge, "before it was passed on", 100),
    (Bug::EndsNoRun, "which was deleted unread", 50),
    (Bug::ReadsFromTheEnd, "of which nothing is said from there on", 100),
    (Bug::ReloadsAtOnce, "is published beside", 55),
];

impl Bug {
    /// Whether it is a bug of reporting, as opposed to claiming.
    pub fn is_reporters(self) -> bool {
        matches!(self, Self::FinishedBeforeRetry | Self::DropsWhatIsTooLarge)
    }

    /// Whether it is one of what follows `cron-runs`.
    pub fn is_tails(self) -> bool {
        matches!(self, Self::OffsetAfterTheLog | Self::LeasesByTimeStamps | Self::EndsNoRun)
    }

    /// Whether it is one of the thread that commits cursors.
    pub fn is_of_cursors(self) -> bool {
        matches!(self, Self::KeepsAnOlderCursor | Self::KeepsNoCursor | Self::ReadsFromTheEnd)
    }

    /// Whether it is a producer's.
    pub fn is_producers(self) -> bool {
        matches!(
            self,
            Self::ConfirmsTooEarly
                | Self::OffsetAfterTheLog
                | Self::LeasesByTimeStamps
                | Self::WritesWithoutMandate
                | Self::DecidesBeforeTheEnd
                | Self::KeepsAnOlderCursor
                | Self::KeepsNoCursor
                | Self::BlocksByNoRun
                | Self::ShortensTheDeadline
                | Self::EndsNoRun
                | Self::ReadsFromTheEnd
                | Self::ReloadsAtOnce
        )
    }
}

/// A client that misleads who uses it.
pub struct Misled {
    inner: Box<dyn Client>,
    bug: Bug,
    unwritten: Vec<ProduceBatch>,
    remembered: BTreeMap<TopicPartition, Committed>,
    /// Offsets of consumers were asked for last.
    has_asked: bool,
    stamps: Stamps,
    cursors: Cursors,
    /// The first id that was told of each topic.
    ids: BTreeMap<String, Uuid>,
}

/// How many commits of cursors a process makes before one goes wrong.
const CURSORS: usize = 5;

/// The cursors that a process has committed in a generation, the oldest first.
#[derive(Debug, Default)]
struct Cursors {
    generation: i32,
    commits: Vec<Vec<Commit>>,
}

impl Cursors {
    /// What is committed: after some that are as they should be, the oldest of these.
    fn next(&mut self, holder: &Holder, commits: &[Commit]) -> Vec<Commit> {
        if std::mem::replace(&mut self.generation, holder.generation) != holder.generation {
            self.commits.clear();
        }
        if self.commits.len() == CURSORS {
            return std::mem::take(&mut self.commits).swap_remove(0);
        }
        self.commits.push(commits.to_vec());
        commits.to_vec()
    }
}

/// The newest time stamp of any machine.
#[derive(Debug, Default)]
struct Stamps(Option<DateTime<Utc>>);

impl Stamps {
    /// Whether a sign of life is younger than the shortest lease by that; everything else is.
    fn is_recent(&mut self, record: &FetchedRecord) -> bool {
        let event = record.value.as_deref().and_then(|value| wire::decode_event(value).ok());
        let Some(Event::Alive { at, .. } | Event::Beat { at, .. }) = &event else { return true };
        self.0 = self.0.max(Some(*at));
        let is_old = self.0.is_some_and(|newest| newest - *at > TimeDelta::seconds(7));
        !(is_old && matches!(event, Some(Event::Alive { .. })))
    }
}

/// The client as it is, or one that has the bug happen.
pub fn plant(inner: Box<dyn Client>, bug: Option<Bug>) -> Box<dyn Client> {
    match bug {
        Some(bug) => Box::new(Misled {
            inner,
            bug,
            unwritten: Vec::new(),
            remembered: BTreeMap::new(),
            has_asked: false,
            stamps: Stamps::default(),
            cursors: Cursors::default(),
            ids: BTreeMap::new(),
        }),
        None => inner,
    }
}

const PRETENDED: Written = Written { base_offset: 0, append_time_ms: None };

impl Log for Misled {
    fn topic(&mut self, name: &str, by: Deadline) -> Result<Option<TopicState>, BrokerError> {
        let mut state = self.inner.topic(name, by)?;
        if let Some(state) = state.as_mut().filter(|_| self.bug == Bug::GoesByTopicNames) {
            state.id = *self.ids.entry(name.to_owned()).or_insert(state.id);
        }
        Ok(state)
    }

    fn produce(&mut self, batches: &[ProduceBatch], by: Deadline) -> Vec<Result<Written, BrokerError>> {
        let topic = batches[0].to.topic.as_str();
        match self.bug {
            Bug::CommitBeforeClaimed if topic == "cron-runs" => {
                self.unwritten = batches.to_vec();
                batches.iter().map(|_| Ok(PRETENDED)).collect()
            }
            Bug::FinishedBeforeRetry if topic == RETRY || topic == "c-dead" => {
                let answers = self.inner.produce(batches, by);
                answers.into_iter().map(|answer| Ok(answer.unwrap_or(PRETENDED))).collect()
            }
            Bug::DropsWhatIsTooLarge => {
                let is_too_large = |error: &BrokerError| error.code() == Some(ErrorCode::MessageTooLarge);
                let answers = self.inner.produce(batches, by);
                let answer = |answer: Result<Written, BrokerError>| match answer {
                    Err(error) if is_too_large(&error) => Ok(PRETENDED),
                    answer => answer,
                };
                answers.into_iter().map(answer).collect()
            }
            Bug::EndsNoRun => {
                let ends = |record: &Record| {
                    let event = record.value.as_deref().map(wire::decode_event);
                    matches!(event, Some(Ok(Event::Ended { .. })))
                };
                let write = |batch: &ProduceBatch| {
                    let mut batch = batch.clone();
                    batch.records.retain(|record| !ends(record));
                    let is_empty = batch.records.is_empty();
                    if is_empty { Ok(PRETENDED) } else { self.inner.produce(&[batch], by).remove(0) }
                };
                batches.iter().map(write).collect()
            }
            _ => self.inner.produce(batches, by),
        }
    }

    fn fetch(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        let mut answers = self.inner.fetch(leader, wants, max_wait, by)?;
        if self.bug == Bug::GoesByTopicNames {
            let is_other = |error: &BrokerError| error.code() == Some(ErrorCode::UnknownTopicId);
            if answers.iter().any(|answer| answer.as_ref().is_err_and(is_other)) {
                answers = self.inner.fetch(leader, wants, max_wait, by)?;
            }
            let fetched = wants
                .iter()
                .zip(&mut answers)
                .filter_map(|(want, answer)| Some((want, answer.as_mut().ok()?)));
            for (want, fetched) in fetched {
                fetched.topic_id = *self.ids.entry(want.from.topic.clone()).or_insert(fetched.topic_id);
            }
        }
        if self.bug == Bug::LeasesByTimeStamps {
            let of_runs = wants.iter().zip(&mut answers).filter(|(want, _)| want.from.topic == "cron-runs");
            for fetched in of_runs.filter_map(|(_, answer)| answer.as_mut().ok()) {
                fetched.records.retain(|record| self.stamps.is_recent(record));
            }
        }
        Ok(answers)
    }

    fn offset(&mut self, of: &TopicPartition, at: Position, by: Deadline) -> Result<i64, BrokerError> {
        if self.bug == Bug::OffsetAfterTheLog && self.has_asked && at == Position::End {
            return Ok(0);
        }
        self.inner.offset(of, at, by)
    }
}

impl Group for Misled {
    fn join(&mut self, request: &JoinRequest, by: Deadline) -> Result<Join, BrokerError> {
        self.inner.join(request, by)
    }

    fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        shares: &[(String, Share)],
        by: Deadline,
    ) -> Result<Share, BrokerError> {
        self.inner.sync(holder, protocol, shares, by)
    }

    fn heartbeat(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        self.inner.heartbeat(holder, by)
    }

    fn leave(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        self.inner.leave(holder, by)
    }

    fn commit(
        &mut self,
        holder: &Holder,
        commits: &[Commit],
        by: Deadline,
    ) -> Result<Vec<Option<ErrorCode>>, BrokerError> {
        let of_cursors = commits.iter().any(|commit| commit.of.topic == CLUSTER);
        if self.bug == Bug::KeepsAnOlderCursor && of_cursors {
            let commits = self.cursors.next(holder, commits);
            return self.inner.commit(holder, &commits, by);
        }
        if self.bug == Bug::KeepsNoCursor && of_cursors {
            if self.cursors.commits.len() == CURSORS {
                return Ok(vec![None; commits.len()]);
            }
            self.cursors.next(holder, commits);
        }
        if self.bug == Bug::ReadsFromTheEnd {
            let mut commits = commits.to_vec();
            for commit in commits.iter_mut().filter(|commit| commit.of.topic == "cron-runs") {
                commit.offset = self.inner.offset(&commit.of, Position::End, by).unwrap_or(commit.offset);
            }
            return self.inner.commit(holder, &commits, by);
        }
        let answer = self.inner.commit(holder, commits, by);
        match self.bug {
            Bug::CommitBeforeClaimed => {
                let unwritten = std::mem::take(&mut self.unwritten);
                if !unwritten.is_empty() {
                    drop(self.inner.produce(&unwritten, by));
                }
                answer
            }
            Bug::RunsOnUnknownAnswer if answer.is_err() => Ok(vec![None; commits.len()]),
            Bug::KeepsItsOffsets => {
                for (commit, code) in commits.iter().zip(answer.iter().flatten()) {
                    if code.is_none() {
                        let now = Committed { offset: commit.offset, metadata: commit.metadata.clone() };
                        self.remembered.insert(commit.of.clone(), now);
                    }
                }
                answer
            }
            _ => answer,
        }
    }

    fn committed(
        &mut self,
        group: &str,
        of: &[TopicPartition],
        by: Deadline,
    ) -> Result<Vec<Option<Committed>>, BrokerError> {
        self.has_asked = group != "cron-leader";
        let answer = self.inner.committed(group, of, by)?;
        let remembered = of.iter().map(|of| self.remembered.get(of).cloned());
        Ok(remembered.zip(answer).map(|(remembered, committed)| remembered.or(committed)).collect())
    }
}

impl Admin for Misled {
    fn broker_count(&mut self, by: Deadline) -> Result<usize, BrokerError> {
        self.inner.broker_count(by)
    }

    fn cluster_time(&mut self, by: Deadline) -> Result<i64, BrokerError> {
        self.inner.cluster_time(by)
    }

    fn topic_names(&mut self, by: Deadline) -> Result<Vec<String>, BrokerError> {
        self.inner.topic_names(by)
    }

    fn create_topic(&mut self, topic: &TopicSpec, by: Deadline) -> Result<(), BrokerError> {
        self.inner.create_topic(topic, by)
    }

    fn topic_settings(
        &mut self,
        topic: &str,
        names: &[&str],
        by: Deadline,
    ) -> Result<Vec<(String, String)>, BrokerError> {
        self.inner.topic_settings(topic, names, by)
    }
}
