//! Job file → timetable → topic: the program that says when jobs are due.
//!
//! The rules are pure and stand apart from the threads: [`schedule`], [`jobfile`], [`job`], [`timetable`], [`lane`],
//! [`catchup`], [`overlap`]. State machines that threads step: [`leadership`], [`timing`], [`tail`]. The threads are
//! theirs, and [`watch`], [`timer`] and [`publisher`].

pub mod catchup;
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
