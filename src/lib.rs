//! kafka-cron: cron for many machines, on Apache Kafka, with plain threads.
//!
//! The map, one line a room; `docs/ARCHITECTURE.md` draws it.
//!
//! - [`common`]: what both programs say and stand on: words, wire format, topics, the broker port and its two
//!   ends, clock, threads, log, metrics.
//! - [`producer`]: job file → timetable → topic.
//! - [`consumer`]: topic → claim → process → report.
//! - [`cronctl`]: what people ask from the command line.
//!
//! Imports point one way: `bin` → `producer`, `consumer`, `cronctl` → `common`; `cronctl` also asks the producer's
//! job file and schedules.

pub mod common;
pub mod consumer;
pub mod cronctl;
pub mod producer;
