//! A producer: the simulation steps its threads in turn, and its state machines are the shipped ones.

mod leading;
mod scheduling;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never};
use kafka_cron::common::bounds::{LEAD_ACTS, RUNS_TOLD, TICK_BATCHES};
use kafka_cron::common::broker::Client;
use kafka_cron::common::clock::Now;
use kafka_cron::common::membership::{self, Change, Member, Rounds, Standing};
use kafka_cron::common::topics::LEADER;
use kafka_cron::producer::active_jobs::ActiveJobs;
use kafka_cron::producer::leadership::{self, CursorCommit, Effect, LeaderLease, Leadership, Term};
use kafka_cron::producer::plan::Batch;
use kafka_cron::producer::publisher::{Confirmed, Publishing};
use kafka_cron::producer::run_tracker as tracker;
use kafka_cron::producer::run_tracker::RunTracker;
use kafka_cron::producer::run_tracker::messages::{FollowRequest, RunNews};
use kafka_cron::producer::scheduler::clusters::Clusters;
use kafka_cron::producer::scheduler::machine::Scheduler;
use kafka_cron::producer::scheduler::messages::Channels;
use kafka_cron::producer::scheduler::outbox::Outbox;

use super::Actor;
use crate::bugs::Bug;
use crate::jobs;
use crate::misled::plant;
use crate::world::{SESSION, World, cluster};

/// A thread of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    Membership,
    Lead,
    Scheduler,
    Publish,
    RunTracker,
}

const THREADS: [Thread; 5] =
    [Thread::Membership, Thread::Lead, Thread::Scheduler, Thread::Publish, Thread::RunTracker];

/// The other ends of the scheduler's channels.
struct Ends {
    batches: Receiver<Batch>,
    confirmed: Sender<Confirmed>,
    leadership: Sender<Effect>,
    cursors: Receiver<CursorCommit>,
    runs: Sender<RunNews>,
    asks: Receiver<FollowRequest>,
}

/// The channels as the program has them.
fn channels() -> (Channels, Ends) {
    let (to_publisher, batches) = bounded(TICK_BATCHES);
    let (confirming, confirmed) = bounded(TICK_BATCHES);
    let ((leading, leadership), (telling, runs)) = (bounded(LEAD_ACTS), bounded(RUNS_TOLD));
    let ((keeping, cursors), (asking, asks)) = (bounded(1), bounded(3));
    let channels = Channels {
        batches: vec![to_publisher],
        confirmed,
        leadership,
        cursors: keeping,
        files: never(),
        runs,
        asks: asking,
    };
    let ends = Ends { batches, confirmed: confirming, leadership: leading, cursors, runs: telling, asks };
    (channels, ends)
}

/// A producer.
pub struct Producer {
    name: String,
    bug: Option<Bug>,
    /// When each thread comes round next, and the first of these.
    wakes: Vec<(Thread, Instant)>,
    soonest: Instant,

    member: Member,
    members_client: Box<dyn Client>,
    standing: Standing,
    rounds: Rounds,
    changes: Sender<Change>,
    changed: Receiver<Change>,

    leadership: Leadership,
    leads_client: Box<dyn Client>,

    scheduler: Scheduler,
    outbox: Outbox,
    channels: Channels,
    ends: Ends,
    lease: LeaderLease,
    /// Which of the job files this is, and when the next one is noticed.
    file: usize,
    notices_at: Option<Instant>,

    publishing: Publishing,
    /// A batch that is written, of which the scheduler is to hear.
    unconfirmed: Option<Confirmed>,
    /// The term of the batch that is being written.
    writing: Option<Term>,
    publishes: Box<dyn Client>,
    rest: Duration,

    tracker: RunTracker,
    tails_client: Box<dyn Client>,

    leaves_by: Option<Instant>,
    is_over: bool,
}

impl Producer {
    /// One that has just been started.
    pub fn new(world: &mut World, bug: Option<Bug>, name: String) -> Self {
        let now = world.now().mono;
        let member = Member::new(membership::Options {
            group: LEADER.to_owned(),
            topic: LEADER.to_owned(),
            instance_id: None,
            session_timeout: SESSION,
            counts_once_taken_up: true,
        });
        let standing = Standing::new(now);
        let leadership = Leadership::new(leadership::Options {
            clusters: vec![cluster()],
            window: Duration::from_secs(24 * 60 * 60),
            standing: standing.clone(),
        });
        let file = file_of(world.file, &name, bug);
        world.oracle.overlaps.asks(&file.revision, now);
        let options = tracker::Options {
            name: name.clone(),
            group: kafka_cron::common::topics::LEADER.to_owned(),
            clusters: vec![cluster()],
            lease: world.lease,
            overlapping: Clusters::overlapping(&file),
            revision: Arc::clone(&file.revision),
            tzdata: Arc::clone(&file.tzdata),
        };
        let publishing = Publishing::new(&cluster(), 0);
        let lease = LeaderLease::new(standing.clone(), SESSION);
        let scheduler = Scheduler::new(vec![cluster()], file, name.clone(), lease.clone());
        let (channels, ends) = channels();
        let (changes, changed) = bounded(1);
        Self {
            wakes: THREADS.map(|thread| (thread, now)).to_vec(),
            soonest: now,
            member,
            members_client: world.client(&format!("{name}-membership")),
            lease,
            standing,
            rounds: Rounds::default(),
            changes,
            changed,
            leadership,
            leads_client: plant(
                world.patient_client(&format!("{name}-lead")),
                bug.filter(|bug| bug.is_of_cursors()),
            ),
            unconfirmed: None,
            writing: None,
            publishing,
            scheduler,
            outbox: Outbox::default(),
            channels,
            ends,
            file: world.file,
            notices_at: None,
            publishes: world.client(&format!("{name}-publish")),
            rest: Duration::ZERO,
            tracker: RunTracker::new(options, now),
            tails_client: plant(
                world.patient_client(&format!("{name}-tail")),
                bug.filter(|bug| bug.is_tails()),
            ),
            leaves_by: None,
            is_over: false,
            bug,
            name,
        }
    }

    fn wake(&mut self, thread: Thread, at: Instant) {
        let wakes = self.wakes.iter_mut().find(|(which, _)| *which == thread);
        wakes.into_iter().for_each(|(_, wakes)| *wakes = at.min(*wakes));
        self.soonest = self.soonest.min(at);
    }
}

/// The job file of a number as a producer has it, or as a bug has it.
fn file_of(number: usize, name: &str, bug: Option<Bug>) -> ActiveJobs {
    let mut file = jobs::file(number, name);
    if bug == Some(Bug::ShortensTheDeadline) {
        for job in file.jobs.iter_mut().filter(|job| job.limits.deadline_ms.is_some()) {
            Arc::make_mut(job).limits.deadline_ms = Some(5_000);
        }
    }
    file
}

impl Actor for Producer {
    fn name(&self) -> &str {
        &self.name
    }

    fn wakes(&self) -> Instant {
        self.soonest
    }

    fn step(&mut self, world: &mut World, now: Now) {
        let due: Vec<usize> = (0..self.wakes.len()).filter(|i| self.wakes[*i].1 <= now.mono).collect();
        let (thread, wakes) = &mut self.wakes[due[world.random.index(due.len())]];
        *wakes = now.mono + Duration::from_secs(3_600);
        let thread = *thread;
        let wait = match thread {
            Thread::Membership => self.membership(world, now),
            Thread::Lead => self.lead(world, now),
            Thread::Scheduler => self.timer(world, now),
            Thread::Publish => self.publish(world, now),
            Thread::RunTracker => self.tracker(world, now),
        };
        self.wake(thread, now.mono + wait);
        self.soonest = self.wakes.iter().map(|(_, at)| *at).min().unwrap_or(now.mono);
    }

    fn leave(&mut self, now: Now) {
        self.leaves_by.get_or_insert(now.mono + Duration::from_secs(3));
        self.wake(Thread::Scheduler, now.mono);
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}
