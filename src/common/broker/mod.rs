//! The broker port: the few things that are asked of Kafka, in the terms of this program.
//!
//! Two ends implement it: `kafka` (real brokers over TCP) and `memory` (for tests of the pure rules). One contract
//! suite, `tests/contract.rs`, says what both must do. Every call blocks and takes a deadline; none waits longer.
//!
//! **What an error means** is the heart of the port. [`BrokerError::NotSent`] was certainly not applied, nor was
//! [`BrokerError::Throttled`], whatever the quota that held it back.
//! [`BrokerError::NoAnswer`] may have been applied, may not have been, and *may still be applied later*: a request
//! can sit in a socket buffer of a connection that was given up. [`BrokerError::Refused`] is the broker's own word.

mod code_names;
mod cure;
mod error;
mod group;
pub mod kafka;
mod log;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
mod partitioner;

use std::time::Instant;

pub use error::{BrokerError, ErrorCode};
pub use group::{
    Commit, Committed, Group, Holder, Join, JoinRequest, Joined, Member, Owned, Share, Subscription,
};
pub use log::{
    Fetched, FetchedRecord, Log, NodeId, PartitionState, Position, ProduceBatch, Record, TopicPartition,
    TopicState, Undecodable, Want, Written,
};
pub use partitioner::partition_for;

use super::topics::TopicSpec;

/// The instant by which a call returns, with or without an answer.
pub type Deadline = Instant;

/// Opens clients.
pub trait Broker: Send + Sync {
    /// A client with connections of its own, for one thread. Nothing is dialled before the first call.
    ///
    /// `name` becomes Kafka's client id, which shows in the broker's logs and metrics.
    fn client(&self, name: &str) -> Box<dyn Client>;
}

/// Everything that can be asked. Threads hold the smaller trait that they need.
pub trait Client: Log + Group + Admin {}
impl<T: Log + Group + Admin> Client for T {}

/// Topics and their settings.
pub trait Admin: Send {
    /// How many brokers are in the cluster's metadata.
    ///
    /// # Errors
    /// When no broker answers.
    fn broker_count(&mut self, by: Deadline) -> Result<usize, BrokerError>;

    /// What time it is by the clock of the cluster's controller, in milliseconds since the epoch: for a program that can
    /// write to no topic that tells the broker's time. Needs the right to describe the cluster.
    ///
    /// # Errors
    /// The broker's refusal, or no answer.
    fn cluster_time(&mut self, by: Deadline) -> Result<i64, BrokerError>;

    /// The names of all topics that this client may know of, in no order.
    ///
    /// # Errors
    /// When no broker answers.
    fn topic_names(&mut self, by: Deadline) -> Result<Vec<String>, BrokerError>;

    /// Creates a topic. One that exists already is refused with [`ErrorCode::TopicAlreadyExists`].
    ///
    /// # Errors
    /// The broker's refusal, or no answer.
    fn create_topic(&mut self, topic: &TopicSpec, by: Deadline) -> Result<(), BrokerError>;

    /// The present values of the named settings of a topic, in the order asked for; a setting that the broker does
    /// not know is absent.
    ///
    /// # Errors
    /// The broker's refusal, or no answer.
    fn topic_settings(
        &mut self,
        topic: &str,
        names: &[&str],
        by: Deadline,
    ) -> Result<Vec<(String, String)>, BrokerError>;
}
