//! Topic → claim → process → report: the programs that run the jobs. A room for each step of an attempt's way, and in
//! each the thread, the state machine that it steps, and the rules that are pure:
//!
//! 1. [`fetching`]: messages are taken from the topic, and attempts told from what is none.
//! 2. [`claiming`]: an attempt is made ours, or held, or dropped, or refused.
//! 3. [`running`]: a claimed attempt is started, watched and ended.
//! 4. [`results`]: what became of it is passed on, and put on record.

mod channel_gauges;
pub mod claiming;
pub mod fetching;
pub mod metrics;
pub mod reporting;
pub mod running;
