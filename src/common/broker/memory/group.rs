//! A group and the generations that it goes through, in the classic protocol: members join, one of them is made the
//! leader and shares out, and the group is stable until a member comes or goes.
//!
//! Requests that are answered later get a [`Ticket`]; the answer lies under it once it is known. [`super::joining`]
//! and [`super::holding`] hold what a member may ask for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::broker::{Committed, ErrorCode, Joined, Share, Subscription, TopicPartition};

/// The number of a request whose answer is not known yet.
pub(super) type Ticket = u64;

/// An answer that came later.
#[derive(Debug)]
pub(super) enum Later {
    Joined(Result<Joined, ErrorCode>),
    Synced(Result<Share, ErrorCode>),
}

/// Where a group is between two generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No members.
    Empty,
    /// Members are joining for the next generation (Kafka: `PreparingRebalance`).
    Gathering,
    /// All have joined, and the leader is sharing out (Kafka: `CompletingRebalance`).
    Assigning,
    /// Everybody knows their share.
    Stable,
}

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) subscription: Subscription,
    pub(super) expires: Instant,
    pub(super) joining: Option<Ticket>,
    pub(super) syncing: Option<Ticket>,
    /// Whether it has asked for its share of the present generation.
    pub(super) synced: bool,
    pub(super) share: Share,
}

impl Member {
    /// Who waits for an answer is alive, however long that takes.
    fn expires(&self) -> Option<Instant> {
        (self.joining.is_none() && self.syncing.is_none()).then_some(self.expires)
    }
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) phase: Phase,
    pub(super) generation: i32,
    pub(super) protocol: String,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    pub(super) statics: BTreeMap<String, String>,
    /// Member ids that were handed out, and until when a member must join with them (KIP-394).
    pub(super) promised: BTreeMap<String, Instant>,
    pub(super) offsets: BTreeMap<TopicPartition, Committed>,
    /// When those who have not joined, or not asked for their share, are taken for gone.
    patience: Option<Instant>,
    tickets: Ticket,
    answers: BTreeMap<Ticket, Later>,
}

impl Group {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol: String::new(),
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            promised: BTreeMap::new(),
            offsets: BTreeMap::new(),
            patience: None,
            tickets: 0,
            answers: BTreeMap::new(),
        }
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn answer(&mut self, ticket: Option<Ticket>, answer: Later) {
        if let Some(ticket) = ticket {
            self.answers.insert(ticket, answer);
        }
    }

    /// The answer under a ticket, once.
    pub(super) fn take_answer(&mut self, ticket: Ticket) -> Option<Later> {
        self.answers.remove(&ticket)
    }

    /// Begins to gather for the next generation, unless that has begun.
    pub(super) fn rebalance(&mut self, now: Instant) {
        if self.phase != Phase::Gathering {
            for member in self.members.values_mut() {
                member.share = Share::default();
                if let Some(ticket) = member.syncing.take() {
                    self.answers.insert(ticket, Later::Synced(Err(ErrorCode::RebalanceInProgress)));
                }
            }
            self.phase = Phase::Gathering;
            self.patience = Some(now + self.longest_rebalance());
        }
        let all_here = self.members.values().all(|member| member.joining.is_some());
        if all_here && self.promised.is_empty() {
            self.begin_generation(now);
        }
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn begin_generation(&mut self, now: Instant) {
        // A static member that is away keeps its place until its session ends.
        let gone = |member: &Member| member.joining.is_none() && member.instance_id.is_none();
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| gone(member)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.forget(&id);
        }
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let another = self.members.iter().find(|(_, member)| member.joining.is_some());
            match another {
                Some((id, _)) => self.leader = Some(id.clone()),
                None if !self.members.is_empty() => {
                    self.patience = Some(now + self.longest_rebalance());
                    return;
                }
                None => {}
            }
        }
        self.generation += 1;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.patience = None;
            return;
        }
        self.phase = Phase::Assigning;
        self.patience = Some(now + self.longest_rebalance());
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.present_generation(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.expires = now + member.session_timeout;
            member.synced = false;
            if let Some(ticket) = member.joining.take() {
                self.answers.insert(ticket, Later::Joined(Ok(joined)));
            }
        }
    }

    /// What a member of the present generation is told when it joins.
    pub(super) fn present_generation(&self, id: &str) -> Joined {
        let member = |(id, member): (&String, &Member)| crate::common::broker::Member {
            id: id.clone(),
            instance_id: member.instance_id.clone(),
            subscription: member.subscription.clone(),
        };
        let leads = self.leader.as_deref() == Some(id);
        let members = if leads { self.members.iter().map(member).collect() } else { Vec::new() };
        Joined { generation: self.generation, member_id: id.to_owned(), members, skips_assignment: false }
    }

    /// Takes a member out, and has the others share out anew.
    pub(super) fn remove(&mut self, id: &str, now: Instant) {
        self.forget(id);
        self.rebalance(now);
    }

    fn forget(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        self.answer(member.joining, Later::Joined(Err(ErrorCode::UnknownMemberId)));
        self.answer(member.syncing, Later::Synced(Err(ErrorCode::UnknownMemberId)));
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Notes that a member has asked for its share. Until all have, it stays noted who has not.
    pub(super) fn note_sync(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.synced = true;
        }
        if self.members.values().all(|member| member.synced) {
            self.patience = None;
        }
    }

    /// The next instant at which something happens by itself.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(Member::expires);
        sessions.chain(self.promised.values().copied()).chain(self.patience).min()
    }

    /// Lets time pass, and says whether anything happened.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        let mut happened = false;
        while self.next_timer().is_some_and(|at| at <= now) {
            happened = true;
            let promised = self.promised.len();
            self.promised.retain(|_, until| *until > now);
            if self.promised.len() < promised && self.phase == Phase::Gathering {
                self.rebalance(now);
            }
            let expired = |member: &Member| member.expires().is_some_and(|at| at <= now);
            while let Some(id) = self.first(expired) {
                self.remove(&id, now);
            }
            if self.patience.is_some_and(|at| at <= now) {
                match self.phase {
                    Phase::Gathering => self.begin_generation(now),
                    Phase::Assigning | Phase::Stable => {
                        while let Some(id) = self.first(|member| !member.synced) {
                            self.forget(&id);
                        }
                        self.rebalance(now);
                    }
                    Phase::Empty => self.patience = None,
                }
            }
        }
        happened
    }

    fn first(&self, which: impl Fn(&Member) -> bool) -> Option<String> {
        self.members.iter().find(|(_, member)| which(member)).map(|(id, _)| id.clone())
    }
}
