//! Job file → timetable → topic: the program that says when jobs are due.
//!
//! The way of a tick, and who stands where on it (threads in italics, state machines that they step behind them, rules
//! that are pure at the end):
//!
//! 1. **What there is**: *[`watch`]* reads the file; [`jobfile`] makes [`job`]s of its lines, each with a [`schedule`] and
//!    a [`window`]; [`in_force`] is a file with its revision.
//! 2. **Who says**: *[`leadership`]*: who leads, and from which cursors.
//! 3. **What is due**: *[`timer`]*, which steps [`timing`]; a [`lane`] for each cluster knows what is owed, by its
//!    [`timetable`]; [`catchup`] judges what is late, [`overlap`] what is not to run beside another run.
//! 4. **Written**: *[`publisher`]*, one a cluster; *[`setup`]* looks after the topics.
//! 5. **What became of it**: *[`tail`]* follows `cron-runs`: lost attempts, unfinished runs.
//!
//! And for whoever looks from outside: [`due`] counts what should come of it all, *[`depth`]* what lies in the
//! dead-letter topics.

pub mod catchup;
pub mod depth;
pub mod due;
pub mod in_force;
pub mod job;
pub mod jobfile;
pub mod lane;
pub mod leadership;
pub mod measures;
pub mod overlap;
pub mod publisher;
pub mod schedule;
pub mod setup;
pub mod tail;
pub mod timer;
pub mod timetable;
pub mod timing;
pub mod watch;
pub mod window;
pub mod zone;
