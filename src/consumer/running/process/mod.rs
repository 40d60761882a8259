//! Processes: how a worker starts, watches and ends an attempt's command.
//!
//! [`start`] hands the command to the shell (or leaves that out where the command cannot tell: [`direct`], [`probe`]),
//! with an environment made for it ([`environment`]), in a process group of its own, and returns it [`Running`].
//! An attempt that asks for limits or for another user is started through our own program in a hidden mode ([`starter`]).
//! [`Running::wait`] watches it to its end and makes sure that nothing of it is left ([`running`]). If the consumer itself
//! is killed, the [`guard`] does that. The signals go to the group first and then to what has left it ([`census`],
//! [`mark`]). The output is read without a bound and kept with one ([`output`]).
//!
//! Nothing here knows Kafka, claims or reports: what goes in is an attempt, what comes out is how it ended.
//! `docs/decisions/2026-11-24-processes.md` says why it is done this way, and what it cost when measured.

pub mod ceilings;
pub mod census;
pub mod cgroup;
mod command;
pub mod descriptors;
pub mod direct;
pub mod environment;
pub mod guard;
mod launch;
pub mod mark;
mod outcome;
pub mod output;
mod prepared;
pub mod probe;
pub mod running;
pub mod starter;
mod tail;
pub mod upkeep;
pub mod user;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::command::start;
pub use self::output::Output;
pub use self::prepared::trial;
pub use self::running::{Ended, Running, Stops};

use self::ceilings::Ceilings;
use self::cgroup::{Cgroups, Unavailable};
use self::descriptors::Descriptors;
use self::guard::Guard;
use self::upkeep::{Keep, Upkeep};
use self::user::User;
use crate::common::clock::monotonic;
use crate::common::descriptors::close_range;
use crate::common::http::Duty;

/// How attempts are started on this host, as the command line says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is kept of their output.
    pub output: Output,
    /// How much of that stays in its directory.
    pub keep: Keep,
    /// Our own program, for its hidden modes: [`guard::THIS_PROGRAM`] where `main` asks for them first
    /// ([`guard::main_if_asked`]).
    pub program: PathBuf,
    /// The limit of descriptors that they find.
    pub descriptors: Descriptors,
    /// What they may use of this host.
    pub ceilings: Ceilings,
    /// Where they get control groups, or why they cannot have any.
    pub cgroups: Result<Cgroups, Unavailable>,
}

impl Settings {
    /// Creates settings that limit nothing and keep no more of the output than its end.
    pub fn plain(program: PathBuf) -> Self {
        Self {
            output: Output::Tail,
            keep: Keep::default(),
            program,
            descriptors: Descriptors::default(),
            ceilings: Ceilings::default(),
            cgroups: Err(Unavailable::not_looked_for()),
        }
    }
}

/// What every attempt on this host is started with.
#[derive(Debug)]
pub struct Host {
    /// What the command line says.
    pub settings: Settings,
    /// The user for attempts that name none.
    pub me: User,
    /// `LANG` of the attempts.
    pub lang: OsString,
    /// Ends them if we are killed. Dropping the last handle ends it too.
    pub guard: Arc<Guard>,
    /// Whether the shell of this host does nothing to a plain command that could be told ([`probe`]).
    pub shell_is_transparent: bool,
    /// That their output is kept where the command line says.
    pub keeping: Duty,
    /// What keeps the directory of their output within its bounds.
    pub upkeep: Option<Upkeep>,
}

impl Host {
    /// Takes stock of the host, and starts the guard.
    ///
    /// # Errors
    /// The system's, when the guard cannot be started.
    pub fn new(settings: Settings, keeping: Duty) -> io::Result<Self> {
        forget_our_parent();
        settings.output.try_out(&keeping);
        let upkeep = Upkeep::of(&settings.output, settings.keep);
        upkeep.iter().for_each(|upkeep| upkeep.look(monotonic()));
        // The C locale in UTF-8 is everywhere, and no command stumbles over an accent in it.
        let lang = std::env::var_os("LANG").filter(|lang| !lang.is_empty());
        let leaves = settings.cgroups.as_ref().ok().map(|groups| groups.directory().to_owned());
        Ok(Self {
            me: user::own(),
            lang: lang.unwrap_or_else(|| "C.UTF-8".into()),
            guard: Arc::new(Guard::start(&settings.program, leaves)?),
            shell_is_transparent: probe::shell_is_transparent(&settings.program),
            settings,
            keeping,
            upkeep,
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
    unsafe { close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
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
    /// The system has no descriptor, process or memory left at the moment, or no control group any more: the same may succeed
    /// a little later.
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
