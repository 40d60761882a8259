//! kafka-cron: cron for many machines, on Apache Kafka, with plain threads.
//!
//! Each line below names one room; `docs/ARCHITECTURE.md` draws how they are connected.
//!
//! - [`common`] holds what both programs share: the model, the wire format, the topics, the broker port and its two
//!   implementations, the clock, threads, the log and metrics.
//! - [`producer`] reads the job file, follows the timetable, and publishes each tick to a topic.
//! - [`consumer`] fetches attempts from a topic, claims them, runs their commands, and reports how they ended.
//! - [`cronctl`] answers what people ask from the command line.
//!
//! Imports point one way: `bin` → `producer`, `consumer`, `cronctl` → `common`; `cronctl` also uses the producer's
//! job file and schedules.

pub mod common;
pub mod consumer;
pub mod cronctl;
pub mod producer;
