//! Who is asked: brokers, leaders and coordinators as far as they are known, and a connection to each in use.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest};
use uuid::Uuid;

use super::Cluster;
use super::connection::{CONNECT, Connection, Lost, REQUEST};
use super::resolve::Address;
use super::wire::{Asked, text, topic_name, topic_state};
use crate::common::broker::{BrokerError, Deadline, ErrorCode, NodeId, TopicPartition, TopicState};
use crate::common::clock::monotonic;

/// What one client knows of the cluster.
pub(super) struct Routes {
    cluster: Arc<Cluster>,
    client_id: String,
    brokers: BTreeMap<NodeId, Address>,
    connections: HashMap<Address, Connection>,
    leaders: HashMap<TopicPartition, NodeId>,
    topic_ids: HashMap<String, Uuid>,
    coordinators: HashMap<String, Address>,
    /// Who said last where brokers are.
    named_by: Option<Address>,
}

/// A request that was sent, on its way to its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    correlation: i32,
    at: Instant,
    /// Whether the connection was there before.
    was_open: bool,
}

/// What must be left of a call's time, beyond the wait that it asks the broker for, when a quota lets go of it.
pub(super) const AFTERWARDS: Duration = Duration::from_secs(1);

impl Routes {
    pub(super) fn new(cluster: Arc<Cluster>, client_id: &str) -> Self {
        Self {
            cluster,
            client_id: client_id.to_owned(),
            brokers: BTreeMap::new(),
            connections: HashMap::new(),
            leaders: HashMap::new(),
            topic_ids: HashMap::new(),
            coordinators: HashMap::new(),
            named_by: None,
        }
    }

    /// Asks one broker. A request is made a second time only on a new connection after an old one turned out to be
    /// closed, and only if the first cannot have been read or does no harm twice.
    pub(super) fn ask<R: Asked>(
        &mut self,
        of: &Address,
        request: &R,
        wait: Duration,
        by: Deadline,
    ) -> Result<R::Response, BrokerError> {
        loop {
            self.await_quota(of, wait, by)?;
            let sent = self.send(of, request, by)?;
            match self.receive::<R>(of, sent, wait, by) {
                Err(Lost::Closed(_)) if sent.was_open && R::REPEATABLE => {}
                answer => return answer.map_err(BrokerError::from),
            }
        }
    }

    /// Waits until no quota keeps us from sending to a broker.
    ///
    /// # Errors
    /// At once, where too little of the call's time would be left then for an answer that itself takes `wait`.
    pub(super) fn await_quota(&self, of: &Address, wait: Duration, by: Deadline) -> Result<(), BrokerError> {
        while let Some(until) = self.held_until(of) {
            if until + wait + AFTERWARDS > by {
                let left = until.saturating_duration_since(monotonic()).as_secs_f64();
                let client = &self.client_id;
                let why = format!("{of} does not listen to client {client} for another {left:.1} s");
                return Err(BrokerError::Throttled(why));
            }
            wait_until(until);
        }
        Ok(())
    }

    /// Until when a quota keeps us from sending to a broker, if one does.
    pub(super) fn held_until(&self, of: &Address) -> Option<Instant> {
        self.cluster.quotas.until(&self.client_id, of, monotonic())
    }

    /// How long the answer to a request of this kind may take.
    pub(super) fn patience<R: Asked>(&self, of: &Address) -> Duration {
        self.cluster.patience.of(of, R::KEY as i16)
    }

    /// Sends a request. The caller has seen to it that no quota keeps us from that.
    pub(super) fn send<R: Asked>(
        &mut self,
        to: &Address,
        request: &R,
        by: Deadline,
    ) -> Result<Sent, BrokerError> {
        loop {
            let was_open = self.connect(to, by)?;
            let limit = by.min(monotonic() + REQUEST);
            let Some(connection) = self.connections.get_mut(to) else { continue };
            match connection.send(request, limit) {
                Ok(correlation) => return Ok(Sent { correlation, at: monotonic(), was_open }),
                Err(lost) => {
                    self.give_up(to);
                    if !(was_open && matches!(lost, Lost::NotSent(_))) {
                        return Err(lost.into());
                    }
                }
            }
        }
    }

    /// Waits for an answer until the deadline, or for as long as it may take after the `wait` that it was asked for.
    pub(super) fn receive<R: Asked>(
        &mut self,
        from: &Address,
        sent: Sent,
        wait: Duration,
        by: Deadline,
    ) -> Result<R::Response, Lost> {
        let patience = self.patience::<R>(from);
        let limit = sent.at + wait + patience;
        let Some(connection) = self.connections.get_mut(from) else {
            return Err(Lost::Closed(format!("{from}: the connection was given up")));
        };
        let is_first = !connection.has_answered();
        let answer = connection.receive::<R>(sent.correlation, by.min(limit));
        match &answer {
            Ok(answer) => {
                if is_first {
                    self.cluster.failures.served(from);
                }
                let now = monotonic();
                let took = now.saturating_duration_since(sent.at + wait);
                self.cluster.patience.answered(from, R::KEY as i16, took);
                self.cluster.quotas.answered(&self.client_id, from, R::throttle_ms(answer), now);
            }
            Err(lost) => {
                if limit <= by && matches!(lost, Lost::Silent(_)) {
                    self.cluster.patience.silent(from, R::KEY as i16, patience);
                }
                self.give_up(from);
            }
        }
        answer
    }

    /// Sees to a connection that is alive as far as can be known; tells whether it was there before.
    fn connect(&mut self, to: &Address, by: Deadline) -> Result<bool, BrokerError> {
        if let Some(connection) = self.connections.get_mut(to) {
            if !connection.is_stale() {
                return Ok(true);
            }
            self.connections.remove(to);
        }
        let addresses = self.cluster.resolver.addresses(to, by.min(monotonic() + CONNECT));
        let dialled = addresses.and_then(|addresses| {
            let has_answered = self.cluster.failures.has_served(to);
            Connection::dial(to, &addresses, self.cluster.tls.as_ref(), &self.client_id, has_answered, by)
        });
        match dialled {
            Ok(connection) => {
                self.cluster.failures.answered(to);
                self.connections.insert(to.clone(), connection);
                Ok(false)
            }
            Err(why) => {
                self.give_up(to);
                Err(BrokerError::NotSent(self.named(to, why)))
            }
        }
    }

    /// Why a broker is not reached, with who named it where no operator did.
    fn named(&self, to: &Address, why: String) -> String {
        match &self.named_by {
            Some(by) if by != to && !self.cluster.bootstrap.contains(to) => {
                format!(
                    "{by} answered and named {to} (its advertised.listeners), which cannot be reached: {why}"
                )
            }
            _ => why,
        }
    }

    /// Closes the connection, has every client ask this broker last from now on, and believes nothing that was thought of it.
    fn give_up(&mut self, of: &Address) {
        self.connections.remove(of);
        self.cluster.failures.failed(of);
        let brokers = &self.brokers;
        self.leaders.retain(|_, node| brokers.get(node) != Some(of));
        self.coordinators.retain(|_, address| address != of);
    }

    /// Asks any broker that answers: those with a connection first, and last the one that failed last for any client of
    /// this process.
    pub(super) fn ask_any<R: Asked>(
        &mut self,
        request: &R,
        by: Deadline,
    ) -> Result<R::Response, BrokerError> {
        let mut candidates: Vec<Address> = self.brokers.values().cloned().collect();
        let bootstrap = self.cluster.bootstrap.iter().filter(|address| !candidates.contains(address));
        candidates.extend(bootstrap.cloned().collect::<Vec<_>>());
        candidates.sort_by_cached_key(|address| {
            let failed = self.cluster.failures.rank(address);
            (self.held_until(address), failed, Reverse(self.connections.contains_key(address)))
        });
        let mut last = BrokerError::NotSent("no broker is known".to_owned());
        for candidate in candidates {
            if by <= monotonic() {
                break;
            }
            match self.ask(&candidate, request, Duration::ZERO, by) {
                Err(error @ (BrokerError::NotSent(_) | BrokerError::Throttled(_))) => last = error,
                Err(error) if R::REPEATABLE => last = error,
                Ok(answer) => {
                    self.named_by = Some(candidate);
                    return Ok(answer);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Asks about topics (none: the brokers only) and remembers what it learns.
    pub(super) fn metadata(
        &mut self,
        topics: &[&str],
        by: Deadline,
    ) -> Result<HashMap<String, Result<TopicState, ErrorCode>>, BrokerError> {
        let wanted =
            topics.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
        let request = MetadataRequest::default()
            .with_topics(Some(wanted.collect()))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&request, by)?;
        let brokers = answer.brokers.iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id.0, Address { host: broker.host.to_string(), port }))
        });
        self.brokers = brokers.collect();
        let mut states = HashMap::new();
        for topic in answer.topics {
            let Some(name) = topic.name.as_ref().map(|name| name.0.to_string()) else { continue };
            let state = match ErrorCode::from_wire(topic.error_code) {
                None | Some(ErrorCode::LeaderNotAvailable) => Ok(topic_state(&topic)),
                Some(code) => Err(code),
            };
            self.leaders.retain(|of, _| of.topic != name);
            match &state {
                Ok(state) => self.topic_ids.insert(name.clone(), state.id),
                Err(_) => self.topic_ids.remove(&name),
            };
            for partition in state.iter().flat_map(|state| &state.partitions) {
                if let Some(leader) = partition.leader {
                    let of = TopicPartition { topic: name.clone(), partition: partition.partition };
                    self.leaders.insert(of, leader);
                }
            }
            states.insert(name, state);
        }
        Ok(states)
    }

    /// The names of all topics.
    pub(super) fn topic_names(&mut self, by: Deadline) -> Result<Vec<String>, BrokerError> {
        let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
        let answer = self.ask_any(&request, by)?;
        Ok(answer.topics.into_iter().filter_map(|topic| Some(topic.name?.0.to_string())).collect())
    }

    /// How many brokers the last metadata named.
    pub(super) fn broker_count(&self) -> usize {
        self.brokers.len()
    }

    /// The leaders of partitions, in order; those that are not known are asked for, in one request.
    pub(super) fn leaders(
        &mut self,
        of: &[TopicPartition],
        by: Deadline,
    ) -> Vec<Result<NodeId, BrokerError>> {
        let mut unknown: Vec<&str> =
            of.iter().filter(|of| !self.leaders.contains_key(of)).map(|of| of.topic.as_str()).collect();
        unknown.sort_unstable();
        unknown.dedup();
        let asked = if unknown.is_empty() { Ok(HashMap::new()) } else { self.metadata(&unknown, by) };
        let leader = |of: &TopicPartition| {
            if let Some(leader) = self.leaders.get(of) {
                return Ok(*leader);
            }
            let states = asked.as_ref().map_err(Clone::clone)?;
            let refused = match states.get(&of.topic) {
                Some(Ok(state)) if state.partitions.iter().any(|p| p.partition == of.partition) => {
                    ErrorCode::LeaderNotAvailable
                }
                Some(Err(code)) => *code,
                _ => ErrorCode::UnknownTopicOrPartition,
            };
            Err(BrokerError::Refused(refused))
        };
        of.iter().map(leader).collect()
    }

    /// The id of a topic, asked for where it is not known.
    pub(super) fn topic_id(&mut self, name: &str, by: Deadline) -> Result<Uuid, BrokerError> {
        if let Some(id) = self.topic_ids.get(name) {
            return Ok(*id);
        }
        match self.metadata(&[name], by)?.remove(name) {
            Some(Ok(state)) => Ok(state.id),
            Some(Err(code)) => Err(BrokerError::Refused(code)),
            None => Err(BrokerError::Nonsense(format!("nothing about {name}"))),
        }
    }

    /// Forgets an id under which a broker knows no topic.
    pub(super) fn forget_topic_id(&mut self, name: &str) {
        self.topic_ids.remove(name);
    }

    /// Forgets a leader that turned out to be none.
    pub(super) fn forget_leader(&mut self, of: &TopicPartition) {
        self.leaders.remove(of);
    }

    /// Where a broker listens.
    pub(super) fn address(&mut self, of: NodeId, by: Deadline) -> Result<Address, BrokerError> {
        if !self.brokers.contains_key(&of) {
            self.metadata(&[], by)?;
        }
        let known = self.brokers.get(&of).cloned();
        known.ok_or_else(|| BrokerError::NotSent(format!("broker {of} is not in the cluster's metadata")))
    }

    /// Where the coordinator of a group listens.
    pub(super) fn coordinator(&mut self, group: &str, by: Deadline) -> Result<Address, BrokerError> {
        if let Some(known) = self.coordinators.get(group) {
            return Ok(known.clone());
        }
        let answer = self.ask_any(&FindCoordinatorRequest::default().with_key(text(group)), by)?;
        match ErrorCode::from_wire(answer.error_code) {
            None => {}
            Some(code @ (ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoading)) => {
                return Err(BrokerError::NotSent(format!("group {group} has no coordinator yet ({code})")));
            }
            Some(code) => return Err(BrokerError::Refused(code)),
        }
        let port = u16::try_from(answer.port)
            .map_err(|_| BrokerError::Nonsense("a coordinator's port".to_owned()))?;
        let address = Address { host: answer.host.to_string(), port };
        self.coordinators.insert(group.to_owned(), address.clone());
        Ok(address)
    }

    /// Forgets a coordinator that turned out to be none.
    pub(super) fn forget_coordinator(&mut self, group: &str) {
        self.coordinators.remove(group);
    }
}

/// Blocks this thread until then.
pub(super) fn wait_until(until: Instant) {
    // No broker sends: it ends when the time is over.
    crossbeam_channel::never::<()>().recv_deadline(until).ok();
}
