//! Job file → timetable → topic: the program that says when jobs are due.
//!
//! The way of a tick, and who stands where on it (threads in italics, state machines that they step behind them, rules
//! that are pure at the end):
//!
//! 1. **What there is**: *[`watch`]* reads the file; [`jobfile`] makes [`job`]s of its lines, each with a [`schedule`] and
//!    a [`window`]; [`active_jobs`] is a file with its revision.
//! 2. **Who says**: *[`leadership`]*: who leads, and from which cursors.
//! 3. **What is due**: *[`timer`]*, which steps [`timing`]; a [`lane`] for each cluster knows what is owed, by its
//!    [`timetable`]; [`catchup`] judges what is late, [`overlap`] what is not to run beside another run.
//! 4. **Written**: *[`publisher`]*, one a cluster; *[`setup`]* looks after the topics.
//! 5. **What became of it**: *[`tail`]* follows `cron-runs`: lost attempts, unfinished runs.
//!
//! And for whoever looks from outside: [`due`] counts what should come of it all, *[`depth`]* what lies in the
//! dead-letter topics.

pub mod active_jobs;
pub mod dead_letter_gauge;
pub mod due;
pub mod file_watch;
pub mod job;
pub mod jobfile;
pub mod leadership;
pub mod metrics;
pub mod plan;
pub mod publisher;
pub mod run_tracker;
pub mod schedule;
pub mod scheduler;
pub mod topics;
pub mod window;
pub mod zone;
