//! Which processes live: what `/proc` says about process groups and runs, and signals to both.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process_group, pidfd_open, pidfd_send_signal,
    test_kill_process_group, waitpgid,
};

use super::is_exhausted;
use super::mark::Mark;

/// Sends a signal to a group. An empty group is no failure.
pub fn signal_group(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => log::warn!("signal {signal:?} to process group {group}: {error}"),
    }
}

/// Whether a process lives in a group whose leader has been reaped.
///
/// One system call when the group is empty, as it nearly always is. A zombie answers to it, too: where process 1
/// does not reap what falls to it, zombies are for ever, so the living are looked for among all processes.
pub fn group_lives(group: Pid) -> bool {
    if test_kill_process_group(group) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    // As process 1 of a container we inherit what the command left behind, and it is ours to reap.
    while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
    // Where no descriptor is left to look, it lives: taken for gone, it would not be killed, and the next attempt would run
    // beside it.
    has_living_member(group).unwrap_or(true)
}

fn has_living_member(group: Pid) -> io::Result<bool> {
    let number = group.as_raw_nonzero().get();
    for pid in processes()? {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if living_member_of(&stat) == Some(number) => return Ok(true),
            Err(error) if is_exhausted(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(false)
}

/// The process group in a line of `/proc/PID/stat` (proc(5)), unless the process is a zombie or dead. The name of the
/// program stands in parentheses and may hold anything.
fn living_member_of(stat: &str) -> Option<i32> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let _parent = fields.next()?;
    let group = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(group)
}

/// How much CPU time a process has used, user and system (proc(5), fields 14 and 15).
pub fn cpu_time(pid: Pid) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let ticks = cpu_ticks(&stat)?;
    // Linux shows a hundred ticks a second, whatever its own clock does (times(2), "NOTES").
    Some(Duration::from_millis(ticks * 10))
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

/// How often strays are looked for, beside the looks that find none: one that is just being forked may escape a look.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Kills every process whose environment says that it is of one of these attempts, wherever it is, until `clean` looks
/// in a row have found none. As best effort: a process can replace its environment, and one of another user than ours
/// is out of reach unless we are root. A look that the system has no descriptor for has found nothing, and does not count.
pub fn kill_strays(marks: &[Mark], clean: u32) {
    let mut seen_none = 0;
    for look in 0..LOOKS + clean {
        if look > 0 {
            pause(BETWEEN_LOOKS);
        }
        seen_none = if matches!(kill_marked(marks), Ok(0)) { seen_none + 1 } else { 0 };
        if seen_none == clean {
            return;
        }
    }
    log::warn!("processes of {} attempts are out of reach", marks.len());
}

/// Kills those that are found in one look, and tells how many these are.
fn kill_marked(marks: &[Mark]) -> io::Result<usize> {
    let mut killed = 0;
    for pid in processes()? {
        killed += usize::from(kill_if_marked(pid, marks)?);
    }
    Ok(killed)
}

fn kill_if_marked(pid: Pid, marks: &[Mark]) -> io::Result<bool> {
    let is_marked =
        || marks.iter().try_fold(false, |is_marked, mark| if is_marked { Ok(true) } else { mark.is_on(pid) });
    if pid == getpid() || !is_marked()? {
        return Ok(false);
    }
    // The number may be another process's by now. A pidfd stays with the process that it was opened on, so what is
    // found marked once more is what gets the signal.
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from) {
        Ok(pidfd) => pidfd,
        Err(error) if is_exhausted(&error) => return Err(error),
        Err(_) => return Ok(false),
    };
    if !is_marked()? {
        return Ok(false);
    }
    let _gone_meanwhile = pidfd_send_signal(&pidfd, Signal::KILL);
    Ok(true)
}

/// All processes that can be seen.
///
/// # Errors
/// When the system has no descriptor left to look.
fn processes() -> io::Result<impl Iterator<Item = Pid>> {
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => Some(entries),
        Err(error) if is_exhausted(&error) => return Err(error),
        Err(_) => None,
    };
    let pid = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    Ok(entries.into_iter().flatten().filter_map(pid).filter_map(Pid::from_raw))
}

/// A pause outside of any channel's reach: between two looks at what has no signal to wait for.
pub(super) fn pause(length: Duration) {
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let left = Timespec::try_from(left).ok();
        let _interrupted = poll(&mut [], left.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stat: &str, group: Option<i32>) {
        assert_eq!(living_member_of(stat), group, "{stat}");
    }

    #[test]
    fn the_living_are_told_from_zombies_whatever_their_name() {
        check("4712 (sleep) S 1 4711 4711 0 -1 0", Some(4711));
        check("4712 (a) Z 1 (b) R 1 4711 4711 0", Some(4711));
        check("4712 (sleep) Z 1 4711 4711 0", None);
        check("4712 (sleep) X 1 4711 4711 0", None);
        check("4712 (sleep", None);
        check("", None);
    }

    #[test]
    fn cpu_time_is_that_of_user_and_system() {
        let stat = "4712 (a) Z 1 (b) R 1 4711 4711 0 -1 4194304 5 0 0 0 120 34 7 8 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(154));
        assert_eq!(cpu_ticks("4712 (sleep) S 1"), None);
        assert!(cpu_time(getpid()).is_some());
    }

    #[test]
    fn our_own_process_is_among_the_processes_and_its_group_lives() {
        assert!(processes().unwrap().any(|pid| pid == getpid()));
        assert!(group_lives(rustix::process::getpgrp()));
        let nobodys = Pid::from_raw(i32::MAX).unwrap();
        assert!(!group_lives(nobodys));
    }

    /// In a process of its own, whose limit of descriptors is its own, too.
    #[test]
    fn where_no_descriptor_is_left_to_look_a_group_lives_and_no_look_counts() {
        const WITHIN: &str = "KAFKA_CRON_TEST_WITHOUT_DESCRIPTORS";
        let name = "consumer::running::process::census::tests::\
                    where_no_descriptor_is_left_to_look_a_group_lives_and_no_look_counts";
        if std::env::var_os(WITHIN).is_none() {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            let output = again.args(["--exact", name, "--nocapture"]).env(WITHIN, "1").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
            return;
        }
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let none = rustix::process::Rlimit { current: Some(0), ..before };
        let group = rustix::process::getpgrp();
        let mark = Mark::of_a_trial();
        rustix::process::setrlimit(rustix::process::Resource::Nofile, none).unwrap();
        let found = (has_living_member(group).is_err(), group_lives(group), kill_marked(&[mark]).is_err());
        rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
        assert_eq!(found, (true, true, true));
    }
}
