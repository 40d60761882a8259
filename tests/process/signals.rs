//! What signals mean to a program that was started with some of them ignored or blocked, and to its jobs.

use std::time::Duration;
use std::{mem, ptr};

use kafka_cron::common::model::Outcome::Succeeded;
use kafka_cron::common::signals;

use crate::bench::{Bench, LONG, attempt, with};
use crate::child;

/// The signals 32 and 33, which glibc uses itself. Its posix_spawn(3) has each child ignore them, and whoever started these tests may
/// have used it.
const THE_LIBRARYS: u64 = 0b11 << 31;

/// As `nohup`, a shell without job control, or a parent that has its own use for signals starts a program.
fn inherit() {
    for signal in [libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGALRM, libc::SIGTSTP, libc::SIGRTMAX()]
    {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: a set of signals is numbers; it is filled before it is used, and outlives the call.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

fn send_ourselves(signal: i32) {
    // SAFETY: a signal that is caught or ignored, to this thread, which is not the only one.
    assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), signal) }, 0);
}

#[test]
fn what_was_ignored_is_ignored_what_was_blocked_comes_through_and_jobs_find_neither() {
    if child::part().is_none() {
        let name = "what_was_ignored_is_ignored_what_was_blocked_comes_through_and_jobs_find_neither";
        return child::run(&format!("signals::{name}"));
    }
    inherit();
    let signals = signals::catch().unwrap();
    for ignored in [libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGTSTP] {
        send_ourselves(ignored);
    }
    send_ourselves(libc::SIGTERM);
    assert_eq!(signals.recv_timeout(LONG), Ok(1), "TERM, which was blocked; HUP counts for nothing");
    assert!(signals.recv_timeout(Duration::from_millis(50)).is_err());
    let bench = Bench::new(1);
    let as_other = with("grep Sig /proc/self/status", |run| run.user = Some("nobody".to_owned()));
    let is_root = rustix::process::geteuid().is_root();
    let attempts = [attempt("/bin/grep Sig /proc/self/status"), attempt("grep Sig /proc/self/status; true")];
    for attempt in attempts.into_iter().chain(is_root.then_some(as_other)) {
        let command = attempt.run.command.clone();
        let report = bench.run(attempt);
        assert_eq!(report.outcome, Succeeded, "{command}");
        let none = |mask: &str| {
            let line = report.output_tail.lines().find(|line| line.starts_with(mask)).unwrap();
            let mask = u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap();
            assert_eq!(mask & !THE_LIBRARYS, 0, "{command}: {}", report.output_tail);
        };
        ["SigBlk", "SigIgn"].into_iter().for_each(none);
    }
}
