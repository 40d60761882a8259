//! The producer: reads the job file and writes a message each time a job is due. Its command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use crossbeam_channel::{Receiver, select};
use kafka_cron::common::cli::{self, ClusterList, KafkaArgs, ObserveArgs};
use kafka_cron::common::exit::{self, Exit, Fault};
use kafka_cron::common::program;
use kafka_cron::common::topics::LEADER;
use kafka_cron::common::zones::Zones;
use kafka_cron::producer::jobfile::{self, JobFile};
use kafka_cron::producer::program::{Config, Producer};
use kafka_cron::producer::topics;

/// Reads a job file and, each time a job is due, writes a message to the Kafka topic of the job's cluster.
///
/// A line of the job file is a schedule as in crontab(5) (five fields, or six with seconds first, or @daily, @every
/// 90s, ...), the cluster whose consumers run it, options in brackets, and the command:
///
///   */5 * * * *   cluster-a   [name=ping retries=3 timeout=1m]   curl -fsS https://example.org
///
/// You may run any number of producers: one leads and publishes, and another takes over when it is gone. It publishes
/// what was due meanwhile, or records it as missed, as each job's `catchup` says.
///
/// `cronctl check FILE` says what is wrong with a file. The producer creates topics that are missing, and never
/// changes those that exist. It waits for a Kafka that does not answer.
#[derive(Debug, Parser)]
#[command(name = "producer", version = cli::version(), after_help = exit::HELP)]
struct Args {
    /// The job file
    #[arg(env = "KAFKA_CRON_JOBS", default_value = "conf/jobs.cron", value_name = "FILE")]
    jobs: PathBuf,

    #[command(flatten)]
    kafka: KafkaArgs,

    /// The clusters that jobs may name, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    clusters: ClusterList,

    /// Partitions of a cluster's topic and of its retry topic, used when the producer creates them
    #[arg(long, env = "KAFKA_CRON_PARTITIONS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    /// Copies of each partition, used when the producer creates topics [default: as many as there are brokers, at most 3]
    #[arg(long, env = "KAFKA_CRON_REPLICATION_FACTOR", value_name = "N",
          value_parser = clap::value_parser!(i16).range(1..=100))]
    replication_factor: Option<i16>,

    /// The group in which producers elect their leader, and which holds the cursors
    #[arg(long, env = "KAFKA_CRON_GROUP", default_value = LEADER, value_name = "NAME")]
    group: String,

    /// The consumers' lease: how long a consumer may be silent before its attempts count as lost
    #[arg(long, env = "KAFKA_CRON_LEASE", default_value = "60s", value_name = "DURATION", value_parser = cli::duration)]
    lease: Duration,

    /// How long the leader may be silent before another producer takes over
    #[arg(long, env = "KAFKA_CRON_SESSION_TIMEOUT", default_value = "6s", value_name = "DURATION", value_parser = cli::duration)]
    session_timeout: Duration,

    #[command(flatten)]
    observe: ObserveArgs,
}

fn main() -> Exit {
    exit::report(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Fault> {
    let (_logging, signals, platform) = program::start(&args.kafka, &args.observe)?;
    let zones = Zones::of_host();
    let jobs = read_jobs(args, &zones)?;
    let _page = platform.serve(&args.observe)?;
    let config = Config {
        path: args.jobs.clone(),
        clusters: args.clusters.as_slice().to_vec(),
        topics: topics::Options { partitions: args.partitions, replication_factor: args.replication_factor },
        group: args.group.clone(),
        lease: args.lease,
        session_timeout: args.session_timeout,
    };
    let producer = Producer::start(&config, jobs, zones, &platform)?;
    let ended = wait(&signals, || producer.is_over());
    platform.health.stops();
    log::info!("ending");
    drop(producer);
    ended
}

fn read_jobs(args: &Args, zones: &Zones) -> Result<JobFile, Fault> {
    let name = args.jobs.display().to_string();
    let file = std::fs::File::open(&args.jobs);
    let content = file.and_then(jobfile::read).map_err(Fault::system(&name))?;
    let jobs = jobfile::parse_in(&name, &content, args.clusters.as_slice(), zones).map_err(|problems| {
        Fault::new(Exit::Usage, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    for warning in &jobs.warnings {
        log::warn!("{warning}");
    }
    log::info!("{name}: {} jobs, revision {}", jobs.jobs.len(), jobs.revision);
    Ok(jobs)
}

/// Waits until a signal asks for the end, or a thread has ended by itself.
fn wait(signals: &Receiver<u32>, is_over: impl Fn() -> bool) -> Result<(), Fault> {
    let look = crossbeam_channel::tick(Duration::from_millis(200));
    loop {
        select! {
            recv(signals) -> _ => return Ok(()),
            recv(look) -> _ => if is_over() {
                return Err(Fault::new(Exit::System, "a thread has ended by itself; the log says why".to_owned()));
            },
        }
    }
}
