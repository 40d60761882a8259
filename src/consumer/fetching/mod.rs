//! Fetching: the consumer reads its partitions of the cluster's topic.
//!
//! The thread `poll` ([`poll`]) keeps one fetcher for each broker that leads some of the partitions. The threads `fetch-N`
//! ([`fetcher`]) each read from one leader and hand what they read to the claiming thread. The room has no state machine. Its
//! rules are [`reading`], which tells an attempt from a record that can never be run here, and a
//! [`Track`](fetcher::Track), which says what is fetched next of a partition and what an answer means; the simulation's
//! fetcher goes by both.

pub mod fetcher;
pub mod poll;
pub mod reading;
