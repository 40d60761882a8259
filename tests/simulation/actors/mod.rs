//! The actors: the stage steps each one when it is due, and the actor does a bounded piece of work. A process that has threads
//! is one actor, which picks one of them in each step.

mod consumer;
mod producer;
mod publisher;

use std::time::Instant;

use kafka_cron::common::clock::Now;

pub use consumer::{Consumer, Seat};
pub use producer::Producer;
pub use publisher::Publisher;

use crate::world::World;

/// An actor.
pub trait Actor {
    /// For the trace.
    fn name(&self) -> &str;

    /// When it wants to be stepped next.
    fn wakes(&self) -> Instant;

    /// Does the next piece of its work.
    fn step(&mut self, world: &mut World, now: Now);

    /// Asks it to end of its own accord, as a signal does.
    fn leave(&mut self, _now: Now) {}

    /// Whether it has ended.
    fn is_over(&self) -> bool {
        false
    }
}
