//! One thread's way to the cluster: the port's log side and its topics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::call::Call;
use super::group::Ticket;
use super::shared::Shared;
use crate::common::broker::{
    Admin, BrokerError, Deadline, ErrorCode, Fetched, Holder, JoinRequest, Log, NodeId, Position,
    ProduceBatch, TopicPartition, TopicState, Want, Written,
};
use crate::common::topics::TopicSpec;

/// A client. Its group side is in [`super::group_client`].
pub(super) struct MemoryClient {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    /// Counts fetches, so that each begins with another partition.
    turn: usize,
    /// The ids of topics, as far as they are known: by these it fetches.
    topic_ids: BTreeMap<String, Uuid>,
    /// A join and a sync that were not answered yet, where no caller waits, and until when their callers would.
    pub(super) joining: Option<(JoinRequest, Ticket, Deadline)>,
    pub(super) syncing: Option<(Holder, Ticket, Deadline)>,
}

pub(super) fn refused<T>(code: ErrorCode) -> Result<T, BrokerError> {
    Err(BrokerError::Refused(code))
}

impl MemoryClient {
    pub(super) fn new(shared: Arc<Shared>, name: &str) -> Self {
        Self {
            shared,
            name: name.to_owned(),
            turn: 0,
            topic_ids: BTreeMap::new(),
            joining: None,
            syncing: None,
        }
    }

    /// Remembers the ids that were read, and forgets those that the cluster does not know any more.
    fn learn_ids(&mut self, wants: &[Want], answers: &[Result<Fetched, BrokerError>]) {
        for (want, answer) in wants.iter().zip(answers) {
            match answer {
                Ok(fetched) if self.topic_ids.get(&want.from.topic) == Some(&fetched.topic_id) => {}
                Ok(fetched) => drop(self.topic_ids.insert(want.from.topic.clone(), fetched.topic_id)),
                Err(BrokerError::Refused(ErrorCode::UnknownTopicId)) => {
                    self.topic_ids.remove(&want.from.topic);
                }
                Err(_) => {}
            }
        }
    }

    fn produce_one(&self, batch: &ProduceBatch, by: Deadline) -> Result<Written, BrokerError> {
        let (batch, to) = (batch.clone(), batch.to.topic.clone());
        self.shared.call((&self.name, Call::Produce, &to), by, refused, move |cluster, at| {
            cluster.produce(&batch, at).map_err(BrokerError::Refused)
        })
    }
}

impl Log for MemoryClient {
    fn topic(&mut self, name: &str, by: Deadline) -> Result<Option<TopicState>, BrokerError> {
        let asked = name.to_owned();
        let call = (self.name.as_str(), Call::Topic, name);
        let state = self.shared.call(call, by, refused, move |cluster, _| Ok(cluster.topic(&asked)))?;
        match &state {
            Some(state) => self.topic_ids.insert(name.to_owned(), state.id),
            None => self.topic_ids.remove(name),
        };
        Ok(state)
    }

    /// Each batch has a fate of its own, as if each had a leader of its own.
    fn produce(&mut self, batches: &[ProduceBatch], by: Deadline) -> Vec<Result<Written, BrokerError>> {
        batches.iter().map(|batch| self.produce_one(batch, by)).collect()
    }

    fn fetch(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        self.turn = self.turn.wrapping_add(1);
        let (turn, asked, ids) = (self.turn, wants.to_vec(), self.topic_ids.clone());
        let refuse = |code| Ok(wants.iter().map(|_| refused(code)).collect());
        let apply = move |cluster: &mut super::cluster::Cluster, _| cluster.fetch(leader, &asked, &ids, turn);
        let answer = self.shared.call((&self.name, Call::Fetch, ""), by, refuse, apply);
        if let (Err(BrokerError::Throttled(_)), Some(until)) = (&answer, self.shared.held_until(&self.name)) {
            self.shared.wait_for(until.min(by), |_| None::<()>);
        }
        let answer = answer?;
        self.learn_ids(wants, &answer);
        if has_anything(wants, &answer) {
            return Ok(answer);
        }
        let until = self.shared.after(max_wait).min(by);
        let came = self.shared.wait_for(until, |cluster| {
            let answer = cluster.fetch(leader, wants, &self.topic_ids, turn);
            answer.as_ref().map_or(true, |answer| has_anything(wants, answer)).then_some(answer)
        });
        let answer = came.unwrap_or(Ok(answer))?;
        self.learn_ids(wants, &answer);
        Ok(answer)
    }

    fn fetch_committed(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        let mut answers = self.fetch(leader, wants, max_wait, by)?;
        for (want, answer) in wants.iter().zip(&mut answers) {
            let open_from = |cluster: &mut super::cluster::Cluster| cluster.log_mut(&want.from)?.open_from;
            let open_from = self.shared.with(|cluster, _, _| open_from(cluster));
            if let (Ok(fetched), Some(open_from)) = (answer, open_from) {
                fetched.records.retain(|record| record.offset < open_from);
                fetched.undecodable.retain(|batch| batch.last_offset < open_from);
                fetched.next_offset = fetched.next_offset.min(open_from.max(want.offset));
                fetched.end_offset = fetched.end_offset.min(open_from);
            }
        }
        Ok(answers)
    }

    fn offset(&mut self, of: &TopicPartition, at: Position, by: Deadline) -> Result<i64, BrokerError> {
        let (of, topic) = (of.clone(), of.topic.clone());
        self.shared.call((&self.name, Call::Offset, &topic), by, refused, move |cluster, _| {
            cluster.offset(&of, at).map_err(BrokerError::Refused)
        })
    }
}

/// Whether an answer is worth sending before the wait is over: a refusal is.
fn has_anything(wants: &[Want], answers: &[Result<Fetched, BrokerError>]) -> bool {
    let moved = |(want, answer): (&Want, &Result<Fetched, BrokerError>)| {
        answer.as_ref().map_or(true, |fetched| fetched.next_offset > want.offset)
    };
    wants.iter().zip(answers).any(moved)
}

impl Admin for MemoryClient {
    fn broker_count(&mut self, by: Deadline) -> Result<usize, BrokerError> {
        let call = (self.name.as_str(), Call::BrokerCount, "");
        self.shared.call(call, by, refused, |cluster, _| Ok(cluster.node_count()))
    }

    fn cluster_time(&mut self, by: Deadline) -> Result<i64, BrokerError> {
        let call = (self.name.as_str(), Call::ClusterTime, "");
        self.shared.call(call, by, refused, |_, at| Ok(at.wall.timestamp_millis()))
    }

    fn topic_names(&mut self, by: Deadline) -> Result<Vec<String>, BrokerError> {
        let call = (self.name.as_str(), Call::Topic, "");
        self.shared.call(call, by, refused, |cluster, _| Ok(cluster.topic_names()))
    }

    fn create_topic(&mut self, topic: &TopicSpec, by: Deadline) -> Result<(), BrokerError> {
        let (topic, name) = (topic.clone(), topic.name.clone());
        self.shared.call((&self.name, Call::CreateTopic, &name), by, refused, move |cluster, _| {
            cluster.create_topic(&topic).map_err(BrokerError::Refused)
        })
    }

    fn topic_settings(
        &mut self,
        topic: &str,
        names: &[&str],
        by: Deadline,
    ) -> Result<Vec<(String, String)>, BrokerError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let asked = topic.to_owned();
        self.shared.call((&self.name, Call::TopicSettings, topic), by, refused, move |cluster, _| {
            cluster.topic_settings(&asked, &names).map_err(BrokerError::Refused)
        })
    }
}
