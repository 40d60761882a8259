//! Job file → timetable → topic: the program that says when jobs are due.
//!
//! The rules are pure and stand apart from the threads: [`schedule`], [`jobfile`], [`job`], [`timetable`].

pub mod job;
pub mod jobfile;
pub mod schedule;
pub mod timetable;
