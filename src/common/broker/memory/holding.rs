//! What a member asks for while it is one: its share, to be known alive, to leave, to commit.

use std::time::Instant;

use super::group::{Group, Later, Phase, Ticket};
use crate::common::broker::{ErrorCode, Holder, Share};

impl Group {
    /// Whether the group knows the member: the instance id counts before the member id.
    pub(super) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let holds = self.statics.get(instance).ok_or(ErrorCode::UnknownMemberId)?;
            if holds != id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn check(&self, holder: &Holder) -> Result<(), ErrorCode> {
        self.check_member(&holder.member_id, holder.instance_id.as_deref())?;
        if holder.generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    fn touch(&mut self, holder: &Holder, now: Instant) {
        if let Some(member) = self.members.get_mut(&holder.member_id) {
            member.expires = now + member.session_timeout;
        }
    }

    /// Asks for a share; the leader's request brings everybody's. Others wait for that under the ticket.
    ///
    /// # Errors
    /// The coordinator's refusal.
    pub(super) fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        shares: &[(String, Share)],
        now: Instant,
    ) -> Result<Ticket, ErrorCode> {
        self.check(holder)?;
        if protocol != self.protocol {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::Gathering => Err(ErrorCode::RebalanceInProgress),
            Phase::Assigning => {
                let ticket = self.ticket();
                self.note_sync(&holder.member_id);
                if let Some(member) = self.members.get_mut(&holder.member_id) {
                    member.syncing = Some(ticket);
                }
                if self.leader.as_ref() == Some(&holder.member_id) {
                    self.share_out(shares, now);
                }
                Ok(ticket)
            }
            Phase::Stable => {
                let ticket = self.ticket();
                self.note_sync(&holder.member_id);
                self.touch(holder, now);
                let share = self.members.get(&holder.member_id).map(|member| member.share.clone());
                self.answer(Some(ticket), Later::Synced(share.ok_or(ErrorCode::UnknownMemberId)));
                Ok(ticket)
            }
        }
    }

    fn share_out(&mut self, shares: &[(String, Share)], now: Instant) {
        let mut answers = Vec::new();
        for (id, member) in &mut self.members {
            let share = shares.iter().find(|(of, _)| of == id);
            member.share = share.map(|(_, share)| share.clone()).unwrap_or_default();
            if let Some(ticket) = member.syncing.take() {
                member.expires = now + member.session_timeout;
                answers.push((ticket, member.share.clone()));
            }
        }
        for (ticket, share) in answers {
            self.answer(Some(ticket), Later::Synced(Ok(share)));
        }
        self.phase = Phase::Stable;
    }

    /// A sign of life.
    ///
    /// # Errors
    /// The coordinator's refusal. `RebalanceInProgress` is one only in form: the sign counts.
    pub(super) fn heartbeat(&mut self, holder: &Holder, now: Instant) -> Result<(), ErrorCode> {
        self.check(holder)?;
        self.touch(holder, now);
        if self.phase == Phase::Gathering { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// Leaves. The generation is not asked for.
    ///
    /// # Errors
    /// The coordinator's refusal.
    pub(super) fn leave(&mut self, holder: &Holder, now: Instant) -> Result<(), ErrorCode> {
        if self.promised.remove(&holder.member_id).is_some() {
            if self.phase == Phase::Gathering {
                self.rebalance(now);
            }
            return Ok(());
        }
        self.check_member(&holder.member_id, holder.instance_id.as_deref())?;
        self.remove(&holder.member_id, now);
        Ok(())
    }

    /// Whether a commit is let through. Member, instance and generation are compared, and nothing else: who owns the
    /// partition is not asked. Between a leader's election and its assignment no member commits; while members gather
    /// for the next generation, those of the present one still do.
    ///
    /// # Errors
    /// The coordinator's refusal, for all partitions alike.
    pub(super) fn check_commit(&mut self, holder: &Holder, now: Instant) -> Result<(), ErrorCode> {
        if holder.generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        self.check(holder)?;
        match self.phase {
            Phase::Assigning => Err(ErrorCode::RebalanceInProgress),
            Phase::Empty | Phase::Gathering | Phase::Stable => {
                self.touch(holder, now);
                Ok(())
            }
        }
    }
}
