//! A consumer: its threads are pieces that are stepped in turn, and its state machines are the shipped ones. Between
//! them stand the queues that are channels in the program, filled and emptied as its threads do.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use kafka_cron::common::bounds;
use kafka_cron::common::broker::{BrokerError, Client, ErrorCode, Want};
use kafka_cron::common::membership::{self, Change, Member};
use kafka_cron::common::words::Outcome;
use kafka_cron::consumer::dispatcher::{Act, Claimed, Dispatcher, Now, Options};
use kafka_cron::consumer::position::{LogEnds, resume};
use kafka_cron::consumer::reading::{Read, read_all};
use kafka_cron::consumer::reporting::{self, Reporting, Tell, started};
use kafka_cron::consumer::reports::Report;

use super::Actor;
use crate::bugs::{Bug, plant};
use crate::world::{LEASE, SESSION, World, cluster, partition};

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
    Dispatch,
    Fetch,
    Reporter,
    Worker(usize),
}

/// What was read by a plan.
struct Chunk {
    plan: u64,
    partition: i32,
    what: Option<(Vec<(i64, Read)>, i64)>,
}

struct Track {
    partition: i32,
    next: i64,
    is_open: bool,
}

struct Busy {
    claimed: Claimed,
    started_at: DateTime<Utc>,
    ends: Instant,
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
    /// The channel of one place, and what waits for it.
    change: Option<Change>,
    untaken: Option<Change>,
    is_member: bool,

    dispatcher: Dispatcher,
    client: Box<dyn Client>,
    generation: i32,
    assigned: Option<Change>,
    rest: Duration,
    free: usize,
    leaves_by: Option<Instant>,
    dispatches: bool,

    fetches: Box<dyn Client>,
    plan: u64,
    tracks: Vec<Track>,
    chunks: VecDeque<Chunk>,

    jobs: VecDeque<Claimed>,
    workers: Vec<Option<Busy>>,
    idle: usize,

    reporting: Reporting,
    reports_client: Box<dyn Client>,
    tells: VecDeque<Tell>,
    reporter_rest: Duration,
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
        });
        let workers = 1 + world.random.index(3);
        let options = reporting::Options { consumer: name.clone(), lease: LEASE, workers };
        let reporting = Reporting::new(options, now);
        let dispatcher = Dispatcher::new(Options {
            cluster: cluster(),
            topic,
            group,
            consumer: name.clone(),
            lease: LEASE,
        });
        let threads = [Thread::Membership, Thread::Dispatch, Thread::Fetch, Thread::Reporter];
        let threads = threads.into_iter().chain((0..workers).map(Thread::Worker));
        Self {
            wakes: threads.map(|thread| (thread, now)).collect(),
            soonest: now,
            member,
            members_client: world.client(&format!("{name}-membership")),
            change: None,
            untaken: None,
            is_member: true,
            dispatcher,
            client: plant(
                world.client(&format!("{name}-dispatch")),
                seat.bug.filter(|bug| !bug.is_reporters()),
            ),
            generation: -1,
            assigned: None,
            rest: Duration::ZERO,
            free: 0,
            leaves_by: None,
            dispatches: true,
            fetches: world.client(&format!("{name}-fetch")),
            plan: 0,
            tracks: Vec::new(),
            chunks: VecDeque::new(),
            jobs: VecDeque::new(),
            workers: (0..workers).map(|_| None).collect(),
            idle: workers,
            reporting,
            reports_client: plant(
                world.client(&format!("{name}-reporter")),
                seat.bug.filter(|bug| bug.is_reporters()),
            ),
            tells: VecDeque::new(),
            reporter_rest: Duration::ZERO,
            seat: seat.clone(),
            name,
        }
    }

    fn wake(&mut self, thread: Thread, at: Instant) {
        let wakes = self.wakes.iter_mut().find(|(which, _)| *which == thread);
        wakes.into_iter().for_each(|(_, wakes)| *wakes = at.min(*wakes));
        self.soonest = self.soonest.min(at);
    }

    // The thread `membership`.

    fn membership(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        if !self.is_member {
            return None;
        }
        let mut wait = Duration::from_secs(1);
        if self.change.is_none()
            && let Some(change) = self.untaken.take()
        {
            self.change = Some(change);
            self.wake(Thread::Dispatch, now.mono);
        }
        if self.untaken.is_some() {
            wait = Duration::from_millis(20);
        }
        let (change, next) = self.member.step(self.members_client.as_mut(), now.mono);
        if let Some(change) = &change {
            world.say(&self.name, || format!("membership: {change:?}"));
        }
        let has_changed = change.is_some();
        self.untaken = change.or(self.untaken.take());
        Some(if has_changed { Duration::ZERO } else { wait.min(next) })
    }

    // The thread `dispatch`.

    fn dispatch(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        if !self.dispatches {
            return None;
        }
        if let Some(by) = self.leaves_by {
            if !self.dispatcher.has_pending() || now.mono >= by {
                self.stop_taking(world, now);
                return None;
            }
        } else if !self.dispatcher.has_granted() {
            // What is granted is started by the same turn: nothing is listened to before.
            self.listen(world, now);
            if !self.dispatches {
                return None;
            }
        }
        self.free += std::mem::take(&mut self.idle);
        self.step_dispatcher(world, now);
        for track in &mut self.tracks {
            track.is_open = !self.dispatcher.is_full(track.partition);
        }
        Some(self.dispatch_waits(now))
    }

    fn dispatch_waits(&self, now: Now) -> Duration {
        if self.dispatcher.has_granted() {
            return Duration::ZERO;
        }
        if self.dispatcher.is_busy()
            || !self.rest.is_zero()
            || self.change.is_some()
            || !self.chunks.is_empty()
        {
            return self.rest;
        }
        let until_due = self.dispatcher.next_due().map(|at| at - now.wall);
        let until_due = until_due.map(|wait| wait.to_std().unwrap_or(Duration::from_millis(1)));
        until_due.filter(|_| self.free > 0).unwrap_or(Duration::MAX).min(Duration::from_secs(1))
    }

    /// Takes one message of one channel, whichever.
    fn listen(&mut self, world: &mut World, now: Now) {
        let first = world.random.chance(500);
        if first && let Some(change) = self.change.take() {
            self.changed(world, now, &change);
        } else if let Some(chunk) = self.chunks.pop_front() {
            if chunk.plan == self.plan {
                match chunk.what {
                    Some((records, next)) => {
                        self.dispatcher.read(self.generation, chunk.partition, records, next);
                    }
                    None => self.dispatcher.lost_position(self.generation, chunk.partition),
                }
            }
        } else if let Some(change) = self.change.take() {
            self.changed(world, now, &change);
        }
    }

    fn changed(&mut self, world: &mut World, now: Now, change: &Change) {
        if let Change::Assigned { holder, .. } = change {
            self.generation = holder.generation;
            self.assigned = Some(change.clone());
            world.weather().counts.add("rebalance", 1);
        }
        self.dispatcher.changed(change);
        self.plan += 1;
        self.tracks.clear();
        if *change == Change::Fenced {
            world.weather().counts.add("fenced", 1);
            self.stop_taking(world, now);
        }
    }

    /// Dispatch ends, and the membership with it. What runs goes on.
    fn stop_taking(&mut self, world: &mut World, now: Now) {
        self.dispatches = false;
        self.is_member = false;
        self.tracks.clear();
        self.member.leave(self.members_client.as_mut(), now.mono);
        world.oracle.left(&self.name);
    }

    fn step_dispatcher(&mut self, world: &mut World, now: Now) {
        let mut failed = false;
        for act in self.dispatcher.step(self.client.as_mut(), now, self.free) {
            world.say(&self.name, || format!("dispatch: {}", brief(&act)));
            match act {
                Act::Start(claimed) => self.hand_over(*claimed, now),
                Act::JoinAsNew if self.seat.bug == Some(Bug::KeepsItsMemberId) => {
                    if let Some(assigned) = self.assigned.clone() {
                        self.dispatcher.changed(&assigned);
                        self.plan += 1;
                    }
                }
                Act::JoinAsNew => {
                    self.member.join_as_new();
                    self.wake(Thread::Membership, now.mono);
                }
                Act::Read(offsets) => self.read_from(&offsets, now),
                Act::Failed(_) => failed = true,
                Act::Letter(_) => {}
                Act::Note(event) => self.tell(Tell::Note(self.seat.topic.to_owned(), event), now),
            }
        }
        let rest = (self.rest * 2).clamp(Duration::from_millis(20), Duration::from_millis(500));
        self.rest = if failed { rest } else { Duration::ZERO };
        world.oracle.counts(&self.name, self.dispatcher.counts());
    }

    fn hand_over(&mut self, claimed: Claimed, now: Now) {
        self.free = self.free.saturating_sub(1);
        self.tell(started(&claimed), now);
        self.jobs.push_back(claimed);
        for worker in 0..self.workers.len() {
            self.wake(Thread::Worker(worker), now.mono);
        }
    }

    fn read_from(&mut self, offsets: &[(i32, i64)], now: Now) {
        self.plan += 1;
        self.tracks = offsets
            .iter()
            .map(|(partition, next)| {
                let next = self.begin(*partition, *next, now);
                Track { partition: *partition, next, is_open: true }
            })
            .collect();
        self.wake(Thread::Fetch, now.mono);
    }

    /// Where reading a partition begins: where it is told to, but for one bug.
    fn begin(&mut self, number: i32, told: i64, now: Now) -> i64 {
        if self.seat.bug != Some(Bug::ForgetsDuplicates) {
            return told;
        }
        let by = now.mono + Duration::from_secs(1);
        let of = partition(self.seat.topic, number);
        let Ok(committed) = self.client.committed(self.seat.topic, &[of], by) else { return told };
        let Some(committed) = &committed[0] else { return told };
        let Ok(Some(topic)) = self.client.topic(self.seat.topic, by) else { return told };
        let log = LogEnds { topic_id: topic.id, start: told, end: i64::MAX };
        resume(Some(committed), log).lowest_unclaimed()
    }

    // The thread that fetches.

    fn fetch(&mut self, world: &mut World, now: Now) -> Option<Duration> {
        let open: Vec<usize> = (0..self.tracks.len()).filter(|i| self.tracks[*i].is_open).collect();
        if open.is_empty() || self.chunks.len() >= bounds::FETCHED_CHUNKS {
            return Some(Duration::from_millis(200));
        }
        // Some answers bring a single batch.
        let max_bytes = if world.random.chance(300) { 1 } else { bounds::FETCH_PARTITION_BYTES };
        let want = |i: &usize| Want {
            from: partition(self.seat.topic, self.tracks[*i].partition),
            offset: self.tracks[*i].next,
            max_bytes,
        };
        let wants: Vec<Want> = open.iter().map(want).collect();
        let by = now.mono + Duration::from_secs(2);
        let Ok(answers) = self.fetches.fetch(1, &wants, Duration::ZERO, by) else {
            return Some(world.random.span(50, 300));
        };
        let mut came = false;
        for (i, answer) in open.into_iter().zip(answers) {
            let track = &mut self.tracks[i];
            let what = match answer {
                Ok(fetched) if fetched.next_offset == track.next => continue,
                Ok(fetched) => {
                    track.next = fetched.next_offset;
                    Some((read_all(fetched, &cluster()), track.next))
                }
                Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => {
                    track.is_open = false;
                    None
                }
                Err(_) => continue,
            };
            came = true;
            self.chunks.push_back(Chunk { plan: self.plan, partition: track.partition, what });
        }
        if came {
            self.wake(Thread::Dispatch, now.mono);
            return Some(world.random.span(1, 100));
        }
        Some(world.random.span(300, 3_000))
    }

    // The threads `worker-N`.

    fn worker(&mut self, world: &mut World, now: Now, number: usize) -> Option<Duration> {
        match self.workers[number].take() {
            Some(busy) if busy.ends > now.mono => {
                let wait = busy.ends - now.mono;
                self.workers[number] = Some(busy);
                return Some(wait);
            }
            // The channel is full: it waits with what it has to say.
            Some(busy) if self.tells.len() >= self.workers.len() * 2 + 2 => {
                self.workers[number] = Some(busy);
                return Some(Duration::from_millis(100));
            }
            Some(Busy { claimed, started_at, .. }) => {
                let good = world.random.chance(550);
                let outcome = if good { Outcome::Succeeded } else { Outcome::Failed { code: 1 } };
                let report = Report {
                    claimed,
                    outcome,
                    started_at,
                    ended_at: now.wall,
                    output_bytes: 0,
                    output_tail: String::new(),
                };
                self.tell(Tell::Ended(Box::new(report)), now);
                self.idle += 1;
                self.wake(Thread::Dispatch, now.mono);
            }
            None => {}
        }
        let claimed = self.jobs.pop_front()?;
        let name = &self.name;
        world.say(name, || format!("worker-{number}: starts {}", what(&claimed)));
        world.oracle.started(&claimed, name);
        let takes = if world.random.chance(80) {
            world.random.span(5_000, 16_000)
        } else {
            world.random.span(20, 4_000)
        };
        self.workers[number] = Some(Busy { claimed, started_at: now.wall, ends: now.mono + takes });
        Some(takes)
    }

    // The thread `reporter`.

    fn tell(&mut self, tell: Tell, now: Now) {
        self.tells.push_back(tell);
        self.wake(Thread::Reporter, now.mono);
    }

    fn report(&mut self, world: &mut World, now: Now) -> Duration {
        if !self.reporting.is_busy() {
            self.tells.drain(..).for_each(|tell| self.reporting.take(tell));
        }
        let mut failed = false;
        for act in self.reporting.step(self.reports_client.as_mut(), now) {
            match act {
                reporting::Act::PassedOn(report) => {
                    world.say(&self.name, || {
                        format!("reporter: {} has {}", what(&report.claimed), report.outcome)
                    });
                }
                reporting::Act::Failed(_) => failed = true,
            }
        }
        let rest = (self.reporter_rest * 2).clamp(Duration::from_millis(50), Duration::from_secs(2));
        self.reporter_rest = if failed && self.reporting.is_busy() { rest } else { Duration::ZERO };
        if self.reporting.is_busy() || !self.tells.is_empty() {
            return self.reporter_rest;
        }
        self.reporting.next_alive().saturating_duration_since(now.mono)
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
            Thread::Dispatch => self.dispatch(world, now),
            Thread::Fetch => self.fetch(world, now),
            Thread::Reporter => Some(self.report(world, now)),
            Thread::Worker(number) => self.worker(world, now, number),
        };
        if let Some(wait) = wait {
            self.wake(thread, now.mono + wait);
        }
        self.soonest = self.wakes.iter().map(|(_, at)| *at).min().unwrap_or(now.mono);
    }

    fn leave(&mut self, now: Now) {
        self.leaves_by.get_or_insert(now.mono + Duration::from_secs(3));
        self.wake(Thread::Dispatch, now.mono);
    }

    fn is_over(&self) -> bool {
        let works = !self.jobs.is_empty() || self.workers.iter().any(Option::is_some);
        !self.dispatches && !works && self.tells.is_empty() && !self.reporting.is_busy()
    }
}

fn what(claimed: &Claimed) -> String {
    let (run, attempt) = (claimed.attempt.run.id.0.as_u128(), claimed.attempt.attempt);
    format!(
        "run {run} attempt {attempt} at {}/{}:{}",
        claimed.place.topic, claimed.place.partition, claimed.place.offset
    )
}

fn brief(act: &Act) -> String {
    match act {
        Act::Start(claimed) => format!("hands over {}", what(claimed)),
        other => format!("{other:?}"),
    }
}
