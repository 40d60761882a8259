//! `cronctl check` prints what is wrong with a job file, or what is in it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args as Arguments;

use super::screen::{Answer, Screen};
use crate::common::cli::ClusterList;
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::ClusterName;
use crate::common::zones::Zones;
use crate::producer::job::Job;
use crate::producer::jobfile::{self, JobFile};

/// How many jobs are shown with their next ticks.
const SHOWN: usize = 5;

/// Is a job file right, and what is in it?
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The job file, as docs/jobfile.md describes it
    pub file: PathBuf,

    /// The clusters that jobs may name, separated by commas
    #[arg(long, env = "KAFKA_CRON_CLUSTERS", default_value = ClusterList::DEFAULT, value_name = "LIST")]
    pub clusters: ClusterList,
}

/// A summary of the file, or every problem that it has.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let file = match load(&args.file, args.clusters.as_slice(), screen)? {
        Ok(file) => file,
        Err(exit) => return Ok(exit),
    };
    for warning in &file.warnings {
        screen.complain(warning)?;
    }
    summary(&args.file.display().to_string(), &file, args.clusters.as_slice(), clock.now(), screen)?;
    Ok(Exit::Done)
}

/// A job file without problems; or they are told, and how the program ends.
///
/// # Errors
/// The answer cannot be written.
pub(super) fn load(
    path: &Path,
    clusters: &[ClusterName],
    screen: &mut Screen,
) -> io::Result<Result<JobFile, Exit>> {
    let name = path.display().to_string();
    let content = match File::open(path).and_then(jobfile::read) {
        Ok(content) => content,
        Err(error) => {
            screen.complain(format_args!("{name} cannot be read: {error}"))?;
            return Ok(Err(Exit::System));
        }
    };
    match jobfile::parse_in(&name, &content, clusters, &Zones::of_host()) {
        Ok(file) => Ok(Ok(file)),
        Err(problems) => {
            problems.iter().try_for_each(|problem| screen.complain(problem))?;
            Ok(Err(Exit::Usage))
        }
    }
}

fn summary(
    name: &str,
    file: &JobFile,
    clusters: &[ClusterName],
    now: DateTime<Utc>,
    screen: &mut Screen,
) -> io::Result<()> {
    let schedules: HashSet<_> = file.jobs.iter().map(|job| Arc::as_ptr(&job.schedule)).collect();
    let mut jobs: BTreeMap<&ClusterName, usize> = clusters.iter().map(|cluster| (cluster, 0)).collect();
    for job in &file.jobs {
        *jobs.entry(&job.cluster).or_default() += 1;
    }
    screen.say(format_args!(
        "{name}: revision {}, {}, {}, {}",
        file.revision,
        counted(file.jobs.len(), "job"),
        counted(schedules.len(), "schedule"),
        counted(file.warnings.len(), "warning")
    ))?;
    for (cluster, count) in jobs {
        screen.say(format_args!("  {cluster}: {}", counted(count, "job")))?;
    }
    if !file.jobs.is_empty() {
        screen.say("next ticks:")?;
    }
    for job in file.jobs.iter().take(SHOWN) {
        screen.say(format_args!("  {} {}", next(job, now), job.name))?;
    }
    match file.jobs.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => screen.say(format_args!("  and those of {}", counted(more, "more job"))),
    }
}

fn next(job: &Job, now: DateTime<Utc>) -> String {
    match job.next(now) {
        None if job.schedule.is_reboot() => "@reboot".to_owned(),
        Some(tick) => tick.to_rfc3339_opts(SecondsFormat::Secs, true),
        None => "never".to_owned(),
    }
}

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
