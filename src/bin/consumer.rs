//! The consumer: takes attempts from one topic and runs their commands. Command line and wiring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use crossbeam_channel::{Receiver, bounded};
use kafka_cron::common::broker::Broker;
use kafka_cron::common::cli::{self, KafkaArgs, ObserveArgs};
use kafka_cron::common::clock::{Clock, CorrectedClock, SystemClock};
use kafka_cron::common::exit::{self, Exit, Fault};
use kafka_cron::common::http::{Bound, Fact, Health, Page};
use kafka_cron::common::membership::{self, Membership};
use kafka_cron::common::metrics::{Beats, Metrics};
use kafka_cron::common::model::ClusterName;
use kafka_cron::common::{bounds, duration, identity, logging, signals, topics};
use kafka_cron::consumer::claiming::channels::{Channels, MEMBER, Observe};
use kafka_cron::consumer::claiming::dispatch::ClaimingThread;
use kafka_cron::consumer::claiming::machine as claiming;
use kafka_cron::consumer::fetching::poll::{Poll, PollOptions};
use kafka_cron::consumer::metrics::ConsumerMetrics;
use kafka_cron::consumer::reporting::thread as reporter;
use kafka_cron::consumer::reporting::thread::Reporter;
use kafka_cron::consumer::running::process::descriptors::Descriptors;
use kafka_cron::consumer::running::worker::Workers;
use kafka_cron::consumer::running::{process, worker};

/// Takes attempts from one topic and runs their commands: each at most once, as many at a time as there are workers.
///
/// Any number of consumers on any number of hosts may share a topic; Kafka assigns its partitions to the consumers of
/// one group. `--topic cluster-a` takes first attempts, and `--topic cluster-a-retry` takes retries. The consumer waits
/// for a topic that does not exist yet, and for a Kafka that does not answer.
///
/// On TERM, INT or HUP it takes nothing more and waits for running jobs. --drain limits that wait, and a second signal
/// ends it; the jobs then get TERM, and KILL after their grace.
#[derive(Debug, Parser)]
#[command(name = "consumer", version, after_help = exit::HELP)]
struct Args {
    /// The topic to take from: CLUSTER or CLUSTER-retry
    #[arg(long, env = "KAFKA_CRON_TOPIC", value_name = "TOPIC")]
    topic: String,

    /// How many attempts run at a time [default: the number of cores]
    #[arg(long, env = "KAFKA_CRON_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    workers: Option<u16>,

    /// The consumer group [default: the topic's name]
    #[arg(long, env = "KAFKA_CRON_GROUP", value_name = "NAME")]
    group: Option<String>,

    /// Static membership: a name that no other consumer of the group has; a restart within the session timeout then
    /// moves no partition
    #[arg(long, env = "KAFKA_CRON_INSTANCE_ID", value_name = "NAME")]
    instance_id: Option<String>,

    /// How long this consumer may be silent before Kafka gives its partitions to others
    #[arg(long, env = "KAFKA_CRON_SESSION_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = cli::duration)]
    session_timeout: Duration,

    /// How long this consumer may be silent before its attempts count as lost; longer than the session timeout
    #[arg(long, env = "KAFKA_CRON_LEASE", default_value = "60s", value_name = "DURATION", value_parser = cli::duration)]
    lease: Duration,

    /// How long to wait for running jobs at the end [default: without limit]
    #[arg(long, env = "KAFKA_CRON_DRAIN", value_name = "DURATION", value_parser = cli::duration)]
    drain: Option<Duration>,

    /// What to do with the commands' output, whose last 8 KiB are always kept with the result: `tail` (nothing more),
    /// `log` (write each line to the log), or a directory (write a file for each attempt)
    #[arg(long, env = "KAFKA_CRON_OUTPUT", default_value = "tail", value_name = "tail|log|DIR")]
    output: process::Output,

    #[command(flatten)]
    kafka: KafkaArgs,

    #[command(flatten)]
    observe: ObserveArgs,
}

fn main() -> Exit {
    process::guard::main_if_asked();
    exit::report(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Fault> {
    let metrics = Metrics::new();
    let _logging = logging::start(args.observe.log_level, &metrics).map_err(Fault::system("the log"))?;
    let signals = signals::catch().map_err(Fault::system("signals"))?;
    let cluster = check(args)?;
    let workers = args.workers.map_or_else(cores, usize::from);
    let descriptors = Descriptors::raise_for(workers).map_err(Fault::usage("--workers"))?;
    let broker = args.kafka.broker().map_err(Fault::usage("--brokers, --tls-ca"))?;
    broker.measure(&metrics);
    let broker: Arc<dyn Broker> = Arc::new(broker);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let beats = Beats::new(&metrics);
    let health = Health::new(&metrics);
    health.set(MEMBER, Fact::NotReady("the group has not been joined yet".to_owned()));
    let bound = Bound::bind(args.observe.metrics_addr).map_err(Fault::system("--metrics-addr"))?;
    let beat = beats.thread("metrics-http");
    let _page = Page::start(bound, metrics.clone(), health.clone(), Arc::clone(&clock), beat)
        .map_err(Fault::system("the page's thread"))?;
    let measures = ConsumerMetrics::new(&metrics, &args.topic);
    let consumer = identity::name(args.instance_id.as_deref());
    let group = args.group.clone().unwrap_or_else(|| args.topic.clone());
    log::info!("{consumer}: topic {}, group {group}, {workers} workers", args.topic);

    let thread = Fault::system::<std::io::Error>;
    let client = |of: &str| broker.client(&format!("kafka-cron-{of}"));
    let (idle, became_idle) = bounded(workers);
    let (jobs, taken) = bounded(workers);
    // What decides when an attempt may start, and what is written about it, goes by this one.
    let corrected = Arc::new(CorrectedClock::new(Arc::clone(&clock)));
    let options = reporter::Options { consumer: consumer.clone(), lease: args.lease, workers };
    let (reporter, report) = Reporter::start(
        options,
        client("reporter"),
        Arc::clone(&corrected),
        measures.clone(),
        &health,
        beats.thread("reporter"),
    )
    .map_err(thread("the reporter's thread"))?;
    let guard = process::guard::THIS_PROGRAM.into();
    let options = worker::Options { workers, output: args.output.clone(), guard, descriptors };
    let starting = health.duty("starting");
    let channels = worker::Channels { jobs: taken, idle, tell: report.tell.clone(), starting };
    let workers_clock: Arc<dyn Clock> = Arc::<CorrectedClock>::clone(&corrected);
    let mut workers =
        Workers::start(options, &workers_clock, &channels, &measures).map_err(thread("the workers"))?;
    let options = membership::Options {
        group: group.clone(),
        topic: args.topic.clone(),
        instance_id: args.instance_id.clone(),
        session_timeout: args.session_timeout,
    };
    drop(channels); // the reporter ends when the workers' and dispatch's copies of its sender are gone
    let (membership, changes, _standing) = Membership::start(
        options,
        client("membership"),
        Arc::clone(&clock),
        health.duty("group"),
        beats.thread("membership"),
    )
    .map_err(thread("the membership's thread"))?;
    let options = PollOptions {
        topic: args.topic.clone(),
        cluster: cluster.clone(),
        measures: measures.clone(),
        beats: beats.clone(),
        reading: health.duty("reading"),
    };
    let (poll, chunks) =
        Poll::start(options, Arc::clone(&broker), Arc::clone(&clock)).map_err(thread("the poll thread"))?;
    let options = claiming::Options {
        cluster,
        topic: args.topic.clone(),
        group,
        consumer,
        lease: args.lease,
        waiting_bytes: bounds::HELD_BYTES_PER_PARTITION,
    };
    let channels = Channels { changes, chunks, idle: became_idle, jobs, report, poll, membership };
    let dispatch = ClaimingThread::start(
        options,
        client("dispatch"),
        corrected,
        channels,
        Observe { measures, health: health.clone(), beat: beats.thread("dispatch") },
    )
    .map_err(thread("the dispatch thread"))?;

    for name in ["dispatch", "membership", "poll"] {
        health.watch(name, beats.thread(name), STALLED);
    }
    let ended = await_end(&signals, &dispatch);
    health.stops();
    log::info!("nothing more is taken; running jobs are waited for");
    drop(dispatch);
    reporter.take_all();
    let until = args.drain.map(|drain| clock.monotonic() + drain);
    if !wait_until(&signals, clock.as_ref(), until, || workers.is_over()) {
        log::warn!("running jobs are ended");
        workers.cancel();
    }
    drop(workers);
    let until = Some(clock.monotonic() + LAST_RESULTS);
    wait_until(&signals, clock.as_ref(), until, || reporter.is_over());
    drop(reporter);
    ended
}

/// A thread that has not come round for so long does not come round any more: far beyond any call's time limit.
const STALLED: Duration = Duration::from_secs(120);

/// How long results may wait for a Kafka that is away when all jobs have ended.
const LAST_RESULTS: Duration = Duration::from_secs(10);

/// What flags mean together; answers with the cluster that the topic is of.
fn check(args: &Args) -> Result<ClusterName, Fault> {
    let usage = |why: String| Fault::new(Exit::Usage, why);
    if args.lease <= args.session_timeout {
        return Err(usage(format!(
            "--lease {} is not longer than --session-timeout {}: a consumer that Kafka still counts as alive would lose \
             its attempts",
            duration::format(args.lease),
            duration::format(args.session_timeout)
        )));
    }
    topics::cluster_of(&args.topic).ok_or_else(|| {
        usage(format!(
            "--topic {}: attempts lie in the topics CLUSTER and CLUSTER-retry, and this is neither",
            args.topic
        ))
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Until a signal asks for the end, or dispatch has ended by itself.
fn await_end(signals: &Receiver<u32>, dispatch: &ClaimingThread) -> Result<(), Fault> {
    loop {
        if signals.recv_timeout(Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        if dispatch.is_over() {
            let why =
                "another process uses our instance id, or a thread has ended by itself; the log says which";
            return Err(Fault::new(Exit::Kafka, why.to_owned()));
        }
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
