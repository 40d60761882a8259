//! `cronctl run ID` prints everything that the topics hold about one run, in order.

use chrono::{DateTime, Utc};
use clap::Args as Arguments;

use super::search::{Found, Reach, Says, search};
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{Attempt, ClusterName, Event, RunId};
use crate::common::wire::DeadRecord;
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

    /// Read only what was written since this instant, or since this long ago [default: from the end back to when the run was due]
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
    let now = clock.now();
    let reach = args.since.map_or(Reach::All(now), |since| Reach::Since(since.from(now)));
    let dossier = match gather(args.run, args.clusters.as_slice(), reach, client.as_mut()) {
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

/// Reads all that the topics hold about a run within reach.
///
/// # Errors
/// When Kafka refuses or does not answer.
pub(in crate::cronctl) fn gather(
    run: RunId,
    clusters: &[ClusterName],
    reach: Reach,
    client: &mut dyn Client,
) -> Result<Dossier, BrokerError> {
    let mut dossier = Dossier::default();
    for Found { place: (topic, partition, offset), written_at, says } in search(run, clusters, reach, client)?
    {
        let line = match says {
            Says::Message(attempt) => message(&attempt, &format!("{topic}/{partition} offset {offset}")),
            Says::Dead(record) => format!("{} ({topic} offset {offset})", dead(&record)),
            Says::Event(event) => {
                let line = told(&event);
                dossier.take_output(event);
                line
            }
        };
        dossier.lines.push((written_at, line));
    }
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

    /// Keeps the end of the output, where the event has it and no later attempt's is known.
    fn take_output(&mut self, event: Event) {
        if let Event::Finished { attempt, output_tail, .. } = event
            && !output_tail.is_empty()
            && self.output.as_ref().is_none_or(|(last, _)| *last <= attempt.attempt)
        {
            self.output = Some((attempt.attempt, output_tail));
        }
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

fn dead(record: &DeadRecord) -> String {
    match record {
        DeadRecord::Letter(letter) => {
            let attempt = letter.attempt.as_ref().map_or(0, |attempt| attempt.attempt);
            format!("given up after attempt {attempt}: {}", letter.detail)
        }
        DeadRecord::Replayed(mark) => {
            let attempt = mark.attempt.map_or(0, |attempt| attempt.attempt);
            format!("put back as attempt {attempt}")
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
