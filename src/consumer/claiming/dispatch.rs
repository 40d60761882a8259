//! The handle of the claiming thread, whose name is `dispatch`. What the thread does stands in [`super::thread`].

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};

use super::channels::{Channels, Observe};
use super::machine::Options;
use super::thread::Claiming;
use crate::common::broker::Client;
use crate::common::clock::CorrectedClock;
use crate::common::thread::{Joined, spawn};

/// The handle. Dropping it stops the taking: workers that are busy go on, and end when they are done.
#[derive(Debug)]
pub struct ClaimingThread {
    _stop: Sender<()>,
    thread: Joined,
}

impl ClaimingThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        client: Box<dyn Client>,
        clock: Arc<CorrectedClock>,
        channels: Channels,
        observe: Observe,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("dispatch", move || {
            Claiming::new(options, client, clock, channels, observe).run(&stopped);
        })?;
        Ok(Self { _stop: stop, thread })
    }

    /// Whether the thread has ended by itself: the instance id is in use elsewhere.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}
