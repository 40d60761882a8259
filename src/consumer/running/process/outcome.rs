//! What the end of a command says: its exit code or signal, and the limit that explains why it failed.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::cgroup::{Leaf, Seen};
use crate::common::model::{Exit, Limit, Outcome, Resources};

/// What limits a command.
#[derive(Debug)]
pub struct Limited {
    /// The limits.
    pub resources: Resources,
    /// The control group, where the limits take one.
    pub leaf: Option<Leaf>,
}

impl Limited {
    /// What the end of the shell says, with what the kernel did because of a limit.
    pub(super) fn outcome(&self, status: ExitStatus, cpu_used: Duration) -> Outcome {
        let exit = match (status.code(), status.signal()) {
            (Some(0), _) => return Outcome::Succeeded,
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        };
        let seen = self.leaf.as_ref().map(Leaf::seen).unwrap_or_default();
        match (reached(exit, &self.resources, seen, cpu_used), exit) {
            (Some(limit), exit) => Outcome::OverLimit { limit, exit },
            (None, Exit::Code(code)) => Outcome::Failed { code },
            (None, Exit::Signal(signal)) => Outcome::Signalled { signal },
        }
    }
}

/// The limit that explains why a command failed.
fn reached(exit: Exit, resources: &Resources, seen: Seen, cpu_used: Duration) -> Option<Limit> {
    /// A shell says so of a command that a signal has ended (POSIX.1-2024, "Exit Status for Commands").
    const BY_SIGNAL: i32 = 128;
    let is_over = resources.cpu_s.is_some_and(|most| cpu_used >= Duration::from_secs(most));
    let used_up = matches!(exit, Exit::Signal(libc::SIGXCPU))
        || matches!(exit, Exit::Code(code) if code == BY_SIGNAL + libc::SIGXCPU)
        // One that goes on after XCPU is killed.
        || (is_over && matches!(exit, Exit::Signal(libc::SIGKILL)));
    if seen.killed_for_memory {
        Some(Limit::Memory)
    } else if resources.cpu_s.is_some() && used_up {
        Some(Limit::Cpu)
    } else if seen.refused_process {
        Some(Limit::Pids)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_explained_by_the_limit_that_made_it() {
        let memory = Seen { killed_for_memory: true, ..Seen::default() };
        let process = Seen { refused_process: true, ..Seen::default() };
        let nothing = Seen::default();
        let check = |exit: Exit, cpu_s: Option<u64>, seen: Seen, expected: Option<Limit>| {
            let resources = Resources { cpu_s, ..Resources::default() };
            assert_eq!(
                reached(exit, &resources, seen, Duration::from_secs(2)),
                expected,
                "{exit} {cpu_s:?} {seen:?}"
            );
        };
        check(Exit::Code(1), None, nothing, None);
        check(Exit::Signal(libc::SIGKILL), None, memory, Some(Limit::Memory));
        check(Exit::Code(1), None, memory, Some(Limit::Memory));
        check(Exit::Code(2), None, process, Some(Limit::Pids));
        check(Exit::Signal(libc::SIGXCPU), Some(1), nothing, Some(Limit::Cpu));
        check(Exit::Code(128 + libc::SIGXCPU), Some(1), nothing, Some(Limit::Cpu));
        // Its CPU time has no limit, so another process sent the signal.
        check(Exit::Signal(libc::SIGXCPU), None, nothing, None);
        check(Exit::Code(1), Some(1), nothing, None);
        check(Exit::Signal(libc::SIGKILL), Some(2), nothing, Some(Limit::Cpu));
        // Another process killed it: it has time left.
        check(Exit::Signal(libc::SIGKILL), Some(3), nothing, None);
    }
}
