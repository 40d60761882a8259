//! `cronctl end ID` records that a run is over, so that no tick waits for it any more.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args as Arguments;

use super::entry::Entry;
use super::run_list::RunList;
use super::search::{Reach, Says, search};
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::{Clock, monotonic};
use crate::common::exit::Exit;
use crate::common::identity;
use crate::common::model::{AttemptRef, ClusterName, EndReason, Event, RunId};
use crate::common::outgoing::{Outgoing, Writer};
use crate::cronctl::screen::{Answer, Screen};

/// How long writing the event may take.
const CALL: Duration = Duration::from_secs(5);

/// Which run, and why.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The run's id, as `cronctl runs` shows it
    #[arg(value_name = "ID")]
    run: RunId,

    /// Why the run is ended; `cronctl run` shows the reason
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// The clusters that the run may belong to, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    clusters: ClusterList,

    #[command(flatten)]
    kafka: KafkaArgs,
}

/// Ends a run. Ends itself with 1 where nothing is known of the run, or it is over already.
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
    end(args, client.as_mut(), clock, screen)
}

fn end(args: &Args, client: &mut dyn Client, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let run = args.run;
    let entry = match find(run, args.clusters.as_slice(), clock.now(), client) {
        Ok(entry) => entry,
        Err(error) => return super::refused(screen, &error),
    };
    let Some((entry, cluster)) =
        entry.and_then(|entry| entry.cluster.clone().map(|cluster| (entry, cluster)))
    else {
        screen.complain(format_args!("the topics hold nothing about run {run}"))?;
        return Ok(Exit::Found);
    };
    if entry.is_over() {
        screen.complain(format_args!("run {run} of {} is over already: {}", entry.job, entry.word()))?;
        return Ok(Exit::Found);
    }
    let (last, was, worker) = (last_attempt(&entry), entry.word(), entry.detail.worker().map(str::to_owned));
    let event = Event::Ended {
        attempt: AttemptRef { run, attempt: last },
        job: entry.job.clone(),
        cluster,
        scheduled_at: entry.scheduled_at,
        reason: EndReason::Operator,
        detail: args.reason.clone(),
        by: identity::name(None),
        at: clock.now(),
    };
    let record = Outgoing::event(&event);
    let by = monotonic() + CALL;
    let unwritten = Writer::default().write(client, vec![record], clock.now().timestamp_millis(), by);
    if let Some(unwritten) = unwritten.into_iter().next() {
        return super::refused(screen, &unwritten.error);
    }
    screen.say(format_args!("run {run} of {} is ended; it was {was}", entry.job))?;
    if let Some(worker) = worker.filter(|_| was == "running") {
        screen
            .say(format_args!("attempt {last} was claimed by {worker}: its command goes on where it runs"))?;
    }
    Ok(Exit::Done)
}

fn last_attempt(entry: &Entry) -> u32 {
    entry.detail.attempts.last().map_or(0, |(number, _)| number)
}

/// What the topics hold about a run.
fn find(
    run: RunId,
    clusters: &[ClusterName],
    now: DateTime<Utc>,
    client: &mut dyn Client,
) -> Result<Option<Entry>, BrokerError> {
    let mut list = RunList::default();
    for found in search(run, clusters, Reach::All(now), client)? {
        match found.says {
            Says::Message(attempt) => drop(list.message(&attempt)),
            Says::Event(event) => drop(list.event(&event, found.written_at)),
            Says::Dead(_) => {}
        }
    }
    Ok(list.get(run).map(Cow::into_owned))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::common::broker::memory::MemoryBroker;
    use crate::common::broker::{ProduceBatch, Record, TopicPartition};
    use crate::common::clock::ManualClock;
    use crate::common::model::{JobName, Outcome, Place, Then};
    use crate::common::scan::scan;
    use crate::common::{topics, wire};
    use crate::cronctl::shown::Shown;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn job() -> JobName {
        "backup".parse().unwrap()
    }

    fn attempt(number: u32) -> AttemptRef {
        AttemptRef { run: RunId::of(&job(), DateTime::UNIX_EPOCH), attempt: number }
    }

    fn place() -> Place {
        Place { topic: "c".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 }
    }

    fn published() -> Event {
        let (job, cluster, at) = (job(), "c".parse().unwrap(), DateTime::UNIX_EPOCH);
        Event::Published { run: attempt(1).run, job, cluster, scheduled_at: at, place: place(), at }
    }

    fn claimed(number: u32) -> Event {
        let (consumer, at) = ("one".to_owned(), DateTime::UNIX_EPOCH);
        let (attempt, lease_ms) = (attempt(number), 60_000);
        Event::Claimed { attempt, job: job(), place: place(), consumer, lease_ms, at }
    }

    fn finished(number: u32, then: Then) -> Event {
        let at = DateTime::UNIX_EPOCH;
        Event::Finished {
            attempt: attempt(number),
            job: job(),
            cluster: "c".parse().unwrap(),
            scheduled_at: at,
            consumer: "one".to_owned(),
            outcome: Outcome::TimedOut,
            then,
            started_at: at,
            ended_at: at,
            output_bytes: 0,
            output_tail: String::new(),
        }
    }

    /// Ends the run of which these events are known, twice, and says after which attempt it was ended.
    fn check(events: &[Event], expected: Option<u32>, says: &str) {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let mut client = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>).client("cronctl");
        let by = monotonic() + Duration::from_secs(60);
        for spec in topics::all(&["c".parse().unwrap()], 1, 1) {
            client.create_topic(&spec, by).unwrap();
        }
        for event in events {
            let record = Record { key: None, value: Some(wire::encode(event)), timestamp_ms: 0 };
            let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
            client.produce(&[ProduceBatch { to, records: vec![record] }], by).remove(0).unwrap();
        }
        let run = attempt(1).run.to_string();
        let line = Line::parse_from(["end", &run, "--reason", "its host is gone", "--clusters", "c"]);
        let shown = Shown::default();
        let mut exits = Vec::new();
        for _ in 0..2 {
            let mut screen = Screen::new(shown.clone(), shown.clone());
            exits.push(end(&line.args, client.as_mut(), clock.as_ref(), &mut screen).unwrap());
        }
        let text = shown.text();
        assert!(text.contains(says), "{text}");
        let first = if expected.is_some() { Exit::Done } else { Exit::Found };
        assert_eq!(exits, [first, Exit::Found], "{text}");
        let mut ended = Vec::new();
        scan(client.as_mut(), topics::RUNS, |_, record| {
            let event = wire::decode_event(&record.value.unwrap()).unwrap();
            if let Event::Ended { attempt, reason: EndReason::Operator, detail, .. } = event {
                assert_eq!(record.key.as_deref(), Some(run.as_bytes()));
                ended.push((attempt.attempt, detail));
            }
        })
        .unwrap();
        let expected: Vec<_> =
            expected.into_iter().map(|last| (last, "its host is gone".to_owned())).collect();
        assert_eq!(ended, expected, "{events:?}");
    }

    #[test]
    fn a_run_is_ended_once_after_the_last_of_its_attempts_that_is_known() {
        check(&[published()], Some(0), "is ended; it was waiting");
        check(&[published(), claimed(1)], Some(1), "attempt 1 was claimed by one: its command goes on");
        check(&[claimed(1), finished(1, Then::Retried)], Some(1), "it was waiting for retry");
    }

    #[test]
    fn what_is_over_or_unknown_is_not_ended() {
        check(&[], None, "the topics hold nothing about run");
        check(&[published(), finished(1, Then::Dead)], None, "is over already: given up");
    }
}
