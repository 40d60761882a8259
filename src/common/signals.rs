//! Signals that ask the program to end: INT, TERM and HUP, told to `main` as a count.
//!
//! The `ctrlc` crate catches them on a thread of its own and does not tell them apart; for this program they mean
//! the same, and what matters is which one is the second.

use std::io;

use crossbeam_channel::{Receiver, bounded};

use super::bounds::SIGNALS;

/// Catches INT, TERM and HUP from now on. Each one sends how many there have been: 1, 2, ….
///
/// Signals beyond the bound are dropped while nobody takes them: nothing is done for a tenth that was not done for
/// a second.
///
/// # Errors
/// When they are caught already, or the system refuses.
pub fn catch() -> io::Result<Receiver<u32>> {
    let (sender, receiver) = bounded(SIGNALS);
    let mut count = 0_u32;
    let caught = ctrlc::set_handler(move || {
        count = count.saturating_add(1);
        if sender.try_send(count).is_err() {
            log::debug!("signal {count} changes nothing");
        }
    });
    match caught {
        Ok(()) => Ok(receiver),
        Err(ctrlc::Error::System(error)) => Err(error),
        Err(other) => Err(io::Error::other(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn int_term_and_hup_are_counted_instead_of_ending_the_program() {
        let signals = catch().unwrap();
        for (count, signal) in [(1, libc::SIGTERM), (2, libc::SIGINT), (3, libc::SIGHUP)] {
            // SAFETY: raising a signal for which a handler is installed.
            assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
            assert_eq!(signals.recv_timeout(Duration::from_secs(5)), Ok(count));
        }
        assert!(catch().is_err(), "they can be caught only once");
    }
}
