//! What an attempt may use of its host, and which of these limits ended one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an attempt may use of its host at most, and how it gives way to others. A field that is absent sets no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of memory for all processes of the attempt together (cgroups(7), `memory.max`; swap is not given beside it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Seconds of processor time for each process of the attempt (setrlimit(2), `RLIMIT_CPU`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<u64>,
    /// How many processes and threads the attempt may have at a time (cgroups(7), `pids.max`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// How many descriptors each process may have open (setrlimit(2), `RLIMIT_NOFILE`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nofile: Option<u64>,
    /// The nice value, -20 to 19: the larger, the more the attempt gives way to other processes (nice(2)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
}

impl Resources {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether only a control group can enforce what is asked for.
    pub fn needs_cgroup(&self) -> bool {
        self.memory_bytes.is_some() || self.pids.is_some()
    }
}

/// A limit of [`Resources`] that can end an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The kernel killed the attempt because it reached its limit of memory.
    Memory,
    /// A process of the attempt used up its processor time.
    Cpu,
    /// The attempt failed, and the kernel had refused it a process or a thread.
    Pids,
}

/// How a command ended by itself or by a signal that was not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code, 1 to 255.
    Code(i32),
    /// By this signal (signal(7)).
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memory_and_processes_need_a_control_group() {
        let check = |resources: Resources, needs: bool, empty: bool| {
            assert_eq!((resources.needs_cgroup(), resources.is_empty()), (needs, empty), "{resources:?}");
        };
        let none = Resources::default();
        check(none, false, true);
        check(Resources { memory_bytes: Some(1), ..none }, true, false);
        check(Resources { pids: Some(1), ..none }, true, false);
        check(Resources { cpu_s: Some(1), nofile: Some(1), nice: Some(0), ..none }, false, false);
    }
}
