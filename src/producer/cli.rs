//! The producer's command line. `src/bin/producer.rs` reads it; manual pages and completions are made from it
//! (`examples/command-line.rs`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::common::cli::{self, ClusterList, KafkaArgs, ObserveArgs};
use crate::common::exit;
use crate::common::topics::LEADER;

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
pub struct Args {
    /// The job file
    #[arg(env = "KAFKA_CRON_JOBS", default_value = "conf/jobs.cron", value_name = "FILE")]
    pub jobs: PathBuf,

    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says what these are")]
    pub kafka: KafkaArgs,

    /// The clusters that jobs may name, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    pub clusters: ClusterList,

    /// Partitions of a cluster's topic and of its retry topic, used when the producer creates them
    #[arg(long, env = "KAFKA_CRON_PARTITIONS", default_value_t = 2, value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,

    /// Copies of each partition, used when the producer creates topics [default: as many as there are brokers, at most 3]
    #[arg(long, env = "KAFKA_CRON_REPLICATION_FACTOR", value_name = "N",
          value_parser = clap::value_parser!(i16).range(1..=100))]
    pub replication_factor: Option<i16>,

    /// The group in which producers elect their leader, and which holds the cursors
    #[arg(long, env = "KAFKA_CRON_GROUP", default_value = LEADER, value_name = "NAME")]
    pub group: String,

    /// The consumers' lease: how long a consumer may be silent before its attempts count as lost
    #[arg(long, env = "KAFKA_CRON_LEASE", default_value = "60s", value_name = "DURATION", value_parser = cli::duration)]
    pub lease: Duration,

    /// How long the leader may be silent before another producer takes over
    #[arg(long, env = "KAFKA_CRON_SESSION_TIMEOUT", default_value = "6s", value_name = "DURATION", value_parser = cli::duration)]
    pub session_timeout: Duration,

    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says what these are")]
    pub observe: ObserveArgs,
}
