//! What the reader of orders tells.

use chrono::{DateTime, Utc};

use crate::common::broker::BrokerError;
use crate::common::model::RunId;

/// What the claiming thread and the workers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These runs are to end, by orders of these instants: no attempt of them starts any more. The same run may be told any number
    /// of times.
    Ordered(Vec<(RunId, DateTime<Utc>)>),
    /// All orders that stood in the topic when reading began have been told, or there is no such topic.
    ReadToEnd,
}

/// What follows from a step of the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The others are told.
    Tell(News),
    /// A call failed; it is made again.
    Failed(BrokerError),
}
