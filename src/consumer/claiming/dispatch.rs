//! The thread `dispatch`: what it listens to and talks to, and its handle. What it does is in [`super::dispatching`].

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::dispatcher::{Claimed, Options};
use super::dispatching::Dispatching;
use crate::common::broker::Client;
use crate::common::clock::Clock;
use crate::common::http::Health;
use crate::common::membership::{Change, Membership};
use crate::common::metrics::Beat;
use crate::common::thread::{Joined, spawn};
use crate::consumer::fetching::fetcher::Chunk;
use crate::consumer::fetching::poll::Poll;
use crate::consumer::measures::Measures;
use crate::consumer::results::reporter;

/// What dispatch listens to and talks to.
pub struct Lines {
    /// Changes of the membership.
    pub changes: Receiver<Change>,
    /// What was read.
    pub chunks: Receiver<Chunk>,
    /// One message for each worker that has become free.
    pub idle: Receiver<()>,
    /// To the workers: as many places as workers, and never more under way than are free, so it never blocks.
    pub jobs: Sender<Box<Claimed>>,
    /// To the reporter. Full while something cannot be written.
    pub report: reporter::Lines,
    /// The poll threads.
    pub poll: Poll,
    /// Our membership. It ends with this thread, so that a job that is waited for keeps no partition from others.
    pub membership: Membership,
}

/// Where dispatch shows how it is.
pub struct Observe {
    /// What it counts.
    pub measures: Measures,
    /// Whether it is a member of its group.
    pub health: Health,
    /// When it last came round.
    pub beat: Beat,
}

/// The fact of `/readyz`: the group has been joined.
pub const MEMBER: &str = "group";

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
        clock: Arc<dyn Clock>,
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
