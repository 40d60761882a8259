//! The cluster's state: topics and groups, and each request as a change of it. Pure: time is an argument, and nothing
//! waits. The same requests at the same instants make the same cluster, ids included.

use std::collections::BTreeMap;
use std::time::Instant;

use uuid::Uuid;

use super::Moment;
use super::call::Call;
use super::group::{Group, Later, Ticket};
use super::joining::Joining;
use super::topic::Topic;
use crate::common::bounds;
use crate::common::broker::{
    BrokerError, Commit, Committed, ErrorCode, Fetched, Holder, JoinRequest, NodeId, Position, ProduceBatch,
    Share, TopicPartition, TopicState, Want, Written,
};
use crate::common::topics::TopicSpec;

/// `offset.metadata.max.bytes` of a broker with the default settings.
const METADATA_BYTES: usize = 4096;

/// A cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    nodes: Vec<NodeId>,
    topics: BTreeMap<String, Topic>,
    groups: BTreeMap<String, Group>,
    ids: u128,
    /// What is refused for the time being, by call and by the name of what it is about.
    refusals: BTreeMap<(Call, String), ErrorCode>,
    /// Partitions whose commits are refused for the time being.
    rejected: BTreeMap<TopicPartition, ErrorCode>,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let (topics, groups, refusals) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { nodes: vec![1], topics, groups, ids: 0, refusals, rejected: BTreeMap::new() }
    }

    fn next_id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    /// Refuses a kind of call about a topic or group from now on; `None` lifts it.
    pub(super) fn refuse(&mut self, call: Call, of: &str, code: Option<ErrorCode>) {
        let key = (call, of.to_owned());
        match code {
            Some(code) => self.refusals.insert(key, code),
            None => self.refusals.remove(&key),
        };
    }

    /// Refuses commits of a partition from now on; `None` lifts it.
    pub(super) fn reject_commits(&mut self, of: &TopicPartition, code: Option<ErrorCode>) {
        match code {
            Some(code) => self.rejected.insert(of.clone(), code),
            None => self.rejected.remove(of),
        };
    }

    /// Whether a call about a topic or group is refused at present.
    pub(super) fn refusal(&self, call: Call, of: &str) -> Option<ErrorCode> {
        if self.refusals.is_empty() {
            return None;
        }
        self.refusals.get(&(call, of.to_owned())).copied()
    }

    /// Lets time pass, and says whether anything happened.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        // Not `any`, which would stop at the first.
        self.groups.values_mut().map(|group| group.advance(now)).filter(|happened| *happened).count() > 0
    }

    /// The next instant at which something happens by itself.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.groups.values().filter_map(Group::next_timer).min()
    }

    // Topics.

    pub(super) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn set_node_count(&mut self, count: i32) {
        self.nodes = (1..=count).collect();
    }

    pub(super) fn create_topic(&mut self, spec: &TopicSpec) -> Result<(), ErrorCode> {
        if self.topics.contains_key(&spec.name) {
            return Err(ErrorCode::TopicAlreadyExists);
        }
        let id = Uuid::from_u128(self.next_id());
        let topic = Topic::new(spec, id, &self.nodes)?;
        self.topics.insert(spec.name.clone(), topic);
        Ok(())
    }

    /// Deletes a topic, and with it what groups have committed for it.
    pub(super) fn delete_topic(&mut self, name: &str) {
        self.topics.remove(name);
        for group in self.groups.values_mut() {
            group.offsets.retain(|of, _| of.topic != name);
        }
    }

    pub(super) fn set_topic(&mut self, name: &str, setting: &'static str, value: &str) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.set(setting, value);
        }
    }

    pub(super) fn grow_topic(&mut self, name: &str, partitions: usize) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.grow(partitions, &self.nodes);
        }
    }

    pub(super) fn topic(&self, name: &str) -> Option<TopicState> {
        self.topics.get(name).map(Topic::state)
    }

    pub(super) fn topic_names(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    pub(super) fn topic_settings(
        &self,
        topic: &str,
        names: &[String],
    ) -> Result<Vec<(String, String)>, ErrorCode> {
        let topic = self.topics.get(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let value = |name: &String| Some((name.clone(), topic.setting(name)?.to_owned()));
        Ok(names.iter().filter_map(value).collect())
    }

    // Logs.

    pub(super) fn log_mut(&mut self, of: &TopicPartition) -> Option<&mut super::log::PartitionLog> {
        self.topics.get_mut(&of.topic)?.partition_mut(of.partition)
    }

    fn led(&self, of: &TopicPartition) -> Result<(&super::log::PartitionLog, NodeId), ErrorCode> {
        let log = self.topics.get(&of.topic).and_then(|topic| topic.partition(of.partition));
        let log = log.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        log.leader.map(|leader| (log, leader)).ok_or(ErrorCode::LeaderNotAvailable)
    }

    pub(super) fn produce(&mut self, batch: &ProduceBatch, at: Moment) -> Result<Written, ErrorCode> {
        let topic = self.topics.get_mut(&batch.to.topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        topic.write(batch.to.partition, &batch.records, at)
    }

    /// Reads from a leader. Partitions take turns in being first, for only the first that has anything gives a batch
    /// that is larger than asked for. Topics go by the ids in `ids`; one that has another by now is refused.
    pub(super) fn fetch(
        &self,
        leader: NodeId,
        wants: &[Want],
        ids: &BTreeMap<String, Uuid>,
        turn: usize,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        if !self.nodes.contains(&leader) {
            return Err(BrokerError::NotSent(format!("broker {leader} is not in the cluster's metadata")));
        }
        let mut left = size(bounds::FETCH_BYTES);
        let mut first_whole = true;
        let mut answers: Vec<(usize, Result<Fetched, BrokerError>)> = Vec::with_capacity(wants.len());
        for i in (0..wants.len()).map(|i| (i + turn) % wants.len()) {
            let want = &wants[i];
            let refused = self.refusal(Call::Fetch, &want.from.topic).map_or(Ok(()), Err);
            let id = self.topic_id(&want.from.topic, ids);
            let read = refused.and(id).and_then(|id| Ok((id, self.led(&want.from)?)));
            let read = read.and_then(|(topic_id, (log, leads))| {
                if leads != leader {
                    return Err(ErrorCode::NotLeader);
                }
                let read = log.read(want.offset, left.min(size(want.max_bytes)), first_whole);
                read.map(|(fetched, taken)| (Fetched { topic_id, ..fetched }, taken))
            });
            let answer = read.map_err(BrokerError::Refused).map(|(fetched, taken)| {
                first_whole &= taken == 0;
                left = left.saturating_sub(taken);
                fetched
            });
            answers.push((i, answer));
        }
        answers.sort_by_key(|(i, _)| *i);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// The id by which a client asks for a topic: the one that it knows, else the present one.
    fn topic_id(&self, name: &str, known: &BTreeMap<String, Uuid>) -> Result<Uuid, ErrorCode> {
        let present = self.topics.get(name).map(|topic| topic.state().id);
        match known.get(name) {
            Some(known) if present != Some(*known) => Err(ErrorCode::UnknownTopicId),
            _ => present.ok_or(ErrorCode::UnknownTopicOrPartition),
        }
    }

    pub(super) fn offset(&self, of: &TopicPartition, at: Position) -> Result<i64, ErrorCode> {
        let (log, _) = self.led(of)?;
        Ok(match at {
            Position::Start => log.start(),
            Position::End => log.end(),
            Position::Since(ms) => log.since(ms),
        })
    }

    // Groups.

    pub(super) fn join(&mut self, client: &str, request: &JoinRequest, now: Instant) -> Joining {
        if !request.member_id.is_empty() && !self.groups.contains_key(&request.group) {
            return Joining::Answered(Err(ErrorCode::UnknownMemberId));
        }
        let name = request.instance_id.as_deref().unwrap_or(client);
        let fresh_id = format!("{name}-{}", self.next_id());
        let group = self.groups.entry(request.group.clone()).or_insert_with(Group::new);
        group.join(request, fresh_id, now)
    }

    pub(super) fn take_answer(&mut self, group: &str, ticket: Ticket) -> Option<Later> {
        self.groups.get_mut(group)?.take_answer(ticket)
    }

    fn group_of(&mut self, holder: &Holder) -> Result<&mut Group, ErrorCode> {
        self.groups.get_mut(&holder.group).ok_or(ErrorCode::UnknownMemberId)
    }

    pub(super) fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        shares: &[(String, Share)],
        now: Instant,
    ) -> Result<Ticket, ErrorCode> {
        self.group_of(holder)?.sync(holder, protocol, shares, now)
    }

    pub(super) fn heartbeat(&mut self, holder: &Holder, now: Instant) -> Result<(), ErrorCode> {
        self.group_of(holder)?.heartbeat(holder, now)
    }

    pub(super) fn leave(&mut self, holder: &Holder, now: Instant) -> Result<(), ErrorCode> {
        self.group_of(holder)?.leave(holder, now)
    }

    fn refused_commit(&self, of: &TopicPartition) -> Option<ErrorCode> {
        self.refusal(Call::Commit, &of.topic).or_else(|| self.rejected.get(of).copied())
    }

    /// Commits. What concerns the topic is refused for each partition before the group is asked.
    pub(super) fn commit(
        &mut self,
        holder: &Holder,
        commits: &[Commit],
        now: Instant,
    ) -> Vec<Option<ErrorCode>> {
        let refusals: Vec<Option<ErrorCode>> =
            commits.iter().map(|commit| self.refused_commit(&commit.of)).collect();
        let topics = &self.topics;
        let exists = |of: &TopicPartition| {
            topics.get(&of.topic).is_some_and(|topic| topic.partition(of.partition).is_some())
        };
        let known: Vec<bool> = commits.iter().map(|commit| exists(&commit.of)).collect();
        let group = match self.groups.entry(holder.group.clone()) {
            std::collections::btree_map::Entry::Occupied(group) => Ok(group.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) if holder.generation < 0 => {
                Ok(place.insert(Group::new()))
            }
            std::collections::btree_map::Entry::Vacant(_) => Err(ErrorCode::IllegalGeneration),
        };
        let group = group.and_then(|group| group.check_commit(holder, now).map(|()| group));
        let (mut group, refused) = match group {
            Ok(group) => (Some(group), None),
            Err(code) => (None, Some(code)),
        };
        let mut answer = |((commit, known), forbidden): ((&Commit, bool), Option<ErrorCode>)| {
            if forbidden.is_some() {
                return forbidden;
            }
            if !known {
                return Some(ErrorCode::UnknownTopicOrPartition);
            }
            let Some(group) = &mut group else { return refused };
            if commit.metadata.len() > METADATA_BYTES {
                return Some(ErrorCode::OffsetMetadataTooLarge);
            }
            let committed = Committed { offset: commit.offset, metadata: commit.metadata.clone() };
            group.offsets.insert(commit.of.clone(), committed);
            None
        };
        commits.iter().zip(known).zip(refusals).map(&mut answer).collect()
    }

    pub(super) fn committed(&self, group: &str, of: &[TopicPartition]) -> Vec<Option<Committed>> {
        let group = self.groups.get(group);
        of.iter().map(|of| group.and_then(|group| group.offsets.get(of)).cloned()).collect()
    }

    /// The members of a group. The memory knows no hosts, and no client ids but those that member ids begin with.
    pub(super) fn members(&self, group: &str) -> Vec<String> {
        let members = self.groups.get(group).map(|group| group.members.keys());
        members.into_iter().flatten().map(|id| format!("{id} at memory")).collect()
    }

    /// Forgets what a group has committed, as a broker does seven days after it became empty.
    pub(super) fn expire_offsets(&mut self, group: &str) {
        if let Some(group) = self.groups.get_mut(group) {
            group.offsets.clear();
        }
    }
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
