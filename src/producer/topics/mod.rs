//! The topics of a producer's clusters: whether they are there, and whether they are as the promises need them.
//!
//! Topics vanish while programs run: somebody deletes the wrong one, or cleans up. Each producer, leading or not,
//! therefore looks at all of them every few seconds, and at once when a write finds one missing. It creates what is
//! missing and says so. It never changes what exists: where a topic's settings differ from what it is created with,
//! it says what breaks and how to change it ([`differences`], a pure rule). A difference by which a topic refuses our
//! records makes the producer not ready; any other is a risk, on which a ticket stands.
//!
//! [`machine`] makes the calls and decides; [`thread`] steps it and tells logs, metrics and the page.

mod differences;
mod machine;
#[cfg(test)]
mod tests;
mod thread;

pub use self::machine::Upkeep;
pub use self::thread::{Context, Missing, TopicMetrics, Topics};

/// How topics are created.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Partitions of a cluster's topic and of its retry topic.
    pub partitions: i32,
    /// Copies of each partition; as many as there are brokers, at most three, where it is not given.
    pub replication_factor: Option<i16>,
}
