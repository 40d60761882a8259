//! The thread `metrics-http`: accepts connections while it has room, and polls them all.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::answer::Site;
use super::connection::{Connection, Turn};
use super::{Bound, Health};
use crate::common::bounds::HTTP_CONNECTIONS;
use crate::common::clock::Clock;
use crate::common::metrics::{Beat, Metrics};
use crate::common::thread::{Joined, spawn};

/// How often the thread comes round when no request comes: for its beat, and to look at those of the others.
const ROUND: Duration = Duration::from_secs(1);

/// How long no connection is accepted after an error, such as running out of descriptors: trying at once would only
/// burn a core.
const PAUSE: Duration = Duration::from_millis(100);

/// The handle. Dropping it closes the port and ends the thread; the field order matters for that.
#[derive(Debug)]
pub struct Page {
    addr: SocketAddr,
    _stop: Stop,
    _thread: Joined,
}

/// Ends the thread when it is dropped.
#[derive(Debug)]
struct Stop(PipeWriter);

impl Drop for Stop {
    fn drop(&mut self) {
        // A byte and not only the close: a command that is being started may hold a copy of the pipe for a moment.
        if self.0.write_all(&[0]).is_err() {
            log::debug!("the page has ended before");
        }
    }
}

impl Page {
    /// Serves `metrics` and `health` from now on, and logs where.
    ///
    /// # Errors
    /// The system's, when it has no room for a pipe or a thread.
    pub fn start(
        bound: Bound,
        metrics: Metrics,
        health: Health,
        clock: Arc<dyn Clock>,
        beat: Beat,
    ) -> io::Result<Self> {
        let addr = bound.addr();
        log::info!("serving /metrics, /healthz and /readyz on {bound}");
        let (stop, writer) = io::pipe()?;
        let mut server = Server {
            door: Door { listener: bound.listener, closed_until: None },
            connections: Vec::with_capacity(HTTP_CONNECTIONS + 1),
            site: Site::new(metrics, health),
            stop,
        };
        let thread = spawn("metrics-http", move || {
            let mut goes_on = true;
            while goes_on {
                beat.touch(clock.now());
                goes_on = server.come_round(clock.as_ref());
            }
        })?;
        Ok(Self { addr, _stop: Stop(writer), _thread: thread })
    }

    /// The address, with the port that was got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

struct Server {
    door: Door,
    /// In the order in which they came.
    connections: Vec<Connection>,
    site: Site,
    stop: PipeReader,
}

impl Server {
    /// Waits for something to do and does it. Returns whether the thread goes on.
    fn come_round(&mut self, clock: &dyn Clock) -> bool {
        let now = clock.monotonic();
        self.site.health.look(now);
        if self.wait(now) {
            return false;
        }
        let now = clock.monotonic();
        self.site.health.look(now);
        let site = &self.site;
        self.connections.retain_mut(|connection| connection.turn(site, now) == Turn::Waits);
        self.accept(now);
        true
    }

    /// Waits until a socket is ready or a deadline has come. Returns whether the thread is to stop.
    ///
    /// Which socket it was is not asked: turning one that is not ready costs a system call, and there are few.
    fn wait(&self, now: Instant) -> bool {
        let deadlines = self.connections.iter().map(Connection::deadline).chain(self.door.closed_until);
        let until = deadlines.min().map_or(ROUND, |first| first.saturating_duration_since(now).min(ROUND));
        let mut awaited = vec![PollFd::new(&self.stop, PollFlags::IN)];
        for connection in &self.connections {
            let (socket, flags) = connection.awaits();
            awaited.push(PollFd::new(socket, flags));
        }
        if self.door.closed_until.is_none() {
            awaited.push(PollFd::new(&self.door.listener, PollFlags::IN));
        }
        // A millisecond more than needed, so that a deadline has passed when the wait ends. An interrupted wait is a
        // short one.
        let timeout = Timespec::try_from(until + Duration::from_millis(1)).ok();
        poll(&mut awaited, timeout.as_ref()).is_ok() && !awaited[0].revents().is_empty()
    }

    /// Takes those who wait at the door, at most as many as there is room for.
    ///
    /// Where there is no room, the one that has been here longest without an answer goes. One whose request came
    /// along has its answer by then, so however many connect and say nothing, a scrape is served.
    fn accept(&mut self, now: Instant) {
        for _ in 0..HTTP_CONNECTIONS {
            let Some(mut connection) = self.door.next(now) else { return };
            if connection.turn(&self.site, now) == Turn::Over {
                continue;
            }
            if self.connections.len() == HTTP_CONNECTIONS {
                let mute = self.connections.iter().position(|connection| !connection.is_answered());
                self.connections.remove(mute.unwrap_or(0));
                self.site.turned_away("no_room");
            }
            self.connections.push(connection);
        }
    }
}

/// The listener, which may be left alone for a while.
struct Door {
    listener: TcpListener,
    closed_until: Option<Instant>,
}

impl Door {
    /// The next connection that waits, if there is one. After an error none is accepted for a while: they wait in the backlog.
    fn next(&mut self, now: Instant) -> Option<Connection> {
        if self.closed_until.is_some_and(|until| now < until) {
            return None;
        }
        loop {
            match self.listener.accept().and_then(|(stream, _)| Connection::new(stream, now)) {
                Ok(connection) => {
                    self.reopen();
                    return Some(connection);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.reopen();
                    return None;
                }
                // Gone before it was taken.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    if self.closed_until.replace(now + PAUSE).is_none() {
                        log::warn!("metrics cannot be scraped: {error}");
                    }
                    return None;
                }
            }
        }
    }

    fn reopen(&mut self) {
        if self.closed_until.take().is_some() {
            log::info!("metrics can be scraped again");
        }
    }
}
