//! `cronctl runs` prints a line for each run, and further lines while it follows the topics.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args as Arguments;

use super::merge::Merge;
use super::part::Part;
use super::peek;
use super::row::{self, Row};
use super::run_list::RunList;
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{ClusterName, Event, JobName};
use crate::common::scan::Scan;
use crate::common::{topics, wire};
use crate::cronctl::instant::Moment;
use crate::cronctl::screen::{Answer, Screen};

/// How often topics are looked at while they are followed.
const FOLLOW: Duration = Duration::from_millis(500);

/// Which runs are shown, and how.
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// Only runs of this job
    #[arg(long, value_name = "JOB")]
    job: Option<JobName>,

    /// Only runs of this cluster
    #[arg(long, env = "KAFKA_CRON_CLUSTER", value_name = "CLUSTER")]
    cluster: Option<ClusterName>,

    /// The clusters whose runs to show, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    clusters: ClusterList,

    /// Show runs since this instant, or since this long ago
    #[arg(long, env = "KAFKA_CRON_SINCE", default_value = "1h", value_name = "RFC3339|DURATION")]
    since: Moment,

    /// Keep running, and print a line each time something happens to a run
    #[arg(long)]
    follow: bool,

    /// Print one JSON object per line instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    kafka: KafkaArgs,
}

/// How much is kept of the runs at a time, counted in finished ones, each of which takes some fifty
/// bytes and a place in the order in which they are shown.
const ROOM: usize = 400_000;

/// What is new since the last look, besides what the run list knows.
#[derive(Debug, Default)]
struct News {
    missed: Vec<Event>,
    /// Messages of clusters' topics that cannot be read: each has a dead letter.
    unreadable: usize,
}

/// Topics that are read on.
#[derive(Clone)]
struct Sources {
    clusters: Vec<ClusterName>,
    messages: Vec<Scan>,
    events: Scan,
}

impl Sources {
    fn since(
        client: &mut dyn Client,
        clusters: &[ClusterName],
        since: DateTime<Utc>,
    ) -> Result<Self, BrokerError> {
        let mut sources = Self {
            clusters: clusters.to_vec(),
            messages: clusters.iter().map(|cluster| Scan::new(&topics::first(cluster))).collect(),
            events: Scan::new(topics::RUNS),
        };
        for scan in sources.messages.iter_mut().chain([&mut sources.events]) {
            scan.skip_to(client, since.timestamp_millis())?;
        }
        Ok(sources)
    }

    /// Reads what has come since the last look: the runs of one job, where it is named.
    fn read(
        &mut self,
        client: &mut dyn Client,
        since: DateTime<Utc>,
        job: Option<&JobName>,
        journal: &mut RunList,
    ) -> Result<News, BrokerError> {
        // What is about no job in particular is about this one, too.
        let any = JobName::any();
        let is_wanted = |of: &JobName| job.is_none_or(|job| job == of || *of == any);
        let mut news = News::default();
        let since_ms = since.timestamp_millis();
        for scan in &mut self.messages {
            scan.read(client, |_, record| {
                if record.timestamp_ms < since_ms {
                    return;
                }
                let value = record.value.as_deref();
                if value.and_then(peek::message).is_some_and(|run| !journal.takes(run)) {
                    return;
                }
                match value.map(wire::decode_attempt) {
                    Some(Ok(attempt)) if is_wanted(&attempt.run.job) => drop(journal.message(&attempt)),
                    Some(Ok(_)) => {}
                    _ => news.unreadable += 1,
                }
            })?;
        }
        self.events.read(client, |_, record| {
            if record.timestamp_ms < since_ms {
                return;
            }
            let value = record.value.as_deref();
            if value.and_then(peek::event).is_some_and(|run| !journal.takes(run)) {
                return;
            }
            let Some(Ok(event)) = value.map(wire::decode_event) else { return };
            if !topics::concerns(&event, &self.clusters) || !job_of(&event).is_none_or(is_wanted) {
                return;
            }
            let written_at = DateTime::from_timestamp_millis(record.timestamp_ms).unwrap_or_default();
            journal.event(&event, written_at);
            if matches!(event, Event::Missed { .. }) {
                news.missed.push(event);
            }
        })?;
        Ok(news)
    }
}

/// The job that an event names, where it is about a run or about ticks that were missed.
fn job_of(event: &Event) -> Option<&JobName> {
    match event {
        Event::Claimed { job, .. }
        | Event::Finished { job, .. }
        | Event::Published { job, .. }
        | Event::Queued { job, .. }
        | Event::Skipped { job, .. }
        | Event::Ended { job, .. }
        | Event::Missed { job, .. } => Some(job),
        Event::Lost { job, .. } => job.as_ref(),
        _ => None,
    }
}

/// Shows the runs since an instant.
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
    let since = args.since.from(clock.now());
    let clusters = args.cluster.as_ref().map_or(args.clusters.as_slice(), std::slice::from_ref);
    let mut sources = match Sources::since(client.as_mut(), clusters, since) {
        Ok(sources) => sources,
        Err(error) => return super::refused(screen, &error),
    };
    if !args.json {
        screen.say(row::heading())?;
    }
    if !args.follow {
        return match args.list(client.as_mut(), &sources, (since, ROOM), screen)? {
            Ok(()) => Ok(Exit::Done),
            Err(error) => super::refused(screen, &error),
        };
    }
    let mut journal = RunList::default();
    loop {
        match sources.read(client.as_mut(), since, args.job.as_ref(), &mut journal) {
            Ok(news) => {
                for run in journal.news() {
                    journal.get(run).into_iter().try_for_each(|entry| args.show(&Row::of(&entry), screen))?;
                }
                args.show_news(&news, screen)?;
            }
            Err(error) => screen.complain(&error)?,
        }
        screen.flush()?;
        if !screen.is_heard() {
            return Ok(Exit::Done);
        }
        journal.forget_before(clock.now() - FORGOTTEN);
        // The alarm always rings; were its channel gone, the next look would come at once.
        let _rung = clock.alarm(FOLLOW).recv();
    }
}

/// How long ago a run was due that is no longer followed once it is over: all that is told of it has been told.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

impl Args {
    /// Shows all runs once. Where they are too many to be kept, the topics are read once for each part of them.
    fn list(
        &self,
        client: &mut dyn Client,
        sources: &Sources,
        (since, room): (DateTime<Utc>, usize),
        screen: &mut Screen,
    ) -> std::io::Result<Result<(), BrokerError>> {
        let (mut parts, mut rows) = (vec![Part::default()], Merge::new(std::env::temp_dir()));
        let mut first_news = None;
        while let Some(part) = parts.pop() {
            let mut journal = RunList::of(part, room);
            let news = match sources.clone().read(client, since, self.job.as_ref(), &mut journal) {
                Ok(news) => news,
                Err(error) => return Ok(Err(error)),
            };
            // Later readings tell the same again.
            first_news.get_or_insert(news);
            parts.extend(journal.given_up());
            let runs = journal.news();
            let mut entries = runs.iter().filter_map(|run| journal.get(*run)).map(|entry| Row::of(&entry));
            if parts.is_empty() && rows.is_empty() {
                entries.try_for_each(|row| self.show(&row, screen))?;
            } else {
                rows.write(entries)?;
            }
        }
        rows.read(|row| self.show(row, screen))?;
        first_news.map_or(Ok(()), |news| self.show_news(&news, screen)).map(Ok)
    }

    fn show(&self, row: &Row, screen: &mut Screen) -> std::io::Result<()> {
        if !self.wants(row.job(), row.cluster()) {
            Ok(())
        } else if self.json {
            screen.say_json(row)
        } else {
            screen.say(row.words())
        }
    }

    fn show_news(&self, news: &News, screen: &mut Screen) -> std::io::Result<()> {
        for event in &news.missed {
            let Event::Missed { job, cluster, .. } = event else { continue };
            if !self.wants(job, Some(cluster)) {
                continue;
            }
            if self.json {
                screen.say_json(event)?;
            } else if let Some(line) = row::missed(event) {
                screen.say(line)?;
            }
        }
        if news.unreadable > 0 {
            screen.complain(format_args!(
                "{} messages cannot be read (`cronctl dead list`)",
                news.unreadable
            ))?;
        }
        Ok(())
    }

    fn wants(&self, job: &JobName, cluster: Option<&ClusterName>) -> bool {
        self.job.as_ref().is_none_or(|wanted| wanted == job)
            && self.cluster.as_ref().is_none_or(|wanted| Some(wanted) == cluster)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::common::broker::memory::MemoryBroker;
    use crate::common::broker::{ProduceBatch, Record, TopicPartition};
    use crate::common::clock::ManualClock;
    use crate::common::model::{AttemptRef, Outcome, Place, RunId, Then};
    use crate::cronctl::shown::Shown;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// The events of a run of the tick in a second: its end is a failure, a success, or not there yet.
    fn events(second: i64) -> Vec<Event> {
        let (job, at): (JobName, _) =
            (format!("j-{}", second % 3).parse().unwrap(), DateTime::from_timestamp(second / 2, 0).unwrap());
        let (consumer, cluster): (_, ClusterName) = ("one".to_owned(), "ours".parse().unwrap());
        let attempt = AttemptRef { run: RunId::of(&job, at), attempt: 1 };
        let place = Place { topic: "ours".to_owned(), topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 };
        let (job_, consumer_) = (job.clone(), consumer.clone());
        let claimed = Event::Claimed { attempt, job: job_, place, consumer: consumer_, lease_ms: 1, at };
        let (outcome, then) = match second % 5 {
            0 => (Outcome::TimedOut, Then::Retried),
            1 => return vec![claimed],
            _ => (Outcome::Succeeded, Then::Done),
        };
        let finished = Event::Finished {
            attempt,
            job,
            cluster,
            scheduled_at: at,
            consumer,
            outcome,
            then,
            started_at: at,
            ended_at: at,
            output_bytes: 0,
            output_tail: String::new(),
        };
        vec![claimed, finished.clone(), finished]
    }

    #[test]
    fn more_runs_than_there_is_room_for_are_listed_as_any_others() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let mut client = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>).client("cronctl");
        let by = clock.monotonic() + Duration::from_secs(10);
        let ours: ClusterName = "ours".parse().unwrap();
        for spec in topics::all(std::slice::from_ref(&ours), 1, 1) {
            client.create_topic(&spec, by).unwrap();
        }
        for event in (0..200).rev().flat_map(events) {
            let records = vec![Record { key: None, value: Some(wire::encode(&event)), timestamp_ms: 0 }];
            let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
            client.produce(&[ProduceBatch { to, records }], by).remove(0).unwrap();
        }
        let since = DateTime::UNIX_EPOCH;
        let sources = Sources::since(client.as_mut(), std::slice::from_ref(&ours), since).unwrap();
        let mut listed = |room: usize, words: &[&str]| {
            let line = <Line as clap::Parser>::parse_from(["runs"].iter().chain(words));
            let shown = Shown::default();
            let mut screen = Screen::new(shown.clone(), std::io::sink());
            line.args.list(client.as_mut(), &sources, (since, room), &mut screen).unwrap().unwrap();
            shown.text()
        };
        for words in [&[][..], &["--json"], &["--job", "j-1"]] {
            let whole = listed(usize::MAX, words);
            assert!(whole.lines().count() > 60, "{whole}");
            for room in [2_000, 300, 9] {
                assert_eq!(listed(room, words), whole, "{room} {words:?}");
            }
        }
    }

    #[test]
    fn what_another_fleet_tells_of_a_run_of_the_same_id_is_not_told_of_ours() {
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let broker = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>);
        let mut client = broker.client("cronctl");
        let by = clock.monotonic() + Duration::from_secs(10);
        let ours: ClusterName = "ours".parse().unwrap();
        for spec in topics::all(std::slice::from_ref(&ours), 1, 1) {
            client.create_topic(&spec, by).unwrap();
        }
        for cluster in ["theirs", "ours"] {
            let job: JobName = "j".parse().unwrap();
            let (scheduled_at, at) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
            let blocked_by = RunId::of(&job, at);
            let cluster = cluster.parse().unwrap();
            let event = Event::Skipped { job, cluster, scheduled_at, blocked_by, at };
            let records = vec![Record { key: None, value: Some(wire::encode(&event)), timestamp_ms: 0 }];
            let to = TopicPartition { topic: topics::RUNS.to_owned(), partition: 0 };
            client.produce(&[ProduceBatch { to, records }], by).remove(0).unwrap();
        }
        let (mut journal, since) = (RunList::default(), DateTime::UNIX_EPOCH);
        let mut sources = Sources::since(client.as_mut(), std::slice::from_ref(&ours), since).unwrap();
        sources.read(client.as_mut(), since, None, &mut journal).unwrap();
        let told: Vec<_> =
            journal.news().iter().map(|run| journal.get(*run).unwrap().cluster.clone()).collect();
        assert_eq!(told, [Some(ours)]);
    }
}
