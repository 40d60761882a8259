//! What both programs have besides their work: the log, signals, the page of metrics, and the way to Kafka.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::broker::{Broker, Client};
use super::cli::{KafkaArgs, ObserveArgs};
use super::clock::{Clock, SystemClock};
use super::exit::Fault;
use super::http::{Bound, Health, Page};
use super::logging::{self, Logging};
use super::membership::{self, Change, Membership, Standing};
use super::metrics::{Beats, Metrics};
use super::signals::{self, Signals};

/// What the rooms of a program share: the way to Kafka, the time, and where they show how they are.
#[derive(Clone)]
pub struct Platform {
    /// The way to Kafka.
    pub broker: Arc<dyn Broker>,
    /// The host's time.
    pub clock: Arc<dyn Clock>,
    /// What the program measures.
    pub metrics: Metrics,
    /// What it owes.
    pub health: Health,
    /// When its threads last came round.
    pub beats: Beats,
}

/// Starts the log, catches signals, and prepares the way to Kafka without dialling. The log ends when it is dropped.
///
/// # Errors
/// The system's, and when the certificates cannot be used.
pub fn start(kafka: &KafkaArgs, observe: &ObserveArgs) -> Result<(Logging, Signals, Platform), Fault> {
    let metrics = Metrics::new();
    let logging = logging::start(observe.log_level, &metrics).map_err(Fault::system("the log"))?;
    let signals = signals::catch().map_err(Fault::system("signals"))?;
    let broker = kafka.broker().map_err(Fault::usage("--brokers, --tls-ca"))?;
    broker.measure(&metrics);
    let (health, beats) = (Health::new(&metrics), Beats::new(&metrics));
    let platform =
        Platform { broker: Arc::new(broker), clock: Arc::new(SystemClock), metrics, health, beats };
    Ok((logging, signals, platform))
}

impl Platform {
    /// A connection for the thread of this name.
    pub fn client(&self, of: &str) -> Box<dyn Client> {
        self.broker.client(&format!("kafka-cron-{of}"))
    }

    /// The host's time.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Joins a group, until the membership is dropped. What becomes of our share arrives on the receiver.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn join(
        &self,
        options: membership::Options,
    ) -> Result<(Membership, Receiver<Change>, Standing), Fault> {
        let (duty, beat) = (self.health.duty("group"), self.beats.thread("membership"));
        Membership::start(options, self.client("membership"), self.clock(), duty, beat)
            .map_err(Fault::system("the membership's thread"))
    }

    /// Serves the page, until that is dropped.
    ///
    /// # Errors
    /// When its address cannot be used.
    pub fn serve(&self, observe: &ObserveArgs) -> Result<Page, Fault> {
        let bound = Bound::bind(observe.metrics_addr).map_err(Fault::system("--metrics-addr"))?;
        let (metrics, health) = (self.metrics.clone(), self.health.clone());
        Page::start(bound, metrics, health, self.clock(), self.beats.thread("metrics-http"))
            .map_err(Fault::system("the page's thread"))
    }

    /// Has the page say when one of these threads has not come round for so long.
    pub fn watch(&self, threads: &[&'static str], stalled: Duration) {
        for name in threads {
            self.health.watch(name, self.beats.thread(name), stalled);
        }
    }
}
