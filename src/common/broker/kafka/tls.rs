//! The stream under a connection: TCP, with or without TLS, on which no read or write waits beyond a deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::Misconfigured;
use crate::common::clock::monotonic;

/// How brokers prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificates of the authorities that are trusted, in PEM.
    pub ca_file: PathBuf,
}

/// Options that were read.
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    pub(super) fn new(options: &TlsOptions) -> Result<Self, Misconfigured> {
        let path = options.ca_file.display().to_string();
        let refuse = |reason: String| Misconfigured::Tls { path: path.clone(), reason };
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(&options.ca_file).map_err(|e| refuse(e.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
            roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(refuse("it holds no certificate".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| refuse(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

/// A TCP stream with a deadline: the system's time-outs are for each read and write, ours is for all of them.
pub(super) struct Timed {
    tcp: TcpStream,
    by: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<std::time::Duration> {
        let left = self.by.saturating_duration_since(monotonic());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.left()?))?;
        self.tcp.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// What a connection reads from and writes to.
pub(super) enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Stream {
    /// Wraps a stream that has just been connected.
    pub(super) fn new(tcp: TcpStream, host: &str, tls: Option<&Tls>, by: Instant) -> Result<Self, String> {
        // Requests are written in one go and answered before the next: there is nothing to gather.
        tcp.set_nodelay(true).map_err(|e| e.to_string())?;
        keep_alive(&tcp).map_err(|e| e.to_string())?;
        let timed = Timed { tcp, by };
        let Some(Tls(config)) = tls else { return Ok(Self::Plain(timed)) };
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(|e| e.to_string())?;
        Ok(Self::Tls(Box::new(StreamOwned::new(session, timed))))
    }

    /// From now on nothing waits beyond this instant.
    pub(super) fn limit(&mut self, by: Instant) {
        match self {
            Self::Plain(timed) => timed.by = by,
            Self::Tls(session) => session.sock.by = by,
        }
    }

    /// Has the close that follows throw away what the system has not delivered yet, and tell the other side to forget
    /// what it has not read (a reset, by `SO_LINGER` of zero, socket(7)). An ordinary close would go on delivering for
    /// minutes, and a request that its caller has given up would be applied long after it was made again.
    pub(super) fn reset(&self) {
        if let Err(error) = sockopt::set_socket_linger(self.tcp(), Some(Duration::ZERO)) {
            log::debug!("a connection cannot be reset: {error}");
        }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(timed) => &timed.tcp,
            Self::Tls(session) => &session.sock.tcp,
        }
    }

    /// Whether the other side has closed a connection on which nothing is under way, or said something unasked.
    pub(super) fn is_stale(&mut self) -> bool {
        if self.tcp().set_nonblocking(true).is_err() {
            return true;
        }
        let quiet = match self {
            Self::Plain(timed) => is_quiet(&timed.tcp.peek(&mut [0])),
            Self::Tls(session) => is_quiet_inside(session),
        };
        self.tcp().set_nonblocking(false).is_err() || !quiet
    }
}

/// How long a connection is idle before the system asks whether the other side is still there, and how often then.
/// Below what address translators forget idle connections after, which is minutes: one that forgets says nothing, and
/// the next request, which may be a commit, would get no answer.
const IDLE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long the other side may leave what was sent, or such a question, unacknowledged before the connection is over
/// (`TCP_USER_TIMEOUT`, tcp(7), RFC 5482). A host that is there acknowledges in milliseconds, whatever its broker does.
/// The system delivers nothing after that, so it also bounds how late a request may arrive (see
/// `docs/ARCHITECTURE.md`, "How far apart copies are").
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

fn keep_alive(tcp: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_keepidle(tcp, IDLE)?;
    sockopt::set_tcp_keepintvl(tcp, ASK_AGAIN)?;
    sockopt::set_tcp_user_timeout(tcp, u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(0))?;
    Ok(sockopt::set_socket_keepalive(tcp, true)?)
}

fn is_quiet(read: &io::Result<usize>) -> bool {
    read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Takes in what TLS itself has to say between requests (session tickets, the farewell).
fn is_quiet_inside(session: &mut StreamOwned<ClientConnection, Timed>) -> bool {
    loop {
        match session.conn.read_tls(&mut session.sock.tcp) {
            Ok(0) => return false,
            Ok(_) => {}
            read @ Err(_) => return is_quiet(&read),
        }
        match session.conn.process_new_packets() {
            Ok(state) if !state.peer_has_closed() && state.plaintext_bytes_to_read() == 0 => {}
            _ => return false,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(into),
            Self::Tls(session) => session.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(from),
            Self::Tls(session) => session.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Tls(session) => session.flush(),
        }
    }
}
