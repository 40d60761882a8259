//! A client that gives calls time by the virtual clock, whatever deadline they have.

use std::sync::Arc;
use std::time::Duration;

use kafka_cron::common::broker::{
    BrokerError, Client, Commit, Committed, Deadline, ErrorCode, Fetched, Group, Holder, Join, JoinRequest,
    Log, NodeId, Position, ProduceBatch, Share, TopicPartition, TopicState, Want, Written,
};
use kafka_cron::common::clock::{Clock, ManualClock};

use crate::forwarding::forward_admin;

/// A client whose calls may take a while by the virtual clock.
pub struct Patient {
    pub inner: Box<dyn Client>,
    pub clock: Arc<ManualClock>,
}

impl Patient {
    fn soon(&self, by: Deadline) -> Deadline {
        by.max(self.clock.monotonic() + Duration::from_secs(2))
    }
}

impl Log for Patient {
    fn topic(&mut self, name: &str, by: Deadline) -> Result<Option<TopicState>, BrokerError> {
        let by = self.soon(by);
        self.inner.topic(name, by)
    }

    fn produce(&mut self, batches: &[ProduceBatch], by: Deadline) -> Vec<Result<Written, BrokerError>> {
        let by = self.soon(by);
        self.inner.produce(batches, by)
    }

    fn fetch(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        let by = self.soon(by);
        let answer = self.inner.fetch(leader, wants, max_wait, by);
        if matches!(answer, Err(BrokerError::Throttled(_))) {
            // A topic is read to its end in one step, however long a quota makes that take.
            self.clock.turn(Duration::from_millis(100));
        }
        answer
    }

    fn fetch_committed(
        &mut self,
        leader: NodeId,
        wants: &[Want],
        max_wait: Duration,
        by: Deadline,
    ) -> Result<Vec<Result<Fetched, BrokerError>>, BrokerError> {
        let by = self.soon(by);
        self.inner.fetch_committed(leader, wants, max_wait, by)
    }

    fn offset(&mut self, of: &TopicPartition, at: Position, by: Deadline) -> Result<i64, BrokerError> {
        let by = self.soon(by);
        self.inner.offset(of, at, by)
    }
}

impl Group for Patient {
    fn join(&mut self, request: &JoinRequest, by: Deadline) -> Result<Join, BrokerError> {
        let by = self.soon(by);
        self.inner.join(request, by)
    }

    fn sync(
        &mut self,
        holder: &Holder,
        protocol: &str,
        shares: &[(String, Share)],
        by: Deadline,
    ) -> Result<Share, BrokerError> {
        let by = self.soon(by);
        self.inner.sync(holder, protocol, shares, by)
    }

    fn heartbeat(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        let by = self.soon(by);
        self.inner.heartbeat(holder, by)
    }

    fn leave(&mut self, holder: &Holder, by: Deadline) -> Result<(), BrokerError> {
        let by = self.soon(by);
        self.inner.leave(holder, by)
    }

    fn commit(
        &mut self,
        holder: &Holder,
        commits: &[Commit],
        by: Deadline,
    ) -> Result<Vec<Option<ErrorCode>>, BrokerError> {
        let by = self.soon(by);
        self.inner.commit(holder, commits, by)
    }

    fn committed(
        &mut self,
        group: &str,
        of: &[TopicPartition],
        by: Deadline,
    ) -> Result<Vec<Option<Committed>>, BrokerError> {
        let by = self.soon(by);
        self.inner.committed(group, of, by)
    }

    fn members(&mut self, group: &str, by: Deadline) -> Result<Vec<String>, BrokerError> {
        let by = self.soon(by);
        self.inner.members(group, by)
    }
}

forward_admin!(Patient);
