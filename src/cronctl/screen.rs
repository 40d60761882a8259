//! Where answers go: standard output for what was asked, standard error for what is wrong. The one room of the program
//! that knows the two.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use crate::common::exit::Exit;

/// Standard output and standard error, or what a test reads instead.
pub struct Screen {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

/// How a question ends: with an exit code, or with an output that could not be written.
pub type Answer = io::Result<Exit>;

impl Screen {
    /// The two of the process.
    pub fn of_process() -> Self {
        Self::new(BufWriter::new(io::stdout()), io::stderr())
    }

    /// Any two writers.
    pub fn new(out: impl Write + 'static, err: impl Write + 'static) -> Self {
        Self { out: Box::new(out), err: Box::new(err) }
    }

    /// A line of the answer.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn say(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Writes what is still in the buffer, for an answer that goes on later.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A line about something that is wrong. What was answered before is written first, so that the two stay in order
    /// where they go to one place.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn complain(&mut self, line: impl Display) -> io::Result<()> {
        self.out.flush()?;
        writeln!(self.err, "{line}")
    }

    /// Answers a question and writes what is still in the buffer. Whoever reads the answer may have seen enough
    /// (`| head -1`): a closed pipe ends the program, and is no error.
    pub fn answer(mut self, question: impl FnOnce(&mut Self) -> Answer) -> Exit {
        let answer = question(&mut self).and_then(|exit| self.out.flush().map(|()| exit));
        match answer {
            Ok(exit) => exit,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Err(error) => {
                // Where standard error is broken too, the exit code is what is left to say it.
                let _ = writeln!(self.err, "the answer cannot be written: {error}");
                Exit::System
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error_and_a_full_disk_is() {
        let check = |kind: io::ErrorKind, expected: Exit| {
            let question = |screen: &mut Screen| screen.say("x").map(|()| Exit::Found);
            assert_eq!(Screen::new(Broken(kind), io::sink()).answer(question), expected);
            let buffered = BufWriter::new(Broken(kind));
            assert_eq!(Screen::new(buffered, Broken(kind)).answer(question), expected);
        };
        check(io::ErrorKind::BrokenPipe, Exit::Done);
        check(io::ErrorKind::StorageFull, Exit::System);
    }

    #[test]
    fn the_exit_code_is_that_of_the_answer() {
        let screen = Screen::new(io::sink(), io::sink());
        assert_eq!(screen.answer(|screen| screen.complain("x").map(|()| Exit::Found)), Exit::Found);
    }
}
