//! The start of a process, by clone(2).
//!
//! As with posix_spawn(3), the child shares our memory and the worker stands still until the child has executed the program, so
//! nothing is copied, however large the consumer is. Four things are better than there:
//!
//! - The child shares our table of descriptors, too, until it takes one of its own that holds only the first few of them
//!   (close_range(2), `CLOSE_RANGE_UNSHARE`). Otherwise the kernel would copy the table of a consumer with hundreds of jobs,
//!   and close the descriptors one by one when the program is executed. [`with_high_number`] keeps the low numbers free.
//! - It needs no memory mapping for the child's stack: that lies on the worker's.
//! - The limit of descriptors is set without a fork.
//! - The child names the step that failed, and the pidfd is there as soon as the process.

use std::ffi::{CString, OsStr};
use std::io::{self, PipeWriter};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_char, c_int, c_uint, c_void};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, waitpid};

use super::starter::{Failed, Step};
use crate::common::descriptors::{close_range, with_high_number};

/// What is to be started.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The words, the program first. That is a path: no directory is searched for it.
    pub words: Strings,
    /// Its environment: `NAME=value` each.
    pub environment: Strings,
    /// Where it is started. `None`: where we are.
    pub cwd: Option<&'a Path>,
    /// Its standard input. `None`: `/dev/null`.
    pub stdin: Option<OwnedFd>,
    /// Where its output and its errors go.
    pub output: PipeWriter,
    /// Soft and hard limit of descriptors, where they are not to be ours.
    pub nofile: Option<(u64, u64)>,
    /// The pipe to the guard. The child holds it until it has executed the program: if we are killed meanwhile, the guard must not
    /// look for it before, because until then its environment is ours.
    pub guard: Option<BorrowedFd<'a>>,
}

/// A process that was started. It is to be waited for until it has been reaped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: Option<OwnedFd>,
}

impl Child {
    /// Its number, which no other process gets until it is reaped. It also leads the process group of that number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What becomes readable when it ends. `None` where the kernel did not give one with the process (before 5.3), and once it was
    /// taken.
    pub fn take_pidfd(&mut self) -> Option<OwnedFd> {
        self.pidfd.take()
    }

    /// How it ended, if it has; it is reaped then.
    ///
    /// # Errors
    /// The system's: it was reaped before.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::NOHANG)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The system's: it was reaped before.
    pub fn wait(&self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitOptions::empty())
    }

    fn reap(&self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        loop {
            match waitpid(Some(self.pid), options) {
                Err(rustix::io::Errno::INTR) => {}
                ended => return Ok(ended?.map(|(_, status)| ExitStatus::from_raw(status.as_raw()))),
            }
        }
    }

    /// Kills it. To be called only until it is reaped.
    pub fn kill(&self) {
        let _dead_already = kill_process(self.pid, Signal::KILL);
    }
}

/// Words as execve(2) takes them.
#[derive(Debug)]
pub struct Strings {
    /// Each with its NUL.
    text: Vec<u8>,
    starts: Vec<usize>,
}

impl Default for Strings {
    /// None, with room for a usual environment.
    fn default() -> Self {
        Self { text: Vec::with_capacity(1_024), starts: Vec::with_capacity(32) }
    }
}

impl Strings {
    /// Adds a word that consists of these parts.
    ///
    /// # Errors
    /// When it holds a NUL byte: then it cannot be one.
    pub fn push(&mut self, parts: &[&OsStr]) -> io::Result<()> {
        let start = self.text.len();
        parts.iter().for_each(|part| self.text.extend_from_slice(part.as_bytes()));
        if self.text[start..].contains(&0) {
            self.text.truncate(start);
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.text.push(0);
        self.starts.push(start);
        Ok(())
    }

    fn pointers(&self) -> Vec<*const c_char> {
        let word = |start: &usize| self.text[*start..].as_ptr().cast();
        self.starts.iter().map(word).chain([ptr::null()]).collect()
    }
}

/// What the child does, as numbers and pointers into the worker's memory.
struct Orders {
    /// The first descriptor that the program must not have, where the child is to take a table of its own.
    own_table_before: Option<c_uint>,
    stdin: Option<c_int>,
    output: c_int,
    guard: Option<c_int>,
    nofile: Option<libc::rlimit>,
    cwd: *const c_char,
    words: *const *const c_char,
    environment: *const *const c_char,
    /// What failed, and errno(3). The child writes it.
    failed: Option<(Step, c_int)>,
}

/// Where the child stands until it executes the program: a few calls deep.
#[repr(align(16))]
struct Stack([MaybeUninit<u8>; 16 * 1024]);

/// The highest signal of Linux (signal(7)).
const HIGHEST_SIGNAL: c_int = 64;

/// The exit code of a child that could not execute its program. [`launch`] reaps the child and drops the code.
const NOT_STARTED: c_int = 127;

/// Starts a process, in a process group of its own.
///
/// # Errors
/// The step that failed, and what the system said there; then nothing runs.
#[expect(clippy::needless_pass_by_value, reason = "our copies of its descriptors are closed with it")]
pub fn launch(launch: Launch<'_>) -> Result<Child, Failed> {
    /// Here the system refuses a flag that it does not know. Linux ignores it, but systems that stand in for it may not.
    static PLAIN: AtomicBool = AtomicBool::new(false);
    if !PLAIN.load(Ordering::Relaxed) && pidfds_can_be_waited_for() {
        let how = if tables_can_be_taken() { How::OwnTable } else { How::CopiedTable };
        match launch_as(&launch, how) {
            Err(Failed { step: Step::Begin, error }) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other,
        }
    }
    let child = launch_as(&launch, How::Plain)?;
    PLAIN.store(true, Ordering::Relaxed);
    Ok(child)
}

/// What the child gets of descriptors, and what we get of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// A table with the first few of ours.
    OwnTable,
    /// A copy of our table.
    CopiedTable,
    /// The same, and no pidfd with the process.
    Plain,
}

fn launch_as(launch: &Launch<'_>, how: How) -> Result<Child, Failed> {
    let cwd = launch.cwd.map(|cwd| CString::new(cwd.as_os_str().as_bytes())).transpose();
    let cwd = cwd.map_err(|error| Failed { step: Step::Directory, error: error.into() })?;
    let (words, environment) = (launch.words.pointers(), launch.environment.pointers());
    let (stdin, output) = (launch.stdin.as_ref().map(AsRawFd::as_raw_fd), launch.output.as_raw_fd());
    let guard = launch.guard.map(|guard| guard.as_raw_fd());
    let needed = [stdin, Some(output), guard, Some(libc::STDERR_FILENO)].into_iter().flatten().max();
    let mut orders = Orders {
        own_table_before: needed.filter(|_| how == How::OwnTable).map(|needed| needed.unsigned_abs() + 1),
        stdin,
        output,
        guard,
        nofile: launch.nofile.map(|(soft, hard)| libc::rlimit { rlim_cur: soft, rlim_max: hard }),
        cwd: cwd.as_deref().map_or(ptr::null(), |cwd| cwd.as_ptr()),
        words: words.as_ptr(),
        environment: environment.as_ptr(),
        failed: None,
    };
    let (pid, pidfd) = clone(&mut orders, how).map_err(|error| Failed { step: Step::Begin, error })?;
    let child = Child { pid, pidfd: pidfd.map(with_high_number) };
    match orders.failed {
        None => Ok(child),
        Some((step, number)) => {
            let _reaped = child.wait();
            Err(Failed { step, error: io::Error::from_raw_os_error(number) })
        }
    }
}

/// Makes the child, and waits until it has executed the program or has said why not.
fn clone(orders: &mut Orders, how: How) -> io::Result<(Pid, Option<OwnedFd>)> {
    let mut stack = Stack([MaybeUninit::uninit(); _]);
    let mut pidfd: c_int = -1;
    let more = match how {
        How::OwnTable => libc::CLONE_FILES | libc::CLONE_PIDFD,
        How::CopiedTable => libc::CLONE_PIDFD,
        How::Plain => 0,
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | more;
    // SAFETY: the child shares this memory and runs on `stack` while this thread stands still (`CLONE_VFORK`), so what the two
    // use outlives it, and they never use it at the same time. The child makes system calls only, and neither returns nor
    // unwinds from `child`. Signals are blocked until it has none of our handlers left, so none of these runs in it. (Not blocked
    // are the two that glibc keeps for itself. It sends them to threads that it knows, and the child is none.)
    // `pidfd` is where the kernel writes the descriptor (clone(2), "CLONE_PIDFD").
    let (pid, error) = unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        let mut before: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let top = (&raw mut stack.0).cast::<u8>().add(stack.0.len()).cast::<c_void>();
        let orders = ptr::from_mut(orders).cast::<c_void>();
        let pid = libc::clone(child, top, flags, orders, &raw mut pidfd);
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        (pid, error)
    };
    let pid = if pid > 0 { Pid::from_raw(pid) } else { None };
    // SAFETY: the kernel has opened it for us, and nobody else knows it.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    pid.map(|pid| (pid, pidfd)).ok_or(error)
}

/// The child's part. It allocates nothing and takes no lock, because another thread of ours may hold it for as long as it likes.
extern "C" fn child(orders: *mut c_void) -> c_int {
    // SAFETY: `clone` passes it, and stands still.
    let orders = unsafe { &mut *orders.cast::<Orders>() };
    let step = become_program(orders);
    // SAFETY: the place for errno(3) is this thread's, which is also the worker's.
    orders.failed = Some((step, unsafe { *libc::__errno_location() }));
    // SAFETY: ends the child and runs nothing of ours.
    unsafe { libc::_exit(NOT_STARTED) }
}

/// Returns only if the program could not be executed: the step that failed.
fn become_program(orders: &Orders) -> Step {
    // SAFETY: system calls with numbers, and with pointers to what `launch` holds until the child has executed the program.
    unsafe {
        // First of all: until then, whatever is done to a descriptor would be done to ours.
        if let Some(before) = orders.own_table_before
            && close_range(before, c_uint::MAX, libc::CLOSE_RANGE_UNSHARE) != 0
        {
            return Step::Begin;
        }
        if libc::setpgid(0, 0) != 0 {
            return Step::Begin;
        }
        forget_signals();
        let null = || libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let stdin = orders.stdin.unwrap_or_else(null);
        if stdin < 0
            || libc::dup2(stdin, libc::STDIN_FILENO) < 0
            || libc::dup2(orders.output, libc::STDOUT_FILENO) < 0
            || libc::dup2(orders.output, libc::STDERR_FILENO) < 0
        {
            return Step::Begin;
        }
        // What else it has is ours or was left open to us by our parent. Ours would be closed by the execution, but for the
        // program's file system that may be late.
        let guard = orders.guard.map_or(2, c_int::unsigned_abs);
        let _done_or_unknown =
            (guard > 3 && close_range(3, guard - 1, 0) != 0) || close_range(guard + 1, c_uint::MAX, 0) != 0;
        if let Some(limit) = &orders.nofile
            && libc::setrlimit(libc::RLIMIT_NOFILE, ptr::from_ref(limit)) != 0
        {
            return Step::Descriptors;
        }
        if !orders.cwd.is_null() && libc::chdir(orders.cwd) != 0 {
            return Step::Directory;
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::execve(*orders.words, orders.words, orders.environment);
    }
    Step::Execute
}

/// Signals that a terminal or a shell sends to our whole group. One that came before the child had a group of its own was meant for
/// us alone, and would end or stop a job that a drain lets finish.
const MEANT_FOR_US: [c_int; 5] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGTSTP];

/// Sets to its default what a handler of ours catches, and SIGPIPE, which our runtime ignores. Drops what has come of
/// [`MEANT_FOR_US`].
///
/// # Safety
/// To be called in a child that has handlers of its own, with all signals blocked.
unsafe fn forget_signals() {
    for signal in 1..=HIGHEST_SIGNAL {
        // Nothing here catches it, and libraries take a lock for it that another thread of ours may hold.
        if signal == libc::SIGABRT {
            continue;
        }
        // SAFETY: `sigaction` is numbers and pointers, for which zero is a value: the default. What the system or its library
        // keeps for itself is refused. A signal that is ignored is not pending any more (sigaction(2)).
        unsafe {
            let default: libc::sigaction = mem::zeroed();
            let mut found: libc::sigaction = mem::zeroed();
            if libc::sigaction(signal, ptr::null(), &raw mut found) != 0 {
                continue;
            }
            let may_be_pending = MEANT_FOR_US.contains(&signal);
            match found.sa_sigaction {
                libc::SIG_IGN if signal != libc::SIGPIPE => continue,
                libc::SIG_DFL if !may_be_pending => continue,
                _ => {}
            }
            if may_be_pending {
                let ignored = libc::sigaction { sa_sigaction: libc::SIG_IGN, ..default };
                libc::sigaction(signal, &raw const ignored, ptr::null_mut());
            }
            libc::sigaction(signal, &raw const default, ptr::null_mut());
        }
    }
}

/// Whether poll(2) waits for a pidfd: Linux 5.2 gives them and calls each readable, and 5.3 has pidfd_open(2), too.
fn pidfds_can_be_waited_for() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| !matches!(pidfd_open(getpid(), PidfdFlags::empty()), Err(rustix::io::Errno::NOSYS)))
}

/// Whether a process can take a table of descriptors of its own with close_range(2) (Linux 5.9; a sandbox may refuse it).
fn tables_can_be_taken() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        // SAFETY: a range that ends before it begins is refused by who knows the call.
        let answer = unsafe { close_range(1, 0, libc::CLOSE_RANGE_UNSHARE) };
        answer != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL)
    })
}

#[cfg(test)]
mod tests;
