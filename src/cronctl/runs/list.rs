//! `cronctl runs` prints a line for each run, and further lines while it follows the topics.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use clap::Args as Arguments;
use uuid::Uuid;

use super::merge::Merge;
use super::packed::Packed;
use super::part::Part;
use super::peek;
use super::row::{self, Row};
use super::run_detail::run_of;
use super::run_list::RunList;
use super::sources::{News, Record, Rule, Sources, run_of_event, written_at};
use super::spool::{self, Spool};
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{ClusterName, Event, JobName, Place, Run};
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

/// How much is kept of the runs at a time, counted in finished ones, each of which takes some fifty bytes and a place in the
/// order in which they are shown. More runs than that are copied to files first. A map of more than 229,376 takes twice the room.
const ROOM: usize = 220_000;

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
    let rule = Rule { job: args.job.as_ref(), clusters };
    if !args.follow {
        return match args.list(client.as_mut(), &sources, (&rule, ROOM), screen)? {
            Ok(()) => Ok(Exit::Done),
            Err(error) => super::refused(screen, &error),
        };
    }
    let (mut runs, mut news) = (RunList::default(), News::default());
    loop {
        let take = |record: Record<'_>| {
            rule.take(record, &mut runs, &mut news);
            ControlFlow::Continue(())
        };
        match sources.read(client.as_mut(), take) {
            Ok(()) => {
                let news = std::mem::take(&mut news);
                news.tell(&mut runs);
                for run in runs.news() {
                    runs.get(run).into_iter().try_for_each(|entry| args.show(&Row::of(&entry), screen))?;
                }
                args.show_news(&news, screen)?;
            }
            Err(error) => screen.complain(&error)?,
        }
        screen.flush()?;
        if !screen.is_heard() {
            return Ok(Exit::Done);
        }
        runs.forget_before(clock.now() - FORGOTTEN);
        // The alarm always rings; were its channel gone, the next look would come at once.
        let _rung = clock.alarm(FOLLOW).recv();
    }
}

/// How long ago a run was due that is no longer followed once it is over: all that is told of it has been told.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// The rows of all that is new, in order.
fn rows_of(runs: &mut RunList) -> impl Iterator<Item = Row> {
    let news = runs.news();
    news.into_iter().filter_map(|run| runs.get(run).map(|entry| Row::of(&entry)))
}

/// Copies what is listed to files, and says which part of the runs each file is about.
fn copied(
    client: &mut dyn Client,
    mut sources: Sources,
    rule: &Rule<'_>,
    directory: &Path,
    news: &mut News,
) -> io::Result<Result<Vec<(Part, Packed)>, BrokerError>> {
    let mut spool = Spool::new(directory)?;
    let mut copied = Ok(());
    let read = sources.read(client, |record| {
        copied = copy(record, rule, &mut spool, news);
        if copied.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    copied?;
    match read {
        Ok(()) => spool.finish().map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Copies a record as the event that tells the list as much as the record does.
fn copy(record: Record<'_>, rule: &Rule<'_>, spool: &mut Spool, news: &mut News) -> io::Result<()> {
    match record {
        Record::Message(cluster, value) => match rule.message(cluster, value, news) {
            Some(attempt) => spool.add(attempt.run.id, 0, [&wire::encode(&published(&attempt.run)), b""]),
            None => Ok(()),
        },
        Record::Event(written_ms, value) => {
            if let Some(run) = run_of_event(value).filter(|_| rule.may_list(value)) {
                return spool.add(run, written_ms, peek::without_output(value).into());
            }
            match rule.event(value) {
                Some(event @ Event::Missed { .. }) => news.missed.push((event, written_at(written_ms))),
                Some(event) => {
                    if let Some(run) = run_of(&event) {
                        return spool.add(run, written_ms, [value, b""]);
                    }
                }
                None => {}
            }
            Ok(())
        }
    }
}

/// That a run was published: all that its message tells.
fn published(run: &Run) -> Event {
    let topic = topics::first(&run.cluster);
    Event::Published {
        run: run.id,
        job: run.job.clone(),
        cluster: run.cluster.clone(),
        scheduled_at: run.scheduled_at,
        // Which message it was plays no part.
        place: Place { topic, topic_id: Uuid::nil(), partition: 0, offset: 0 },
        at: run.scheduled_at,
    }
}

impl Args {
    /// Shows all runs once. Where they are too many to be kept, they are copied to files, each with a part of them.
    fn list(
        &self,
        client: &mut dyn Client,
        sources: &Sources,
        (rule, room): (&Rule<'_>, usize),
        screen: &mut Screen,
    ) -> io::Result<Result<(), BrokerError>> {
        let (mut runs, mut news) = (RunList::of(Part::default(), room), News::default());
        let read = sources.clone().read(client, |record| {
            rule.take(record, &mut runs, &mut news);
            if runs.has_given_up() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Err(error) = read {
            return Ok(Err(error));
        }
        if !runs.has_given_up() {
            news.tell(&mut runs);
            rows_of(&mut runs).try_for_each(|row| self.show(&row, screen))?;
            return self.show_news(&news, screen).map(Ok);
        }
        drop(runs);
        let (directory, mut rows, mut news) = (std::env::temp_dir(), Merge::default(), News::default());
        let parts = match copied(client, sources.clone(), rule, &directory, &mut news)? {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error)),
        };
        for (part, events) in parts {
            let mut parts = vec![part];
            while let Some(part) = parts.pop() {
                let mut runs = RunList::of(part, room);
                spool::read(&events, |written_ms, event| {
                    rule.take(Record::Event(written_ms, event), &mut runs, &mut News::default());
                })?;
                parts.extend(runs.given_up());
                news.tell(&mut runs);
                rows.write(&directory, rows_of(&mut runs))?;
            }
        }
        rows.read(|row| self.show(row, screen))?;
        self.show_news(&news, screen).map(Ok)
    }

    fn show(&self, row: &Row, screen: &mut Screen) -> io::Result<()> {
        if !self.wants(row.job(), row.cluster()) {
            Ok(())
        } else if self.json {
            screen.say_json(row)
        } else {
            screen.say(row.words())
        }
    }

    fn show_news(&self, news: &News, screen: &mut Screen) -> io::Result<()> {
        for (event, _) in &news.missed {
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
mod tests;
