//! `cronctl offsets` puts the committed offsets of topics right that were copied from another Kafka.
//!
//! It reads everything first (`cron-runs`, the retry topic, the cluster's topic, in this order), and commits at the end, if it
//! is told to. Kafka refuses a commit for a group that has members, so the groups are tried before anything is changed.

mod committing;
mod known;
mod plan;
mod reading;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use clap::Args as Arguments;

use self::known::Known;
use self::plan::Plan;
use self::reading::{Partition, Reading};
use crate::common::broker::{Broker, BrokerError, Client, TopicPartition};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::monotonic;
use crate::common::exit::Exit;
use crate::common::model::{AttemptRef, ClusterName};
use crate::common::topics;
use crate::cronctl::instant::shown;
use crate::cronctl::screen::{Answer, Screen};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);
/// Attempts that are named one by one; of more, the number is told.
const NAMED: usize = 20;

/// Of which clusters, and whether it is done.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The clusters whose topics were copied, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    clusters: ClusterList,

    /// Commit the offsets; without this flag nothing is changed
    #[arg(long)]
    execute: bool,

    #[command(flatten)]
    kafka: KafkaArgs,
}

/// Why nothing can be committed.
enum Refusal {
    /// Kafka does not answer, or refuses.
    Kafka(BrokerError),
    /// What is found is not what can be put right; a line for each problem.
    Found(Vec<String>),
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        Self::Kafka(error)
    }
}

/// Shows what would be committed, and commits it if it is told to.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, screen: &mut Screen) -> Answer {
    let mut client = match args.kafka.broker() {
        Ok(broker) => broker.client("cronctl"),
        Err(error) => {
            screen.complain(format_args!("--brokers, --tls-ca: {error}"))?;
            return Ok(Exit::Usage);
        }
    };
    offsets(args, client.as_mut(), screen)
}

fn offsets(args: &Args, client: &mut dyn Client, screen: &mut Screen) -> Answer {
    let read = no_members(args.clusters.as_slice(), client)
        .and_then(|()| reading::read(args.clusters.as_slice(), client));
    let all = match read {
        Ok(all) => all,
        Err(refusal) => return refuse(refusal, screen),
    };
    tell(&all, screen)?;
    if !args.execute {
        screen.say("nothing is changed; --execute commits this")?;
        return Ok(Exit::Done);
    }
    committing::commit(&all, client, screen)
}

/// Says why nothing is committed.
fn refuse(refusal: Refusal, screen: &mut Screen) -> Answer {
    match refusal {
        Refusal::Kafka(error) => {
            screen.complain(error)?;
            Ok(Exit::Kafka)
        }
        Refusal::Found(problems) => {
            problems.iter().try_for_each(|problem| screen.complain(problem))?;
            Ok(Exit::Found)
        }
    }
}

/// Refuses where a group has members.
fn no_members(clusters: &[ClusterName], client: &mut dyn Client) -> Result<(), Refusal> {
    let mut problems = Vec::new();
    for group in clusters.iter().flat_map(|cluster| [topics::first(cluster), topics::retry(cluster)]) {
        let members = client.members(&group, soon())?;
        if !members.is_empty() {
            problems.push(has_members(&group, &members.join(", ")));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Found(problems)) }
}

fn has_members(group: &str, who: &str) -> String {
    format!(
        "the group {group} has members ({who}), which commit offsets of their own: stop all consumers of the topic {group}, \
         and call this again"
    )
}

fn tell(all: &[Reading], screen: &mut Screen) -> std::io::Result<()> {
    let rows = all.iter().flat_map(|reading| reading.first.iter().chain(&reading.retry)).map(row);
    let head = ["TOPIC", "PARTITION", "COMMITTED", "GOES-TO", "WAITING", "UNREAD", "SKIPPED", "AGAIN"];
    let rows: Vec<[String; 8]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        screen.say(cells.join("  ").trim_end())?;
    }
    all.iter().try_for_each(|reading| remarks(reading, screen))
}

fn row(partition: &Partition) -> [String; 8] {
    let of = &partition.of;
    let committed = partition.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    let numbers = match &partition.plan {
        Some(plan) => {
            let Plan { waiting, unread, skipped, again, .. } = plan;
            [
                plan.offset.to_string(),
                waiting.to_string(),
                unread.to_string(),
                skipped.to_string(),
                again.to_string(),
            ]
        }
        None => ["stays", "-", "-", "-", "-"].map(str::to_owned),
    };
    let [goes_to, waiting, unread, skipped, again] = numbers;
    [of.topic.clone(), of.partition.to_string(), committed, goes_to, waiting, unread, skipped, again]
}

/// What the numbers do not say.
fn remarks(reading: &Reading, screen: &mut Screen) -> std::io::Result<()> {
    let known: &Known = &reading.known;
    let cluster = known.cluster();
    let is_changed = reading.first.iter().chain(&reading.retry).any(|partition| partition.plan.is_some());
    match known.ends() {
        Some(at) => screen.say(format_args!(
            "{cluster}: the last event of {} about attempts of this cluster is of {}{}",
            topics::RUNS,
            shown(at),
            if is_changed { "; what began later is not known, and runs again" } else { "" }
        ))?,
        None => screen.complain(format_args!(
            "{cluster}: {} holds no event of an attempt of this cluster{}",
            topics::RUNS,
            if is_changed { ": what is unread above runs, also if it has run before" } else { "" }
        ))?,
    }
    for partition in reading.first.iter().chain(&reading.retry) {
        let TopicPartition { topic, partition: number } = &partition.of;
        let Some(plan) = &partition.plan else { continue };
        if plan.again > 0 {
            screen.complain(format_args!(
                "{topic}/{number}: {} messages run again: the text beside the offset has no room for all that wait, and the \
                 offset goes back to the first that it does not name",
                plan.again
            ))?;
        }
        if !plan.left_out.is_empty() {
            screen.complain(format_args!(
                "{topic}/{number}: the copied offset has passed these, and the copy does not tell what became of them; they do \
                 not run: {}",
                named(&plan.left_out)
            ))?;
        }
    }
    let missing = known.missing();
    if !missing.is_empty() {
        screen.complain(format_args!(
            "{}: these attempts are not in the copy although {} says that they follow, and do not run: {}",
            topics::retry(cluster),
            topics::RUNS,
            named(&missing)
        ))?;
    }
    Ok(())
}

fn named(attempts: &[AttemptRef]) -> String {
    let name = |AttemptRef { run, attempt }: &AttemptRef| format!("attempt {attempt} of run {run}");
    let mut names: Vec<String> = attempts.iter().take(NAMED).map(name).collect();
    if attempts.len() > NAMED {
        names.push(format!("and {} more", attempts.len() - NAMED));
    }
    names.join(", ")
}

fn soon() -> Instant {
    monotonic() + CALL
}
