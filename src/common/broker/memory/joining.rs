//! Joining a group: new members, members that come again, and static ones that come back.

use std::time::{Duration, Instant};

use super::group::{Group, Later, Member, Phase, Ticket};
use crate::common::broker::{ErrorCode, JoinRequest, Joined, Share};

/// `group.min.session.timeout.ms` and `group.max.session.timeout.ms` of a broker with the default settings.
const SESSIONS: std::ops::RangeInclusive<Duration> = Duration::from_secs(6)..=Duration::from_secs(1800);

/// What comes of asking to join.
#[derive(Debug)]
pub(super) enum Joining {
    /// Come again with this member id (KIP-394).
    Promised(String),
    /// The answer.
    Answered(Result<Joined, ErrorCode>),
    /// The answer lies under the ticket, or will.
    Waiting(Ticket),
}

impl Group {
    /// Asks to join. `fresh_id` is what a new member will be called.
    pub(super) fn join(&mut self, request: &JoinRequest, fresh_id: String, now: Instant) -> Joining {
        if !SESSIONS.contains(&request.session_timeout) {
            return Joining::Answered(Err(ErrorCode::InvalidSessionTimeout));
        }
        if !self.members.is_empty() && self.protocol != request.protocol {
            return Joining::Answered(Err(ErrorCode::InconsistentGroupProtocol));
        }
        match (&request.instance_id, request.member_id.as_str()) {
            (None, "") => {
                self.promised.insert(fresh_id.clone(), now + request.session_timeout);
                Joining::Promised(fresh_id)
            }
            (Some(instance), "") => match self.statics.get(instance).cloned() {
                Some(former) => self.come_back(&former, fresh_id, request, now),
                None => self.come(fresh_id, request, now),
            },
            (_, id) => {
                if self.promised.remove(id).is_some() {
                    return self.come(id.to_owned(), request, now);
                }
                match self.check_member(id, request.instance_id.as_deref()) {
                    Ok(()) => self.come_again(id, request, now),
                    Err(code) => Joining::Answered(Err(code)),
                }
            }
        }
    }

    fn come(&mut self, id: String, request: &JoinRequest, now: Instant) -> Joining {
        if let Some(instance) = &request.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        let ticket = self.ticket();
        let member = Member {
            instance_id: request.instance_id.clone(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            subscription: request.subscription.clone(),
            expires: now + request.session_timeout,
            joining: Some(ticket),
            syncing: None,
            synced: false,
            share: Share::default(),
        };
        self.protocol.clone_from(&request.protocol);
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
        self.rebalance(now);
        Joining::Waiting(ticket)
    }

    /// A member that is known. Where the group is stable and it changes nothing, it is told the *present* generation:
    /// this fences nothing. When the leader comes again, it wants to share out anew.
    fn come_again(&mut self, id: &str, request: &JoinRequest, now: Instant) -> Joining {
        let leads = self.leader.as_deref() == Some(id);
        let same = self.members.get(id).is_some_and(|member| member.subscription == request.subscription);
        let as_before = match self.phase {
            Phase::Empty | Phase::Gathering => false,
            Phase::Assigning => same,
            Phase::Stable => same && !leads,
        };
        if as_before {
            return Joining::Answered(Ok(self.present_generation(id)));
        }
        self.gather(id, request, now)
    }

    /// A static member that was away, or another process that uses its instance id. The former holder of the id is
    /// fenced, and a stable group stays as it is.
    fn come_back(&mut self, former: &str, id: String, request: &JoinRequest, now: Instant) -> Joining {
        let Some(mut member) = self.members.remove(former) else { return self.come(id, request, now) };
        self.answer(member.joining.take(), Later::Joined(Err(ErrorCode::FencedInstanceId)));
        self.answer(member.syncing.take(), Later::Synced(Err(ErrorCode::FencedInstanceId)));
        member.expires = now + request.session_timeout;
        self.members.insert(id.clone(), member);
        if let Some(instance) = &request.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        if self.leader.as_deref() == Some(former) {
            self.leader = Some(id.clone());
        }
        if self.phase == Phase::Stable {
            self.update(&id, request);
            let joined = self.present_generation(&id);
            // The leader as well: its group has its shares (KIP-814).
            let skips_assignment = !joined.members.is_empty();
            return Joining::Answered(Ok(Joined { skips_assignment, ..joined }));
        }
        self.gather(&id, request, now)
    }

    fn gather(&mut self, id: &str, request: &JoinRequest, now: Instant) -> Joining {
        self.update(id, request);
        let ticket = self.ticket();
        if let Some(member) = self.members.get_mut(id) {
            member.joining = Some(ticket);
        }
        self.rebalance(now);
        Joining::Waiting(ticket)
    }

    fn update(&mut self, id: &str, request: &JoinRequest) {
        if let Some(member) = self.members.get_mut(id) {
            member.subscription.clone_from(&request.subscription);
            member.session_timeout = request.session_timeout;
            member.rebalance_timeout = request.rebalance_timeout;
        }
    }
}
