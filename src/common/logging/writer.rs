//! The thread `log`: the only one that writes to stderr, and the only one that waits when no process reads it.

use std::io::Write;

use super::Seen;
use super::front::Line;
use crossbeam_channel::{Receiver, select};

/// Writes lines until told to stop; then what is still waiting.
pub(super) fn run(sink: impl Write, queue: &Receiver<Line>, stopping: &Receiver<()>, seen: &Seen) {
    let mut writer = Writer { sink, seen, owned_up_to: 0 };
    loop {
        select! {
            recv(queue) -> line => match line {
                Ok(line) => {
                    writer.write(&line, queue.is_empty());
                    seen.waiting.is(queue.len());
                }
                Err(_) => return,
            },
            recv(stopping) -> _ => break,
        }
    }
    for line in queue.try_iter() {
        writer.write(&line, queue.is_empty());
    }
}

struct Writer<'a, W> {
    sink: W,
    seen: &'a Seen,
    owned_up_to: u64,
}

impl<W: Write> Writer<'_, W> {
    /// A line; before it, what was lost in front of it, and after the last one, what was lost behind it.
    fn write(&mut self, line: &Line, is_last: bool) {
        self.own_up(line.dropped_before);
        if !self.put(&line.text) {
            // A disk that is full, or a reader that has gone.
            self.seen.dropped.inc();
        }
        if is_last {
            self.own_up(self.seen.dropped.get());
        }
    }

    fn own_up(&mut self, total: u64) {
        if total > self.owned_up_to {
            let lost = total - self.owned_up_to;
            let text =
                format!("{lost} lines of log dropped here, because standard error did not take them\n");
            if self.put(text.as_bytes()) {
                self.owned_up_to = total;
            }
        }
    }

    /// Whether a text was written.
    fn put(&mut self, text: &[u8]) -> bool {
        self.sink.write_all(text).is_ok()
    }
}
