//! The producer: reads the job file and writes a message each time a job is due.

use std::time::Duration;

use clap::Parser;
use crossbeam_channel::{Receiver, select};
use kafka_cron::common::exit::{self, Exit, Fault};
use kafka_cron::common::program;
use kafka_cron::common::zones::Zones;
use kafka_cron::producer::cli::Args;
use kafka_cron::producer::jobfile::{self, JobFile};
use kafka_cron::producer::program::{Config, Producer};
use kafka_cron::producer::topics;

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
