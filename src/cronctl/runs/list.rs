//! `cronctl runs` prints a line for each run, and further lines while it follows the topics.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args as Arguments;

use super::row;
use super::run_list::{Entry, RunList};
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{ClusterName, Event, JobName, RunId};
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

/// What is new since the last look.
#[derive(Debug, Default)]
struct News {
    runs: Vec<RunId>,
    missed: Vec<Event>,
    /// Messages of clusters' topics that cannot be read: each has a dead letter.
    unreadable: usize,
}

/// Topics that are read on.
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

    /// Reads what has come since the last look.
    fn read(
        &mut self,
        client: &mut dyn Client,
        since: DateTime<Utc>,
        journal: &mut RunList,
    ) -> Result<News, BrokerError> {
        let mut news = News::default();
        let since_ms = since.timestamp_millis();
        for scan in &mut self.messages {
            scan.read(client, |_, record| {
                if record.timestamp_ms < since_ms {
                    return;
                }
                match record.value.as_deref().map(wire::decode_attempt) {
                    Some(Ok(attempt)) => news.runs.extend(journal.message(&attempt)),
                    _ => news.unreadable += 1,
                }
            })?;
        }
        self.events.read(client, |_, record| {
            if record.timestamp_ms < since_ms {
                return;
            }
            let Some(Ok(event)) = record.value.as_deref().map(wire::decode_event) else { return };
            if !topics::concerns(&event, &self.clusters) {
                return;
            }
            let written_at = DateTime::from_timestamp_millis(record.timestamp_ms).unwrap_or_default();
            news.runs.extend(journal.event(&event, written_at));
            if matches!(event, Event::Missed { .. }) {
                news.missed.push(event);
            }
        })?;
        Ok(news)
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
    let mut journal = RunList::default();
    let mut sources = match Sources::since(client.as_mut(), clusters, since) {
        Ok(sources) => sources,
        Err(error) => return super::refused(screen, &error),
    };
    if !args.json {
        screen.say(row::heading())?;
    }
    loop {
        match sources.read(client.as_mut(), since, &mut journal) {
            Ok(news) => {
                args.show(&news, &journal, screen)?;
                if news.unreadable > 0 {
                    screen.complain(format_args!(
                        "{} messages cannot be read (`cronctl dead list`)",
                        news.unreadable
                    ))?;
                }
            }
            Err(error) if args.follow => screen.complain(&error)?,
            Err(error) => return super::refused(screen, &error),
        }
        if !args.follow {
            return Ok(Exit::Done);
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
    fn show(&self, news: &News, journal: &RunList, screen: &mut Screen) -> std::io::Result<()> {
        let mut entries: Vec<&Entry> = news.runs.iter().filter_map(|run| journal.runs.get(run)).collect();
        entries.sort_by_key(|entry| (entry.scheduled_at, &entry.job, entry.run));
        entries.dedup_by_key(|entry| entry.run);
        entries.retain(|entry| self.wants(&entry.job, entry.cluster.as_ref()));
        for entry in entries {
            if self.json {
                screen.say_json(&row::json(entry))?;
            } else {
                screen.say(row::words(entry))?;
            }
        }
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
        sources.read(client.as_mut(), since, &mut journal).unwrap();
        let told: Vec<_> = journal.runs.values().map(|entry| entry.cluster.clone()).collect();
        assert_eq!(told, [Some(ours)]);
    }
}
