//! How topics are created, and what came of a look at them.

use super::differences::Difference;
use crate::common::broker::BrokerError;

/// How topics are created.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Partitions of a cluster's topic and of its retry topic.
    pub partitions: i32,
    /// Copies of each partition; as many as there are brokers, at most three, where it is not given.
    pub replication_factor: Option<i16>,
}

/// What a look has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A topic was created that this producer has never seen.
    Created {
        /// Its name.
        topic: String,
        /// Copies of each partition.
        copies: i16,
    },
    /// A topic that this producer knew was deleted, and has been made anew, by this one or another.
    Anew {
        /// Its name.
        topic: String,
    },
    /// A topic differs from what it should be.
    Differs {
        /// Its name.
        topic: String,
        /// How.
        difference: Difference,
    },
    /// A difference that was reported no longer exists.
    Mended {
        /// The topic's name.
        topic: String,
        /// The setting.
        setting: &'static str,
    },
    /// The settings of a topic cannot be compared. Told once.
    Incomparable {
        /// Its name.
        topic: String,
        /// Why.
        error: BrokerError,
    },
}

/// Why the topics are not as they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A call failed; it says which.
    Call(String, BrokerError),
    /// A topic cannot be used with a setting.
    Setting(String, Difference),
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Looked {
    /// What is new.
    pub told: Vec<Told>,
    /// The first thing that is wrong; `None`: all topics are there and can be used.
    pub failure: Option<Failure>,
}
