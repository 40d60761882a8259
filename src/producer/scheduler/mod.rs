//! The scheduler hands each cluster's ticks to its publisher when they are due, and tells leadership how far the
//! clusters are.
//!
//! The thread `timer` ([`thread`]) is the only part that knows clocks, logs and metrics. It sleeps until the next tick
//! is due or an event comes, hands it to the state machine [`machine::Scheduler`], and carries out what follows by an
//! [`outbox`]; the simulation does the same. The machine never learns that Kafka exists. It consists of:
//!
//! - [`clusters`] holds the plans of all clusters, and knows which runs block which jobs.
//! - `cluster_term` holds what one cluster needs in one term of this leader: the cluster's plan, the extra batches
//!   that are not part of the plan (ticks of a reboot, ticks that waited, events), and the batches in flight.
//! - [`overlap`] is the rule for jobs whose runs must not overlap: it decides whether a tick is published, queued or
//!   skipped.
//! - `reload` keeps a new job file waiting until the run tracker has told which runs of its jobs are open.
//! - [`messages`] names the events, what follows from them, and the channels; `events` makes the records for `cron-runs`.
//!
//! Two rules matter most. The thread never waits on a send: it takes ticks from a plan only while the cluster's channel
//! has room. And the cursor of a cluster passes no tick whose fate is not on record.

mod channel_gauges;
mod cluster_term;
pub mod clusters;
mod events;
pub mod levels;
pub mod machine;
pub mod messages;
pub mod outbox;
pub mod overlap;
mod reload;
pub mod thread;
