//! The consumer: takes attempts from one topic and runs their commands.

use std::time::Duration;

use clap::Parser;
use crossbeam_channel::Receiver;
use kafka_cron::common::exit::{self, Exit, Fault};
use kafka_cron::common::{identity, program};
use kafka_cron::consumer::cli::Args;
use kafka_cron::consumer::program::{Config, Consumer, check};
use kafka_cron::consumer::running::process;

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
