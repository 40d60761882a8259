//! `cronctl run ID` prints everything that the topics hold about one run, in order.

use chrono::{DateTime, Utc};
use clap::Args as Arguments;

use super::peek;
use super::run_detail::run_of;
use crate::common::broker::{Broker, BrokerError, Client, FetchedRecord};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{Attempt, ClusterName, Event, RunId};
use crate::common::scan::Scan;
use crate::common::topics;
use crate::common::wire::{self, DeadRecord};
use crate::cronctl::instant::{Moment, shown};
use crate::cronctl::screen::{Answer, Screen};

/// Which run.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The run's id, as `cronctl runs` shows it
    #[arg(value_name = "ID")]
    run: RunId,

    /// The clusters that the run may belong to, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    clusters: ClusterList,

    /// Read only what was written since this instant, or since this long ago: quick where the topics are long [default: all]
    #[arg(long, value_name = "RFC3339|DURATION")]
    since: Option<Moment>,

    #[command(flatten)]
    kafka: KafkaArgs,
}

/// What is known of a run.
#[derive(Debug, Default)]
pub(in crate::cronctl) struct Dossier {
    /// By when it was written.
    lines: Vec<(DateTime<Utc>, String)>,
    /// The end of the output of the last attempt that wrote any, with the attempt's number.
    output: Option<(u32, String)>,
}

/// Shows all that is known of a run; ends with 1 where nothing is.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let mut client = match args.kafka.broker() {
        Ok(broker) => broker.client("cronctl"),
        Err(error) => {
            screen.complain(format_args!("--brokers, --tls-ca: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    let since = args.since.map(|since| since.from(clock.now()));
    let dossier = match gather(args.run, args.clusters.as_slice(), since, client.as_mut()) {
        Ok(dossier) => dossier,
        Err(error) => return super::refused(screen, &error),
    };
    let lines = dossier.text();
    if lines.is_empty() {
        screen.complain(format_args!("the topics hold nothing about run {}", args.run))?;
        return Ok(Exit::Found);
    }
    lines.iter().try_for_each(|line| screen.say(line))?;
    Ok(Exit::Done)
}

/// Reads all that the topics hold about a run, or what was written since an instant.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub(in crate::cronctl) fn gather(
    run: RunId,
    clusters: &[ClusterName],
    since: Option<DateTime<Utc>>,
    client: &mut dyn Client,
) -> Result<Dossier, BrokerError> {
    let mut dossier = Dossier::default();
    let mut scan = |topic: &str, take: &mut dyn FnMut(i32, FetchedRecord)| {
        let mut scan = Scan::new(topic);
        if let Some(since) = since {
            scan.skip_to(client, since.timestamp_millis())?;
        }
        scan.read(client, take)
    };
    // Nearly all records are about other runs, and need not be decoded to see that.
    let is_elsewhere = |found: Option<RunId>| found.is_some_and(|found| found != run);
    for cluster in clusters {
        for topic in [topics::first(cluster), topics::retry(cluster)] {
            scan(&topic, &mut |partition, record| {
                if is_elsewhere(record.value.as_deref().and_then(peek::message)) {
                    return;
                }
                if let Some(Ok(attempt)) = record.value.as_deref().map(wire::decode_attempt)
                    && attempt.run.id == run
                {
                    let place = format!("{topic}/{partition} offset {}", record.offset);
                    dossier.add(record.timestamp_ms, message(&attempt, &place));
                }
            })?;
        }
        let topic = topics::dead(cluster);
        scan(&topic, &mut |_, record| {
            if let Some(Ok(letter)) = record.value.as_deref().map(wire::decode_dead)
                && let Some(line) = dead(&letter, run)
            {
                dossier.add(record.timestamp_ms, format!("{line} ({topic} offset {})", record.offset));
            }
        })?;
    }
    scan(topics::RUNS, &mut |_, record| {
        if is_elsewhere(record.value.as_deref().and_then(peek::event)) {
            return;
        }
        if let Some(Ok(event)) = record.value.as_deref().map(wire::decode_event)
            && run_of(&event) == Some(run)
            && topics::concerns(&event, clusters)
        {
            dossier.add(record.timestamp_ms, told(&event));
            if let Event::Finished { attempt, output_tail, .. } = event
                && !output_tail.is_empty()
                && dossier.output.as_ref().is_none_or(|(last, _)| *last <= attempt.attempt)
            {
                dossier.output = Some((attempt.attempt, output_tail));
            }
        }
    })?;
    Ok(dossier)
}

impl Dossier {
    /// The lines in the order in which they were written, and the end of the output. None where nothing is known.
    pub(in crate::cronctl) fn text(mut self) -> Vec<String> {
        // Stable: what was written in one millisecond stays in the order of the topics, messages before events.
        self.lines.sort_by_key(|(at, _)| *at);
        let mut text: Vec<String> =
            self.lines.iter().map(|(at, line)| format!("{}  {line}", shown(*at))).collect();
        if let Some((attempt, output)) = &self.output {
            text.push(format!("--- the end of the output of attempt {attempt}:"));
            text.extend(output.lines().map(str::to_owned));
        }
        text
    }

    fn add(&mut self, written_ms: i64, line: String) {
        self.lines.push((DateTime::from_timestamp_millis(written_ms).unwrap_or_default(), line));
    }
}

fn message(attempt: &Attempt, place: &str) -> String {
    let run = &attempt.run;
    let after = attempt.not_before.map_or_else(String::new, |at| format!(", not before {}", shown(at)));
    let left = attempt.attempts_left;
    let due = shown(run.scheduled_at);
    match attempt.attempt {
        1 => format!("published: {} due {due}, {left} attempts left{after} ({place})", run.job),
        number => format!("attempt {number} published, {left} left{after} ({place})"),
    }
}

fn dead(record: &DeadRecord, run: RunId) -> Option<String> {
    match record {
        DeadRecord::Letter(letter) => {
            let attempt = letter.attempt.as_ref().filter(|attempt| attempt.run.id == run)?;
            Some(format!("given up after attempt {}: {}", attempt.attempt, letter.detail))
        }
        DeadRecord::Replayed(mark) => {
            let attempt = mark.attempt.filter(|attempt| attempt.run == run)?;
            Some(format!("put back as attempt {}", attempt.attempt))
        }
    }
}

/// An event of a run, in words.
fn told(event: &Event) -> String {
    match event {
        Event::Claimed { attempt, place, consumer, .. } => {
            let (number, topic) = (attempt.attempt, &place.topic);
            format!(
                "attempt {number} claimed by {consumer} ({topic}/{} offset {})",
                place.partition, place.offset
            )
        }
        Event::Finished { attempt, consumer, outcome, then, started_at, ended_at, output_bytes, .. } => {
            let took = (*ended_at - *started_at).num_milliseconds();
            let then = then.word();
            if !outcome.was_started(*started_at, *ended_at) {
                return format!(
                    "attempt {} {outcome} before it was started, then {then}: by {consumer}",
                    attempt.attempt
                );
            }
            format!(
                "attempt {} {outcome}, then {then}: by {consumer}, started {}, took {took} ms, {output_bytes} bytes",
                attempt.attempt,
                shown(*started_at)
            )
        }
        Event::Lost { attempt, consumer, then, .. } => {
            let then = then.word();
            format!("attempt {} lost with {consumer}, then {then}", attempt.attempt)
        }
        Event::Ended { attempt, detail, by, .. } if attempt.attempt == 0 => {
            format!("ended by {by} before its first attempt: {detail}")
        }
        Event::Ended { attempt, detail, by, .. } => {
            format!("ended by {by} after attempt {}: {detail}", attempt.attempt)
        }
        Event::Published { job, scheduled_at, .. } => {
            format!("noted as published: {job} due {}", shown(*scheduled_at))
        }
        Event::Queued { blocked_by, .. } => format!("waits for run {blocked_by}"),
        Event::Skipped { blocked_by, .. } => format!("skipped: run {blocked_by} is not finished"),
        _ => "an event that is about no run".to_owned(),
    }
}
