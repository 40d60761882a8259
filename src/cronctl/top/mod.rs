//! `cronctl top` shows how the clusters, consumers, producers and runs are, and goes on with it.
//!
//! [`reader`] is the thread that looks at Kafka ([`sources`]) and at the job file ([`next_ticks`]), and tells what it has read. The
//! [`machine`] keeps that on a [`board`], with the runs of a recent window and those that are under way, and decides what a key
//! does. [`figures`] counts the runs of each cluster, [`listed`] says which runs are listed. [`picture`] makes text of all this,
//! and [`view`] draws it into a terminal ([`terminal`]), or [`plain`] into lines. [`opener`] is the thread that reads about a run
//! that is open. [`thread`] is the loop around the machine.

mod board;
mod figures;
mod listed;
mod machine;
mod messages;
mod next_ticks;
mod opener;
mod picture;
mod plain;
mod reader;
#[cfg(test)]
mod sample;
mod sources;
pub mod terminal;
mod thread;
mod times;
mod view;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Args as Arguments;

use self::machine::{Machine, Options};
use self::opener::Opener;
use self::reader::{FollowedFile, Reader};
use self::sources::Sources;
use self::terminal::{Keys, Surface};
use self::thread::{Channels, Shown};
use super::check;
use super::instant::Moment;
use super::screen::{Answer, Screen};
use crate::common::broker::Broker;
use crate::common::cli::{self, ClusterList, KafkaArgs};
use crate::common::clock::{Clock, SystemClock};
use crate::common::duration;
use crate::common::exit::Exit;
use crate::common::model::ClusterName;
use crate::common::{signals, topics};

/// What is shown, and how.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The job file, which says what is due next in each cluster
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Only this cluster
    #[arg(long, env = "KAFKA_CRON_CLUSTER", value_name = "CLUSTER")]
    cluster: Option<ClusterName>,

    /// The clusters to show, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    clusters: ClusterList,

    /// Show runs since this long ago (or since this instant), and those that are under way
    #[arg(long, env = "KAFKA_CRON_SINCE", default_value = "15m", value_name = "RFC3339|DURATION")]
    since: Moment,

    /// The producers' group, whose standbys are counted
    #[arg(long, default_value = topics::LEADER, value_name = "GROUP")]
    group: String,

    /// How often to look at Kafka
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = interval)]
    interval: Duration,

    /// List only runs whose job, cluster, consumer, state or (from eight characters on) id contains this text
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    filter: String,

    /// Print lines and not a view, one snapshot for each interval, also where standard output is a terminal
    #[arg(long)]
    plain: bool,

    /// Print one snapshot as lines, and end
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    kafka: KafkaArgs,
}

/// An interval in which the topics can be looked at.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = cli::duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err(format!("`{text}` is less than 100ms, the shortest interval"));
    }
    Ok(interval)
}

/// Shows the view until a key, a signal or the reader of the lines ends it.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let broker = match args.kafka.broker() {
        Ok(broker) => broker,
        Err(error) => {
            screen.complain(format_args!("--brokers, --tls-ca: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    // The clock may be another one at a second look.
    let now = clock.now();
    let since = args.since.from(now);
    let window = now - since;
    if window <= TimeDelta::zero() {
        screen.complain("--since: the window is empty (as in `--since 15m`)")?;
        return Ok(Exit::Usage);
    }
    let clusters = match &args.cluster {
        Some(cluster) => vec![cluster.clone()],
        None => args.clusters.as_slice().to_vec(),
    };
    // The file may name all clusters, whichever are shown.
    let known = args.clusters.as_slice().iter().chain(&args.cluster).cloned().collect::<Vec<_>>();
    if let Some(path) = &args.file
        && let Err(exit) = check::load(path, &known, screen)?
    {
        return Ok(exit);
    }
    let is_live = !args.once && !args.plain && io::stdout().is_terminal() && !is_dumb();
    let machine = Machine::new(Options {
        brokers: args.kafka.brokers.to_string(),
        clusters: clusters.clone(),
        group: args.group.clone(),
        window,
        interval: duration::format(args.interval),
        has_file: args.file.is_some(),
        is_live,
        is_once: args.once,
        filter: args.filter.clone(),
    });
    let context = reader::Context {
        client: broker.client("cronctl"),
        clock: Arc::new(SystemClock),
        interval: args.interval,
        sources: Sources::new(&clusters, since.timestamp_millis()),
        file: args.file.clone().map(|path| FollowedFile::new(path, known)),
    };
    let started = signals::catch().and_then(|signals| {
        let reader = Reader::start(context)?;
        let opener = Opener::start(broker.client("cronctl"), Arc::new(SystemClock), clusters)?;
        Ok((signals, reader, opener))
    });
    let shown = || -> io::Result<Shown> {
        // Keys are read only while the terminal is in raw mode.
        let has_colours = std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty());
        let surface = Surface::open(has_colours)?;
        Ok(Shown::Terminal(surface, Keys::start()?))
    };
    let (signals, reader, opener) = match started {
        Ok(started) => started,
        Err(error) => return refused(screen, &error),
    };
    let shown = if is_live { shown() } else { Ok(Shown::Lines) };
    match shown {
        Ok(shown) => {
            let channels = Channels { clock: Arc::new(SystemClock), signals: &signals, reader, opener };
            thread::run(machine, channels, shown, screen)
        }
        Err(error) => refused(screen, &error),
    }
}

fn refused(screen: &mut Screen, error: &io::Error) -> Answer {
    screen.complain(format_args!(
        "the terminal or the system refuses: {error} (`--plain` needs no terminal)"
    ))?;
    Ok(Exit::System)
}

/// A terminal that can only print lines.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Instant;

    use chrono::{DateTime, Utc};
    use crossbeam_channel::Receiver;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// A clock that is another millisecond on, or back, whenever it is looked at.
    struct Restless(AtomicI64, i64);

    impl Clock for Restless {
        fn now(&self) -> DateTime<Utc> {
            let millis = self.0.fetch_add(self.1, Ordering::Relaxed);
            DateTime::from_timestamp_millis(millis).unwrap()
        }
        fn monotonic(&self) -> Instant {
            SystemClock.monotonic()
        }
        fn alarm(&self, after: Duration) -> Receiver<Instant> {
            SystemClock.alarm(after)
        }
    }

    #[test]
    fn an_empty_window_is_wrong_usage_whatever_the_clock_does() {
        for step in [1, 0, -1] {
            for since in ["0s", "2026-11-30T00:00:00Z"] {
                let words = ["top", "--since", since, "--once", "--brokers", "localhost:1"];
                let line = <Line as clap::Parser>::parse_from(words);
                let clock = Restless(AtomicI64::new(1_000), step);
                let mut screen = Screen::new(io::sink(), io::sink());
                let exit = run(&line.args, &clock, &mut screen).unwrap();
                assert_eq!(exit, Exit::Usage, "{step} {since}");
            }
        }
    }
}
