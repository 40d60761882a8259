//! The consumer as one thing: its rooms, and the channels between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::claiming::channels::{Channels, MEMBER, Observe};
use super::claiming::machine as claiming;
use super::claiming::thread::ClaimingThread;
use super::fetching::poll::{Poll, PollOptions};
use super::metrics::ConsumerMetrics;
use super::orders::desk::Desk;
use super::orders::thread as orders;
use super::orders::thread::Orders;
use super::pressure;
use super::reporting::messages as reporting;
use super::reporting::thread as reporter;
use super::reporting::thread::Reporter;
use super::running::process;
use super::running::worker::{self, Workers};
use crate::common::bounds::HELD_BYTES_PER_PARTITION;
use crate::common::clock::{Clock, CorrectedClock};
use crate::common::exit::{Exit, Fault};
use crate::common::http::{Fact, Health};
use crate::common::membership;
use crate::common::model::ClusterName;
use crate::common::program::Platform;
use crate::common::{duration, topics};

/// A thread that has not come round for so long does not come round any more: far beyond any call's time limit.
const STALLED: Duration = Duration::from_secs(120);

/// How long results may wait for a Kafka that is away when all jobs have ended.
const LAST_RESULTS: Duration = Duration::from_secs(10);

/// What a consumer is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name in events.
    pub name: String,
    /// The topic to take from, and the cluster that this is a topic of.
    pub topic: String,
    /// The cluster.
    pub cluster: ClusterName,
    /// The consumer group.
    pub group: String,
    /// Static membership: a name that no other consumer of the group has.
    pub instance_id: Option<String>,
    /// How long this consumer may be silent before Kafka gives its partitions to others.
    pub session_timeout: Duration,
    /// How long this consumer may be silent before its attempts count as lost.
    pub lease: Duration,
    /// How many attempts run at a time.
    pub workers: usize,
    /// How attempts are started.
    pub process: process::Settings,
    /// From which pressure on the host nothing new is taken; always, where absent.
    pub pressure: Option<pressure::Limits>,
}

/// What the options mean together; returns the cluster that the topic is of.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn check(topic: &str, lease: Duration, session_timeout: Duration) -> Result<ClusterName, Fault> {
    let usage = |why: String| Fault::new(Exit::Usage, why);
    if lease <= session_timeout {
        return Err(usage(format!(
            "--lease {} is not longer than --session-timeout {}: a consumer that Kafka still counts as alive would lose \
             its attempts",
            duration::format(lease),
            duration::format(session_timeout)
        )));
    }
    topics::cluster_of(topic).ok_or_else(|| {
        usage(format!(
            "--topic {topic}: attempts lie in the topics CLUSTER and CLUSTER-retry, and this is neither"
        ))
    })
}

/// A consumer that runs.
pub struct Consumer {
    claiming: ClaimingThread,
    workers: Workers,
    reporter: Reporter,
    orders: Orders,
    clock: Arc<dyn Clock>,
}

impl Consumer {
    /// Says that the consumer is not a member of its group yet. To be called before the page is served.
    pub fn is_not_ready_yet(health: &Health) {
        health.set(MEMBER, Fact::NotReady("the group has not been joined yet".to_owned()));
    }

    /// Starts a consumer.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(config: Config, platform: &Platform) -> Result<Self, Fault> {
        let Platform { health, beats, .. } = platform;
        let metrics = ConsumerMetrics::new(&platform.metrics, &config.topic);
        // What decides when an attempt may start, and what is written about it, goes by this clock.
        let corrected = Arc::new(CorrectedClock::new(platform.clock()));
        let (idle, became_idle) = bounded(config.workers);
        let (jobs, taken) = bounded(config.workers);

        let options = reporting::Options {
            consumer: config.name.clone(),
            lease: config.lease,
            workers: config.workers,
        };
        let (reporter, report) = Reporter::start(
            options,
            platform.client("reporter"),
            Arc::clone(&corrected),
            metrics.clone(),
            health,
            beats.thread("reporter"),
        )
        .map_err(Fault::system("the reporter's thread"))?;

        let options = worker::Options { workers: config.workers, process: config.process };
        let desk = Desk::default();
        let lines = (taken, idle, desk.clone());
        let workers = start_workers(options, &corrected, lines, &report, &metrics, health)?;

        let context = orders::Context {
            client: platform.client("orders"),
            clock: platform.clock(),
            desk,
            duty: health.duty("orders"),
            beat: beats.thread("orders"),
        };
        let (orders, ordered) =
            Orders::start(config.cluster.clone(), context).map_err(Fault::system("the thread of orders"))?;

        let options = membership::Options {
            group: config.group.clone(),
            topic: config.topic.clone(),
            instance_id: config.instance_id.clone(),
            session_timeout: config.session_timeout,
            counts_once_taken_up: false,
        };
        let (membership, changes, _standing) = platform.join(options)?;

        let options = PollOptions {
            topic: config.topic.clone(),
            cluster: config.cluster.clone(),
            metrics: metrics.clone(),
            beats: beats.clone(),
            reading: health.duty("reading"),
            transactions: health.duty("transactions"),
        };
        let (poll, chunks) = Poll::start(options, Arc::clone(&platform.broker), platform.clock())
            .map_err(Fault::system("the poll thread"))?;

        let options = claiming::Options {
            cluster: config.cluster,
            topic: config.topic,
            group: config.group,
            consumer: config.name,
            lease: config.lease,
            waiting_bytes: HELD_BYTES_PER_PARTITION,
            workers: config.workers,
        };
        let channels =
            Channels { changes, chunks, idle: became_idle, orders: ordered, jobs, report, poll, membership };
        let observe = Observe {
            metrics,
            health: health.clone(),
            beat: beats.thread("dispatch"),
            pressure: config.pressure,
        };
        let claiming =
            ClaimingThread::start(options, platform.client("dispatch"), corrected, channels, observe)
                .map_err(Fault::system("the dispatch thread"))?;

        platform.watch(&["dispatch", "poll", "orders"], STALLED);
        platform.watch(&["membership"], STALLED.max(membership::longest_step(config.session_timeout)));
        Ok(Self { claiming, workers, reporter, orders, clock: platform.clock() })
    }

    /// Whether the claiming thread has ended by itself.
    pub fn is_over(&self) -> bool {
        self.claiming.is_over()
    }

    /// Ends the consumer. It takes nothing more and leaves the group at once. Running jobs are waited for, at most for
    /// `drain`, and until a further signal comes; what still runs then gets TERM, and KILL after its grace. The last
    /// results are waited for a little longer.
    pub fn end(self, signals: &Receiver<u32>, drain: Option<Duration>) {
        let Self { claiming, mut workers, reporter, orders, clock } = self;
        log::info!("nothing more is taken; running jobs are waited for");
        drop(claiming);
        reporter.take_all();
        let until = drain.map(|drain| clock.monotonic() + drain);
        if !wait_until(signals, clock.as_ref(), until, || workers.is_over()) {
            log::warn!("running jobs are ended");
            workers.cancel();
        }
        // Until here a run may be replaced that is waited for.
        drop(workers);
        drop(orders);
        let until = Some(clock.monotonic() + LAST_RESULTS);
        wait_until(signals, clock.as_ref(), until, || reporter.is_over());
    }
}

/// Whether something came true before a further signal and before an instant.
fn wait_until(
    signals: &Receiver<u32>,
    clock: &dyn Clock,
    until: Option<Instant>,
    is_true: impl Fn() -> bool,
) -> bool {
    while !is_true() {
        let late = until.is_some_and(|until| clock.monotonic() >= until);
        if late || signals.recv_timeout(Duration::from_millis(20)).is_ok() {
            return false;
        }
    }
    true
}

/// Starts the workers with copies of the channels that end with them: the reporter ends when no thread is left that can
/// tell it something.
fn start_workers(
    options: worker::Options,
    clock: &Arc<CorrectedClock>,
    (jobs, idle, desk): (Receiver<Box<claiming::Claimed>>, Sender<()>, Desk),
    report: &reporter::Channels,
    metrics: &ConsumerMetrics,
    health: &Health,
) -> Result<Workers, Fault> {
    let clock: Arc<dyn Clock> = Arc::<CorrectedClock>::clone(clock);
    let (starting, keeping) = (health.duty("starting"), health.duty("output"));
    let channels = worker::Channels { jobs, idle, tell: report.tell.clone(), starting, keeping, desk };
    Workers::start(options, &clock, &channels, metrics).map_err(Fault::system("the workers"))
}
