//! Processes: how a worker starts, watches and ends an attempt's command.
//!
//! [`start`] hands the command to the shell (or leaves that out where the command cannot tell: [`direct`], [`probe`]),
//! with an environment made for it ([`environment`]), in a process group of its own, and returns it [`Running`].
//! [`Running::wait`] watches it to its end and makes sure that nothing of it is left ([`running`]). If the consumer itself
//! is killed, the [`guard`] does that. The signals go to the group first and then to what has left it ([`census`],
//! [`mark`]). The output is read without a bound and kept with one ([`output`]).
//!
//! Nothing here knows Kafka, claims or reports: what goes in is an attempt, what comes out is how it ended.
//! `docs/decisions/2026-11-24-processes.md` says why it is done this way, and what it cost when measured.

pub mod census;
mod command;
pub mod descriptors;
pub mod direct;
pub mod environment;
pub mod guard;
pub mod mark;
pub mod output;
pub mod probe;
pub mod running;
mod tail;
pub mod user;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use self::command::start;
pub use self::output::Output;
pub use self::running::{Ended, Running};

use self::descriptors::Descriptors;
use self::guard::Guard;
use self::user::User;

/// What every attempt on this host is started with.
#[derive(Debug)]
pub struct Host {
    /// The user for attempts that name none.
    pub me: User,
    /// `LANG` of the attempts.
    pub lang: OsString,
    /// What is kept of their output.
    pub output: Output,
    /// Ends them if we are killed. Dropping the last handle ends it too.
    pub guard: Arc<Guard>,
    /// The limit of descriptors that they find.
    pub descriptors: Descriptors,
    /// Whether the shell of this host does nothing to a plain command that could be told ([`probe`]).
    pub shell_is_transparent: bool,
}

impl Host {
    /// Takes stock of the host, and starts the guard: `program` in its hidden mode ([`guard::main_if_asked`]).
    ///
    /// # Errors
    /// The system's, when the guard cannot be started.
    pub fn new(output: Output, program: &Path, descriptors: Descriptors) -> io::Result<Self> {
        forget_our_parent();
        // The C locale in UTF-8 is everywhere, and no command stumbles over an accent in it.
        let lang = std::env::var_os("LANG").filter(|lang| !lang.is_empty());
        Ok(Self {
            me: user::own(),
            lang: lang.unwrap_or_else(|| "C.UTF-8".into()),
            output,
            guard: Arc::new(Guard::start(program)?),
            descriptors,
            shell_is_transparent: probe::shell_is_transparent(program),
        })
    }
}

/// What our own parent gave us and no command may have from us.
fn forget_our_parent() {
    // Ignored, it throws exit codes away (wait(2), "NOTES").
    // SAFETY: the default of this signal is to do nothing, and no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    // All that we open ourselves is closed on exec. Where the kernel cannot do it (before 5.11), nothing is lost but
    // tidiness.
    // SAFETY: a flag for exec, set on descriptors that stay open.
    unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
}

/// Why nothing was started: what was attempted, and what the system said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// No argument of a process can hold it.
    #[error("the command holds a NUL byte")]
    NulInCommand,
    /// A line of the job file that no environment can hold.
    #[error("environment: `{0}` {1}")]
    NotAnEnvironment(String, &'static str),
    /// The system said no.
    #[error("{what}: {why}")]
    Refused {
        /// What was attempted.
        what: String,
        /// The system's words.
        why: String,
    },
    /// The system has no descriptor, process or memory left at the moment: the same may succeed a little later.
    #[error("{what}: {why}")]
    Exhausted {
        /// What was attempted.
        what: String,
        /// The system's words.
        why: String,
    },
}

/// Whether the system lacks something that others may give back (errno(3)).
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::EAGAIN | libc::ENOMEM))
}

impl StartError {
    fn refused(what: impl Into<String>, error: &io::Error) -> Self {
        let why = error.to_string();
        // `No such file or directory (os error 2)`: the number says nothing more.
        let why = why.split(" (os error").next().unwrap_or(&why).to_owned();
        let what = what.into();
        if is_exhausted(error) { Self::Exhausted { what, why } } else { Self::Refused { what, why } }
    }
}
