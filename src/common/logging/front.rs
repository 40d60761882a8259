//! The side of the log that every thread sees: makes a record one line, and never waits.

use std::fmt::Write as _;
use std::io;

use crossbeam_channel::Sender;
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{Config, ConfigBuilder, LevelPadding, ThreadLogMode, WriteLogger, format_description};

use super::Seen;
use crate::common::bounds::LOG_LINE_BYTES;
use crate::common::glyphs::is_obeyed;

/// A line on its way to the writer.
#[derive(Debug)]
pub(super) struct Line {
    /// The text, with its end of line.
    pub text: Vec<u8>,
    /// How many lines had been dropped when it was said.
    pub dropped_before: u64,
}

/// The logger that is installed: simplelog's, handed nothing that could forge or flood a line.
pub(super) struct Front(Box<WriteLogger<Lines>>);

impl Front {
    pub fn new(level: LevelFilter, lines: Lines) -> Self {
        Self(WriteLogger::new(level, config(), lines))
    }
}

/// `2026-11-23T17:00:00.000Z [INFO ] (timer) what happened`.
fn config() -> Config {
    ConfigBuilder::new()
        .set_time_format_custom(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ))
        .set_level_padding(LevelPadding::Right)
        .set_thread_level(LevelFilter::Error)
        .set_thread_mode(ThreadLogMode::Names)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

impl Log for Front {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = one_line(&record.args().to_string());
            let metadata = record.metadata().clone();
            self.0.log(&Record::builder().metadata(metadata).args(format_args!("{text}")).build());
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Commands and other people's error messages end up in the log: what a terminal would obey is shown by its number, and a
/// long text is cut.
fn one_line(text: &str) -> String {
    let cut = text.floor_char_boundary(LOG_LINE_BYTES);
    let mut line = String::with_capacity(cut);
    for c in text[..cut].chars() {
        if is_obeyed(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    if cut < text.len() {
        let _infallible = write!(line, "… ({} bytes more)", text.len() - cut);
    }
    line
}

/// Where simplelog writes: gathers a line and hands it over, or drops it where there is no room.
#[derive(Debug)]
pub(super) struct Lines {
    to: Sender<Line>,
    seen: Seen,
    line: Vec<u8>,
}

impl Lines {
    pub fn new(to: Sender<Line>, seen: Seen) -> Self {
        Self { to, seen, line: Vec::new() }
    }
}

impl io::Write for Lines {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(piece);
        // The text has no end of line within, so this is the end of the record.
        if self.line.ends_with(b"\n") {
            let line = Line { text: std::mem::take(&mut self.line), dropped_before: self.seen.dropped.get() };
            if self.to.try_send(line).is_err() {
                self.seen.dropped.inc();
            }
            self.seen.waiting.is(self.to.len());
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;
    use crate::common::metrics::Metrics;

    #[test]
    fn a_record_is_one_line_whatever_it_says() {
        let check = |text: &str, line: &str| assert_eq!(one_line(text), line);
        check("plain text, ünïcode", "plain text, ünïcode");
        check("two\nlines\r", "two\\nlines\\r");
        check("\u{1b}[2Jgone", "\\u{1b}[2Jgone");
        let long = format!("{}é{}", "x".repeat(LOG_LINE_BYTES - 1), "y".repeat(10));
        check(&long, &format!("{}… (12 bytes more)", "x".repeat(LOG_LINE_BYTES - 1)));
    }

    #[test]
    fn a_line_says_when_how_bad_and_which_thread() {
        let (to, lines) = crossbeam_channel::bounded(1);
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let seen = Seen { dropped, waiting: Metrics::new().channel("log", 1) };
        let front = Front::new(LevelFilter::Info, Lines::new(to, seen));
        let said = crate::common::thread::spawn("timer", move || {
            let record = Record::builder().args(format_args!("late")).level(log::Level::Warn).build();
            front.log(&record);
            front.log(&Record::builder().args(format_args!("detail")).level(log::Level::Debug).build());
        });
        drop(said);
        let line = String::from_utf8(lines.recv().unwrap().text).unwrap();
        let (when, rest) = line.split_once(' ').unwrap();
        assert!(when.len() == 24 && chrono::DateTime::parse_from_rfc3339(when).is_ok(), "{when}");
        assert_eq!(rest, "[WARN ] (timer) late\n");
        assert!(lines.recv().is_err(), "what is below the level is not said");
    }
}
