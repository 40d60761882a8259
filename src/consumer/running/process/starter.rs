//! The starter: our own program in a hidden mode that prepares itself as an attempt asks, and then becomes its command.
//!
//! What has to happen between the birth of a process and its command (entering a control group, limits, priority, another
//! user, a directory) happens in this program and not in the consumer's copy of itself: so the consumer never forks, however
//! large it is, and the code may allocate, and fail in words. The orders are its arguments. Its standard input is a socket
//! to the worker, over which it gets the environment of the command, and on which it says that it is ready, or which step
//! failed. Becoming the command closes the socket. The command gets `/dev/null` in its place.
//!
//! The environment of the command is not the starter's own: what a job file sets there (`LD_PRELOAD`) means something to
//! the loader of any program, and this one may be root.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

use super::environment::Environment;
use super::user;

/// The argument that asks for the hidden mode.
pub(super) const ARGUMENT: &str = "__start";

/// What the starter says when everything is in place but the command itself.
const READY: u8 = 0;

/// The most bytes of an environment that are read: more than any system takes (execve(2)).
const ENVIRONMENT_BYTES: u32 = 64 * 1024 * 1024;

/// What stands between the orders and the command.
const COMMAND: &str = "--";

/// What is done before the command is executed, in this order: what takes rights comes before they are given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// The entrance of a control group.
    pub cgroup: Option<PathBuf>,
    /// Soft and hard limit of descriptors.
    pub nofile: Option<(u64, u64)>,
    /// Seconds of CPU time.
    pub cpu_s: Option<u64>,
    /// The nice value.
    pub nice: Option<i32>,
    /// User, group and all groups.
    pub user: Option<(u32, u32, Vec<u32>)>,
    /// The working directory.
    pub cwd: Option<PathBuf>,
}

/// A step that can fail. Its word is how the starter names it to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Beginning at all.
    Begin,
    /// Entering the control group.
    Cgroup,
    /// The limit of descriptors.
    Descriptors,
    /// The limit of CPU time.
    Cpu,
    /// The nice value.
    Nice,
    /// Becoming the user.
    User,
    /// Entering the working directory, as that user.
    Directory,
    /// Executing the command.
    Execute,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Begin,
        Self::Cgroup,
        Self::Descriptors,
        Self::Cpu,
        Self::Nice,
        Self::User,
        Self::Directory,
        Self::Execute,
    ];

    fn byte(self) -> u8 {
        self as u8 + 1
    }
}

/// What failed, and what the system said.
#[derive(Debug)]
pub struct Failed {
    /// The step.
    pub step: Step,
    /// The system's error.
    pub error: io::Error,
}

impl Failed {
    /// What a step's error becomes.
    pub(super) fn at(step: Step) -> impl Fn(io::Error) -> Self {
        move |error| Self { step, error }
    }
}

impl Orders {
    /// The arguments that carry the orders, each a letter and its value.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec![ARGUMENT.into()];
        let mut say = |letter: &str, value: &OsStr| {
            let mut argument = OsString::from(letter);
            argument.push(value);
            all.push(argument);
        };
        if let Some(entrance) = &self.cgroup {
            say("g", entrance.as_os_str());
        }
        if let Some((soft, hard)) = self.nofile {
            say("f", format!("{soft}:{hard}").as_ref());
        }
        if let Some(seconds) = self.cpu_s {
            say("c", seconds.to_string().as_ref());
        }
        if let Some(nice) = self.nice {
            say("n", nice.to_string().as_ref());
        }
        if let Some((uid, gid, groups)) = &self.user {
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            say("u", format!("{uid}:{gid}:{}", groups.join(",")).as_ref());
        }
        if let Some(cwd) = &self.cwd {
            say("d", cwd.as_os_str());
        }
        all.push(COMMAND.into());
        all
    }

    /// Reads the arguments of [`Orders::arguments`] back, and the words of the command after them.
    fn read(arguments: impl Iterator<Item = OsString>) -> Option<(Self, Vec<OsString>)> {
        let mut orders = Self::default();
        let mut arguments = arguments;
        loop {
            let argument = arguments.next()?;
            if argument == COMMAND {
                return Some((orders, arguments.collect()));
            }
            let (letter, value) = argument.as_bytes().split_first()?;
            let text = || std::str::from_utf8(value).ok();
            let path = || PathBuf::from(OsString::from_vec(value.to_vec()));
            match letter {
                b'g' => orders.cgroup = Some(path()),
                b'f' => {
                    let (soft, hard) = text()?.split_once(':')?;
                    orders.nofile = Some((soft.parse().ok()?, hard.parse().ok()?));
                }
                b'c' => orders.cpu_s = Some(text()?.parse().ok()?),
                b'n' => orders.nice = Some(text()?.parse().ok()?),
                b'u' => {
                    let mut parts = text()?.splitn(3, ':');
                    let (uid, gid, groups) = (parts.next()?, parts.next()?, parts.next()?);
                    let groups: Result<_, _> =
                        groups.split(',').filter(|group| !group.is_empty()).map(str::parse).collect();
                    orders.user = Some((uid.parse().ok()?, gid.parse().ok()?, groups.ok()?));
                }
                b'd' => orders.cwd = Some(path()),
                _ => return None,
            }
        }
    }

    /// Carries the orders out in this process.
    fn carry_out(&self) -> Result<(), Failed> {
        if let Some(entrance) = &self.cgroup {
            fs::write(entrance, "0").map_err(Failed::at(Step::Cgroup))?;
        }
        if let Some((soft, hard)) = self.nofile {
            limit(Resource::Nofile, soft, hard).map_err(Failed::at(Step::Descriptors))?;
        }
        if let Some(seconds) = self.cpu_s {
            // XCPU comes first, which a program can be told by; one that ignores it is killed a second later.
            limit(Resource::Cpu, seconds, seconds.saturating_add(1)).map_err(Failed::at(Step::Cpu))?;
        }
        if let Some(nice) = self.nice {
            setpriority_process(None, nice).map_err(io::Error::from).map_err(Failed::at(Step::Nice))?;
        }
        if let Some((uid, gid, groups)) = &self.user {
            user::become_user(*uid, *gid, groups).map_err(Failed::at(Step::User))?;
        }
        if let Some(cwd) = &self.cwd {
            std::env::set_current_dir(cwd).map_err(Failed::at(Step::Directory))?;
        }
        Ok(())
    }
}

fn limit(of: Resource, soft: u64, hard: u64) -> io::Result<()> {
    // A hard limit that is lower already holds as it is: only root could raise it.
    let hard = getrlimit(of).maximum.map_or(hard, |ours| if soft <= ours { hard.min(ours) } else { hard });
    setrlimit(of, Rlimit { current: Some(soft), maximum: Some(hard) }).map_err(io::Error::from)
}

/// The starter's own side. It returns only if it could not become the command; the worker has been told why then.
pub(super) fn main() -> io::Result<()> {
    let mut worker = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let environment = receive(&mut worker)?;
    let failed = match Orders::read(std::env::args_os().skip(2)) {
        None => Failed { step: Step::Execute, error: io::Error::from_raw_os_error(libc::EINVAL) },
        Some((orders, words)) => match (orders.carry_out(), words.split_first()) {
            (Err(failed), _) => failed,
            (Ok(()), None) => {
                Failed { step: Step::Execute, error: io::Error::from_raw_os_error(libc::EINVAL) }
            }
            (Ok(()), Some((program, arguments))) => {
                worker.write_all(&[READY])?;
                let mut command = Command::new(program);
                command.args(arguments).env_clear().envs(environment).stdin(Stdio::null());
                // Besides executing the program this restores the signals that our runtime has changed.
                Failed { step: Step::Execute, error: command.exec() }
            }
        },
    };
    let number = failed.error.raw_os_error().unwrap_or(libc::EIO);
    let mut said = vec![failed.step.byte()];
    said.extend_from_slice(&number.to_le_bytes());
    worker.write_all(&said)
}

/// Sends the environment of the command to the starter: its length, and each `NAME=value` with a NUL after it.
pub(super) fn send(starter: &mut UnixStream, environment: &Environment<'_>) -> io::Result<()> {
    let mut text = Vec::new();
    for (name, value) in environment {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        text.push(0);
    }
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= ENVIRONMENT_BYTES);
    let length = length.ok_or_else(|| io::Error::from_raw_os_error(libc::E2BIG))?;
    starter.write_all(&length.to_le_bytes())?;
    starter.write_all(&text)
}

fn receive(worker: &mut UnixStream) -> io::Result<Vec<(OsString, OsString)>> {
    let mut length = [0; 4];
    worker.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length).min(ENVIRONMENT_BYTES);
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    worker.read_exact(&mut text)?;
    let lines = text.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    let pair = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        Some((OsString::from_vec(line[..at].to_vec()), OsString::from_vec(line[at + 1..].to_vec())))
    };
    Ok(lines.filter_map(pair).collect())
}

/// The worker's side of the socket: waits until the starter has become the command, or has failed. Where the socket has a time
/// limit, a starter that a file system holds up has failed, too.
pub(super) fn await_command(mut starter: UnixStream) -> Result<(), Failed> {
    let mut said = Vec::new();
    let read = starter.read_to_end(&mut said);
    let failed = |step, error| Err(Failed { step, error });
    if let Err(error) = read {
        let step = if said.is_empty() { Step::Begin } else { Step::Execute };
        let is_late = error.kind() == io::ErrorKind::WouldBlock;
        let hangs = || io::Error::new(io::ErrorKind::TimedOut, "a file system does not answer");
        return failed(step, if is_late { hangs() } else { error });
    }
    match said.as_slice() {
        [READY] => Ok(()),
        // It was ended before it was ready: by a signal, or by a limit of the job.
        [] => failed(Step::Begin, io::Error::from_raw_os_error(libc::ECHILD)),
        [READY, byte, number @ ..] | [byte, number @ ..] => {
            let number = number.try_into().map_or(libc::EIO, i32::from_le_bytes);
            let step = Step::ALL.into_iter().find(|step| step.byte() == *byte).unwrap_or(Step::Execute);
            failed(step, io::Error::from_raw_os_error(number))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_being_arguments() {
        let check = |orders: &Orders| {
            let mut arguments = orders.arguments();
            assert_eq!(arguments.remove(0), ARGUMENT);
            arguments.extend(["/bin/sh".into(), "-c".into(), "--".into()]);
            let words = ["/bin/sh", "-c", "--"].map(OsString::from).to_vec();
            assert_eq!(Orders::read(arguments.into_iter()), Some((orders.clone(), words)));
        };
        check(&Orders::default());
        check(&Orders {
            cgroup: Some("/sys/fs/cgroup/a b/cgroup.procs".into()),
            nofile: Some((64, 128)),
            cpu_s: Some(90),
            nice: Some(-5),
            user: Some((1000, 100, vec![100, 4])),
            cwd: Some("/srv/ä b".into()),
        });
        check(&Orders { user: Some((1, 2, vec![])), ..Orders::default() });
    }

    #[test]
    fn orders_that_cannot_be_read_are_none() {
        for arguments in [&["x1", "--", "a"][..], &["cX", "--"], &["f1", "--"], &["u1:2", "--"], &["n1"], &[]]
        {
            let read = Orders::read(arguments.iter().map(OsString::from));
            assert_eq!(read, None, "{arguments:?}");
        }
    }

    #[test]
    fn what_the_starter_says_is_what_the_worker_hears() {
        let hear = |said: &[u8]| {
            let (worker, mut starter) = UnixStream::pair().unwrap();
            starter.write_all(said).unwrap();
            drop(starter);
            await_command(worker).map_err(|failed| (failed.step, failed.error.raw_os_error()))
        };
        assert_eq!(hear(&[READY]), Ok(()));
        assert_eq!(hear(&[]), Err((Step::Begin, Some(libc::ECHILD))), "it has ended without a word");
        for step in Step::ALL {
            for before in [&[][..], &[READY]] {
                let mut said = before.to_vec();
                said.push(step.byte());
                said.extend_from_slice(&libc::EPERM.to_le_bytes());
                assert_eq!(hear(&said), Err((step, Some(libc::EPERM))));
            }
        }
        assert_eq!(hear(&[2]), Err((Step::Cgroup, Some(libc::EIO))));
    }

    #[test]
    fn a_starter_that_is_held_up_is_not_waited_for_without_end() {
        for said in [&[][..], &[READY]] {
            let (worker, mut starter) = UnixStream::pair().unwrap();
            worker.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
            starter.write_all(said).unwrap();
            let failed = await_command(worker).unwrap_err();
            let step = if said.is_empty() { Step::Begin } else { Step::Execute };
            assert_eq!((failed.step, failed.error.kind()), (step, io::ErrorKind::TimedOut));
        }
    }

    #[test]
    fn an_environment_survives_the_socket() {
        let check = |pairs: &[(&str, &str)]| {
            let (mut worker, mut starter) = UnixStream::pair().unwrap();
            let environment = pairs.iter().map(|(name, value)| (*name, OsStr::new(*value).into())).collect();
            send(&mut worker, &environment).unwrap();
            let expected: Vec<(OsString, OsString)> =
                pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(receive(&mut starter).unwrap(), expected);
        };
        check(&[]);
        check(&[("A", ""), ("B", "x=y\nz"), ("LD_PRELOAD", "/x"), ("Ä", "é")]);
        let (worker, mut starter) = UnixStream::pair().unwrap();
        drop(worker);
        assert!(receive(&mut starter).is_err(), "the worker is gone");
    }
}
