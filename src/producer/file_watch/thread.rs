//! The thread `jobs-watch` looks at the job file twice a second and offers each good new one to the scheduler. It
//! parses files here, so that a file of a million jobs delays no tick. It also counts how many of their ticks have come
//! due ([`DueTicks`]), leading or not, by the newest good file.
//!
//! The thread looks at the host's time-zone data too. When that changes, the thread reads the file again and offers it
//! although its content is the same, because its schedules name other instants now.
//!
//! A look costs a few system calls while nothing changes. The debounce says when the content is read. Only the content
//! says whether it is another file, so a file that was only touched changes nothing. A file with a problem changes
//! nothing either; the log, a metric and `/readyz` show it.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};
use prometheus::IntCounterVec;

use super::file::{Found, JobFileLook};
use super::file_status::{FileMetrics, FileStatus};
use super::messages::Options;
use super::zone_status::{ZoneMetrics, ZoneStatus};
use crate::common::bounds::JOB_FILES;
use crate::common::clock::Clock;
use crate::common::http::Health;
use crate::common::metrics::{Beat, Metrics};
use crate::common::model::ClusterName;
use crate::common::thread::{Joined, spawn};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::due::DueTicks;
use crate::producer::jobfile::JobFile;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What the thread needs, and where it shows how the file is.
pub struct Context {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where [`FACT`] is set.
    pub health: Health,
    /// What is measured of the file.
    pub metrics: FileMetrics,
    /// What is measured of the zone data.
    pub zones: ZoneMetrics,
    /// Where its ticks are counted.
    pub due: DueMetrics,
    /// Touched at each look.
    pub beat: Beat,
}

/// `cron_ticks_due_total{cluster}`.
#[derive(Debug, Clone)]
pub struct DueMetrics(IntCounterVec);

impl DueMetrics {
    /// Registers the metric.
    pub fn new(metrics: &Metrics) -> Self {
        let help =
            "Ticks of the newest good job file whose instant has come, in the leader and in standbys alike.";
        Self(metrics.counters("cron_ticks_due_total", help, &["cluster"]))
    }

    fn add(&self, counted: Vec<(ClusterName, u64)>) {
        for (cluster, count) in counted {
            self.0.with_label_values(&[cluster.as_str()]).inc_by(count);
        }
    }
}

/// The handle. Dropping it ends the thread, after the file that it is reading at the moment.
#[derive(Debug)]
pub struct FileWatch {
    _stop: Sender<()>,
    thread: Joined,
}

impl FileWatch {
    /// Starts the thread. `current` is the file as it was read before: the thread notices what has changed since then.
    ///
    /// The receiver gets a file each time that another good content stands there. Of several files that the receiver
    /// has not taken only the newest is left; its revision may then be one that the receiver has already.
    ///
    /// A path that is no regular file (a pipe, as in `producer <(make-jobs)`) cannot be read twice, and is not watched.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        current: &JobFile,
        context: Context,
    ) -> io::Result<(Self, Receiver<JobFile>)> {
        let (stop, stopped) = bounded(0);
        let (offers, taken) = bounded(JOB_FILES);
        let Context { clock, health, metrics, zones: measured, due: counted, beat } = context;
        let zones = options.zones.clone();
        let mut shown_zones = ZoneStatus::new(measured);
        let clusters = options.clusters.clone();
        let is_watched = fs::metadata(&options.path).map_or(true, |found| found.is_file());
        if !is_watched {
            log::info!(
                "{} is no regular file: it was read once and is not watched, nor are time zones",
                options.path.display()
            );
        }
        let mut shown = FileStatus::new(&options.path, &current.revision, metrics, health);
        let mut job_file = is_watched.then(|| JobFileLook::new(options, &current.revision));
        let offer = Offer { offers, untaken: taken.clone() };
        let file = ActiveJobs {
            jobs: current.jobs.clone(),
            revision: Arc::clone(&current.revision),
            tzdata: Arc::clone(&current.tzdata),
        };
        // Each cluster has a count from the start, so that a first tick is a rise and not a beginning.
        counted.add(clusters.iter().map(|cluster| (cluster.clone(), 0)).collect());
        let thread = spawn("jobs-watch", move || {
            let mut due = DueTicks::new(&clusters, &file, clock.now());
            drop(file);
            loop {
                beat.touch(clock.now());
                shown_zones.show(job_file.as_ref().map_or(&zones, JobFileLook::zones), clock.now());
                if let Some(found) = job_file.as_mut().and_then(|job_file| job_file.look(clock.monotonic())) {
                    shown.show(&found);
                    if let Found::Right { file: Some(file), .. } = found {
                        let jobs = ActiveJobs {
                            jobs: file.jobs.clone(),
                            revision: Arc::clone(&file.revision),
                            tzdata: Arc::clone(&file.tzdata),
                        };
                        counted.add(due.swap(&jobs, clock.now()));
                        offer.make(file);
                    }
                }
                counted.add(due.count(clock.now()));
                select! {
                    recv(stopped) -> _ => return,
                    recv(clock.alarm(LOOK)) -> _ => {}
                }
            }
        })?;
        Ok((Self { _stop: stop, thread }, taken))
    }

    /// Whether the thread has ended by itself, which only a bug does.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The channel of which only the newest file counts.
struct Offer {
    offers: Sender<JobFile>,
    /// The receiving end as the taker has it, to take back what it has not taken.
    untaken: Receiver<JobFile>,
}

impl Offer {
    fn make(&self, file: JobFile) {
        let mut next = file;
        // No other thread sends, so the place is free now: this thread took the old file back, or the receiver was
        // quicker.
        while let Err(TrySendError::Full(file)) = self.offers.try_send(next) {
            if let Ok(older) = self.untaken.try_recv() {
                log::debug!(
                    "the job file of revision {} was replaced before anybody took it",
                    older.revision
                );
            }
            next = file;
        }
    }
}

#[cfg(test)]
mod tests;
