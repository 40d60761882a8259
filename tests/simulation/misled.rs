//! A client that misleads who uses it, so that a planted bug happens.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use kafka_cron::common::broker::{
    BrokerError, Client, Commit, Committed, Deadline, ErrorCode, Fetched, FetchedRecord, Group, Holder, Join,
    JoinRequest, Log, NodeId, Position, ProduceBatch, Record, Share, TopicPartition, TopicState, Want,
    Written,
};
use kafka_cron::common::model::Event;
use kafka_cron::common::wire;
use uuid::Uuid;

use crate::bugs::Bug;
use crate::forwarding::forward_admin;
use crate::world::{CLUSTER, RETRY};

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

impl Misled {
    /// Whether it is to go by a topic's name, and the topic was made anew.
    fn is_of_another_topic(&self, answers: &[Result<Fetched, BrokerError>]) -> bool {
        let is_other = |error: &BrokerError| error.code() == Some(ErrorCode::UnknownTopicId);
        self.bug == Bug::GoesByTopicNames && answers.iter().any(|answer| answer.as_ref().is_err_and(is_other))
    }

    fn mislead(&mut self, wants: &[Want], answers: &mut [Result<Fetched, BrokerError>]) {
        let fetched =
            wants.iter().zip(answers).filter_map(|(want, answer)| Some((want, answer.as_mut().ok()?)));
        for (want, fetched) in fetched {
            let topic = &want.from.topic;
            if self.bug == Bug::GoesByTopicNames {
                fetched.topic_id = *self.ids.entry(topic.clone()).or_insert(fetched.topic_id);
            }
            if self.bug == Bug::LeasesByTimeStamps && topic == "cron-runs" {
                fetched.records.retain(|record| self.stamps.is_recent(record));
            }
        }
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
        if self.is_of_another_topic(&answers) {
            answers = self.inner.fetch(leader, wants, max_wait, by)?;
        }
        self.mislead(wants, &mut answers);
        Ok(answers)
    }

    fn fetch_committed(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        let mut answers = self.inner.fetch_committed(leader, wants, max_wait, by)?;
        if self.is_of_another_topic(&answers) {
            answers = self.inner.fetch_committed(leader, wants, max_wait, by)?;
        }
        self.mislead(wants, &mut answers);
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
        let mut share = self.inner.sync(holder, protocol, shares, by)?;
        if self.bug == Bug::LeavesNewPartitions
            && let Ok(Some(topic)) = self.inner.topic(&holder.group, by)
        {
            share.shared_out = share.shared_out.and(i32::try_from(topic.partitions.len()).ok());
        }
        Ok(share)
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

    fn members(&mut self, group: &str, by: Deadline) -> Result<Vec<String>, BrokerError> {
        self.inner.members(group, by)
    }
}

forward_admin!(Misled);
