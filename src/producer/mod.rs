//! Job file → timetable → topic: the program that says when jobs are due.
//!
//! The rules are pure and stand apart from the threads: [`schedule`], [`jobfile`], [`job`], [`timetable`]. The
//! threads are [`timer`], [`publisher`] and that of the [`tail`].

pub mod job;
pub mod jobfile;
pub mod measures;
pub mod publisher;
pub mod schedule;
pub mod setup;
pub mod tail;
pub mod timer;
pub mod timetable;
