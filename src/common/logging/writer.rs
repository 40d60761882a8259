//! The thread `log`: the only one that writes to stderr, and the only one that waits when no process reads it.

use std::io::{self, Write};

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
        self.put(&line.text);
        if is_last {
            self.own_up(self.seen.dropped.get());
        }
    }

    fn own_up(&mut self, total: u64) {
        if total > self.owned_up_to {
            let lost = total - self.owned_up_to;
            self.owned_up_to = total;
            self.put(format!("{lost} lines of log dropped here, because no process read them\n").as_bytes());
        }
    }

    fn put(&mut self, text: &[u8]) {
        // Where stderr is closed for good there is no reader to tell.
        let _told: io::Result<()> = self.sink.write_all(text);
    }
}
