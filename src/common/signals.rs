//! Signals that ask the program to end: INT, TERM and HUP, told to `main` as a count. What matters is which one is the
//! second, not which one it is.
//!
//! A program inherits two things that it must not take as they come, and must not hand on to the jobs it starts: the
//! signals that are ignored, and those that are blocked. Who ignored a signal for us means it (`nohup` ignores HUP, a
//! shell without job control ignores INT and QUIT of what runs in the background), so it does nothing to us. But it is
//! *caught* by a handler that does nothing instead of being ignored: execve(2) keeps what is ignored and sets what is
//! caught to its default, so that each job finds all signals as it would at a login. What was blocked is let through.

use std::io::{self, PipeReader, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::{mem, ptr};

use crossbeam_channel::{Receiver, Sender, bounded};
use libc::{c_int, sighandler_t};

use super::bounds::SIGNALS;
use super::thread::{Joined, spawn};

/// What asks us to end.
const ASKING: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Ignored, these are set to their default. A handler that does nothing would return to the fault that raised them, or
/// to the terminal that stopped us; of a child's end std wants to hear.
const NEVER_IGNORED: [c_int; 10] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGCHLD,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// The highest signal of Linux (signal(7)).
const HIGHEST: c_int = 64;

/// What the handler writes into the pipe; anything else ends the thread that reads it.
const ASKED: u8 = 1;

/// The writing end of the pipe, which is open for good once it is there; −1 before.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// The signals that have come, from [`catch`]. Dropping it ends the thread that counts them.
#[derive(Debug)]
pub struct Signals {
    asked: Receiver<u32>,
    /// Dropped before the thread is waited for.
    _stop: Stop,
    _thread: Joined,
}

impl Deref for Signals {
    type Target = Receiver<u32>;

    fn deref(&self) -> &Receiver<u32> {
        &self.asked
    }
}

#[derive(Debug)]
struct Stop(io::PipeWriter);

impl Drop for Stop {
    fn drop(&mut self) {
        let _full_or_closed = self.0.write(&[0]);
    }
}

/// Catches INT, TERM and HUP from now on, except those that were ignored when the program started. Each one sends how many
/// there have been: 1, 2, …. Also sets this thread's mask, and with it that of all threads and processes that it starts,
/// to let all signals through. To be called by `main` before it starts any of those that start processes.
///
/// Signals beyond the bound are dropped while they are not taken: nothing is done for a tenth that was not done for
/// a second.
///
/// # Errors
/// When they are caught already, or the system refuses.
pub fn catch() -> io::Result<Signals> {
    let (reader, writer) = io::pipe()?;
    // Neither a handler nor a drop waits for a reader that is slow.
    rustix::io::ioctl_fionbio(&writer, true)?;
    let stop = Stop(writer.try_clone()?);
    if PIPE.compare_exchange(-1, writer.as_raw_fd(), Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return Err(io::Error::other("signals are caught already"));
    }
    // The handlers have it for as long as the process lives.
    let _open_for_good = writer.into_raw_fd();
    let (sender, asked) = bounded(SIGNALS);
    let thread = spawn("signals", move || count(reader, &sender))?;
    for signal in 1..=HIGHEST {
        let is_ignored = disposition(signal) == Some(libc::SIG_IGN);
        match signal {
            // The runtime ignores it for us, and each process that is started has it at its default.
            libc::SIGPIPE => {}
            _ if is_ignored && NEVER_IGNORED.contains(&signal) => set(signal, libc::SIG_DFL)?,
            _ if is_ignored => set(signal, nothing as *const () as sighandler_t)?,
            _ if ASKING.contains(&signal) => set(signal, ask as *const () as sighandler_t)?,
            _ => {}
        }
    }
    let_all_through()?;
    Ok(Signals { asked, _stop: stop, _thread: thread })
}

fn count(mut pipe: PipeReader, sender: &Sender<u32>) {
    let mut count = 0_u32;
    let mut byte = [0];
    while pipe.read_exact(&mut byte).is_ok() && byte == [ASKED] {
        count = count.saturating_add(1);
        if sender.try_send(count).is_err() {
            log::debug!("signal {count} changes nothing");
        }
    }
}

extern "C" fn nothing(_signal: c_int) {}

extern "C" fn ask(_signal: c_int) {
    // SAFETY: write(2) is async-signal-safe, the byte outlives it, and errno is left as it was found, because what was
    // interrupted may be about to read it.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(PIPE.load(Ordering::SeqCst), ptr::from_ref(&ASKED).cast(), 1);
        *errno = before;
    }
}

/// What becomes of a signal; `None` for one that the system or its library keeps for itself.
fn disposition(signal: c_int) -> Option<sighandler_t> {
    // SAFETY: `sigaction` is numbers and pointers, for which zero is a value.
    let mut found: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: asks only; the place for the answer outlives the call.
    let answer = unsafe { libc::sigaction(signal, ptr::null(), &raw mut found) };
    (answer == 0).then_some(found.sa_sigaction)
}

fn set(signal: c_int, handler: sighandler_t) -> io::Result<()> {
    // SAFETY: as above; zero is the empty set of signals, too.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handlers are this file's, which do nothing that a signal must not do, or the default.
    let answer = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn let_all_through() -> io::Result<()> {
    // SAFETY: a set of signals is numbers; it is filled before it is used, and outlives both calls.
    let answer = unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut())
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(answer)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn int_term_and_hup_are_counted_instead_of_ending_the_program() {
        // A shell without job control ignores INT in what it starts in the background, and what is ignored stays so.
        ASKING.iter().for_each(|signal| set(*signal, libc::SIG_DFL).unwrap());
        let signals = catch().unwrap();
        for (count, signal) in [(1, libc::SIGTERM), (2, libc::SIGINT), (3, libc::SIGHUP)] {
            // SAFETY: raising a signal for which a handler is installed.
            assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
            assert_eq!(signals.recv_timeout(Duration::from_secs(5)), Ok(count));
        }
        assert!(catch().is_err(), "they can be caught only once");
    }
}
