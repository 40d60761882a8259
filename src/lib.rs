//! kafka-cron: cron for many machines, on Apache Kafka, with plain threads.
//!
//! The map, one line a room; `docs/ARCHITECTURE.md` draws it.
//!
//! - [`common`]: what both programs say and stand on: words, wire format, topics, the broker port and its two
//!   ends, clock, threads, log, metrics.
//! - [`producer`]: job file → timetable → topic.
//! - [`consumer`]: topic → claim → process → report.
//!
//! Imports point one way: `bin` → `producer`, `consumer` → `common`.

pub mod common;
pub mod consumer;
pub mod producer;
