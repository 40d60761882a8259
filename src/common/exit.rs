//! Exit codes, the same for every program, as `--help` documents them. Only `main` turns an error into one.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::{ExitCode, Termination};

use super::glyphs::harmless;

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; also after TERM, INT or HUP.
    Done = 0,
    /// A check found something.
    Found = 1,
    /// The command line or the job file is wrong.
    Usage = 2,
    /// Kafka refused, or was out of reach where waiting makes no sense.
    Kafka = 3,
    /// A port, a file or the system.
    System = 4,
}

/// The lines for `--help`.
pub const HELP: &str = "Exit codes:
  0  done (also after TERM, INT or HUP)
  1  a check found something
  2  wrong usage or a problem in the job file
  3  Kafka refused, or is unreachable where waiting makes no sense
  4  a port, a file or the system";

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a program ends otherwise than it was meant to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Fault {
    exit: Exit,
    why: String,
}

impl Fault {
    /// A fault, in words for the person who started the program.
    pub fn new(exit: Exit, why: String) -> Self {
        Self { exit, why }
    }

    /// For `map_err`: the system refused what is named.
    pub fn system<E: Display>(what: &str) -> impl FnOnce(E) -> Self + use<'_, E> {
        move |error| Self::new(Exit::System, format!("{what}: {error}"))
    }

    /// For `map_err`: what is named was not given as it should be.
    pub fn usage<E: Display>(what: &str) -> impl FnOnce(E) -> Self + use<'_, E> {
        move |error| Self::new(Exit::Usage, format!("{what}: {error}"))
    }
}

/// The exit code for how `main` ended; a fault is said on stderr, where the log may have ended already.
pub fn report(ended: Result<(), Fault>) -> Exit {
    let Err(fault) = ended else { return Exit::Done };
    // Where stderr is closed the code alone must do.
    let lines: Vec<String> = fault.why.lines().map(harmless).collect();
    let _told: io::Result<()> = writeln!(io::stderr(), "{}", lines.join("\n"));
    fault.exit
}
