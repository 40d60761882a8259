//! Orders: the consumer follows `cron-orders`, where the leader asks for the end of runs that make room for the next one
//! (`overlap=replace`).
//!
//! The thread `orders` ([`thread`]) steps the state machine [`machine::OrderReader`] and tells two others: the [`desk`], at
//! which workers say what they run, and the claiming thread, which makes retries of such runs due. Which orders are
//! remembered is a rule ([`remembered`]). Nothing here ends a process or writes to Kafka.

pub mod desk;
pub mod machine;
pub mod messages;
pub mod remembered;
#[cfg(test)]
mod tests;
pub mod thread;
