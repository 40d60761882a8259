//! The producer: reads the job file and writes a message each time a job is due. Command line and wiring.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use crossbeam_channel::{Receiver, bounded, select};
use kafka_cron::common::bounds::{self, TICK_BATCHES};
use kafka_cron::common::broker::Broker;
use kafka_cron::common::cli::{self, ClusterList, KafkaArgs, ObserveArgs};
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::exit::{self, Exit, Fault};
use kafka_cron::common::http::{Bound, Health, Page};
use kafka_cron::common::membership::{self, Membership};
use kafka_cron::common::metrics::{Beats, Metrics};
use kafka_cron::common::topics::LEADER;
use kafka_cron::common::zones::{self, Zones};
use kafka_cron::common::{identity, logging, signals};
use kafka_cron::producer::active_jobs::ActiveJobs;
use kafka_cron::producer::dead_letter_gauge as depth;
use kafka_cron::producer::dead_letter_gauge::{DeadLetterGauge, DeadLetterMetrics};
use kafka_cron::producer::file_watch as watch;
use kafka_cron::producer::file_watch::{DueMetrics, FileMetrics, FileWatch, ZoneMetrics};
use kafka_cron::producer::jobfile::{self, JobFile};
use kafka_cron::producer::leadership::{self, Lead, LeaderLease};
use kafka_cron::producer::metrics::{ProducerMetrics, SchedulerMetrics};
use kafka_cron::producer::publisher::{self, Context, Publisher};
use kafka_cron::producer::run_tracker as tail;
use kafka_cron::producer::run_tracker::metrics::RunTrackerMetrics;
use kafka_cron::producer::run_tracker::thread::RunTrackerThread;
use kafka_cron::producer::scheduler::machine::Scheduler;
use kafka_cron::producer::scheduler::thread as timer;
use kafka_cron::producer::scheduler::thread::SchedulerThread;
use kafka_cron::producer::topics as setup;
use kafka_cron::producer::topics::{TopicMetrics, Topics, Upkeep};

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
    let metrics = Metrics::new();
    let _logging = logging::start(args.observe.log_level, &metrics).map_err(Fault::system("the log"))?;
    let signals = signals::catch().map_err(Fault::system("signals"))?;
    let zones = Zones::of_host();
    let jobs = read_jobs(args, &zones)?;
    let broker = args.kafka.broker().map_err(Fault::usage("--brokers, --tls-ca"))?;
    broker.measure(&metrics);
    let broker: Arc<dyn Broker> = Arc::new(broker);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let beats = Beats::new(&metrics);
    let health = Health::new(&metrics);
    let bound = Bound::bind(args.observe.metrics_addr).map_err(Fault::system("--metrics-addr"))?;
    let beat = beats.thread("metrics-http");
    let _page = Page::start(bound, metrics.clone(), health.clone(), Arc::clone(&clock), beat)
        .map_err(Fault::system("the page's thread"))?;

    let clusters = args.clusters.as_slice();
    let client = |of: &str| broker.client(&format!("kafka-cron-{of}"));
    let thread = |what: &'static str| Fault::system::<std::io::Error>(what);
    let options = membership::Options {
        group: args.group.clone(),
        topic: LEADER.to_owned(),
        instance_id: None,
        session_timeout: args.session_timeout,
    };
    let (membership, changes, standing) = Membership::start(
        options,
        client("membership"),
        Arc::clone(&clock),
        health.duty("group"),
        beats.thread("membership"),
    )
    .map_err(thread("the membership's thread"))?;
    let lease = LeaderLease::new(standing.clone(), args.session_timeout);

    let options = setup::Options { partitions: args.partitions, replication_factor: args.replication_factor };
    let around = setup::Context {
        client: client("topics"),
        clock: Arc::clone(&clock),
        health: health.clone(),
        measures: TopicMetrics::new(&metrics),
        beat: beats.thread("topics"),
    };
    let upkeep = Upkeep::new(clusters.to_vec(), options);
    let (_topics, missing) = Topics::start(upkeep, around).map_err(thread("the topics' thread"))?;

    let measures = ProducerMetrics::new(&metrics);
    let (confirming, confirmed) = bounded(TICK_BATCHES * clusters.len());
    let (mut to_publishers, mut publishers, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    for (number, cluster) in clusters.iter().enumerate() {
        let options = publisher::Options { cluster: cluster.clone(), number };
        let measures = measures.of(cluster);
        let around = Context {
            client: client("producer"),
            clock: Arc::clone(&clock),
            lease: lease.clone(),
            confirmed: confirming.clone(),
            measures: measures.clone(),
            health: health.clone(),
            missing: missing.clone(),
            beat: beats.thread("publish"),
        };
        let (publisher, batches) =
            Publisher::start(options, around).map_err(thread("a publisher's thread"))?;
        to_publishers.push(batches);
        publishers.push(publisher);
        counted.push((cluster.clone(), measures));
    }
    drop(confirming);

    let (lead, told) = bounded(bounds::LEAD_ACTS);
    let (keeps, kept) = bounded(1);
    let options = watch::Options {
        path: args.jobs.clone(),
        clusters: clusters.to_vec(),
        zone_directory: zones::directory(),
        zones,
    };
    let around = watch::Context {
        clock: Arc::clone(&clock),
        health: health.clone(),
        measures: FileMetrics::new(&metrics),
        zones: ZoneMetrics::new(&metrics),
        due: DueMetrics::new(&metrics),
        beat: beats.thread("jobs-watch"),
    };
    let (watching, files) =
        FileWatch::start(options, &jobs, around).map_err(thread("the thread that watches the job file"))?;
    let file = ActiveJobs::from(jobs);
    let name = identity::name(None);
    let term = {
        let (lease, clock) = (lease.clone(), Arc::clone(&clock));
        move || lease.held(clock.monotonic())
    };
    let leads = term.clone();
    let around = depth::Context {
        client: client("depth"),
        clock: Arc::clone(&clock),
        leads: Box::new(move || leads().is_some()),
        measures: DeadLetterMetrics::new(&metrics),
        duty: health.duty("dead letters"),
        beat: beats.thread("depth"),
    };
    let _depth = DeadLetterGauge::start(clusters.to_vec(), around)
        .map_err(thread("the thread that counts letters"))?;
    let around = tail::thread::Context {
        client: client("tail"),
        clock: Arc::clone(&clock),
        leads: Box::new(term),
        measures: RunTrackerMetrics::new(&metrics),
        beat: beats.thread("runs-tail"),
        health: health.clone(),
    };
    let options = tail::Options {
        name: name.clone(),
        group: args.group.clone(),
        clusters: clusters.to_vec(),
        lease: args.lease,
        overlapping: Scheduler::overlapping(&file),
        revision: Arc::clone(&file.revision),
        tzdata: Arc::clone(&file.tzdata),
    };
    let (tailing, asks, news) =
        RunTrackerThread::start(options, around).map_err(thread("the tail's thread"))?;
    let timing = Scheduler::new(counted, file, name);
    let channels =
        timer::Channels { batches: to_publishers, confirmed, lead: told, keeps, files, told: news, asks };
    let around = timer::Context {
        clock: Arc::clone(&clock),
        lease,
        measures: SchedulerMetrics::new(&metrics, clusters),
        health: health.clone(),
        beat: beats.thread("timer"),
    };
    let timer = SchedulerThread::start(timing, channels, around).map_err(thread("the timer's thread"))?;
    let clusters = clusters.to_vec();
    let options = leadership::Options { clusters, window: CATCH_UP_WINDOW, standing };
    let channels = leadership::Channels { changes, membership, keeps: kept, told: vec![lead] };
    let leading =
        Lead::start(options, client("lead"), Arc::clone(&clock), channels, &health, beats.thread("lead"))
            .map_err(thread("the leading thread"))?;

    for name in ["timer", "membership", "lead"] {
        health.watch(name, beats.thread(name), STALLED);
    }
    let ended = wait(&signals, || timer.is_over() || leading.is_over() || tailing.is_over());
    health.stops();
    log::info!("ending");
    // Nothing more is begun. What is under way is confirmed, the cursors are kept, and then another one leads.
    // The timer goes before the tail that it listens to: it waits for the last confirmations.
    drop(watching);
    drop(timer);
    drop(tailing);
    drop(leading);
    drop(publishers);
    ended
}

/// A thread that has not come round for so long does not come round any more: far beyond any call's time limit.
const STALLED: Duration = Duration::from_secs(60);

/// Where a cursor is lost, what was due longer ago than jobs' `catchup_window` by default is given up.
const CATCH_UP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

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
