//! Every way an attempt can end.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How an attempt ended. Only `succeeded` ends the run well; everything else is a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The command exited with code 0.
    Succeeded,
    /// The command exited with another code.
    Failed {
        /// The exit code, 1 to 255.
        code: i32,
    },
    /// A signal ended the command that was not ours.
    Signalled {
        /// The signal's number (signal(7)).
        signal: i32,
    },
    /// It ran into its time-out and was ended.
    TimedOut,
    /// Nothing was started: no such shell, user, directory or right.
    CouldNotStart {
        /// What was attempted, and what the system said.
        reason: String,
    },
    /// The consumer was told to stop and did not wait any longer.
    Cancelled,
    /// Its consumer died or was cut off for longer than the lease.
    Lost,
    /// It was found later after its scheduled instant than its owner allows.
    Expired,
}

impl Outcome {
    /// The bounded word for metrics and lists: `succeeded`, `failed`, `timed_out`, ….
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Signalled { .. } => "signalled",
            Self::TimedOut => "timed_out",
            Self::CouldNotStart { .. } => "could_not_start",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Expired => "expired",
        }
    }

    /// Whether the run needs another attempt (or a dead letter) after this one.
    pub fn wants_retry(&self) -> bool {
        !matches!(self, Self::Succeeded | Self::Expired)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { code } => write!(f, "failed (exit code {code})"),
            Self::Signalled { signal } => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::CouldNotStart { reason } => write!(f, "could not start: {reason}"),
            other => f.write_str(other.word()),
        }
    }
}
