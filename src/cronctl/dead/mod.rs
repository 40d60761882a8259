//! `cronctl dead` lists dead letters and replays them.

mod letters;
mod list;
mod replay;
mod reread;

use std::time::{Duration, Instant};

use clap::{Args as Arguments, Subcommand};

use self::letters::Letters;
pub(super) use self::letters::mark as put_back;
use super::screen::{Answer, Screen};
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::KafkaArgs;
use crate::common::clock::{Clock, monotonic};
use crate::common::exit::Exit;
use crate::common::model::ClusterName;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);

/// What was given up?
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Clone, Subcommand)]
enum Question {
    /// Lists the letters of a cluster's dead-letter topic, the oldest first
    ///
    /// Prints a line for each: time, offset, reason, job and run (or where an unreadable message lies), and the detail.
    List(list::Args),
    /// Puts runs back: the next attempt, with all its retries again, goes to the cluster's retry topic
    ///
    /// A message that could not be read goes back unchanged to the topic that it came from; so do the messages of a batch
    /// that could not be decoded, if that is possible now. If you put the same letter back twice, it runs once. Ends with
    /// 1 if there is no such letter, if it holds nothing to put back, or if the retry topic takes no message of its size;
    /// with --all, the others are put back all the same.
    Replay(replay::Args),
}

/// Of which cluster, and where its Kafka is.
#[derive(Debug, Clone, Arguments)]
struct Of {
    /// The cluster
    #[arg(long, env = "KAFKA_CRON_CLUSTER", value_name = "CLUSTER")]
    cluster: ClusterName,

    #[command(flatten)]
    kafka: KafkaArgs,
}

/// Answers a question about dead letters.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let of = match &args.question {
        Question::List(args) => &args.of,
        Question::Replay(args) => &args.of,
    };
    let mut client = match of.kafka.broker() {
        Ok(broker) => broker.client("cronctl"),
        Err(error) => {
            screen.complain(format_args!("--brokers, --tls-ca: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    let letters = match Letters::of(client.as_mut(), &of.cluster) {
        Ok(letters) => letters,
        Err(error) => return refused(screen, &error),
    };
    match &args.question {
        Question::List(args) => list::run(args, letters, client.as_mut(), screen),
        Question::Replay(args) => replay::run(args, letters, client.as_mut(), clock, screen),
    }
}

fn refused(screen: &mut Screen, error: &BrokerError) -> Answer {
    screen.complain(error)?;
    Ok(Exit::Kafka)
}

fn soon() -> Instant {
    monotonic() + CALL
}

/// A client as the questions use it.
type Kafka<'a> = &'a mut dyn Client;
