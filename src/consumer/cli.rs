//! The consumer's command line, and what it says about how attempts are started and what they may use of the host.
//! `src/bin/consumer.rs` reads it; manual pages and completions are made from it (`examples/command-line.rs`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::pressure;
use super::running::process::ceilings::Ceilings;
use super::running::process::cgroup::{Cgroups, Unavailable};
use super::running::process::descriptors::Descriptors;
use super::running::process::upkeep::Keep;
use super::running::process::{Output, Settings, guard, trial};
use crate::common::byte_size;
use crate::common::cli::{self, KafkaArgs, ObserveArgs};
use crate::common::exit::{self, Exit, Fault};
use crate::common::model::{Resources, rules};

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
pub struct Args {
    /// The topic to take from: CLUSTER or CLUSTER-retry
    #[arg(long, env = "KAFKA_CRON_TOPIC", value_name = "TOPIC")]
    pub topic: String,

    /// How many attempts run at a time [default: the number of cores]
    #[arg(long, env = "KAFKA_CRON_WORKERS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub workers: Option<u16>,

    /// The consumer group [default: the topic's name]
    #[arg(long, env = "KAFKA_CRON_GROUP", value_name = "NAME")]
    pub group: Option<String>,

    /// Static membership: a name that no other consumer of the group has; a restart within the session timeout then
    /// moves no partition. A consumer that is stopped while its jobs run leaves its partitions to others at once
    #[arg(long, env = "KAFKA_CRON_INSTANCE_ID", value_name = "NAME")]
    pub instance_id: Option<String>,

    /// How long this consumer may be silent before Kafka gives its partitions to others
    #[arg(long, env = "KAFKA_CRON_SESSION_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = cli::duration)]
    pub session_timeout: Duration,

    /// How long this consumer may be silent before its attempts count as lost; longer than the session timeout
    #[arg(long, env = "KAFKA_CRON_LEASE", default_value = "60s", value_name = "DURATION", value_parser = cli::duration)]
    pub lease: Duration,

    /// How long to wait for running jobs at the end [default: without limit]
    #[arg(long, env = "KAFKA_CRON_DRAIN", value_name = "DURATION", value_parser = cli::duration)]
    pub drain: Option<Duration>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says what these are")]
    pub process: ProcessArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says what these are")]
    pub kafka: KafkaArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says what these are")]
    pub observe: ObserveArgs,
}

/// How attempts are started.
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessArgs {
    /// What to do with the commands' output, whose last 8 KiB are always kept with the result: `tail` (nothing more),
    /// `log` (write each line to the log), or a directory (write a file for each attempt)
    #[arg(long, env = "KAFKA_CRON_OUTPUT", default_value = "tail", value_name = "tail|log|DIR")]
    pub output: Output,

    /// With --output DIR: how long a file stays after it was written to last
    #[arg(long, env = "KAFKA_CRON_OUTPUT_KEEP", default_value = "7d", value_name = "DURATION", value_parser = keep)]
    pub output_keep: Duration,

    /// With --output DIR: how much all files may have together, as in 10g; the oldest are removed [default: no limit]
    #[arg(long, env = "KAFKA_CRON_OUTPUT_MAX", value_name = "SIZE", value_parser = size)]
    pub output_max: Option<u64>,

    /// Take nothing new while the host is overloaded, as in cpu=80,memory=10: from that many percent of the last ten seconds
    /// on in which a process waited for a processor or for memory (PSI), until it is a quarter less
    #[arg(long, env = "KAFKA_CRON_PRESSURE", value_name = "LIMITS")]
    pub pressure: Option<pressure::Limits>,

    #[command(flatten)]
    limits: LimitArgs,
}

/// What attempts may use of the host.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits for jobs")]
struct LimitArgs {
    /// The most memory of a job, as in 512m or 2g; also what a job gets that names none. Needs a control group
    #[arg(long, env = "KAFKA_CRON_MAX_MEMORY", value_name = "SIZE", value_parser = memory)]
    max_memory: Option<u64>,

    /// The most CPU time of each process of a job, in whole seconds; also what a job gets that names none
    #[arg(long, env = "KAFKA_CRON_MAX_CPU", value_name = "DURATION", value_parser = cli::duration)]
    max_cpu: Option<Duration>,

    /// The most processes and threads of a job; also what a job gets that names none. Needs a control group
    #[arg(long, env = "KAFKA_CRON_MAX_PIDS", value_name = "N", value_parser = clap::value_parser!(u64).range(rules::PIDS))]
    max_pids: Option<u64>,

    /// The most descriptors of each process of a job; also what a job gets that names none
    #[arg(long, env = "KAFKA_CRON_MAX_NOFILE", value_name = "N", value_parser = clap::value_parser!(u64).range(rules::NOFILE))]
    max_nofile: Option<u64>,

    /// The nice value of jobs that name none [default: the consumer's own]
    #[arg(
        long,
        env = "KAFKA_CRON_NICE",
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(i64::from(*rules::NICE.start())..=i64::from(*rules::NICE.end()))
    )]
    nice: Option<i32>,

    /// A control group (version 2) in which jobs get groups of their own [default: the consumer's own, where systemd or a
    /// container has given it one]
    #[arg(long, env = "KAFKA_CRON_CGROUP", value_name = "DIR")]
    cgroup: Option<PathBuf>,
}

fn keep(text: &str) -> Result<Duration, String> {
    let age = cli::duration(text).map_err(|error| error.to_string())?;
    if age.is_zero() {
        return Err("0 would remove each file at once (`--output tail` keeps none)".to_owned());
    }
    Ok(age)
}

fn size(text: &str) -> Result<u64, String> {
    byte_size::parse(text)
        .map_err(|_| "it is not a size (a number with k, m, g or t, as in `10g`)".to_owned())
}

fn memory(text: &str) -> Result<u64, String> {
    let bytes = byte_size::parse(text).map_err(|error| error.to_string())?;
    if !rules::MEMORY_BYTES.contains(&bytes) {
        return Err(format!(
            "{text} is too little for any command (at least {})",
            byte_size::format(*rules::MEMORY_BYTES.start())
        ));
    }
    Ok(bytes)
}

impl ProcessArgs {
    /// Prepares this process and the host for so many workers.
    ///
    /// # Errors
    /// When the host has too few descriptors, or no control group for a limit that takes one.
    pub fn settings(&self, workers: usize) -> Result<Settings, Fault> {
        let limits = &self.limits;
        let descriptors = Descriptors::raise_for(workers).map_err(Fault::usage("--workers"))?;
        let ceilings = limits.ceilings()?;
        let cgroups = Cgroups::prepare(limits.cgroup.as_deref());
        limits.check(&ceilings, &cgroups)?;
        match &cgroups {
            Ok(groups) => log::info!("jobs get control groups in {}", groups.directory().display()),
            Err(why) => log::info!("jobs with memory= or pids= cannot be started here: {why}"),
        }
        let program = PathBuf::from(guard::THIS_PROGRAM);
        let keep = Keep { age: self.output_keep, bytes: self.output_max };
        let settings =
            Settings { output: self.output.clone(), keep, program, descriptors, ceilings, cgroups };
        // A limit for all jobs that cannot be enforced is found at the start, and not with each job.
        trial(&settings).map_err(|error| {
            Fault::new(Exit::Usage, format!("the limits for jobs cannot be enforced here: {error}"))
        })?;
        Ok(settings)
    }
}

impl LimitArgs {
    fn ceilings(&self) -> Result<Ceilings, Fault> {
        let cpu_s = self.max_cpu.map(|time| time.as_secs());
        let fits = |time: Duration| time.subsec_millis() == 0 && rules::CPU_S.contains(&time.as_secs());
        if self.max_cpu.is_some_and(|time| !fits(time)) {
            let why = "--max-cpu: whole seconds, at least one (as in `90s`)";
            return Err(Fault::new(Exit::Usage, why.to_owned()));
        }
        let (memory_bytes, pids, nofile) = (self.max_memory, self.max_pids, self.max_nofile);
        Ok(Ceilings(Resources { memory_bytes, cpu_s, pids, nofile, nice: self.nice }))
    }

    /// Whether there is a control group where one is asked for.
    fn check(&self, ceilings: &Ceilings, cgroups: &Result<Cgroups, Unavailable>) -> Result<(), Fault> {
        let asked = [
            ("--max-memory", self.max_memory.is_some()),
            ("--max-pids", self.max_pids.is_some()),
            ("--cgroup", self.cgroup.is_some()),
        ];
        let Some((flag, _)) = asked.into_iter().find(|(_, is_given)| *is_given) else { return Ok(()) };
        let refused = |why: &Unavailable| {
            let more = "docs/OPERATIONS.md, \"Limits for jobs\", says how a consumer gets a control group";
            Fault::new(Exit::Usage, format!("{flag}: {why} ({more})"))
        };
        let groups = cgroups.as_ref().map_err(refused)?;
        groups.has_what_it_takes(&ceilings.0).map_err(|why| refused(&why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_is_empty_is_an_error_of_usage_that_says_what_is_right() {
        #[derive(Debug, Parser)]
        struct Program {
            #[command(flatten)]
            process: ProcessArgs,
        }
        let parse = |output: &str| Program::try_parse_from(["program", "--output", output]);
        assert_eq!(parse(".").unwrap().process.output, Output::Directory(".".into()));
        let error = parse("").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let says = error.to_string();
        assert!(says.contains("--output") && says.contains("`tail`, `log` or a directory"), "{says}");
    }
}
