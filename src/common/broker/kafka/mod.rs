//! The broker port on real Kafka: a small blocking client on `kafka-protocol`, whose wire types are generated from
//! Kafka's own definitions. `docs/decisions/` says why it is not one of the ready-made ones.
//!
//! Bottom up: [`resolve`] finds addresses, [`connection`] carries one request at a time and knows whether it was
//! sent, [`frame`] bounds what is believed of an answer, [`quotas`] and [`patience`] know how long brokers want to be
//! left alone and waited for, [`failures`] which of them failed lately, [`routing`] knows who leads what and keeps the
//! connections. On these stand [`produce`], [`fetch`] (with [`batch`], [`records`], [`transactions`] and [`unpack`]),
//! [`group`] (with [`subscription`]) and [`admin`].
//!
//! A client belongs to one thread. It has no thread of its own, nothing happens between calls, and each request is
//! made in one pinned version ([`wire`]) that every Kafka from 3.3 to 4.x speaks.

mod admin;
mod batch;
mod connection;
mod failures;
mod fetch;
mod frame;
#[cfg(test)]
mod fuzz;
mod group;
mod patience;
mod produce;
mod quotas;
mod records;
mod resolve;
mod routing;
mod subscription;
mod tls;
mod transactions;
mod unpack;
mod wire;

use std::io;
use std::sync::Arc;

pub use tls::TlsOptions;

use self::failures::Failures;
use self::patience::Patience;
use self::quotas::Quotas;
use self::resolve::{Address, Resolver};
use self::routing::Routes;
use self::tls::Tls;
use super::{Broker, Client};
use crate::common::metrics::Metrics;

/// A Kafka cluster, known by a few of its brokers.
pub struct KafkaBroker {
    cluster: Arc<Cluster>,
}

/// What all clients of a process share.
pub(super) struct Cluster {
    bootstrap: Vec<Address>,
    tls: Option<Tls>,
    resolver: Resolver,
    quotas: Quotas,
    failures: Failures,
    patience: Patience,
}

/// Why no client can be made at all.
#[derive(Debug, thiserror::Error)]
pub enum Misconfigured {
    /// An address that is not `host:port`.
    #[error("broker address {0:?} is not host:port")]
    Address(String),
    /// No address at all.
    #[error("no broker address is given")]
    NoAddress,
    /// The certificate authority's file.
    #[error("certificates of {path}: {reason}")]
    Tls {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no room for a thread.
    #[error("cannot start the threads that look up names: {0}")]
    Thread(#[from] io::Error),
}

impl KafkaBroker {
    /// A cluster behind the given `host:port` addresses, of which one that answers is enough. This does not dial.
    ///
    /// # Errors
    /// When an address or the certificate file cannot be read.
    pub fn new(bootstrap: &[String], tls: Option<&TlsOptions>) -> Result<Self, Misconfigured> {
        let bootstrap = bootstrap
            .iter()
            .map(|text| Address::parse(text).ok_or_else(|| Misconfigured::Address(text.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        if bootstrap.is_empty() {
            return Err(Misconfigured::NoAddress);
        }
        let tls = tls.map(Tls::new).transpose()?;
        let resolver = Resolver::start()?;
        let (quotas, failures, patience) = (Quotas::default(), Failures::default(), Patience::default());
        Ok(Self { cluster: Arc::new(Cluster { bootstrap, tls, resolver, quotas, failures, patience }) })
    }
}

impl KafkaBroker {
    /// Has the time counted for which quotas hold clients of this process back (`cron_throttled_seconds_total`).
    pub fn measure(&self, metrics: &Metrics) {
        self.cluster.quotas.measure(metrics);
    }
}

impl Broker for KafkaBroker {
    fn client(&self, name: &str) -> Box<dyn Client> {
        self.cluster.quotas.shows(name);
        Box::new(KafkaClient { routes: Routes::new(Arc::clone(&self.cluster), name), turn: 0 })
    }
}

/// One thread's way to the cluster. The three sides of the port are in [`produce`] and [`fetch`], [`group`], [`admin`].
struct KafkaClient {
    routes: Routes,
    /// Counts fetches, so that each begins with another partition.
    turn: usize,
}
