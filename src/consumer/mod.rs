//! The consumer: the program that runs the jobs of one cluster. An attempt passes through four rooms:
//!
//! 1. [`fetching`] reads messages from the topic, and tells attempts from messages that cannot be run.
//! 2. [`claiming`] decides for each attempt whether this consumer claims it, holds it until it is due, drops it as a copy, or
//!    refuses it.
//! 3. [`running`] starts the command of a claimed attempt, watches it, and ends it in time.
//! 4. [`reporting`] writes how the attempt ended and what follows from that.
//!
//! Beside them [`orders`] reads which runs are to end (`overlap=replace`), and tells claiming and the workers.
//!
//! Each room has threads of its own, and the rooms talk through bounded channels. Claiming and reporting have a state machine
//! that takes events and returns effects; their thread and the simulation drive it through the same calls. [`metrics`] holds what all of them count.

mod channel_gauges;
pub mod claiming;
pub mod cli;
pub mod fetching;
pub mod metrics;
pub mod orders;
pub mod pressure;
pub mod program;
pub mod reporting;
pub mod running;
