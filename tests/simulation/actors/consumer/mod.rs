//! A consumer: the simulation steps its threads in turn, and its state machines are the shipped ones. Between
//! them stand the queues that are channels in the program, filled and emptied as its threads do.

mod dispatch;
mod ordered;
mod reading;
mod working;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};
use kafka_cron::common::bounds::ORDERS_REMEMBERED;
use kafka_cron::common::broker::Client;
use kafka_cron::common::clock::Now;
use kafka_cron::common::membership::{self, Change, Member, Rounds};
use kafka_cron::common::model::RunningAttempt;
use kafka_cron::consumer::claiming::machine::{Claimed, Claimer, Options};
use kafka_cron::consumer::claiming::outbox::Outbox;
use kafka_cron::consumer::fetching::fetcher::{Chunk, Track};
use kafka_cron::consumer::fetching::poll::Plan;
use kafka_cron::consumer::orders::machine::OrderReader;
use kafka_cron::consumer::orders::messages::News;
use kafka_cron::consumer::orders::remembered::Remembered;
use kafka_cron::consumer::reporting::machine::Reporting;
use kafka_cron::consumer::reporting::messages as reporting;

use super::Actor;
use crate::bugs::Bug;
use crate::misled::plant;
use crate::world::{SESSION, World, cluster};

/// Where a consumer sits: what stays when it is started again.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Topic and group.
    pub topic: &'static str,
    /// Static membership.
    pub instance: Option<String>,
    pub bug: Option<Bug>,
}

/// A thread of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thread {
    Membership,
    Claiming,
    Fetch,
    Orders,
    Reporter,
    Worker(usize),
}

/// A partition that is read, and what goes wrong with that.
struct Reading {
    track: Arc<Track>,
    /// From where it is said to be read first, where a bug reads from elsewhere.
    pretends: Option<i64>,
    /// Some of what was read got lost on the way to the claiming thread.
    lacks_some: bool,
}

struct Busy {
    claimed: Claimed,
    started_at: DateTime<Utc>,
    ends: Instant,
    /// It was told to end, or was not started for that.
    is_replaced: bool,
    was_started: bool,
}

/// A consumer.
pub struct Consumer {
    name: String,
    seat: Seat,
    /// When each thread comes round next, and the first of these.
    wakes: Vec<(Thread, Instant)>,
    soonest: Instant,

    member: Member,
    members_client: Box<dyn Client>,
    rounds: Rounds,
    changes: Sender<Change>,
    changed: Receiver<Change>,
    is_member: bool,

    claimer: Claimer,
    client: Box<dyn Client>,
    outbox: Outbox,
    assigned: Option<Change>,
    is_asked_to_leave: bool,
    is_clock_settled: bool,
    dispatches: bool,

    fetches: Box<dyn Client>,
    plans: Sender<Plan>,
    planned: Receiver<Plan>,
    /// From where each partition of the newest plan is said to be read, where a bug reads from elsewhere.
    pretends: BTreeMap<i32, i64>,
    tracks: Vec<Reading>,
    chunks: VecDeque<Chunk>,

    orders: OrderReader,
    orders_client: Box<dyn Client>,
    /// What the workers know of orders, and what the claiming thread is still to be told.
    ordered: Remembered,
    news: VecDeque<News>,

    jobs: VecDeque<Claimed>,
    workers: Vec<Option<Busy>>,
    idle: usize,

    reporting: Reporting,
    reports_client: Box<dyn Client>,
    tell: Sender<reporting::Event>,
    told: Receiver<reporting::Event>,
    starts: Vec<RunningAttempt>,
}

impl Consumer {
    /// One that has just been started.
    pub fn new(world: &mut World, seat: &Seat, name: String) -> Self {
        let now = world.now().mono;
        let (group, topic) = (seat.topic.to_owned(), seat.topic.to_owned());
        let member = Member::new(membership::Options {
            group: group.clone(),
            topic: topic.clone(),
            instance_id: seat.instance.clone(),
            session_timeout: SESSION,
            counts_once_taken_up: false,
        });
        let workers = 1 + world.random.index(3);
        let options = reporting::Options { consumer: name.clone(), lease: world.lease, workers };
        let reporting = Reporting::new(options, now);
        let claimer = Claimer::new(Options {
            cluster: cluster(),
            topic: topic.clone(),
            group,
            consumer: name.clone(),
            lease: world.lease,
            // Some keep next to nothing of what waits, and must read it again.
            waiting_bytes: if world.random.chance(500) { 1_000 } else { 1 << 20 },
            workers,
        });
        let (changes, changed) = bounded(1);
        let ((plans, planned), (tell, told)) = (bounded(1), bounded(workers * 2 + 2));
        let threads = [Thread::Membership, Thread::Claiming, Thread::Fetch, Thread::Orders, Thread::Reporter];
        let threads = threads.into_iter().chain((0..workers).map(Thread::Worker));
        Self {
            wakes: threads.map(|thread| (thread, now)).collect(),
            soonest: now,
            member,
            members_client: plant(
                world.client(&format!("{name}-membership")),
                seat.bug.filter(|bug| *bug == Bug::LeavesNewPartitions),
            ),
            rounds: Rounds::default(),
            changes,
            changed,
            is_member: true,
            claimer,
            client: plant(
                world.client(&format!("{name}-dispatch")),
                seat.bug.filter(|bug| !bug.is_reporters()),
            ),
            outbox: Outbox::new(topic),
            assigned: None,
            is_asked_to_leave: false,
            is_clock_settled: false,
            dispatches: true,
            fetches: plant(
                world.client(&format!("{name}-fetch")),
                seat.bug.filter(|bug| *bug == Bug::GoesByTopicNames),
            ),
            plans,
            planned,
            pretends: BTreeMap::new(),
            tracks: Vec::new(),
            chunks: VecDeque::new(),
            orders: OrderReader::new(cluster()),
            orders_client: world.client(&format!("{name}-orders")),
            ordered: Remembered::new(ORDERS_REMEMBERED),
            news: VecDeque::new(),
            jobs: VecDeque::new(),
            workers: (0..workers).map(|_| None).collect(),
            idle: workers,
            reporting,
            reports_client: plant(
                world.client(&format!("{name}-reporter")),
                seat.bug.filter(|bug| bug.is_reporters()),
            ),
            tell,
            told,
            starts: Vec::new(),
            seat: seat.clone(),
            name,
        }
    }

    fn wake(&mut self, thread: Thread, at: Instant) {
        let wakes = self.wakes.iter_mut().find(|(which, _)| *which == thread);
        wakes.into_iter().for_each(|(_, wakes)| *wakes = at.min(*wakes));
        self.soonest = self.soonest.min(at);
    }
}

impl Actor for Consumer {
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
            Thread::Claiming => self.dispatch(world, now),
            Thread::Fetch => self.fetch(world, now),
            Thread::Orders => self.follow_orders(world, now),
            Thread::Reporter => Some(self.report(world, now)),
            Thread::Worker(number) => self.worker(world, now, number),
        };
        if let Some(wait) = wait {
            self.wake(thread, now.mono + wait);
        }
        self.soonest = self.wakes.iter().map(|(_, at)| *at).min().unwrap_or(now.mono);
    }

    fn leave(&mut self, now: Now) {
        self.is_asked_to_leave = true;
        self.wake(Thread::Claiming, now.mono);
    }

    fn is_over(&self) -> bool {
        let works = !self.jobs.is_empty() || self.workers.iter().any(Option::is_some);
        !self.dispatches && !works && self.told.is_empty() && !self.reporting.is_busy()
    }
}

fn what(claimed: &Claimed) -> String {
    let (run, attempt) = (claimed.attempt.run.id.0.as_u128(), claimed.attempt.attempt);
    format!(
        "run {run} attempt {attempt} at {}/{}:{}",
        claimed.place.topic, claimed.place.partition, claimed.place.offset
    )
}
