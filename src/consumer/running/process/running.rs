//! An attempt's command under way: one poll(2) waits for its exit, its output, a cancellation, an order to end it, the
//! guard's death and the time-out. Afterwards no process of it is left that can be found.

use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::census;
use super::cgroup::Leaf;
use super::guard::Entry;
use super::launch::Child;
use super::mark::Mark;
use super::outcome::Limited;
use super::output::Recorder;
use crate::common::model::{Attempt, Limits, Outcome};

/// How an attempt ended, and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// How much it wrote, in bytes.
    pub output_bytes: u64,
    /// The end of what it wrote.
    pub output_tail: String,
}

/// A command under way. Dropped before its end (a panic), it is killed.
#[derive(Debug)]
pub struct Running {
    mark: Mark,
    limits: Limits,
    since: Instant,
    child: Child,
    status: Option<ExitStatus>,
    /// The process group. The shell leads it, so until that is reaped no other group has the number.
    group: Pid,
    /// Tells of the shell's end. `None` where it did not come with the process and no descriptor is left for it, or the kernel has none
    /// (before 5.3); then its end is looked for.
    pidfd: Option<OwnedFd>,
    /// `None` once no process can write to it any more.
    output: Option<PipeReader>,
    recorder: Option<Recorder>,
    piece: Vec<u8>,
    limited: Limited,
    /// The CPU time of the shell, or of what it has become, where that is limited.
    cpu_used: Duration,
    /// Strikes us off the guard's list: after the group is gone, so the last field.
    entry: Entry,
}

/// Why the watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Exited,
    TimedOut,
    Replaced,
    Cancelled,
}

/// What may end a command before its end and before its time-out.
#[derive(Debug, Clone, Copy)]
pub struct Stops<'a> {
    /// The reading end of a pipe whose other end is closed when the consumer is to stop.
    pub cancel: &'a PipeReader,
    /// Becomes readable when the run is to end.
    pub replaced: Option<BorrowedFd<'a>>,
}

/// What poll watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Exit,
    Output,
    /// No process can write to the output any more, and it was seen to be empty before that was seen: it may hold a last piece.
    OutputOver,
    Cancel,
    Replaced,
    Guard,
}

/// Bytes read at a time: what a pipe holds (pipe(7)).
const PIECE: usize = 64 * 1024;

/// Bytes read at first where probably none are left, as of most commands, which write nothing. If there are, it is read again.
const LAST_PIECE: usize = 256;

/// How long output is waited for once the group is gone. A process that writes later has left the group on purpose.
const LAST_OUTPUT: Duration = Duration::from_millis(200);

/// How long after KILL the log says that a process does not die.
const KILLED: Duration = Duration::from_secs(5);

/// How often a group without its leader is looked at, at first and at last: its end sends no signal.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The status of a process that was reaped behind our back, which only a bug does: exit code 255, as wait(2) has it.
const UNKNOWN: i32 = 255 << 8;

impl Running {
    pub(super) fn new(
        attempt: &Attempt,
        since: Instant,
        mut child: Child,
        (output, recorder): (PipeReader, Recorder),
        limited: Limited,
        entry: Entry,
    ) -> Self {
        Self {
            mark: Mark::of(attempt),
            limits: attempt.run.limits,
            since,
            group: child.pid(),
            pidfd: child.take_pidfd(),
            child,
            status: None,
            output: Some(output),
            recorder: Some(recorder),
            piece: Vec::new(),
            limited,
            cpu_used: Duration::ZERO,
            entry,
        }
    }

    /// Waits for the end, and makes it where the time-out or one of `stops` says so.
    ///
    /// When the shell has exited by itself, the attempt is over: what it left in its process group is ended too, and
    /// the outcome stays that of its exit. After a time-out, a cancellation or an order what has left the group is killed
    /// as well; after an exit it is let be.
    pub fn wait(mut self, stops: Stops<'_>) -> Ended {
        let cause = self.watch(stops);
        if cause != Cause::Exited || !self.is_gone() {
            self.end(stops.cancel);
        }
        if cause != Cause::Exited {
            census::kill_strays(std::slice::from_ref(&self.mark), 1);
        }
        self.read_the_rest();
        let outcome = match cause {
            Cause::Exited => {
                self.status.map_or(Outcome::Cancelled, |status| self.limited.outcome(status, self.cpu_used))
            }
            Cause::TimedOut => Outcome::TimedOut,
            Cause::Replaced => Outcome::Replaced,
            Cause::Cancelled => Outcome::Cancelled,
        };
        let tail = self.recorder.take().map(Recorder::finish).unwrap_or_default();
        Ended { outcome, output_bytes: tail.total(), output_tail: tail.text() }
    }

    fn watch(&mut self, stops: Stops<'_>) -> Cause {
        let timeout = self.limits.timeout_ms.map(Duration::from_millis);
        let deadline = timeout.and_then(|timeout| self.since.checked_add(timeout));
        loop {
            let seen = self.look(deadline, Some(stops));
            // A command that has exited by itself was neither late nor replaced nor cancelled.
            if seen.contains(&Source::Exit) {
                return Cause::Exited;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Cause::TimedOut;
            }
            // Before the cancellation: a consumer that stops passes on what is to be tried again, and this is not.
            if seen.contains(&Source::Replaced) {
                return Cause::Replaced;
            }
            if seen.contains(&Source::Cancel) {
                return Cause::Cancelled;
            }
        }
    }

    /// TERM, the time of grace, KILL; returns when the group is gone. One that KILL does not end (a disk that hangs, a
    /// process of another user) is waited for, because it runs, unless the consumer is to stop.
    fn end(&mut self, cancel: &PipeReader) {
        self.signal(Signal::TERM);
        let grace = Duration::from_millis(self.limits.grace_ms);
        let grace = Instant::now().checked_add(grace);
        if self.wait_until_gone(grace) {
            return;
        }
        let mut told = false;
        loop {
            self.signal(Signal::KILL);
            if self.wait_until_gone(Some(Instant::now() + KILLED)) {
                return;
            }
            if !told {
                log::warn!("attempt {}: process group {} outlives KILL", self.mark, self.group);
                told = true;
            }
            let stops = Stops { cancel, replaced: None };
            if self.look(Some(Instant::now()), Some(stops)).contains(&Source::Cancel) {
                return;
            }
        }
    }

    /// Sends a signal to all that belongs to the attempt: to its process group and, where it has one, its control group. A
    /// process may leave either.
    fn signal(&self, signal: Signal) {
        match &self.limited.leaf {
            Some(leaf) if signal == Signal::KILL => leaf.kill(),
            Some(leaf) => leaf.signal(signal),
            None => {}
        }
        census::signal_group(self.group, signal);
    }

    fn wait_until_gone(&mut self, until: Option<Instant>) -> bool {
        let mut look = LOOKS.0;
        while !self.is_gone() {
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return false;
            }
            let next = now + look;
            self.look(Some(until.map_or(next, |until| until.min(next))), None);
            look = (look * 2).min(LOOKS.1);
        }
        true
    }

    /// Whether there is what tells of the shell's end, or that has come. A command that was started without one, because no
    /// descriptor was left, runs on: to end it for that would be worse than to look for its end.
    fn has_pidfd(&mut self) -> bool {
        if self.pidfd.is_none() && self.status.is_none() {
            self.pidfd = pidfd_open(self.group, PidfdFlags::empty()).ok();
        }
        self.pidfd.is_some() || self.status.is_some()
    }

    /// Whether the shell has been reaped and nothing lives that belongs to the attempt.
    fn is_gone(&mut self) -> bool {
        self.is_reaped()
            && !census::group_lives(self.group)
            && !self.limited.leaf.as_ref().is_some_and(Leaf::is_populated)
    }

    fn is_reaped(&mut self) -> bool {
        if self.status.is_none() {
            if self.limited.resources.cpu_s.is_some() {
                // A process that has ended tells it until it is reaped.
                self.cpu_used = census::cpu_time(self.group).unwrap_or(self.cpu_used);
            }
            self.status = self.child.try_wait().unwrap_or_else(|error| {
                log::error!(
                    "attempt {}: its exit code was taken by another part of the program: {error}",
                    self.mark
                );
                Some(ExitStatus::from_raw(UNKNOWN))
            });
        }
        self.status.is_some()
    }

    /// What is still in the pipe. One that has left the group and holds the pipe open does not hold us.
    fn read_the_rest(&mut self) {
        let end = Instant::now() + LAST_OUTPUT;
        while self.output.is_some() && Instant::now() < end {
            self.look(Some(end), None);
        }
    }

    /// Waits until something happens, at most until `until`. What has been written is taken on the way.
    fn look(&mut self, until: Option<Instant>, stops: Option<Stops<'_>>) -> Vec<Source> {
        let until = if self.has_pidfd() {
            until
        } else {
            let soon = Instant::now() + LOOKS.1;
            Some(until.map_or(soon, |until| until.min(soon)))
        };
        let mut seen = self.poll(until, stops);
        if !self.has_pidfd() && self.is_reaped() {
            seen.push(Source::Exit);
        }
        if seen.contains(&Source::Output) {
            self.read(PIECE);
        }
        if seen.contains(&Source::OutputOver) {
            self.read(LAST_PIECE);
        }
        if seen.contains(&Source::Guard) {
            self.entry.renew();
        }
        seen
    }

    fn poll(&self, until: Option<Instant>, stops: Option<Stops<'_>>) -> Vec<Source> {
        let exit = self.pidfd.as_ref().filter(|_| self.status.is_none()).map(AsFd::as_fd);
        let sources = [
            (Source::Exit, exit, PollFlags::IN),
            (Source::Output, self.output.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (Source::Cancel, stops.map(|stops| stops.cancel.as_fd()), PollFlags::IN),
            (Source::Replaced, stops.and_then(|stops| stops.replaced), PollFlags::IN),
            // A pipe's writing end that asks for nothing still hears when its reader is gone.
            (Source::Guard, self.entry.pipe(), PollFlags::empty()),
        ];
        let mut fds = Vec::with_capacity(sources.len());
        let mut of = Vec::with_capacity(sources.len());
        for (source, fd, flags) in sources {
            if let Some(fd) = fd {
                fds.push(PollFd::from_borrowed_fd(fd, flags));
                of.push(source);
            }
        }
        let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        // Interrupted: nothing has happened, and the caller asks again.
        if poll(&mut fds, wait.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = fds.iter().zip(of).filter(|(fd, _)| !fd.revents().is_empty());
        let source = |(fd, source): (&PollFd<'_>, Source)| match source {
            Source::Output if !fd.revents().contains(PollFlags::IN) => Source::OutputOver,
            source => source,
        };
        ready.map(source).collect()
    }

    fn read(&mut self, room: usize) {
        let (Some(output), Some(recorder)) = (&mut self.output, &mut self.recorder) else { return };
        // What is not used of it is never touched.
        self.piece.clear();
        self.piece.reserve(room);
        match rustix::io::read(output, spare_capacity(&mut self.piece)) {
            Ok(0) => self.output = None,
            Ok(_) => recorder.push(&self.piece),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                log::warn!("attempt {}: its output cannot be read: {error}", self.mark);
                self.output = None;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.signal(Signal::KILL);
            // One that outlives even that is not waited for: who ends us is to be able to.
            self.wait_until_gone(Some(Instant::now() + KILLED));
            let _reaped = self.child.try_wait();
        }
    }
}

/// Whether the other end of a pipe is closed to which no process writes.
pub fn is_closed(pipe: &PipeReader) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// Waits until the other end of such a pipe is closed, at most for `limit` (a signal may end the wait earlier).
pub fn await_closed(pipe: &PipeReader, limit: Duration) {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    let _closed_or_late = poll(&mut fds, Timespec::try_from(limit).ok().as_ref());
}
