//! The guard: a small process that ends the jobs if the consumer is killed.
//!
//! A process that KILL has ended can do nothing more, so another one must: the consumer runs its own program a
//! second time in a hidden mode ([`program`]) and holds the writing end of a pipe to it ([`keeper`]). Before each
//! start it writes down the run, after it the process group, and strikes both off when they are over ([`ledger`]).
//! When the pipe ends, the guard kills whatever has not been struck off, and exits. No signal is needed for that, no
//! polling, and no parent: the kernel closes the pipe of a process that dies, however that happens.

mod keeper;
mod ledger;
mod program;

pub use self::keeper::{Entry, Guard};
pub use self::program::{THIS_PROGRAM, main_if_asked};
