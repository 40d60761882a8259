//! The consumer: takes attempts from one topic and runs their commands. Its command line.

use std::time::Duration;

use clap::Parser;
use crossbeam_channel::Receiver;
use kafka_cron::common::cli::{self, KafkaArgs, ObserveArgs};
use kafka_cron::common::exit::{self, Exit, Fault};
use kafka_cron::common::{identity, program};
use kafka_cron::consumer::cli::ProcessArgs;
use kafka_cron::consumer::program::{Config, Consumer, check};
use kafka_cron::consumer::running::process;

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

    #[command(flatten)]
    process: ProcessArgs,

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
    let (_logging, signals, platform) = program::start(&args.kafka, &args.observe)?;
    let cluster = check(&args.topic, args.lease, args.session_timeout)?;
    let workers = args.workers.map_or_else(cores, usize::from);
    let process = args.process.settings(workers)?;
    Consumer::is_not_ready_yet(&platform.health);
    let _page = platform.serve(&args.observe)?;
    let config = Config {
        name: identity::name(args.instance_id.as_deref()),
        topic: args.topic.clone(),
        cluster,
        group: args.group.clone().unwrap_or_else(|| args.topic.clone()),
        instance_id: args.instance_id.clone(),
        session_timeout: args.session_timeout,
        lease: args.lease,
        workers,
        process,
        pressure: args.process.pressure,
    };
    log::info!("{}: topic {}, group {}, {workers} workers", config.name, config.topic, config.group);
    let consumer = Consumer::start(config, &platform)?;
    let ended = await_end(&signals, &consumer);
    platform.health.stops();
    consumer.end(&signals, args.drain);
    ended
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Waits until a signal asks for the end, or a thread has ended by itself.
fn await_end(signals: &Receiver<u32>, consumer: &Consumer) -> Result<(), Fault> {
    loop {
        if signals.recv_timeout(Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        if consumer.is_over() {
            let why =
                "another process uses our instance id, or a thread has ended by itself; the log says which";
            return Err(Fault::new(Exit::Kafka, why.to_owned()));
        }
    }
}
