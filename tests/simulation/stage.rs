//! One run: actors on a stage, stepped in an order that the seed decides, while faults strike; then calm, until all
//! that was published is accounted for.

use std::time::{Duration, Instant};

use crate::actors::{Actor, Consumer, Publisher, Seat};
use crate::bugs::Bug;
use crate::faults::{Chaos, Order};
use crate::report::Counts;
use crate::world::{CLUSTER, RETRY, World};

/// How long all may take to be accounted for when nothing goes wrong any more: several sessions, the longest attempt
/// and the longest backoffs.
const CALM: Duration = Duration::from_secs(240);
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

/// A place for a process: empty while it is dead, not stepped while it is stopped.
struct Place {
    seat: Seat,
    started: u32,
    actor: Option<Consumer>,
    stopped_until: Option<Instant>,
}

impl Place {
    fn start(&mut self, world: &mut World, number: usize) {
        self.started += 1;
        let name = format!("{}#{number}.{}", self.seat.topic, self.started);
        world.say(&name, || format!("starts, instance {:?}", self.seat.instance));
        self.actor = Some(Consumer::new(world, &self.seat, name));
        self.stopped_until = None;
    }

    /// When it is to be stepped next.
    fn wakes(&self) -> Option<Instant> {
        let wakes = self.actor.as_ref()?.wakes();
        Some(self.stopped_until.map_or(wakes, |until| until.max(wakes)))
    }
}

struct Stage {
    world: World,
    places: Vec<Place>,
    publisher: Publisher,
    chaos: Chaos,
    /// How many in a thousand writes of a process are its last.
    crashes: u64,
    calm_until: Option<Instant>,
    next_look: Instant,
}

/// Plays a seed, with a bug or none; `traced` keeps the last steps.
pub fn play(seed: u64, bug: Option<Bug>, traced: bool) -> Run {
    let mut stage = Stage::new(seed, bug, traced);
    let mut steps = 0;
    while stage.world.oracle.broken.is_none() && stage.step() {
        steps += 1;
    }
    let Stage { world, .. } = stage;
    let mut counts = world.weather().counts.clone();
    let (started, finished) = world.oracle.totals();
    counts.add("attempts started", started as u64);
    counts.add("attempts finished", finished as u64);
    let broken = world.oracle.broken.as_ref().map(|what| (what.clone(), world.trace.text()));
    Run { steps, counts, broken }
}

impl Stage {
    fn new(seed: u64, bug: Option<Bug>, traced: bool) -> Self {
        let mut world = World::new(seed, traced);
        let statics = world.random.chance(250);
        let mut places = Vec::new();
        for topic in [CLUSTER, RETRY] {
            for number in 0..2 + world.random.below(2) {
                let instance = statics.then(|| format!("{topic}-{number}"));
                let seat = Seat { topic, instance, bug };
                let mut place = Place { seat, started: 0, actor: None, stopped_until: None };
                place.start(&mut world, places.len());
                places.push(place);
            }
        }
        let publisher = Publisher::new(&mut world);
        let chaos = Chaos::new(&mut world, places.len());
        let crashes = if world.random.chance(500) { 0 } else { world.random.below(60) };
        let next_look = world.began;
        Self { world, places, publisher, chaos, crashes, calm_until: None, next_look }
    }

    /// Makes one step of somebody. `false` when all is accounted for, or never will be.
    fn step(&mut self) -> bool {
        let now = self.world.now();
        if self.calm_until.is_some() && now.mono >= self.next_look {
            self.next_look = now.mono + LOOK;
            self.fill_places();
            match self.world.oracle.unaccounted() {
                None => return false,
                Some(what) if self.calm_until.is_some_and(|until| now.mono >= until) => {
                    self.world.oracle.broken = Some(what);
                    return false;
                }
                Some(_) => {}
            }
        }
        let outsiders: &[Instant] = &[self.publisher.wakes(), self.chaos.wakes()];
        let outsiders = if self.calm_until.is_none() { outsiders } else { &[] };
        let wakes = self.places.iter().map(Place::wakes).chain(outsiders.iter().copied().map(Some));
        let mut due = Vec::with_capacity(self.places.len() + 2);
        let mut next = if self.calm_until.is_some() { self.next_look } else { now.mono + LOOK };
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

    fn step_one(&mut self, chosen: usize) {
        let now = self.world.now();
        if let Some(place) = self.places.get_mut(chosen) {
            place.stopped_until = None;
            let Some(actor) = &mut place.actor else { return };
            actor.step(&mut self.world, now);
            if actor.is_over() {
                self.world.say(actor.name(), || "has ended".to_owned());
                place.actor = None;
            }
        } else if chosen == self.places.len() {
            self.publisher.step(&mut self.world, now);
            if self.publisher.is_over() {
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
        let (Order::Kill(seat) | Order::Restart(seat) | Order::Stall(seat, _) | Order::Leave(seat)) = order;
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
            _ => return,
        };
        self.world.weather().counts.add(kind, 1);
        self.world.say("chaos", || format!("{order:?}"));
    }

    /// Nothing goes wrong any more: what was stopped goes on, what is late arrives, what is dead is started.
    fn calm(&mut self) {
        let now = self.world.now();
        self.world.say("stage", || "calm".to_owned());
        self.world.weather().calm = true;
        self.world.broker.faults().deliver();
        self.world.weather().wrote = true;
        for place in &mut self.places {
            place.stopped_until = None;
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
