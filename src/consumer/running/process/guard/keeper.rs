//! The consumer's side of the guard: it starts the guard, tells it what runs, and replaces one that has died.

use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::ledger::{Ledger, Line};
use super::program::{ARGUMENT, READY};
use crate::consumer::running::process::mark::Mark;

/// How long a new guard may take until it is ready. It takes milliseconds.
const START: Duration = Duration::from_secs(5);

/// How long a guard may leave its pipe full, and how long it may take to end, before it counts as dead.
const STUCK: Duration = Duration::from_secs(1);

/// The guard as its keeper knows it. Dropping it ends the process: nothing is under way then.
///
/// The state is behind a lock, not with a thread behind a channel, because a worker must not start a process before
/// its line is in the pipe: it would have to wait for the answer anyway. The lock is held for the ledger alone. The write
/// comes after it, because a write wakes the guard, which may take the processor from a worker that holds the lock.
#[derive(Debug)]
pub struct Guard {
    program: PathBuf,
    /// Where attempts have their control groups.
    leaves: Option<PathBuf>,
    /// The serial number of the next attempt.
    next: AtomicU64,
    state: Mutex<State>,
}

/// The pipe to a guard, shared with the workers, who watch it.
type Pipe = Arc<PipeWriter>;

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// `None` when the last one died and no other could be started. It is tried again with the next line.
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    pipe: Pipe,
}

impl State {
    fn pipe(&self) -> Option<Pipe> {
        self.process.as_ref().map(|process| process.pipe.clone())
    }
}

impl Guard {
    /// Starts a guard: `program` with the argument for the hidden mode, and the directory in which attempts have their
    /// control groups.
    ///
    /// # Errors
    /// The system's; or when what was started is not ready in five seconds.
    pub fn start(program: &Path, leaves: Option<PathBuf>) -> io::Result<Self> {
        let process = Some(Process::start(program, leaves.as_deref())?);
        let state = Mutex::new(State { ledger: Ledger::default(), process });
        Ok(Self { program: program.to_owned(), leaves, next: AtomicU64::new(0), state })
    }

    /// Writes down that a process of an attempt is about to be started.
    ///
    /// # Errors
    /// When there is no guard and none could be started: then nothing else must be either.
    pub fn enter(self: &Arc<Self>, mark: Mark) -> io::Result<Entry> {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        match self.tell(Line::Starting(serial, mark)) {
            Ok(pipe) => Ok(Entry { guard: self.clone(), serial, pipe: Some(pipe) }),
            Err(error) => {
                self.lock().ledger.enter(Line::Over(serial));
                Err(error)
            }
        }
    }

    /// The process that guards at the moment.
    pub fn pid(&self) -> Option<u32> {
        self.lock().process.as_ref().map(|process| process.child.id())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is whole, so what a panic left behind can be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a line and writes it to the guard, whose pipe is the result.
    fn tell(&self, line: Line) -> io::Result<Pipe> {
        let text = line.to_string();
        let mut state = self.lock();
        state.ledger.enter(line);
        let pipe = state.pipe();
        drop(state);
        match pipe {
            Some(pipe) if write(&pipe, &text).is_ok() => Ok(pipe),
            deaf => self.renew(deaf.as_ref()),
        }
    }

    /// The pipe of a guard that knows the ledger, after the one behind `deaf` was found dead, stuck or absent: another worker may
    /// have replaced it already.
    fn renew(&self, deaf: Option<&Pipe>) -> io::Result<Pipe> {
        let mut state = self.lock();
        let current = state.pipe();
        let is_deaf = |current: &Pipe| deaf.is_some_and(|deaf| Arc::ptr_eq(deaf, current));
        match current {
            Some(current) if !is_deaf(&current) => Ok(current),
            _ => self.replace(&mut state),
        }
    }

    fn replace(&self, state: &mut State) -> io::Result<Pipe> {
        if let Some(old) = state.process.take() {
            log::error!("the guard (process {}) is dead or stuck; starting another one", old.child.id());
            old.kill();
        }
        let new = Process::start(&self.program, self.leaves.as_deref())?;
        if let Err(error) = state.ledger.lines().try_for_each(|line| write(&new.pipe, &line.to_string())) {
            // At the end of its pipe it would end what it has heard of.
            new.kill();
            return Err(error);
        }
        Ok(state.process.insert(new).pipe.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(process) = self.lock().process.take() {
            process.dismiss();
        }
    }
}

/// An attempt in the guard's ledger. Dropping it strikes it off.
#[derive(Debug)]
pub struct Entry {
    guard: Arc<Guard>,
    serial: u64,
    pipe: Option<Pipe>,
}

impl Entry {
    /// Writes down the process group that was started.
    pub fn runs(&mut self, group: Pid) {
        self.tell(Line::Runs(self.serial, group));
    }

    /// What to watch: it shows an error when the guard has died. `None` when there is no guard.
    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// The guard that was watched has died: finds the next one, which another worker may have started already.
    pub fn renew(&mut self) {
        self.pipe = said(self.guard.renew(self.pipe.as_ref()));
    }

    fn tell(&self, line: Line) {
        said(self.guard.tell(line));
    }
}

/// Logs that there is no guard.
fn said(renewed: io::Result<Pipe>) -> Option<Pipe> {
    renewed
        .inspect_err(|error| {
            log::error!(
                "no guard could be started ({error}); what runs now would outlive us if we were killed"
            );
        })
        .ok()
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tell(Line::Over(self.serial));
    }
}

impl Process {
    fn start(program: &Path, leaves: Option<&Path>) -> io::Result<Self> {
        let (stdin, pipe) = io::pipe()?;
        // A guard that does not read must not stop the workers.
        ioctl_fionbio(&pipe, true)?;
        let mut child = Command::new(program)
            .arg(ARGUMENT)
            .args(leaves)
            .env_clear()
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let ready = child.stdout.take().is_some_and(|mut out| {
            let mut said = [0; READY.len()];
            is_ready(&out, PollFlags::IN, START) && out.read_exact(&mut said).is_ok() && said == READY
        });
        let process = Self { child, pipe: Arc::new(pipe) };
        if ready {
            return Ok(process);
        }
        process.kill();
        Err(io::Error::other(format!("{} did not become a guard", program.display())))
    }

    /// Ends the guard before it can kill a process: it does not know any more what is true.
    fn kill(mut self) {
        let _dead_already = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// Closes the pipe, upon which it ends by itself.
    fn dismiss(self) {
        let Self { mut child, pipe } = self;
        drop(pipe);
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if !pidfd.is_some_and(|pidfd| is_ready(&pidfd, PollFlags::IN, STUCK)) {
            let _dead_already = child.kill();
        }
        let _reaped = child.wait();
    }
}

/// Writes a line, whole or not at all.
fn write(mut pipe: &PipeWriter, line: &str) -> io::Result<()> {
    loop {
        match pipe.write_all(line.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !is_ready(pipe, PollFlags::OUT, STUCK) {
                    return Err(error);
                }
            }
            other => return other,
        }
    }
}

fn is_ready(fd: &impl AsFd, flags: PollFlags, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        match poll(&mut [PollFd::new(fd, flags)], left.as_ref()) {
            // A signal says nothing of the other end.
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|count| count > 0),
        }
    }
}
