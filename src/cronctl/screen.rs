//! Where answers go: standard output for what was asked, standard error for what is wrong. No other file of the program
//! knows the two. Any program may have written what stands in a topic or in a file: nothing of it reaches a
//! terminal that the terminal would obey.

use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::common::exit::Exit;
use crate::common::glyphs::{harmless, is_obeyed};

/// Standard output and standard error, or what a test reads instead.
pub struct Screen {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    heard: bool,
    /// Whether `out` is the process's standard output.
    is_of_process: bool,
}

/// How a question ends: with an exit code, or with an output that could not be written.
pub type Answer = io::Result<Exit>;

impl Screen {
    /// The two of the process.
    pub fn of_process() -> Self {
        Self { is_of_process: true, ..Self::new(BufWriter::new(io::stdout()), io::stderr()) }
    }

    /// Any two writers.
    pub fn new(out: impl Write + 'static, err: impl Write + 'static) -> Self {
        Self { out: Box::new(out), err: Box::new(err), heard: true, is_of_process: false }
    }

    /// A line of the answer. Control characters and what changes the direction of a text are shown by their numbers, a line
    /// break too. Once the reader has gone away (`| head -1`), the line is dropped: the question is answered all the same,
    /// because the exit code is a part of the answer.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn say(&mut self, line: impl Display) -> io::Result<()> {
        let line = harmless(&line.to_string());
        self.written(|screen| writeln!(screen.out, "{line}"))
    }

    /// A line of the answer as one JSON value.
    ///
    /// # Errors
    /// The output cannot be written. What has keys that are no strings is no JSON either; ours are.
    pub fn say_json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let line = harmless_json(&serde_json::to_string(value).map_err(io::Error::other)?);
        self.written(|screen| writeln!(screen.out, "{line}"))
    }

    /// Writes what is still in the buffer, for an answer that goes on later.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.written(|screen| screen.out.flush())
    }

    /// Whether the reader still reads the answer. An answer without an end ends when the reader has gone, also while there is
    /// nothing to write.
    pub fn is_heard(&self) -> bool {
        self.heard && !(self.is_of_process && is_broken(&io::stdout()))
    }

    /// A line about something that is wrong. What was answered before is written first, so that the two stay in order
    /// where they go to one place.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn complain(&mut self, line: impl Display) -> io::Result<()> {
        self.flush()?;
        let line = harmless(&line.to_string());
        match writeln!(self.err, "{line}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    fn written(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if !self.heard {
            return Ok(());
        }
        match write(self) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.heard = false;
                Ok(())
            }
            written => written,
        }
    }

    /// Answers a question and writes what is still in the buffer. The reader of the answer may have seen enough: a closed
    /// pipe is no error, and the program ends with the code that it would have ended with.
    pub fn answer(mut self, question: impl FnOnce(&mut Self) -> Answer) -> Exit {
        match question(&mut self).and_then(|exit| self.flush().map(|()| exit)) {
            Ok(exit) => exit,
            Err(error) => {
                // Where standard error is broken too, the exit code is what is left to say it.
                let _ = writeln!(self.err, "the answer cannot be written: {error}");
                Exit::System
            }
        }
    }
}

/// Whether an output is a pipe that has no reader any more (poll(2), "POLLERR").
fn is_broken(out: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(out, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

/// A JSON text as a terminal may show it. What is escaped can only stand within its strings.
fn harmless_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cronctl::shown::Shown;

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
        check(io::ErrorKind::BrokenPipe, Exit::Found);
        check(io::ErrorKind::StorageFull, Exit::System);
    }

    #[test]
    fn an_answer_that_nobody_reads_any_more_is_still_given() {
        let broken = || Broken(io::ErrorKind::BrokenPipe);
        let mut told = (true, true);
        let exit = Screen::new(broken(), broken()).answer(|screen| {
            told.0 = screen.is_heard();
            screen.say("x")?;
            told.1 = screen.is_heard();
            screen.complain("y")?;
            screen.say_json(&["z"])?;
            Ok(Exit::Usage)
        });
        assert_eq!((exit, told), (Exit::Usage, (true, false)));
    }

    #[test]
    fn nothing_that_a_terminal_would_obey_is_written() {
        let (out, err) = (Shown::default(), Shown::default());
        let text = "a\x1b[31m\nb\u{7f}\u{9b}\u{202e}\u{e0041}é";
        let exit = Screen::new(out.clone(), err.clone()).answer(|screen| {
            screen.say(text)?;
            screen.complain(text)?;
            screen.say_json(&text)?;
            Ok(Exit::Done)
        });
        assert_eq!(exit, Exit::Done);
        let words = r"a\u{1b}[31m\nb\u{7f}\u{9b}\u{202e}\u{e0041}é";
        let json = r#""a\u001b[31m\nb\u007f\u009b\u202e\udb40\udc41é""#;
        assert_eq!(out.text(), format!("{words}\n{json}\n"));
        assert_eq!(err.text(), format!("{words}\n"));
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), text);
    }

    #[test]
    fn the_exit_code_is_that_of_the_answer() {
        let screen = Screen::new(io::sink(), io::sink());
        assert_eq!(screen.answer(|screen| screen.complain("x").map(|()| Exit::Found)), Exit::Found);
    }
}
