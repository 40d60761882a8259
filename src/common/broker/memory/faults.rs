//! What goes wrong between a client and a broker, planted by a test; and what operators, retention and elections do.

use std::sync::Arc;

use super::call::{Call, Fate};
use super::cluster::Cluster;
use super::log::PartitionLog;
use super::plan::{Decide, Plan};
use super::shared::Shared;
use crate::common::broker::{ErrorCode, NodeId, TopicPartition};

/// A test's handle on a cluster.
#[derive(Clone)]
pub struct Faults {
    shared: Arc<Shared>,
}

impl Faults {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn plan<T>(&self, order: impl FnOnce(&mut Plan) -> T) -> T {
        self.shared.with(|_, plan, _| order(plan))
    }

    fn cluster<T>(&self, order: impl FnOnce(&mut Cluster) -> T) -> T {
        self.shared.with(|cluster, _, _| order(cluster))
    }

    /// From now on no broker is reached, until [`Faults::back`]. Calls that wait for an answer get none. The cluster
    /// itself lives on: sessions end.
    pub fn away(&self) {
        self.plan(|plan| plan.away = true);
    }

    /// Ends [`Faults::away`].
    pub fn back(&self) {
        self.plan(|plan| plan.away = false);
    }

    /// Plants a fate for the next call of a kind; several are taken in turn.
    pub fn next(&self, call: Call, fate: Fate) {
        self.plan(|plan| plan.next.push_back((call, fate)));
    }

    /// Refuses every call of a kind about a topic or group from now on, until [`Faults::allow`]: an access list that
    /// was changed, a limit that was lowered. Group calls go by the group's name, all others by the topic's; commits by
    /// either, where a topic's name refuses its partitions alone; and looking offsets up by either. What a late request asks is refused as well.
    pub fn refuse(&self, call: Call, of: &str, code: ErrorCode) {
        self.cluster(|cluster| cluster.refuse(call, of, Some(code)));
    }

    /// Refuses commits of one partition from now on, and lets those of others through; `None` ends that.
    pub fn reject_commits(&self, of: &TopicPartition, code: Option<ErrorCode>) {
        self.cluster(|cluster| cluster.reject_commits(of, code));
    }

    /// Forgets what was planted and has not been met with.
    pub fn forget_planned(&self) {
        self.plan(|plan| plan.next.clear());
    }

    /// Ends [`Faults::refuse`].
    pub fn allow(&self, call: Call, of: &str) {
        self.cluster(|cluster| cluster.refuse(call, of, None));
    }

    /// How many calls of a kind clients have made, whatever came of them; of a produce call, how many batches.
    pub fn made(&self, call: Call) -> usize {
        self.plan(|plan| plan.made.get(&call).copied().unwrap_or(0))
    }

    /// Whether everything that was planted has been met with.
    pub fn all_met(&self) -> bool {
        self.plan(|plan| plan.next.is_empty())
    }

    /// Has each call's fate decided, where none is planted for it.
    pub fn decide(&self, decide: Decide) {
        self.plan(|plan| plan.decide = Some(decide));
    }

    /// How many requests are late.
    pub fn late(&self) -> usize {
        self.plan(|plan| plan.late.len())
    }

    /// Lets the broker have the late requests, in order. No client hears its answers.
    pub fn deliver(&self) {
        self.shared.with(|cluster, plan, at| {
            for request in plan.late.drain(..) {
                request(cluster, at);
            }
        });
    }

    /// Loses the late requests.
    pub fn drop_late(&self) {
        self.plan(|plan| plan.late.clear());
    }

    /// How many brokers there are from now on; new partitions are spread over all of them.
    pub fn brokers(&self, count: i32) {
        self.cluster(|cluster| cluster.set_node_count(count));
    }

    /// Makes another broker a partition's leader, or none.
    pub fn lead(&self, of: &TopicPartition, leader: Option<NodeId>) {
        self.log(of, |log| log.leader = leader);
    }

    /// Deletes the records of a partition below an offset, as retention does.
    pub fn delete_records(&self, of: &TopicPartition, below: i64) {
        self.log(of, |log| log.delete_below(below));
    }

    /// Cuts a partition's log, as an unclean election does.
    pub fn cut(&self, of: &TopicPartition, end: i64) {
        self.log(of, |log| log.cut(end));
    }

    /// Makes the batch at an offset one that cannot be decoded.
    pub fn spoil(&self, of: &TopicPartition, offset: i64) {
        self.log(of, |log| log.spoil(offset, "its checksum is wrong"));
    }

    /// Another program opens a transaction at the end of a partition.
    pub fn open_transaction(&self, of: &TopicPartition) {
        self.log(of, |log| log.open_from = Some(log.end()));
    }

    /// Ends [`Faults::open_transaction`]: what was written since is committed.
    pub fn commit_transaction(&self, of: &TopicPartition) {
        self.log(of, |log| log.open_from = None);
    }

    /// Writes what ends a transaction: an offset without a record.
    pub fn end_transaction(&self, of: &TopicPartition) {
        self.log(of, |log| log.append_marker());
    }

    /// Writes so many records in a transaction that is aborted: offsets at which no reader finds a record.
    pub fn abort_transaction(&self, of: &TopicPartition, count: i64) {
        self.log(of, |log| log.append_aborted(count));
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, name: &str) {
        self.cluster(|cluster| cluster.delete_topic(name));
    }

    /// Changes a setting of a topic.
    pub fn set_topic(&self, name: &str, setting: &'static str, value: &str) {
        self.cluster(|cluster| cluster.set_topic(name, setting, value));
    }

    /// Gives a topic more partitions.
    pub fn grow_topic(&self, name: &str, partitions: usize) {
        self.cluster(|cluster| cluster.grow_topic(name, partitions));
    }

    /// Forgets a group's offsets, as a broker does seven days after the group became empty.
    pub fn expire_offsets(&self, group: &str) {
        self.cluster(|cluster| cluster.expire_offsets(group));
    }

    fn log<T>(&self, of: &TopicPartition, order: impl FnOnce(&mut PartitionLog) -> T) {
        self.cluster(|cluster| cluster.log_mut(of).map(order));
    }
}
