//! `cronctl runs` prints a line for each run, and further lines while it follows the topics.

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::Args as Arguments;

use super::merge::Merge;
use super::packed::Packed;
use super::part::Part;
use super::row::{self, Row};
use super::run_detail::run_of;
use super::run_list::RunList;
use super::sources::{News, Rule, Sources};
use super::spool::{self, Listed, Spool};
use crate::common::broker::{Broker, BrokerError, Client};
use crate::common::cli::{ClusterList, KafkaArgs};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{ClusterName, Event, JobName};
use crate::common::wire;
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
/// bytes and a place in the order in which they are shown. More records than that are copied to files first.
const ROOM: usize = 400_000;

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
    let mut journal = RunList::default();
    loop {
        let mut news = News::default();
        let take = |listed: &Listed<'_>, news: &mut News| rule.take(listed, &mut journal, news);
        match sources.read(client.as_mut(), &mut news, take) {
            Ok(()) => {
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

/// The rows of all that is new, in order.
fn rows_of(runs: &mut RunList) -> impl Iterator<Item = Row> {
    let news = runs.news();
    news.into_iter().filter_map(|run| runs.get(run).map(|entry| Row::of(&entry)))
}

/// Copies the records to files, and says which part of the runs each file is about.
fn copied(
    client: &mut dyn Client,
    mut sources: Sources,
    rule: &Rule<'_>,
    directory: &Path,
    news: &mut News,
) -> io::Result<Result<Vec<(Part, Packed)>, BrokerError>> {
    let mut spool = Spool::new(directory)?;
    let mut written = Ok(());
    let read = sources.read(client, news, |listed, news| {
        if written.is_ok() {
            written = copy(listed, rule, &mut spool, news);
        }
    });
    written?;
    match read {
        Ok(()) => spool.finish().map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// Copies a record, if it is wanted.
fn copy(listed: &Listed<'_>, rule: &Rule<'_>, spool: &mut Spool, news: &mut News) -> io::Result<()> {
    if !rule.may_want(listed) {
        return Ok(());
    }
    if let Some(run) = listed.run() {
        return spool.add(Some(run), listed);
    }
    if !listed.is_event {
        return match wire::decode_attempt(listed.value) {
            Ok(attempt) => spool.add(Some(attempt.run.id), listed),
            Err(_) => {
                news.unreadable += 1;
                Ok(())
            }
        };
    }
    let Ok(event) = wire::decode_event(listed.value) else { return Ok(()) };
    if let Some(run) = run_of(&event) {
        spool.add(Some(run), listed)
    } else if rule.takes(&event) && matches!(event, Event::Missed { .. }) {
        news.missed.push(event);
        // It tells of all ticks that waited.
        spool.add(None, listed)
    } else {
        Ok(())
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
        let records = match sources.count(client) {
            Ok(records) => usize::try_from(records).unwrap_or(usize::MAX),
            Err(error) => return Ok(Err(error)),
        };
        if records <= room {
            let (mut runs, mut news) = (RunList::of(Part::default(), room), News::default());
            let take = |listed: &Listed<'_>, news: &mut News| rule.take(listed, &mut runs, news);
            if let Err(error) = sources.clone().read(client, &mut news, take) {
                return Ok(Err(error));
            }
            if runs.given_up().is_empty() {
                rows_of(&mut runs).try_for_each(|row| self.show(&row, screen))?;
                return self.show_news(&news, screen).map(Ok);
            }
        }
        let directory = std::env::temp_dir();
        let (mut news, mut rows) = (News::default(), Merge::default());
        let parts = match copied(client, sources.clone(), rule, &directory, &mut news)? {
            Ok(parts) => parts,
            Err(error) => return Ok(Err(error)),
        };
        for (part, records) in parts {
            let mut parts = vec![part];
            while let Some(part) = parts.pop() {
                let (mut runs, mut unreadable) = (RunList::of(part, room), Vec::new());
                spool::read(&records, |listed| {
                    let mut told = News::default();
                    rule.take(listed, &mut runs, &mut told);
                    unreadable.extend(listed.run().filter(|_| told.unreadable > 0));
                })?;
                // Those of the halves that were given up are counted when these are read.
                news.unreadable += unreadable.into_iter().filter(|run| runs.takes(*run)).count();
                parts.extend(runs.given_up());
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
mod tests;
