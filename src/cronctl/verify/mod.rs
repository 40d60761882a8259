//! `cronctl verify` checks whether every tick of a period is accounted for.
//!
//! - [`calendar`] finds the instants that the schedules name, without the producer's own code.
//! - [`tick_ledger`] has an entry for each of these ticks, of as many jobs as there is room for.
//! - [`revision_history`] knows which job file was active when.
//! - [`audit`] enters in the ledger what the topics say of each tick, and adds what is wrong to the [`findings`].
//! - [`report`] is the result, as text and as JSON.
//!
//! The topics are read once for as many jobs as there is room for, and again for the next ones, so that what is kept does not
//! grow with the number of jobs. The command has no thread of its own. The audit is pure: the caller streams the topics through it.

mod audit;
pub mod calendar;
mod findings;
mod held;
mod period;
pub mod report;
pub mod revision_history;
mod ruled;
pub mod tick_ledger;
pub mod tzif;
mod unread;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args as Arguments;

use self::audit::{Audit, Scope};
use self::calendar::{NotUnderstood, Period};
use self::findings::Findings;
use self::report::Report;
use self::ruled::Ruled;
use self::tick_ledger::TickLedger;
use super::instant::Moment;
use super::runs::peek;
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

    /// How many ticks to keep in memory at a time, some 70 bytes each; the topics are read again for the next ones
    #[arg(long, env = "KAFKA_CRON_KEEP_TICKS", default_value_t = KEEP_TICKS, value_name = "TICKS")]
    pub keep_ticks: usize,

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
        keep_ticks: args.keep_ticks,
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
    /// How many ticks to keep at a time.
    pub keep_ticks: usize,
}

/// How many ticks are kept at a time where nothing else is asked for. A run that has failed or goes on takes some hundreds of
/// bytes more. A map of more than 917,504 takes twice the room.
pub const KEEP_TICKS: usize = 900_000;

/// The verdict on a period. Reads the topics as far as they may be about it, and keeps none of them: what is kept is about
/// the ticks of some jobs in the period.
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
    let zones = Zones::all_of_host();
    let ruled = Ruled::new(history.pieces(), file, &zones);
    let clipped = begins.clipped(asked.since, since);
    let (unknown_zones, counted) = (ruled.unknown(period), (&*file.revision, file.jobs.len()));
    let mut found = Findings::new(counted, period, &history, asked.begun_within, begins, &unknown_zones);
    clipped.into_iter().for_each(|note| found.note(note));
    found.report.asked_since = asked.since.filter(|asked| *asked < since);
    let names = file.jobs.iter().map(|job| &job.name).collect();
    let (mut left, mut is_first) = (&file.jobs[..], true);
    while is_first || !left.is_empty() {
        let (ledger, after) = TickLedger::new(file, left, period, &ruled, asked.keep_ticks)?;
        let mut audit = Audit::new(ledger, Scope { jobs: &names, is_first }, &mut found);
        read(client, clusters, (since, is_first), &mut audit)?;
        // Retention goes on while topics are read.
        let mut begins = period::begins(client, clusters, &history)?;
        if !begins.tells_since(since) {
            return Err(NoVerdict::Period(GONE_MEANWHILE.to_owned()));
        }
        if audit.awaits_retries() {
            look_for_retries(client, clusters, since, &mut audit)?;
            begins = period::begins(client, clusters, &history)?;
        }
        audit.topics_begin(begins);
        audit.finish(now);
        (left, is_first) = (after, false);
    }
    if found.held.is_for_longer_than(asked.begun_within) {
        Scan::new(topics::RUNS).read(client, |_, record| {
            if let Some(Ok(event)) = record.value.as_deref().map(wire::decode_event) {
                found.held.take(&event, written(record.timestamp_ms));
            }
        })?;
    }
    Ok(found.finish(now))
}

/// Retention has deleted events of the period while they were read.
const GONE_MEANWHILE: &str = "no verdict: while cron-runs was read, retention deleted events of the period's beginning from it; ask again, \
                              or give a later --since";

/// Streams the topics through an audit. The first reading decodes all of them: it learns what holds for every job.
fn read(
    client: &mut dyn Client,
    clusters: &[ClusterName],
    (since, is_first): (DateTime<Utc>, bool),
    audit: &mut Audit<'_, '_>,
) -> Result<(), BrokerError> {
    let from_ms = (since - AHEAD).timestamp_millis();
    for cluster in clusters {
        let mut messages = Scan::new(&topics::first(cluster));
        messages.skip_to(client, from_ms)?;
        let there = messages.read(client, |_, record| {
            let value = record.value.as_deref();
            if !is_first && value.and_then(peek::message).is_some_and(|about| !audit.asks_for(about)) {
                return;
            }
            match value.map(wire::decode_attempt) {
                Some(Ok(attempt)) => audit.message(cluster, &attempt, written(record.timestamp_ms)),
                _ => audit.unreadable(),
            }
        })?;
        if !there && is_first {
            audit.note(format!("there is no topic {cluster}"));
        }
    }
    let mut events = Scan::new(topics::RUNS);
    events.skip_to(client, from_ms)?;
    events.read(client, |_, record| {
        let value = record.value.as_deref();
        if !is_first && value.and_then(peek::event).is_some_and(|about| !audit.asks_for(about)) {
            return;
        }
        match value.map(wire::decode_event) {
            Some(Ok(event)) => audit.event(&event, written(record.timestamp_ms)),
            _ => audit.unreadable(),
        }
    })?;
    Ok(())
}

/// Looks for the next attempts that were passed on and are not claimed: they stand in the retry topics, or have become
/// letters.
fn look_for_retries(
    client: &mut dyn Client,
    clusters: &[ClusterName],
    since: DateTime<Utc>,
    audit: &mut Audit<'_, '_>,
) -> Result<(), BrokerError> {
    let from_ms = (since - AHEAD).timestamp_millis();
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
