//! The broker port in memory: what real brokers do, without a broker. For tests of rules, and for simulations.
//!
//! The work is done by a pure state machine, [`cluster`], in which time is an argument and nothing waits: topics are
//! [`log`]s, groups are in [`group`] (who is a member), [`joining`] and [`holding`] (what a member may ask for). Around
//! it stands a thin shell, [`shared`], that has the lock, the clock and the waiting; [`client`] and [`group_client`]
//! are the port's traits on top of it. [`faults`] plants what goes wrong between a client and a broker.
//!
//! `tests/contract.rs` runs one suite on this end and on real Kafka. Where they disagree, this end is wrong.
//!
//! What it does not know: copies of partitions (a write is safe at once), retention by time and size (a test deletes
//! by hand), access lists but for what a test has refused, transactions but for the gaps that they leave and for one that is
//! open.

mod call;
mod client;
mod cluster;
mod faults;
mod group;
mod group_client;
mod holding;
mod joining;
mod log;
mod plan;
mod shared;
#[cfg(test)]
mod tests;
mod topic;

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};

pub use call::{Call, Fate};
pub use faults::Faults;

use self::client::MemoryClient;
use self::shared::{Shared, Waits};
use super::{Broker, Client};
use crate::common::clock::Clock;

/// A cluster in memory. Clones are the same cluster.
#[derive(Clone)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

/// An instant by both clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    wall: DateTime<Utc>,
    mono: Instant,
}

impl MemoryBroker {
    /// A cluster of one broker for clients on threads of their own: calls wait as those to real brokers do, by the
    /// given clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared::new(clock, Waits::ByClock)) }
    }

    /// A cluster for a simulation on one thread, where a call that waits would wait for ever. A fetch that finds
    /// nothing returns at once. A join or sync whose answer depends on others returns
    /// [`super::BrokerError::NoAnswer`], and the same call made again takes up the answer once it is there.
    pub fn stepped(clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared::new(clock, Waits::Never)) }
    }

    /// The handle by which a test plants faults and does what an operator or retention does.
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.shared))
    }
}

impl Broker for MemoryBroker {
    fn client(&self, name: &str) -> Box<dyn Client> {
        Box::new(MemoryClient::new(Arc::clone(&self.shared), name))
    }
}
