//! The topics of a producer's clusters: whether they exist, and whether their settings let the program keep its
//! promises.
//!
//! Topics vanish while programs run, because an operator deletes the wrong one or cleans up. Therefore each producer,
//! leading or not, looks at all of them every few seconds, and at once when a write finds one missing. It creates a
//! topic that is missing and says so in the log. It never changes a topic that exists: where the settings differ from
//! those it creates topics with, it says what breaks and how to change them ([`differences`], a pure rule). A
//! difference by which a topic refuses our records makes the producer not ready; any other is reported as a risk.
//!
//! The thread `topics` ([`thread`]) steps the state machine [`Upkeep`] ([`machine`]), which makes the calls and
//! decides. The thread reports to the log, the metrics and the status page.

mod differences;
mod machine;
mod messages;
#[cfg(test)]
mod tests;
mod thread;

pub use self::machine::Upkeep;
pub use self::messages::Options;
pub use self::thread::{Context, Missing, TopicMetrics, Topics};
