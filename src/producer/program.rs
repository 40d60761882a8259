//! The producer as one thing: its rooms, and the channels between them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::active_jobs::ActiveJobs;
use super::dead_letter_gauge::{self, DeadLetterGauge, DeadLetterMetrics};
use super::file_watch::{self, DueMetrics, FileMetrics, FileWatch, ZoneMetrics};
use super::jobfile::JobFile;
use super::leadership::{self, Lead, LeaderLease};
use super::metrics::{ProducerMetrics, SchedulerMetrics};
use super::publisher::{self, Publisher};
use super::run_tracker;
use super::run_tracker::metrics::RunTrackerMetrics;
use super::run_tracker::thread::RunTrackerThread;
use super::scheduler;
use super::scheduler::clusters::Clusters;
use super::scheduler::machine::Scheduler;
use super::scheduler::thread::SchedulerThread;
use super::topics::{self, TopicMetrics, Topics, Upkeep};
use crate::common::bounds::{LEAD_ACTS, TICK_BATCHES};
use crate::common::exit::Fault;
use crate::common::identity;
use crate::common::membership;
use crate::common::model::ClusterName;
use crate::common::program::Platform;
use crate::common::topics::LEADER;
use crate::common::zones::{self, Zones};

/// A thread that has not come round for so long does not come round any more: far beyond any call's time limit.
const STALLED: Duration = Duration::from_secs(60);
/// The same of the thread that takes over: where a quota holds it back, a step reads for a minute and a half.
const LEAD_STALLED: Duration = Duration::from_secs(180);

/// Where a cursor is lost, what was due longer ago than jobs' `catchup_window` by default is given up.
const CATCH_UP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// What a producer is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The job file.
    pub path: PathBuf,
    /// The clusters that jobs may name.
    pub clusters: Vec<ClusterName>,
    /// How topics are created that are missing.
    pub topics: topics::Options,
    /// The group in which producers elect their leader, and which holds the cursors.
    pub group: String,
    /// How long a consumer may be silent before its attempts count as lost.
    pub lease: Duration,
    /// How long the leader may be silent before another producer takes over.
    pub session_timeout: Duration,
}

/// A producer that runs. Dropping it ends it: nothing more is begun, what is in flight is confirmed, the cursors are
/// committed, and then another producer leads. The fields are in the order in which the threads end.
pub struct Producer {
    _file_watch: FileWatch,
    // The scheduler ends before the run tracker that it listens to: it waits for the last confirmations.
    scheduler: SchedulerThread,
    run_tracker: RunTrackerThread,
    lead: Lead,
    _publishers: Vec<Publisher>,
    _dead_letters: DeadLetterGauge,
    _topics: Topics,
}

impl Producer {
    /// Starts a producer with the jobs of the file, which was read by the data of these zones.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(config: &Config, jobs: JobFile, zones: Zones, platform: &Platform) -> Result<Self, Fault> {
        let Platform { metrics, health, beats, .. } = platform;
        let clusters = &config.clusters;

        let membership = membership::Options {
            group: config.group.clone(),
            topic: LEADER.to_owned(),
            instance_id: None,
            session_timeout: config.session_timeout,
            // A producer that has not begun to lead has led nobody.
            counts_once_taken_up: true,
        };
        let (membership, changes, standing) = platform.join(membership)?;
        let lease = LeaderLease::new(standing.clone(), config.session_timeout);

        let context = topics::Context {
            client: platform.client("topics"),
            clock: platform.clock(),
            health: health.clone(),
            metrics: TopicMetrics::new(metrics),
            beat: beats.thread("topics"),
        };
        let (topics, missing) = Topics::start(Upkeep::new(clusters.clone(), config.topics), context)
            .map_err(Fault::system("the topics' thread"))?;

        let (confirming, confirmed) = bounded(TICK_BATCHES * clusters.len());
        let producer_metrics = ProducerMetrics::new(metrics);
        let publisher = |(number, cluster): (usize, &ClusterName)| {
            let context = publisher::Context {
                client: platform.client("producer"),
                clock: platform.clock(),
                lease: lease.clone(),
                confirmed: confirming.clone(),
                metrics: producer_metrics.of(cluster),
                health: health.clone(),
                missing: missing.clone(),
                beat: beats.thread("publish"),
            };
            Publisher::start(publisher::Options { cluster: cluster.clone(), number }, context)
        };
        let started: Result<Vec<_>, _> = clusters.iter().enumerate().map(publisher).collect();
        let (publishers, batches) =
            started.map_err(Fault::system("a publisher's thread"))?.into_iter().unzip();
        drop(confirming);

        let options = file_watch::Options {
            path: config.path.clone(),
            clusters: clusters.clone(),
            zone_directory: zones::directory(),
            zones,
        };
        let context = file_watch::Context {
            clock: platform.clock(),
            health: health.clone(),
            metrics: FileMetrics::new(metrics),
            zones: ZoneMetrics::new(metrics),
            due: DueMetrics::new(metrics),
            beat: beats.thread("jobs-watch"),
        };
        let (file_watch, files) = FileWatch::start(options, &jobs, context)
            .map_err(Fault::system("the thread that watches the job file"))?;

        let context = dead_letter_gauge::Context {
            client: platform.client("depth"),
            clock: platform.clock(),
            lease: lease.clone(),
            metrics: DeadLetterMetrics::new(metrics),
            duty: health.duty("dead letters"),
            beat: beats.thread("depth"),
        };
        let dead_letters = DeadLetterGauge::start(clusters.clone(), context)
            .map_err(Fault::system("the thread that counts dead letters"))?;

        let (file, name) = (ActiveJobs::from(jobs), identity::name(None));
        let context = run_tracker::thread::Context {
            client: platform.client("tail"),
            clock: platform.clock(),
            lease: lease.clone(),
            metrics: RunTrackerMetrics::new(metrics),
            beat: beats.thread("runs-tail"),
            health: health.clone(),
        };
        let options = run_tracker::Options {
            name: name.clone(),
            group: config.group.clone(),
            clusters: clusters.clone(),
            lease: config.lease,
            overlapping: Clusters::overlapping(&file),
            revision: Arc::clone(&file.revision),
            tzdata: Arc::clone(&file.tzdata),
        };
        let (run_tracker, asks, runs) =
            RunTrackerThread::start(options, context).map_err(Fault::system("the run tracker's thread"))?;

        let (told, leadership) = bounded(LEAD_ACTS);
        let (cursors, keeps) = bounded(1);
        let context = scheduler::thread::Context {
            clock: platform.clock(),
            metrics: SchedulerMetrics::new(metrics, clusters),
            health: health.clone(),
            beat: beats.thread("timer"),
        };
        let channels =
            scheduler::messages::Channels { batches, confirmed, leadership, cursors, files, runs, asks };
        let machine = Scheduler::new(clusters.clone(), file, name, lease);
        let scheduler = SchedulerThread::start(machine, channels, context)
            .map_err(Fault::system("the scheduler's thread"))?;

        let options = leadership::Options { clusters: clusters.clone(), window: CATCH_UP_WINDOW, standing };
        let channels = leadership::Channels { changes, membership, keeps, told };
        let lead = Lead::start(
            options,
            platform.client("lead"),
            platform.clock(),
            channels,
            health,
            beats.thread("lead"),
        )
        .map_err(Fault::system("leadership's thread"))?;

        platform.watch(&["timer"], STALLED);
        platform.watch(&["membership"], STALLED.max(membership::longest_step(config.session_timeout)));
        platform.watch(&["lead"], LEAD_STALLED);
        Ok(Self {
            _file_watch: file_watch,
            scheduler,
            run_tracker,
            lead,
            _publishers: publishers,
            _dead_letters: dead_letters,
            _topics: topics,
        })
    }

    /// Whether a thread has ended by itself.
    pub fn is_over(&self) -> bool {
        self.scheduler.is_over() || self.lead.is_over() || self.run_tracker.is_over()
    }
}
