//! The log: `simplelog` formats, a bounded channel carries, one thread writes to stderr.
//!
//! A thread that logs never waits. When no process reads stderr, the writing thread alone hangs in its write, the channel
//! fills up to [`LOG_LINES`], and the log drops further lines, counts them, and reports the number once it flows again.

mod front;
mod writer;

use std::io::{self, Write};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{LevelFilter, Log};
use prometheus::IntCounter;

use self::front::{Front, Lines};
use super::bounds::LOG_LINES;
use super::metrics::{ChannelGauge, Metrics};
use super::thread::{self, Joined};

/// How long the end of the program waits for a stderr that no process reads.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// What is seen of the log from outside.
#[derive(Debug, Clone)]
struct Seen {
    /// Lines that found no room.
    dropped: IntCounter,
    /// Lines that wait to be written.
    waiting: ChannelGauge,
}

/// The log of the program. Dropped at the very end of `main`, it writes what is left, for at most half a second.
#[derive(Debug)]
pub struct Logging {
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
    writer: Option<Joined>,
}

/// Starts to log to stderr, panics included. `cron_log_lines_dropped_total` counts what a slow reader cost.
///
/// # Errors
/// When the program logs already, or the system has no room for another thread.
pub fn start(level: LevelFilter, metrics: &Metrics) -> io::Result<Logging> {
    let dropped =
        metrics.counter("cron_log_lines_dropped_total", "Lines of log that standard error did not take.");
    let seen = Seen { dropped, waiting: metrics.channel("log", LOG_LINES) };
    let (logger, logging) = open(level, io::stderr(), seen)?;
    log::set_boxed_logger(logger).map_err(io::Error::other)?;
    log::set_max_level(level);
    // The standard hook writes to stderr itself and would hang where no process reads.
    std::panic::set_hook(Box::new(|panic| log::error!("{}", panic.to_string().replace('\n', " "))));
    Ok(logging)
}

fn open(
    level: LevelFilter,
    sink: impl Write + Send + 'static,
    seen: Seen,
) -> io::Result<(Box<dyn Log>, Logging)> {
    let (lines, queue) = bounded(LOG_LINES);
    let (stop, stopping) = bounded(0);
    let (ending, ended) = bounded(0);
    let front = Front::new(level, Lines::new(lines, seen.clone()));
    let writer = thread::spawn("log", move || {
        writer::run(sink, &queue, &stopping, &seen);
        drop(ending);
    })?;
    Ok((Box::new(front), Logging { stop: Some(stop), ended, writer: Some(writer) }))
}

impl Drop for Logging {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.ended.recv_timeout(FLUSH_LIMIT) == Err(RecvTimeoutError::Timeout) {
            // The thread hangs in a write that may never return, and the program ends now: nothing is left to join.
            std::mem::forget(self.writer.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, PipeReader, Read};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use log::Record;

    use super::*;

    struct Bench {
        logger: Box<dyn Log>,
        logging: Logging,
        dropped: IntCounter,
        stderr: PipeReader,
    }

    fn bench() -> Bench {
        let (stderr, sink) = io::pipe().unwrap();
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let seen = Seen { dropped: dropped.clone(), waiting: Metrics::new().channel("log", 1) };
        let (logger, logging) = open(LevelFilter::Info, sink, seen).unwrap();
        Bench { logger, logging, dropped, stderr }
    }

    fn say(logger: &dyn Log, text: &str) {
        logger.log(&Record::builder().args(format_args!("{text}")).level(log::Level::Info).build());
    }

    fn read_to_end(mut stderr: PipeReader) -> String {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_said_is_written_before_the_end() {
        let bench = bench();
        say(&*bench.logger, "one");
        say(&*bench.logger, "two");
        drop(bench.logging);
        let text = read_to_end(bench.stderr);
        let words: Vec<&str> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(words, ["one", "two"]);
    }

    #[test]
    fn a_stderr_that_nobody_reads_stalls_nobody_and_the_loss_is_owned_up_to() {
        const SAID: usize = 3 * LOG_LINES;
        let bench = bench();
        let began = Instant::now();
        for n in 0..SAID {
            say(&*bench.logger, &format!("line {n} {}", "x".repeat(100)));
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let dropped = usize::try_from(bench.dropped.get()).unwrap();
        assert!(dropped >= LOG_LINES, "{dropped}");

        let reader = std::thread::Builder::new().spawn(move || read_to_end(bench.stderr)).unwrap();
        drop(bench.logging);
        let text = reader.join().unwrap();
        let (lost, kept): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.contains("lines of log dropped"));
        assert_eq!(kept.len() + dropped, SAID);
        let owned_up_to: usize = lost.iter().map(|line| number_before(line, " lines of log dropped")).sum();
        assert_eq!(owned_up_to, dropped, "{lost:?}");
    }

    fn number_before(line: &str, words: &str) -> usize {
        line.split(words)
            .next()
            .and_then(|head| head.rsplit(' ').next())
            .and_then(|n| n.parse().ok())
            .unwrap()
    }

    /// A file on a disk that is full for a while.
    struct Disk {
        is_full: Arc<AtomicBool>,
        file: io::PipeWriter,
    }

    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_full.load(Ordering::SeqCst) {
                Err(ErrorKind::StorageFull.into())
            } else {
                self.file.write(bytes)
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_did_not_take_are_counted_and_owned_up_to_when_it_takes_some_again() {
        let (written, file) = io::pipe().unwrap();
        let is_full = Arc::new(AtomicBool::new(true));
        let dropped = IntCounter::new("dropped", "dropped").unwrap();
        let seen = Seen { dropped: dropped.clone(), waiting: Metrics::new().channel("log", 1) };
        let disk = Disk { is_full: Arc::clone(&is_full), file };
        let (logger, logging) = open(LevelFilter::Info, disk, seen).unwrap();
        (0..3).for_each(|_| say(&*logger, "lost"));
        let end = Instant::now() + Duration::from_secs(10);
        while dropped.get() < 3 && Instant::now() < end {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        assert_eq!(dropped.get(), 3);
        is_full.store(false, Ordering::SeqCst);
        say(&*logger, "kept");
        drop(logging);
        let text = read_to_end(written);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("3 lines of log dropped here"), "{text}");
        assert!(lines[1].ends_with("kept"), "{text}");
    }

    #[test]
    fn the_program_ends_although_nobody_reads_stderr() {
        let bench = bench();
        for _ in 0..2 * LOG_LINES {
            say(&*bench.logger, &"x".repeat(100));
        }
        let began = Instant::now();
        drop(bench.logging);
        assert!((FLUSH_LIMIT..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
