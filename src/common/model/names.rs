//! Names that cross a border: checked once where they enter, trusted afterwards.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

/// Why a word is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The cluster name breaks the rule that is spelled out in the message.
    #[error(
        "`{0}` is not a cluster name (lower-case letters, digits and hyphens, at most 200, starting with a letter or \
         digit, not starting with `cron-`, not ending in `-retry` or `-dead`)"
    )]
    Cluster(String),
    /// The job name breaks the rule that is spelled out in the message.
    #[error("`{0}` is not a job name (1 to 128 characters, none of them white space or control)")]
    Job(String),
}

/// The name of a cluster of consumers, and of the topic that holds the first attempts of its jobs.
///
/// `[a-z0-9][a-z0-9-]*`, at most 200 characters (Kafka allows a topic 249), not ending in `-retry` or `-dead`
/// and not starting with `cron-`, which are the names of our other topics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// The name in the mark of a start that only shows that starting works.
    pub fn trial() -> Self {
        Self("trial".into())
    }

    /// Checks a word against the rule for cluster names.
    ///
    /// # Errors
    /// [`NameError::Cluster`] when the word breaks it.
    pub fn new(word: &str) -> Result<Self, NameError> {
        let first = word.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let reserved = word.starts_with("cron-") || word.ends_with("-retry") || word.ends_with("-dead");
        if first && rest && !reserved && word.len() <= 200 {
            Ok(Self(word.into()))
        } else {
            Err(NameError::Cluster(word.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a job, unique in its job file: 1 to 128 characters without white space or control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(Arc<str>);

impl JobName {
    /// The name in events that are about no job in particular, but about all of a cluster. No job may have it.
    pub const ANY: &str = "*";

    /// That name.
    pub fn any() -> Self {
        Self(Self::ANY.into())
    }

    /// Checks a word against the rule for job names.
    ///
    /// # Errors
    /// [`NameError::Job`] when the word breaks it.
    pub fn new(word: &str) -> Result<Self, NameError> {
        let fits = (1..=128).contains(&word.chars().count());
        if fits && !word.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Ok(Self(word.into()))
        } else {
            Err(NameError::Job(word.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Maps by job can be asked for text.
impl Borrow<str> for JobName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! text_name {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(word: String) -> Result<Self, NameError> {
                Self::new(&word)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(word: &str) -> Result<Self, NameError> {
                Self::new(word)
            }
        }
    };
}
text_name!(ClusterName);
text_name!(JobName);

/// Identifies a run: the UUIDv5 (RFC 9562, section 5.5) of job name, NUL and scheduled instant.
///
/// A producer that publishes a tick twice publishes the same run, so the second copy can be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The name space of run ids, fixed for ever in `docs/PROTOCOL.md`.
    pub const NAMESPACE: Uuid = uuid!("6f1d2f6a-52b5-5a0c-9d0e-1c0f6b1f7a63");

    /// The id of the run that `job` owes for the tick at `scheduled_at`.
    pub fn of(job: &JobName, scheduled_at: DateTime<Utc>) -> Self {
        let name = format!("{job}\0{}", scheduled_at.to_rfc3339_opts(SecondsFormat::Secs, true));
        Self(Uuid::new_v5(&Self::NAMESPACE, name.as_bytes()))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_leave_room_for_our_own_topics() {
        let good = ["a", "cluster-a", "0x", "a-", "retry", "dead"];
        let bad = ["", "-a", "A", "a_b", "a.b", "cron-runs", "a-retry", "a-dead", "é", "a b"];
        assert!(good.iter().all(|word| ClusterName::new(word).is_ok()));
        assert!(bad.iter().all(|word| ClusterName::new(word).is_err()));
        assert!(ClusterName::new(&"a".repeat(201)).is_err());
    }

    #[test]
    fn a_run_id_is_a_function_of_job_and_instant_alone() {
        let job = JobName::new("backup").unwrap();
        let at = "2026-11-23T17:00:00Z".parse().unwrap();
        let id = RunId::of(&job, at);
        assert_eq!(id, RunId::of(&job, at));
        assert_ne!(id, RunId::of(&job, at + chrono::TimeDelta::seconds(1)));
        assert_ne!(id, RunId::of(&JobName::new("backup2").unwrap(), at));
        assert_eq!(id.to_string().parse::<RunId>().unwrap(), id);
    }
}
