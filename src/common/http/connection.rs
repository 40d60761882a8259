//! One connection, from its head to its farewell. It never blocks: the page turns it when its socket is ready, and
//! drops it at the deadline of its stage.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::answer::Site;
use super::head::{self, Head};

/// How long a client may take to send its head.
const HEAD_LIMIT: Duration = Duration::from_secs(2);

/// How long it may take to read the answer: as long as Prometheus waits for one.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long we wait for its end of the connection. Closing while it still sends would reset the connection, and
/// with it lose the answer that it has not read yet.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// A client.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    deadline: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The head, as far as it has come.
    Head(Vec<u8>),
    /// The answer, and how much of it is sent.
    Answer(Vec<u8>, usize),
    /// All is sent; what still comes is thrown away.
    Farewell,
}

/// What becomes of a connection after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It waits for its socket.
    Waits,
    /// It is over.
    Over,
}

impl Connection {
    /// A connection that was accepted at `now`.
    ///
    /// # Errors
    /// The system's, when the socket is unusable.
    pub fn new(stream: TcpStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, deadline: now + HEAD_LIMIT, stage: Stage::Head(Vec::new()) })
    }

    /// When it is over whatever it does.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether an answer is under way.
    pub fn is_answered(&self) -> bool {
        matches!(self.stage, Stage::Answer(..))
    }

    /// Its socket, and what it waits for.
    pub fn awaits(&self) -> (&TcpStream, PollFlags) {
        (&self.stream, if self.is_answered() { PollFlags::OUT } else { PollFlags::IN })
    }

    /// Goes on as far as it goes without waiting.
    pub fn turn(&mut self, site: &Site, now: Instant) -> Turn {
        if now >= self.deadline {
            // After the farewell it is only the client that has not gone yet.
            if !matches!(self.stage, Stage::Farewell) {
                site.turned_away("too_slow");
            }
            return Turn::Over;
        }
        match self.go_on(site, now) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Turn::Waits
            }
            // An error is the client's affair: it went away, or never was one.
            Ok(()) | Err(_) => Turn::Over,
        }
    }

    /// `Ok` at the end of the connection.
    fn go_on(&mut self, site: &Site, now: Instant) -> io::Result<()> {
        loop {
            match &mut self.stage {
                Stage::Head(came) => {
                    let mut chunk = [0; 1024];
                    let length = (&self.stream).read(&mut chunk)?;
                    if length == 0 {
                        return Ok(());
                    }
                    came.extend_from_slice(&chunk[..length]);
                    let answer = match head::read(came) {
                        Head::Partial => continue,
                        Head::Whole(request) => site.answer(&request),
                        Head::Refused(refusal) => site.refuse(refusal),
                    };
                    self.enter(Stage::Answer(answer, 0), now + ANSWER_LIMIT);
                }
                Stage::Answer(answer, sent) => {
                    while *sent < answer.len() {
                        *sent += (&self.stream).write(&answer[*sent..])?;
                    }
                    self.stream.shutdown(Shutdown::Write)?;
                    self.enter(Stage::Farewell, now + FAREWELL_LIMIT);
                }
                Stage::Farewell => {
                    // Once a turn: a client that sends without end must not keep the others from theirs.
                    let length = (&self.stream).read(&mut [0; 16 * 1024])?;
                    return if length == 0 { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) };
                }
            }
        }
    }

    fn enter(&mut self, stage: Stage, deadline: Instant) {
        self.stage = stage;
        self.deadline = deadline;
    }
}
