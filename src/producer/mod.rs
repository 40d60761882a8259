//! The producer: it reads the job file, decides which ticks are due, and writes them to the clusters' topics.
//!
//! A tick takes this way through the rooms. Each room in italics has a thread of its own, which feeds a state machine;
//! the program and the tests drive the same machines. The other rooms are pure rules and types.
//!
//! 1. **What the file says**: *[`file_watch`]* reads the file, [`jobfile`] turns its lines into [`job`]s, each with a
//!    [`schedule`] and a [`window`], and [`active_jobs`] is a file that is active, with its revision.
//! 2. **Who leads**: *[`leadership`]* decides whether this producer leads, and from which cursors it begins.
//! 3. **What is due**: the *[`scheduler`]* holds a [`plan`] for each cluster. The plan knows by its timetable what is
//!    due, judges late ticks by each job's catch-up, and keeps the cursor. The scheduler decides about runs that must
//!    not overlap.
//! 4. **What is written**: a *[`publisher`]* for each cluster writes the ticks; *[`topics`]* creates topics that are
//!    missing.
//! 5. **What became of it**: the *[`run_tracker`]* reads `cron-runs`, finds lost attempts, and knows which runs are
//!    open.
//!
//! Three rooms serve operators: [`due`] counts the ticks that should come of all this, the *[`dead_letter_gauge`]*
//! counts the records in the dead-letter topics, and [`metrics`] holds what the producer measures.

pub mod active_jobs;
pub mod cli;
pub mod dead_letter_gauge;
pub mod due;
pub mod file_watch;
pub mod job;
pub mod jobfile;
pub mod leadership;
pub mod metrics;
pub mod plan;
pub mod program;
pub mod publisher;
pub mod run_tracker;
pub mod schedule;
pub mod scheduler;
pub mod topics;
pub mod window;
pub mod zone;
