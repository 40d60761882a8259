//! The guard's own side: it reads what is under way until the consumer is gone, and then ends it.

use std::ffi::OsStr;
use std::io::{self, BufRead, Write};
use std::path::Path;

use rustix::process::{Signal, setsid};

use super::ledger::Ledger;
use crate::common::exit::Exit;
use crate::consumer::running::process::{census, cgroup, probe, starter};

/// The program that runs, also after its file was replaced by a newer one.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// The argument that asks for the hidden mode.
pub(super) const ARGUMENT: &str = "__guard";

/// What is said when everything is in place.
pub(super) const READY: &[u8] = b"ready\n";

/// How many looks in a row must find no stray. A process that was being started when the consumer died shows its
/// environment a moment after it has let go of the pipe (execve(2) closes descriptors first).
const CLEAN_LOOKS: u32 = 3;

/// Becomes the guard (or the starter of a command, or the probe of the shell) and never returns, if the command line asks for it. To be called first
/// thing in `main`.
pub fn main_if_asked() {
    let asked = std::env::args_os().nth(1);
    let ended = match asked.as_deref() {
        Some(mode) if mode == OsStr::new(ARGUMENT) => guard(),
        Some(mode) if mode == OsStr::new(starter::ARGUMENT) => starter::main(),
        Some(mode) if mode == OsStr::new(probe::ARGUMENT) => probe::say(),
        _ => return,
    };
    std::process::exit(ended.map_or(Exit::System, |()| Exit::Done) as i32);
}

fn guard() -> io::Result<()> {
    detach()?;
    let mut out = io::stdout();
    out.write_all(READY)?;
    out.flush()?;
    let mut ledger = Ledger::default();
    // An error ends it as the end of the file does: a consumer that cannot be heard any more has died.
    let lines = io::stdin().lock().lines();
    lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).for_each(|line| ledger.enter(line));

    let marks = ledger.marks();
    if let Some(leaves) = std::env::args_os().nth(2) {
        marks.iter().for_each(|mark| cgroup::end_leaf(Path::new(&leaves), mark));
    }
    if !marks.is_empty() {
        ledger.groups().for_each(|group| census::signal_group(group, Signal::KILL));
        census::kill_strays(&marks, CLEAN_LOOKS);
    }
    Ok(())
}

/// Out of reach of what is meant for the consumer: a session of our own, so that neither Ctrl-C nor a signal to its
/// process group arrives; deaf to what asks politely; keeping no directory busy.
fn detach() -> io::Result<()> {
    setsid()?;
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    std::env::set_current_dir("/")?;
    // The name in ps(1), which would be `exe`. Where it cannot be set, it is that.
    let _named = std::fs::write("/proc/self/comm", "cron-guard");
    Ok(())
}
