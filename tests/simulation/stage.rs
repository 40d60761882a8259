//! One run: actors on a stage, stepped in an order that the seed decides, while faults strike; then calm, until all
//! that was published is accounted for.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::clock::Now;

use crate::actors::{Actor, Publisher, Seat};
use crate::aim::Aim;
use crate::ambush::{self, Ambush, Of};
use crate::bugs::Bug;
use crate::faults::{Chaos, Order};
use crate::invariants::Ticks;
use crate::jobs;
use crate::place::Place;
use crate::report::Counts;
use crate::world::{CLUSTER, RETRY, Random, Sizes, World};

/// How long all may take to be accounted for when nothing goes wrong any more: all that waits, one run after the other.
const CALM: Duration = Duration::from_secs(360);
/// How often it is looked whether all is accounted for.
const LOOK: Duration = Duration::from_secs(1);

/// What came of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    pub steps: u64,
    pub counts: Counts,
    /// The promise that was broken, and the last steps before.
    pub broken: Option<(String, String)>,
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// Consumers, and an actor that publishes runs.
    Consumers,
    /// Consumers and producers.
    All,
    /// The same, and faults that strike where it matters.
    Ambushed,
}

struct Stage {
    world: World,
    places: Vec<Place>,
    /// Publishes runs where no producer does.
    publisher: Option<Publisher>,
    /// How long things go wrong where producers take part.
    calm_from: Option<Instant>,
    highest: DateTime<Utc>,
    chaos: Chaos,
    ambush: Option<Ambush>,
    /// Whether ambushes of claims go on until the run tracker has asked about the next claim.
    misleads: bool,
    /// See [`Aim`].
    grows_at_kills: bool,
    /// How many in a thousand writes of a process are its last.
    crashes: u64,
    calm_until: Option<Instant>,
    next_look: Instant,
}

/// Plays a seed, with a bug or none; `traced` keeps the last steps.
pub fn play(cast: Cast, seed: u64, bug: Option<Bug>, traced: bool) -> Run {
    let mut stage = Stage::new(cast, seed, bug, traced);
    if let Some(bug) = bug {
        stage.take_aim(&Aim::at(bug));
    }
    stage.play(cast)
}

/// Plays a seed with the faults that are directed at a bug, and without the bug.
pub fn play_faults_of(bug: Bug, cast: Cast, seed: u64) -> Run {
    let mut stage = Stage::new(cast, seed, None, false);
    stage.take_aim(&Aim::at(bug));
    stage.play(cast)
}

impl Stage {
    /// Plays to the end, or until a promise is broken.
    fn play(mut self, cast: Cast) -> Run {
        let mut steps = 0;
        while self.world.oracle.broken.is_none() && self.step() {
            steps += 1;
        }
        let Self { world, .. } = self;
        let mut counts = world.weather().counts.clone();
        let (started, finished) = world.oracle.totals();
        counts.add("attempts started", started as u64);
        counts.add("attempts finished", finished as u64);
        let (letters, bare, ticks) = world.oracle.too_large();
        counts.add("retry too large", letters);
        counts.add("letter too large", bare);
        if cast != Cast::Consumers {
            let (published, missed) = world.oracle.ticks.totals();
            counts.add("ticks published", published as u64);
            counts.add("ticks missed", missed as u64);
            let (reboots, skipped) = world.oracle.ticks.others();
            counts.add("reboots published", reboots as u64);
            counts.add("ticks skipped", skipped as u64);
            counts.add("ticks queued", world.oracle.overlaps.queued);
            let (replaced, unstarted) = world.oracle.orders.totals();
            counts.add("runs replaced", replaced);
            counts.add("runs replaced unstarted", unstarted);
            counts.add("tick too large", ticks);
        }
        let broken = world.oracle.broken.as_ref().map(|what| (what.clone(), world.trace.text()));
        Run { steps, counts, broken }
    }

    fn new(cast: Cast, seed: u64, bug: Option<Bug>, traced: bool) -> Self {
        let mut world = World::new(seed, traced);
        let all = cast != Cast::Consumers;
        if all {
            world.lease = Duration::from_secs(if world.random.chance(500) { 7 } else { 12 });
            world.lease = bug.and_then(|bug| Aim::at(bug).lease).unwrap_or(world.lease);
            world.oracle.has_producers = true;
            world.oracle.ticks = Ticks::of_files();
            world.oracle.lease = world.lease;
        }
        // Of its own, so that a seed's other faults do not depend on these.
        let sizes = Sizes::of_a_seed(Random(world.random.0 ^ 0x1a46_e5c0), all);
        world.limit(sizes);
        world.arrives_far = Random(world.random.0 ^ 0x000f_a4a4).chance(250);
        let statics = world.random.chance(250) || bug == Some(Bug::LeavesNewPartitions);
        let mut places = Vec::new();
        for topic in [CLUSTER, RETRY] {
            for number in 0..2 + world.random.below(2) {
                let instance = statics.then(|| format!("{topic}-{number}"));
                let bug = bug.filter(|bug| !bug.is_producers());
                places.push(Place::new(Some(Seat { topic, instance, bug }), None));
            }
        }
        if all {
            places.extend((0..2).map(|_| Place::new(None, bug.filter(|bug| bug.is_producers()))));
            for place in &mut places {
                place.skew = TimeDelta::seconds(if world.random.chance(300) { -20 } else { 0 });
            }
        }
        for (number, place) in places.iter_mut().enumerate() {
            place.start(&mut world, number);
        }
        let publisher = (!all).then(|| Publisher::new(&mut world));
        let calm_from = all.then(|| world.began + Duration::from_secs(30 + world.random.below(90)));
        let highest = world.now().wall;
        let chaos = Chaos::new(&mut world, places.len());
        let ambush = (cast == Cast::Ambushed).then(|| Ambush::new(&mut world));
        let crashes = if world.random.chance(500) { 0 } else { world.random.below(60) };
        let next_look = world.began;
        Self {
            world,
            places,
            publisher,
            calm_from,
            highest,
            chaos,
            ambush,
            misleads: false,
            grows_at_kills: false,
            crashes,
            calm_until: None,
            next_look,
        }
    }

    /// Has only those faults strike, from now on, that are directed at a bug.
    fn take_aim(&mut self, aim: &Aim) {
        self.world.weather().rates = aim.rates;
        self.chaos.weights = aim.weights;
        self.crashes = 0;
        self.misleads = aim.ambush == Some(Of::Claims);
        self.grows_at_kills = aim.grows_at_kills;
        self.world.limit(aim.sizes);
        if aim.tells_time {
            self.world.tell_time();
        }
        self.ambush = aim.ambush.map(|of| Ambush::of(of, &self.world));
        self.calm_from = self.calm_from.map(|_| self.world.began + aim.lasts());
        if let Some(publisher) = &mut self.publisher {
            publisher.left = Aim::MESSAGES;
            publisher.far_copies = if aim.has_far_copies { 1_000 } else { 0 };
        }
        for place in &mut self.places {
            let is_behind = aim.consumers_are_behind && place.seat.is_some();
            place.skew = TimeDelta::seconds(if is_behind { -20 } else { 0 });
        }
    }

    /// Makes one step of an actor. `false` when all is accounted for, or never will be.
    fn step(&mut self) -> bool {
        let now = self.world.now();
        if self.calm_until.is_some() && now.mono >= self.next_look {
            self.next_look = now.mono + LOOK;
            self.fill_places();
            let oracle = &self.world.oracle;
            let open = oracle.unaccounted();
            let open = open.or_else(|| oracle.has_producers.then(|| oracle.ticks.unaccounted())?);
            let overdue = self.calm_until.and_then(|until| oracle.overdue(until - CALM, now.mono));
            let is_late = overdue.is_some() || self.calm_until.is_some_and(|until| now.mono >= until);
            match overdue.or(open) {
                None => return false,
                Some(what) if is_late => {
                    self.world.oracle.broken = Some(what);
                    return false;
                }
                Some(_) => {}
            }
        }
        let strikes = self.strike(now.mono);
        let publishes = self.publisher.as_ref().map(Publisher::wakes);
        let outsiders: &[Option<Instant>] = &[publishes.or(self.calm_from), Some(self.chaos.wakes())];
        let outsiders = if self.calm_until.is_none() { outsiders } else { &[] };
        let wakes = self.places.iter().map(Place::wakes).chain(outsiders.iter().copied());
        let mut due = Vec::with_capacity(self.places.len() + 2);
        let mut next = if self.calm_until.is_some() { self.next_look } else { now.mono + LOOK };
        next = next.min(strikes.unwrap_or(next));
        for (number, wakes) in wakes.enumerate() {
            match wakes {
                Some(at) if at <= now.mono => due.push(number),
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        if due.is_empty() {
            self.world.clock.turn(next.saturating_duration_since(now.mono));
            return true;
        }
        let chosen = due[self.world.random.index(due.len())];
        self.step_one(chosen);
        let wrote = self.world.weather().wrote;
        self.world.observe();
        let ambushed = self.world.weather().ambushed.take();
        if ambushed.is_some() && self.calm_until.is_none() {
            let topic = |place: &Place| place.seat.as_ref().map(|seat| seat.topic);
            let topics: Vec<&str> = self.places.iter().map_while(topic).collect();
            let lease = self.world.lease;
            let orders = ambush::of_claim(&mut self.world.random, lease, chosen, &topics);
            if self.misleads {
                let from = self.world.now().mono + lease - LOOK;
                self.world.weather().misled_from = Some((from, from + lease));
            }
            orders.into_iter().for_each(|order| self.carry_out(order));
        }
        // Between two writes of a process lies what it must not forget: there it dies more often than anywhere else.
        if wrote
            && chosen < self.places.len()
            && self.calm_until.is_none()
            && self.world.random.chance(self.crashes)
        {
            self.world.weather().counts.add("kill between two writes", 1);
            self.carry_out(Order::Kill(chosen));
        }
        let takes = Duration::from_micros(self.world.random.below(3_000));
        self.world.clock.turn(takes);
        true
    }

    /// Has the ambush strike if it is due, and returns when it is due next.
    fn strike(&mut self, now: Instant) -> Option<Instant> {
        let ambush = self.ambush.as_mut().filter(|_| self.calm_until.is_none())?;
        let seats = self.places.iter().filter(|place| place.seat.is_some()).count();
        let orders = ambush.strike(&mut self.world, now, (seats, self.places.len()));
        let wakes = ambush.wakes();
        orders.into_iter().for_each(|order| self.carry_out(order));
        wakes
    }

    fn step_one(&mut self, chosen: usize) {
        let now = self.world.now();
        if let Some(place) = self.places.get_mut(chosen) {
            place.stopped_until = None;
            let now = Now { wall: now.wall + place.skew, ..now };
            self.highest = self.highest.max(now.wall);
            let Some(actor) = &mut place.actor else { return };
            actor.step(&mut self.world, now);
            if actor.is_over() {
                self.world.say(actor.name(), || "has ended".to_owned());
                place.actor = None;
            }
        } else if chosen == self.places.len() {
            let is_over = self.publisher.as_mut().is_none_or(|publisher| {
                publisher.step(&mut self.world, now);
                publisher.is_over()
            });
            if is_over {
                self.calm();
            }
        } else {
            self.chaos.step(&mut self.world, now);
            for order in std::mem::take(&mut self.chaos.orders) {
                self.carry_out(order);
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        let now = self.world.now();
        let order = match order {
            Order::KillLeader | Order::StallLeader(_) => {
                let leader = self.world.oracle.ticks.leader();
                let leads =
                    |place: &Place| place.actor.as_ref().is_some_and(|actor| Some(actor.name()) == leader);
                let Some(seat) = self.places.iter().position(leads) else { return };
                match order {
                    Order::StallLeader(long) => Order::Stall(seat, long),
                    _ => Order::Kill(seat),
                }
            }
            order => order,
        };
        let (Order::Kill(seat)
        | Order::Restart(seat)
        | Order::Stall(seat, _)
        | Order::Leave(seat)
        | Order::Clock(seat, _)) = order
        else {
            return;
        };
        let place = &mut self.places[seat];
        let kind = match (order, &mut place.actor) {
            (Order::Kill(_), Some(actor)) => {
                self.world.oracle.killed(actor.name());
                place.actor = None;
                "kill"
            }
            (Order::Restart(_), None) => {
                place.start(&mut self.world, seat);
                "restart"
            }
            (Order::Stall(_, long), Some(_)) => {
                place.stopped_until = Some(now.mono + long);
                "stall"
            }
            (Order::Leave(_), Some(actor)) => {
                actor.leave(now);
                "leave"
            }
            (Order::Clock(_, by_ms), _) => {
                place.skew += TimeDelta::milliseconds(by_ms);
                "clock of a host jumps"
            }
            _ => return,
        };
        self.world.weather().counts.add(kind, 1);
        self.world.say("chaos", || format!("{order:?}"));
        if let (Order::Kill(seat), true) = (order, self.grows_at_kills)
            && let Some(topic) = self.places[seat].seat.as_ref().map(|seat| seat.topic)
        {
            self.world.grow(topic);
            self.places[seat].start(&mut self.world, seat);
        }
    }

    /// Nothing goes wrong any more: what was stopped goes on, what is late arrives, what is dead is started.
    fn calm(&mut self) {
        self.world.say("stage", || "calm".to_owned());
        self.world.weather().calm = true;
        self.world.make_anew();
        self.world.commit_transaction();
        self.world.deliver_late();
        self.world.weather().wrote = true;
        // The hosts' clocks agree, behind all that is ever due, and no cursor is ahead of them.
        let wall = self.highest.max(jobs::end() + TimeDelta::seconds(5));
        // Where leaders compare their clocks with the broker's, that one has to agree with them.
        if self.world.tells_time {
            self.world.clock.jump_to(wall);
        }
        let now = self.world.now();
        for place in &mut self.places {
            place.stopped_until = None;
            if self.world.oracle.has_producers {
                place.skew = wall - now.wall;
            }
        }
        self.fill_places();
        self.calm_until = Some(now.mono + CALM);
    }

    fn fill_places(&mut self) {
        for (number, place) in self.places.iter_mut().enumerate() {
            if place.actor.is_none() {
                place.start(&mut self.world, number);
            }
        }
    }
}
