//! What the shell of this host makes of a plain command: looked at once, at the start, and not assumed.
//!
//! The shell is asked to run our own program in a hidden mode, which says what it finds: its words and its environment.
//! Only where that is all as if there had been no shell, but for [`PWD`], may [`super::direct`] leave it out.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::direct::PWD;
use super::environment::SHELL;

/// The argument that asks for the hidden mode.
pub(super) const ARGUMENT: &str = "__probe";

/// How long the shell may take. It takes milliseconds.
const START: Duration = Duration::from_secs(5);

/// Where the probe is run: a directory that every host has, by its only name.
const DIRECTORY: &str = "/";

/// Says what this process was given: words and environment, each ended by a NUL.
pub(super) fn say() -> io::Result<()> {
    let mut said = Vec::new();
    for word in std::env::args_os().skip(1) {
        said.extend_from_slice(word.as_bytes());
        said.push(0);
    }
    for (name, value) in std::env::vars_os() {
        said.extend_from_slice(name.as_bytes());
        said.push(b'=');
        said.extend_from_slice(value.as_bytes());
        said.push(0);
    }
    io::stdout().write_all(&said)
}

/// Whether the shell runs a plain command as if it were not there. `false` also where that could not be seen.
pub fn shell_is_transparent(program: &Path) -> bool {
    look(program).unwrap_or_else(|error| {
        log::debug!("what {SHELL} does to a plain command cannot be seen: {error}");
        false
    })
}

fn look(program: &Path) -> io::Result<bool> {
    // In the shell's process `self` is another one.
    let program = program.to_string_lossy().replace("/proc/self/", &format!("/proc/{}/", std::process::id()));
    let words = [ARGUMENT, "a=b", "--c", "50%"];
    let given = [("A", "1 2"), ("PATH", "/usr/bin:/bin"), ("SHELL", SHELL)];
    let (output, writer) = io::pipe()?;
    let mut command = Command::new(SHELL);
    command.arg("-c").arg(format!("{program} {}", words.join(" ")));
    command.env_clear().envs(given).current_dir(DIRECTORY);
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).spawn()?;
    drop(command);
    let said = read(output, Instant::now() + START);
    if said.is_err() {
        let _dead_already = child.kill();
    }
    let status = child.wait()?;
    let said = said?;

    let mut found: Vec<OsString> =
        said.split(|byte| *byte == 0).map(|line| OsString::from_vec(line.to_vec())).collect();
    found.sort();
    let variables = given.iter().chain(&[(PWD, DIRECTORY)]).map(|(name, value)| format!("{name}={value}"));
    // The last NUL ends the list.
    let mut expected: Vec<OsString> =
        variables.chain(words.map(str::to_owned)).chain([String::new()]).map(OsString::from).collect();
    expected.sort();
    Ok(status.success() && found == expected)
}

/// Everything up to the end, or up to an instant.
fn read(mut from: PipeReader, until: Instant) -> io::Result<Vec<u8>> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        match poll(&mut [PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN)], left.as_ref()) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::TimedOut)),
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        match from.read(&mut piece)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}
