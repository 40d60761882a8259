//! The scheduler: hands each cluster's ticks to its publisher when they are due, and tells leadership how far they are.
//!
//! The [`machine`] knows the clusters of this term ([`cluster_term`], around a cluster's plan), decides what happens at a tick
//! whose job's runs must not overlap ([`overlap`]), and waits with a new job file until the runs of its jobs are known
//! ([`reload`]). The [`thread`] steps it.

mod channel_gauges;
mod cluster_term;
mod events;
pub mod machine;
pub mod messages;
pub mod overlap;
pub mod reload;
pub mod thread;
