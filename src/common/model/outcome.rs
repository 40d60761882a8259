//! Every way an attempt can end.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Exit, Limit};

/// How an attempt ended. Only `succeeded` ends the run well; everything else is a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", from = "Written")]
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
    /// The command failed because it reached a limit of its job ([`super::Resources`]).
    OverLimit {
        /// The limit.
        limit: Limit,
        /// How the command ended.
        exit: Exit,
    },
    /// It ran into its time-out and was ended.
    TimedOut,
    /// Nothing was started: no such shell, user, directory or right, or a limit that this host cannot enforce.
    CouldNotStart {
        /// What was attempted, and what the system said.
        reason: String,
    },
    /// The consumer was told to stop and did not wait any longer.
    Cancelled,
    /// The leader asked for the run's end, because a newer tick waits for it (`overlap=replace`).
    Replaced,
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
            Self::OverLimit { limit: Limit::Memory, .. } => "out_of_memory",
            Self::OverLimit { limit: Limit::Cpu, .. } => "out_of_cpu_time",
            Self::OverLimit { limit: Limit::Pids, .. } => "out_of_processes",
            Self::TimedOut => "timed_out",
            Self::CouldNotStart { .. } => "could_not_start",
            Self::Cancelled => "cancelled",
            Self::Replaced => "replaced",
            Self::Lost => "lost",
            Self::Expired => "expired",
        }
    }

    /// Whether an attempt that ended so, and is said to have been started and to have ended at these instants, was started at all:
    /// one that was replaced, cancelled or found too late before that has the same instant for both.
    pub fn was_started(&self, started_at: DateTime<Utc>, ended_at: DateTime<Utc>) -> bool {
        let may_be_not = matches!(self, Self::Replaced | Self::Cancelled | Self::Expired);
        !(may_be_not && started_at == ended_at)
    }

    /// Whether the run needs another attempt (or a dead letter) after this one.
    pub fn wants_retry(&self) -> bool {
        !matches!(self, Self::Succeeded | Self::Expired | Self::Replaced)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { code } => write!(f, "failed (exit code {code})"),
            Self::Signalled { signal } => write!(f, "ended by signal {signal}"),
            Self::OverLimit { limit, exit } => match limit {
                Limit::Memory => write!(f, "killed because it reached its memory limit ({exit})"),
                Limit::Cpu => write!(f, "ended because it used up its CPU time ({exit})"),
                Limit::Pids => write!(f, "failed after it was refused a process (`pids`; {exit})"),
            },
            Self::TimedOut => f.write_str("timed out"),
            Self::CouldNotStart { reason } => write!(f, "could not start: {reason}"),
            other => f.write_str(other.word()),
        }
    }
}

/// An outcome as it is written. A limit stands beside the fact that it explains, and not in its place, so that a reader
/// that knows no limits still understands the fact; and so does that a newer tick cancelled an attempt (`docs/PROTOCOL.md`, "outcome").
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Written {
    Succeeded,
    Failed {
        code: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Known>,
    },
    Signalled {
        signal: i32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Known>,
    },
    TimedOut,
    CouldNotStart {
        reason: String,
    },
    Cancelled {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<KnownBy>,
    },
    Lost,
    Expired,
}

/// What cancelled an attempt.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Replaced,
}

/// What cancelled an attempt, or a word that a newer program wrote.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum KnownBy {
    By(By),
    Unknown(String),
}

/// A limit, or a word that a newer program wrote.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Known {
    Limit(Limit),
    Unknown(String),
}

impl From<Written> for Outcome {
    fn from(written: Written) -> Self {
        match written {
            Written::Failed { code, limit: Some(Known::Limit(limit)) } => {
                Self::OverLimit { limit, exit: Exit::Code(code) }
            }
            Written::Signalled { signal, limit: Some(Known::Limit(limit)) } => {
                Self::OverLimit { limit, exit: Exit::Signal(signal) }
            }
            Written::Failed { code, .. } => Self::Failed { code },
            Written::Signalled { signal, .. } => Self::Signalled { signal },
            Written::Succeeded => Self::Succeeded,
            Written::TimedOut => Self::TimedOut,
            Written::CouldNotStart { reason } => Self::CouldNotStart { reason },
            Written::Cancelled { by: Some(KnownBy::By(By::Replaced)) } => Self::Replaced,
            Written::Cancelled { .. } => Self::Cancelled,
            Written::Lost => Self::Lost,
            Written::Expired => Self::Expired,
        }
    }
}

impl From<Outcome> for Written {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failed { code } => Self::Failed { code, limit: None },
            Outcome::Signalled { signal } => Self::Signalled { signal, limit: None },
            Outcome::OverLimit { limit, exit: Exit::Code(code) } => {
                Self::Failed { code, limit: Some(Known::Limit(limit)) }
            }
            Outcome::OverLimit { limit, exit: Exit::Signal(signal) } => {
                Self::Signalled { signal, limit: Some(Known::Limit(limit)) }
            }
            Outcome::Succeeded => Self::Succeeded,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::CouldNotStart { reason } => Self::CouldNotStart { reason },
            Outcome::Cancelled => Self::Cancelled { by: None },
            Outcome::Replaced => Self::Cancelled { by: Some(KnownBy::By(By::Replaced)) },
            Outcome::Lost => Self::Lost,
            Outcome::Expired => Self::Expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, outcome: &Outcome) {
        assert_eq!(serde_json::from_str::<Outcome>(text).unwrap(), *outcome, "{text}");
        assert_eq!(serde_json::to_string(outcome).unwrap(), text);
    }

    #[test]
    fn a_limit_is_written_beside_the_fact_that_it_explains() {
        check(r#"{"kind":"failed","code":1}"#, &Outcome::Failed { code: 1 });
        let exit = Exit::Signal(9);
        check(
            r#"{"kind":"signalled","signal":9,"limit":"memory"}"#,
            &Outcome::OverLimit { limit: Limit::Memory, exit },
        );
        let exit = Exit::Code(152);
        check(
            r#"{"kind":"failed","code":152,"limit":"cpu"}"#,
            &Outcome::OverLimit { limit: Limit::Cpu, exit },
        );
        check(r#"{"kind":"succeeded"}"#, &Outcome::Succeeded);
    }

    #[test]
    fn a_replaced_attempt_is_a_cancelled_one_to_a_program_that_does_not_know_replaced() {
        check(r#"{"kind":"cancelled","by":"replaced"}"#, &Outcome::Replaced);
        check(r#"{"kind":"cancelled"}"#, &Outcome::Cancelled);
        let text = r#"{"kind":"cancelled","by":"operator"}"#;
        assert_eq!(serde_json::from_str::<Outcome>(text).unwrap(), Outcome::Cancelled);
        assert!(!Outcome::Replaced.wants_retry() && Outcome::Cancelled.wants_retry());
    }

    #[test]
    fn a_limit_that_only_a_newer_program_knows_leaves_the_fact() {
        let text = r#"{"kind":"failed","code":1,"limit":"disk"}"#;
        assert_eq!(serde_json::from_str::<Outcome>(text).unwrap(), Outcome::Failed { code: 1 });
    }
}
