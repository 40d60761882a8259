//! The mark by which the consumer knows the processes of an attempt: three lines of the environment that they were
//! started with and hand on to whatever they start.
//!
//! The run alone would not do: its id says job and instant (`docs/PROTOCOL.md`), so another fleet's job of the same
//! name, whose consumer stands on the same host, has it too.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use rustix::process::Pid;

use super::environment::{ATTEMPT, CLUSTER, RUN_ID};
use super::is_exhausted;
use crate::common::model::{Attempt, ClusterName, RunId};

/// An attempt's mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    run: RunId,
    cluster: ClusterName,
    attempt: u32,
}

impl Mark {
    /// The names of its variables.
    pub const VARIABLES: [&str; 3] = [RUN_ID, CLUSTER, ATTEMPT];

    /// The mark of a start that only shows that starting works: of no run.
    pub(super) fn of_a_trial() -> Self {
        Self { run: RunId(uuid::Uuid::new_v4()), cluster: ClusterName::trial(), attempt: 0 }
    }

    /// The attempt's.
    pub fn of(attempt: &Attempt) -> Self {
        Self { run: attempt.run.id, cluster: attempt.run.cluster.clone(), attempt: attempt.attempt }
    }

    /// The lines that stand in the environment of its processes.
    pub fn lines(&self) -> [String; 3] {
        [
            format!("{RUN_ID}={}", self.run),
            format!("{CLUSTER}={}", self.cluster),
            format!("{ATTEMPT}={}", self.attempt),
        ]
    }

    /// Whether a process was started with all of its lines. One that may not be looked at was not.
    ///
    /// # Errors
    /// When the system has no descriptor left to look.
    pub fn is_on(&self, pid: Pid) -> io::Result<bool> {
        match fs::read(format!("/proc/{pid}/environ")) {
            Ok(environment) => Ok(self.is_in(&environment)),
            Err(error) if is_exhausted(&error) => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn is_in(&self, environment: &[u8]) -> bool {
        let has = |line: &String| environment.split(|byte| *byte == 0).any(|other| other == line.as_bytes());
        self.lines().iter().all(has)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.cluster, self.attempt)
    }
}

/// A text that is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMark;

impl FromStr for Mark {
    type Err = NoMark;
    fn from_str(text: &str) -> Result<Self, NoMark> {
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or(NoMark);
        let mark = Self {
            run: part()?.parse().map_err(|_| NoMark)?,
            cluster: ClusterName::new(part()?).map_err(|_| NoMark)?,
            attempt: part()?.parse().map_err(|_| NoMark)?,
        };
        parts.next().is_none().then_some(mark).ok_or(NoMark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "00000000-0000-0000-0000-000000000001";

    #[test]
    fn a_mark_is_on_the_processes_of_its_attempt_and_on_no_others() {
        let mark: Mark = format!("{RUN}/a/2").parse().unwrap();
        let check = |environment: &str, expected: bool| {
            assert_eq!(mark.is_in(environment.replace(' ', "\0").as_bytes()), expected, "{environment}");
        };
        check(&format!("HOME=/ CRON_CLUSTER=a CRON_RUN_ID={RUN} CRON_ATTEMPT=2 A=b"), true);
        check(&format!("CRON_CLUSTER=b CRON_RUN_ID={RUN} CRON_ATTEMPT=2"), false);
        check(&format!("CRON_CLUSTER=a CRON_RUN_ID={RUN} CRON_ATTEMPT=1"), false);
        check(&format!("CRON_CLUSTER=a CRON_RUN_ID={RUN} CRON_ATTEMPT=22"), false);
        check(&format!("CRON_CLUSTER=a CRON_RUN_ID={RUN}"), false);
        check("CRON_CLUSTER=a CRON_ATTEMPT=2", false);
        check("", false);
    }

    #[test]
    fn a_mark_survives_being_told_to_the_guard() {
        let check = |text: &str, is_one: bool| {
            let read = text.parse::<Mark>().map(|mark| mark.to_string());
            assert_eq!(read, if is_one { Ok(text.to_owned()) } else { Err(NoMark) }, "{text}");
        };
        check(&format!("{RUN}/a/2"), true);
        check(&format!("{RUN}/a/2/3"), false);
        check(&format!("{RUN}/a"), false);
        check(&format!("{RUN}//2"), false);
        check(RUN, false);
        check("x/a/2", false);
    }
}
