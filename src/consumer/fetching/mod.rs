//! Fetching: the consumer reads its partitions of the cluster's topic.
//!
//! The thread `poll` ([`poll`]) keeps one fetcher for each broker that leads some of the partitions. The threads `fetch-N`
//! ([`fetcher`]) each read from one leader and hand what they read to the claiming thread. The room has no state machine. Its
//! rule is [`reading`], which tells an attempt from a record that can never be run here.

pub mod fetcher;
pub mod poll;
pub mod reading;
