//! The places of the stage: in each, one process after the other plays the same part.

use std::time::Instant;

use chrono::TimeDelta;

use crate::actors::{Actor, Consumer, Producer, Seat};
use crate::bugs::Bug;
use crate::world::World;

/// A place for a process: empty while it is dead, not stepped while it is stopped.
pub struct Place {
    /// A consumer's; a producer has none.
    pub seat: Option<Seat>,
    bug: Option<Bug>,
    started: u32,
    pub actor: Option<Box<dyn Actor>>,
    pub stopped_until: Option<Instant>,
    /// How far the host's clock is off.
    pub skew: TimeDelta,
}

impl Place {
    /// Creates a place where no process has been started yet.
    pub fn new(seat: Option<Seat>, bug: Option<Bug>) -> Self {
        Self { seat, bug, started: 0, actor: None, stopped_until: None, skew: TimeDelta::zero() }
    }

    pub fn start(&mut self, world: &mut World, number: usize) {
        self.started += 1;
        let topic = self.seat.as_ref().map_or("producer", |seat| seat.topic);
        let name = format!("{topic}#{number}.{}", self.started);
        world.say(&name, || format!("starts, {:?}", self.seat));
        self.actor = Some(match &self.seat {
            Some(seat) => Box::new(Consumer::new(world, seat, name)),
            None => Box::new(Producer::new(world, self.bug, name)),
        });
        self.stopped_until = None;
    }

    /// When it is to be stepped next.
    pub fn wakes(&self) -> Option<Instant> {
        let wakes = self.actor.as_ref()?.wakes();
        Some(self.stopped_until.map_or(wakes, |until| until.max(wakes)))
    }
}
