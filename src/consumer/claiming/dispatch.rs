//! The thread `dispatch`: its handle. What it does is in [`super::dispatching`].

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::dispatcher::Options;
use super::dispatching::Dispatching;
use super::lines::{Lines, Observe};
use crate::common::broker::Client;
use crate::common::clock::CorrectedClock;
use crate::common::thread::{Joined, spawn};

/// The handle. Dropping it stops the taking: workers that are busy go on, and end when they are done.
#[derive(Debug)]
pub struct Dispatch {
    _stop: Sender<()>,
    thread: Joined,
}

impl Dispatch {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        client: Box<dyn Client>,
        clock: Arc<CorrectedClock>,
        lines: Lines,
        observe: Observe,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("dispatch", move || {
            Dispatching::new(options, client, clock, lines, observe).run(&stopped);
        })?;
        Ok(Self { _stop: stop, thread })
    }

    /// Whether the thread has ended by itself: the instance id is in use elsewhere.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}
