//! The group side of the port in memory: what waits for other members waits here.

use std::time::Duration;

use super::call::Call;
use super::client::{MemoryClient, refused};
use super::group::{Later, Ticket};
use super::joining::Joining;
use crate::common::broker::{
    BrokerError, Commit, Committed, Deadline, ErrorCode, Group, Holder, Join, JoinRequest, Share,
    TopicPartition,
};

fn out_of_turn<T>() -> Result<T, BrokerError> {
    Err(BrokerError::Nonsense("an answer to something else".to_owned()))
}

impl MemoryClient {
    /// Asks to join.
    fn ask_to_join(&self, request: &JoinRequest, by: Deadline) -> Result<Joining, BrokerError> {
        let (request, name) = (request.clone(), self.name.clone());
        let group = request.group.clone();
        self.shared.call((&self.name, Call::Join, &group), by, refused, move |cluster, at| {
            Ok(cluster.join(&name, &request, at.mono))
        })
    }

    /// Whether a call takes up the answer that an earlier one did not wait for.
    fn resumes(&self, until: Deadline) -> bool {
        self.shared.resumes() && self.shared.after(Duration::ZERO) < until
    }

    fn await_join(&mut self, asked: JoinRequest, ticket: Ticket, by: Deadline) -> Result<Join, BrokerError> {
        match self.shared.wait_for(by, |cluster| cluster.take_answer(&asked.group, ticket)) {
            Some(Later::Joined(answer)) => answer.map(Join::Joined).map_err(BrokerError::Refused),
            Some(Later::Synced(_)) => out_of_turn(),
            None => {
                self.joining = Some((asked, ticket, by));
                Err(BrokerError::NoAnswer("Join: the group is gathering".to_owned()))
            }
        }
    }

    fn await_share(&mut self, holder: &Holder, ticket: Ticket, by: Deadline) -> Result<Share, BrokerError> {
        match self.shared.wait_for(by, |cluster| cluster.take_answer(&holder.group, ticket)) {
            Some(Later::Synced(answer)) => answer.map_err(BrokerError::Refused),
            Some(Later::Joined(_)) => out_of_turn(),
            None => {
                self.syncing = Some((holder.clone(), ticket, by));
                Err(BrokerError::NoAnswer("Sync: the leader has not shared out yet".to_owned()))
            }
        }
    }
}

impl Group for MemoryClient {
    fn join(&mut self, request: &JoinRequest, by: Deadline) -> Result<Join, BrokerError> {
        // A caller that has waited in vain asks anew: another request of the same member may have taken this one's place.
        if let Some((asked, ticket, until)) = self.joining.take()
            && self.resumes(until)
            && asked == *request
        {
            return self.await_join(asked, ticket, until);
        }
        match self.ask_to_join(request, by)? {
            Joining::Promised(member_id) => Ok(Join::Named(member_id)),
            Joining::Answered(answer) => answer.map(Join::Joined).map_err(BrokerError::Refused),
            Joining::Waiting(ticket) => self.await_join(request.clone(), ticket, by),
        }
    }

    fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        shares: &[(String, Share)],
        by: Deadline,
    ) -> Result<Share, BrokerError> {
        if let Some((asked, ticket, until)) = self.syncing.take()
            && self.resumes(until)
            && asked == *holder
        {
            return self.await_share(holder, ticket, until);
        }
        let group = holder.group.clone();
        let (asked, protocol, shares) = (holder.clone(), protocol.to_owned(), shares.to_vec());
        let ticket =
            self.shared.call((&self.name, Call::Sync, &group), by, refused, move |cluster, at| {
                cluster.sync(&asked, &protocol, &shares, at.mono).map_err(BrokerError::Refused)
            })?;
        self.await_share(holder, ticket, by)
    }

    fn heartbeat(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        let (holder, group) = (holder.clone(), holder.group.clone());
        self.shared.call((&self.name, Call::Heartbeat, &group), by, refused, move |cluster, at| {
            cluster.heartbeat(&holder, at.mono).map_err(BrokerError::Refused)
        })
    }

    fn leave(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        let (holder, group) = (holder.clone(), holder.group.clone());
        self.shared.call((&self.name, Call::Leave, &group), by, refused, move |cluster, at| {
            cluster.leave(&holder, at.mono).map_err(BrokerError::Refused)
        })
    }

    fn commit(
        &mut self,
        holder: &Holder,
        commits: &[Commit],
        by: Deadline,
    ) -> Result<Vec<Option<ErrorCode>>, BrokerError> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let refuse = |code| Ok(vec![Some(code); commits.len()]);
        let group = holder.group.clone();
        let (holder, commits) = (holder.clone(), commits.to_vec());
        self.shared.call((&self.name, Call::Commit, &group), by, refuse, move |cluster, at| {
            Ok(cluster.commit(&holder, &commits, at.mono))
        })
    }

    fn committed(
        &mut self,
        group: &str,
        of: &[TopicPartition],
        by: Deadline,
    ) -> Result<Vec<Option<Committed>>, BrokerError> {
        let (asked, of) = (group.to_owned(), of.to_vec());
        self.shared.call((&self.name, Call::Committed, group), by, refused, move |cluster, _| {
            // As with commits, an access list may forbid one of the topics, and then the answer names no offset of any.
            let refusal = of.iter().find_map(|of| cluster.refusal(Call::Committed, &of.topic));
            refusal.map_or_else(|| Ok(cluster.committed(&asked, &of)), refused)
        })
    }

    fn members(&mut self, group: &str, by: Deadline) -> Result<Vec<String>, BrokerError> {
        let asked = group.to_owned();
        self.shared.call((&self.name, Call::Members, group), by, refused, move |cluster, _| {
            Ok(cluster.members(&asked))
        })
    }
}
