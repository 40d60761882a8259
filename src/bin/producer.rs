//! The producer: reads the job file and writes a message each time a job is due. Command line and wiring.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use crossbeam_channel::{Receiver, bounded, select};
use kafka_cron::common::bounds::TICK_BATCHES;
use kafka_cron::common::broker::Broker;
use kafka_cron::common::cli::{ClusterList, KafkaArgs, ObserveArgs};
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::exit::{self, Exit, Fault};
use kafka_cron::common::http::{Bound, Fact, Health, Page};
use kafka_cron::common::metrics::{Beats, Metrics};
use kafka_cron::common::{logging, signals};
use kafka_cron::producer::jobfile::{self, JobFile};
use kafka_cron::producer::measures::Measures;
use kafka_cron::producer::publisher::{self, Around, Publisher};
use kafka_cron::producer::setup;
use kafka_cron::producer::timer::{Lane, Timer};
use kafka_cron::producer::timetable::Timetable;

/// Reads a job file and, each time a job is due, writes a message to the Kafka topic of the job's cluster.
///
/// A line of the job file is a schedule as in crontab(5) (five fields, or six with seconds first, or @daily, @every
/// 90s, ...), the cluster whose consumers run it, options in brackets, and the command:
///
///   */5 * * * *   cluster-a   [name=ping retries=3 timeout=1m]   curl -fsS https://example.org
///
/// `cronctl check FILE` tells what is wrong with a file. Topics that are missing are created; what exists is never
/// changed. A Kafka that is away is waited for.
#[derive(Debug, Parser)]
#[command(name = "producer", version, after_help = exit::HELP)]
struct Args {
    /// The job file
    #[arg(env = "KAFKA_CRON_JOBS", default_value = "conf/jobs.cron", value_name = "FILE")]
    jobs: PathBuf,

    #[command(flatten)]
    kafka: KafkaArgs,

    /// The clusters that jobs may name, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    clusters: ClusterList,

    /// Partitions of a cluster's topic and of its retry topic, where they are created
    #[arg(long, env = "KAFKA_CRON_PARTITIONS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,

    /// Copies of each partition, where topics are created [default: as many as there are brokers, at most 3]
    #[arg(long, env = "KAFKA_CRON_REPLICATION_FACTOR", value_name = "N",
          value_parser = clap::value_parser!(i16).range(1..=100))]
    replication_factor: Option<i16>,

    #[command(flatten)]
    observe: ObserveArgs,
}

fn main() -> Exit {
    exit::report(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Fault> {
    let metrics = Metrics::new();
    let _logging = logging::start(args.observe.log_level, &metrics).map_err(Fault::system("the log"))?;
    let signals = signals::catch().map_err(Fault::system("signals"))?;
    let jobs = read_jobs(args)?;
    let broker: Arc<dyn Broker> = Arc::new(args.kafka.broker().map_err(Fault::usage("--brokers, --tls-ca"))?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let beats = Beats::new(&metrics);
    let health = Health::new(&metrics);
    let bound = Bound::bind(args.observe.metrics_addr).map_err(Fault::system("--metrics-addr"))?;
    let beat = beats.thread("metrics-http");
    let _page = Page::start(bound, metrics.clone(), health.clone(), Arc::clone(&clock), beat)
        .map_err(Fault::system("the page's thread"))?;

    let measures = Measures::new(&metrics);
    let clusters = args.clusters.as_slice();
    let (confirming, confirmed) = bounded(TICK_BATCHES * clusters.len());
    let (mut lanes, mut publishers) = (Vec::new(), Vec::new());
    let from = clock.now();
    for (number, cluster) in clusters.iter().enumerate() {
        let topics =
            setup::Options { partitions: args.partitions, replication_factor: args.replication_factor };
        let options = publisher::Options { cluster: cluster.clone(), number, topics };
        let measures = measures.of(cluster);
        health.set(cluster.as_str(), Fact::NotReady("its topics have not been seen to yet".to_owned()));
        let around = Around {
            client: broker.client("kafka-cron-producer"),
            clock: Arc::clone(&clock),
            confirmed: confirming.clone(),
            measures: measures.clone(),
            health: health.clone(),
            beat: beats.thread("publish"),
        };
        let (publisher, batches) =
            Publisher::start(options, around).map_err(Fault::system("a publisher's thread"))?;
        let of_cluster: Vec<_> = jobs.jobs.iter().filter(|job| job.cluster == *cluster).cloned().collect();
        measures.jobs.set(i64::try_from(of_cluster.len()).unwrap_or(i64::MAX));
        lanes.push(Lane::new(Timetable::new(&of_cluster, from), batches, measures));
        publishers.push(publisher);
    }
    drop(confirming);
    let timer = Timer::start(lanes, jobs.revision, confirmed, Arc::clone(&clock), beats.thread("timer"))
        .map_err(Fault::system("the timer's thread"))?;

    health.watch("timer", beats.thread("timer"), STALLED);
    let ended = wait(&signals, || timer.is_over());
    log::info!("ending");
    drop(timer);
    finish(&signals, &clock, &publishers);
    drop(publishers);
    ended
}

/// A thread that has not come round for so long does not come round any more: far beyond any call's time limit.
const STALLED: Duration = Duration::from_secs(60);

fn read_jobs(args: &Args) -> Result<JobFile, Fault> {
    let name = args.jobs.display().to_string();
    let content = std::fs::read(&args.jobs).map_err(Fault::usage(&name))?;
    let jobs = jobfile::parse(&name, &content, args.clusters.as_slice()).map_err(|problems| {
        Fault::new(Exit::Usage, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    for warning in &jobs.warnings {
        log::warn!("{warning}");
    }
    log::info!("{name}: {} jobs, revision {}", jobs.jobs.len(), jobs.revision);
    Ok(jobs)
}

/// Until a signal asks for the end, or a thread has ended by itself.
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

/// What is due is written, for a while; a second signal ends that.
fn finish(signals: &Receiver<u32>, clock: &Arc<dyn Clock>, publishers: &[Publisher]) {
    const LAST_WRITES: Duration = Duration::from_secs(3);
    let until = clock.monotonic() + LAST_WRITES;
    while !publishers.iter().all(Publisher::is_over) && clock.monotonic() < until {
        if signals.recv_timeout(Duration::from_millis(20)).is_ok() {
            return;
        }
    }
}
