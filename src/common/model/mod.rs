//! The model: the terms of the field as types, which are names, runs and attempts, outcomes and events.
//!
//! A *job* is a line of the job file. A *tick* is an instant that its schedule names. A *run* is what a tick asks
//! for; an *attempt* is one start of its command. Nothing here knows Kafka or JSON text.

mod event;
mod names;
mod order;
mod outcome;
mod resources;
pub mod rules;
mod run;

pub use event::{AttemptRef, EndReason, Event, MissedReason, Place, RunningAttempt, Then};
pub use names::{ClusterName, JobName, NameError, RunId};
pub use order::{Order, OrderReason};
pub use outcome::Outcome;
pub use resources::{Exit, Limit, Resources};
pub use run::{Attempt, Limits, RetryPolicy, Run};
