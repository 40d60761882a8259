//! The guard's own side: it reads what is under way until the consumer is gone, and then ends it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, Signal, getppid, pidfd_open, setsid};

use super::ledger::{Ledger, Line};
use crate::common::exit::Exit;
use crate::consumer::running::process::{census, cgroup, probe, starter};

/// The program that runs, also after its file was replaced by a newer one.
pub const THIS_PROGRAM: &str = "/proc/self/exe";

/// The argument that asks for the hidden mode.
pub(super) const ARGUMENT: &str = "__guard";

/// What is said when everything is in place.
pub(super) const READY: &[u8] = b"ready\n";

/// How many looks in a row must find no stray.
const CLEAN_LOOKS: u32 = 3;

/// The same where a process was being started when the consumer died: two seconds. It shows its environment some time after it has let
/// go of the pipe (execve(2) closes descriptors first), and the file system of its program may be slow.
const CLEAN_LOOKS_AFTER_A_START: u32 = 100;

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
    let mut consumer = getppid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut out = io::stdout();
    out.write_all(READY)?;
    out.flush()?;
    let leaves = std::env::args_os().nth(2);
    let leaves = leaves.as_ref().map(Path::new);
    let mut ledger = Ledger::default();
    let mut input = Input::default();
    while let Some(what) = input.next(consumer.as_ref()) {
        match what {
            Heard::Line(line) => ledger.enter(line),
            Heard::ConsumerIsDead => {
                // The pipe is open all the same: a process that was being started holds it until it executes its program.
                consumer = None;
                end(&ledger, leaves, CLEAN_LOOKS);
                ledger.keep_what_starts();
            }
        }
    }
    let looks = if ledger.has_starts() { CLEAN_LOOKS_AFTER_A_START } else { CLEAN_LOOKS };
    end(&ledger, leaves, looks);
    Ok(())
}

/// Kills what is under way.
fn end(ledger: &Ledger, leaves: Option<&Path>, looks: u32) {
    let marks = ledger.marks();
    if marks.is_empty() {
        return;
    }
    if let Some(leaves) = leaves {
        marks.iter().for_each(|mark| cgroup::end_leaf(leaves, mark));
    }
    ledger.groups().for_each(|group| census::signal_group(group, Signal::KILL));
    census::kill_strays(&marks, looks);
}

/// What the guard hears of.
enum Heard {
    Line(Line),
    ConsumerIsDead,
}

/// What the consumer has written to the pipe and is not heard yet.
#[derive(Default)]
struct Input {
    lines: VecDeque<Line>,
    /// A line without its end.
    rest: Vec<u8>,
}

impl Input {
    /// What comes next; `None` at the end. An error ends it as the end of the file does: a consumer that cannot be heard any more has
    /// died. What it has told comes before its death.
    fn next(&mut self, consumer: Option<&OwnedFd>) -> Option<Heard> {
        let stdin = io::stdin();
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(Heard::Line(line));
            }
            let mut fds = vec![PollFd::new(&stdin, PollFlags::IN)];
            fds.extend(consumer.map(|consumer| PollFd::new(consumer, PollFlags::IN)));
            if poll(&mut fds, None).is_ok() && fds[0].revents().is_empty() {
                return Some(Heard::ConsumerIsDead);
            }
            let mut piece = [0; 4096];
            match rustix::io::read(&stdin, &mut piece) {
                Ok(0) => return None,
                Ok(count) => self.hear(&piece[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Takes the whole lines. Skips text that is no line: it was cut, or another program wrote it.
    fn hear(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        let lines = lines.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        self.lines.extend(lines.filter_map(|line| line.parse().ok()));
    }
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
