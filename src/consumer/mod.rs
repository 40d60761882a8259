//! Topic → claim → process → report: the programs that run the jobs.
//!
//! The way of an attempt, and who stands where on it (threads in italics, state machines that they step behind them,
//! rules that are pure at the end):
//!
//! 1. **Read**: *[`poll`]* and its *[`fetcher`]s*; [`reading`] tells an attempt from what is none.
//! 2. **Claim**: *[`dispatch`]*, which steps the [`dispatcher`]; [`loading`] asks where a partition goes on and
//!    [`position`] what an offset that makes no sense means; [`partition`] holds what is not due, [`duplicates`] drops
//!    copies, [`claims`] and [`answers`] say what an answer to a commit allows, [`pace`] when to wait for company;
//!    [`letters`] writes away what cannot be read.
//! 3. **Run**: *[`worker`]*, which starts and watches a [`process`].
//! 4. **Report**: *[`reporter`]*, which steps [`reporting`]; [`reports`] says what follows from an end.

pub mod answers;
pub mod claims;
pub mod dispatch;
pub mod dispatcher;
pub mod duplicates;
pub mod fetcher;
mod fills;
pub mod letters;
pub mod loading;
pub mod measures;
pub mod pace;
pub mod partition;
pub mod poll;
pub mod position;
pub mod process;
pub mod reading;
pub mod reporter;
pub mod reporting;
pub mod reports;
pub mod worker;
