//! `cronctl verify` checks whether every tick of a period is accounted for.
//!
//! - [`calendar`] finds the instants that the schedules name, without the producer's own code.
//! - [`tick_ledger`] has an entry for each of these ticks.
//! - [`revision_history`] knows which job file was active when.
//! - [`audit`] enters in the ledger what the topics say of each tick.
//! - [`report`] is the result, as text and as JSON.
//!
//! The command has no thread of its own. The audit is pure: the caller streams the topics through it.

mod audit;
pub mod calendar;
mod period;
pub mod report;
pub mod revision_history;
mod ruled;
pub mod tick_ledger;
pub mod tzif;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args as Arguments;

use self::audit::Audit;
use self::calendar::{NotUnderstood, Period};
use self::report::Report;
use self::tick_ledger::TickLedger;
use super::instant::Moment;
use super::screen::{Answer, Screen};
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::{self, ClusterList, KafkaArgs};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::ClusterName;
use crate::common::scan::Scan;
use crate::common::wire::DeadRecord;
use crate::common::zones::Zones;
use crate::common::{topics, wire};
use crate::producer::jobfile::JobFile;

/// Younger ticks may still be on their way.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(10);

/// Nothing is written about a tick before it is due, give or take what clocks differ by.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// Is every tick accounted for?
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The job file that was active
    pub file: PathBuf,

    /// The clusters that jobs may name, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    pub clusters: ClusterList,

    /// First instant, or how long ago it was [default: when the topics' records begin; what cron-runs tells no more is not
    /// checked]
    #[arg(long, env = "KAFKA_CRON_SINCE", value_name = "RFC3339|DURATION")]
    pub since: Option<Moment>,

    /// Last instant, or how long ago it was [default: 10s ago]
    #[arg(long, env = "KAFKA_CRON_UNTIL", value_name = "RFC3339|DURATION")]
    pub until: Option<Moment>,

    /// How long a published attempt may wait for a worker before it counts as not begun
    #[arg(long, env = "KAFKA_CRON_BEGUN_WITHIN", default_value = "10m", value_name = "DURATION", value_parser = cli::duration)]
    pub begun_within: Duration,

    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    kafka: KafkaArgs,
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVerdict {
    /// Kafka refused or did not answer.
    #[error(transparent)]
    Kafka(#[from] BrokerError),
    /// The schedules cannot be read a second time.
    #[error(transparent)]
    Words(#[from] NotUnderstood),
    /// There is no period.
    #[error("{0}")]
    Period(String),
}

/// Reads the topics and says whether every tick of the period is accounted for.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let file = match super::check::load(&args.file, args.clusters.as_slice(), screen)? {
        Ok(file) => file,
        Err(exit) => return Ok(exit),
    };
    let now = clock.now();
    let asked = Asked {
        since: args.since.map(|since| since.from(now)),
        until: args.until.map_or(now - ON_ITS_WAY, |until| until.from(now)),
        begun_within: args.begun_within,
    };
    if args.until.is_none() && asked.since.is_some_and(|since| since >= asked.until) {
        screen.complain(
            "the period is empty: without --until it ends 10s ago, because younger ticks may still be on their way, and \
             --since begins no earlier",
        )?;
        return Ok(Exit::Usage);
    }
    let mut client = match args.kafka.broker() {
        Ok(broker) => broker.client("cronctl"),
        Err(error) => {
            screen.complain(format_args!("--brokers, --tls-ca: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    match verify(client.as_mut(), &file, args.clusters.as_slice(), asked, now) {
        Ok(report) => {
            if args.json {
                report.json(screen)?;
            } else {
                report.words(screen)?;
            }
            Ok(report.exit())
        }
        Err(error) => {
            screen.complain(&error)?;
            Ok(match error {
                NoVerdict::Kafka(_) => Exit::Kafka,
                NoVerdict::Words(_) | NoVerdict::Period(_) => Exit::Usage,
            })
        }
    }
}

/// The period as far as it was given.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The first instant, where it was given.
    pub since: Option<DateTime<Utc>>,
    /// The last instant.
    pub until: DateTime<Utc>,
    /// How long a published attempt may wait for a worker.
    pub begun_within: Duration,
}

/// The verdict on a period. Reads the topics as far as they may be about it, and keeps none of them: what is kept is about
/// the ticks of the period.
///
/// # Errors
/// [`NoVerdict`] where there is none.
pub fn verify(
    client: &mut dyn Client,
    file: &JobFile,
    clusters: &[ClusterName],
    asked: Asked,
    now: DateTime<Utc>,
) -> Result<Report, NoVerdict> {
    let history = period::history(client, clusters)?;
    let begins = period::begins(client, clusters, &history)?;
    let since = begins.first_checked(asked.since, asked.until).map_err(NoVerdict::Period)?;
    let period = Period { since, until: asked.until };
    let notes = begins.notes(asked.since, since);
    let mut audit = Audit::new(
        TickLedger::new(file, period, &history, &Zones::all_of_host())?,
        &file.revision,
        period,
        history,
        asked.begun_within,
        begins,
    );
    notes.into_iter().for_each(|note| audit.note(note));
    asked.since.filter(|asked| *asked < since).into_iter().for_each(|asked| audit.asked_since(asked));
    let from_ms = (since - AHEAD).timestamp_millis();
    for cluster in clusters {
        let mut messages = Scan::new(&topics::first(cluster));
        messages.skip_to(client, from_ms)?;
        let there =
            messages.read(client, |_, record| match record.value.as_deref().map(wire::decode_attempt) {
                Some(Ok(attempt)) => audit.message(cluster, &attempt, written(record.timestamp_ms)),
                _ => audit.unreadable(),
            })?;
        if !there {
            audit.note(format!("there is no topic {cluster}"));
        }
    }
    let mut events = Scan::new(topics::RUNS);
    events.skip_to(client, from_ms)?;
    events.read(client, |_, record| match record.value.as_deref().map(wire::decode_event) {
        Some(Ok(event)) => {
            audit.event(&event, written(record.timestamp_ms));
        }
        _ => audit.unreadable(),
    })?;
    if audit.awaits_retries() {
        look_for_retries(client, clusters, from_ms, &mut audit)?;
    }
    if audit.is_held_back_for_long() {
        Scan::new(topics::RUNS).read(client, |_, record| {
            if let Some(Ok(event)) = record.value.as_deref().map(wire::decode_event) {
                audit.holder(&event, written(record.timestamp_ms));
            }
        })?;
    }
    Ok(audit.finish(now))
}

/// Looks for the next attempts that were passed on and are not claimed: they stand in the retry topics, or have become
/// letters.
fn look_for_retries(
    client: &mut dyn Client,
    clusters: &[ClusterName],
    from_ms: i64,
    audit: &mut Audit<'_>,
) -> Result<(), BrokerError> {
    for cluster in clusters {
        let mut retries = Scan::new(&topics::retry(cluster));
        retries.skip_to(client, from_ms)?;
        retries.read(client, |_, record| {
            let attempt = record.value.as_deref().and_then(|value| wire::decode_attempt(value).ok());
            let key = || std::str::from_utf8(record.key.as_deref()?).ok()?.parse().ok();
            match attempt {
                Some(attempt) => audit.retry(cluster, attempt.run.id, Some(attempt.attempt)),
                None => key().into_iter().for_each(|run| audit.retry(cluster, run, None)),
            }
        })?;
        let mut letters = Scan::new(&topics::dead(cluster));
        letters.skip_to(client, from_ms)?;
        letters.read(client, |_, record| {
            if let Some(Ok(DeadRecord::Letter(letter))) = record.value.as_deref().map(wire::decode_dead)
                && let Some(attempt) = letter.attempt
            {
                audit.letter(cluster, attempt.run.id, attempt.attempt);
            }
        })?;
    }
    Ok(())
}

fn written(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests;
