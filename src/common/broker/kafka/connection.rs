//! One connection to one broker: dialled within a limit, then a request and its answer at a time.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, VersionRange};

use super::frame::{self, Broken, Guarded};
use super::resolve::Address;
use super::tls::{Stream, Tls};
use super::wire::{Asked, text};
use crate::common::broker::BrokerError;
use crate::common::clock::monotonic;

/// How long dialling may take, all addresses of a name together. A broker that is there answers in milliseconds.
pub(super) const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take, beyond what the request itself asks the broker to wait.
pub(super) const REQUEST: Duration = Duration::from_secs(2);

/// How a request ended without an answer, by what that proves.
#[derive(Debug)]
pub(super) enum Lost {
    /// The broker cannot have got the whole of it.
    NotSent(String),
    /// It was sent, then the connection was closed.
    Closed(String),
    /// It was sent, and nothing came in time.
    Silent(String),
    /// Something came that is no answer to it.
    Nonsense(String),
}

impl From<Lost> for BrokerError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotSent(why) => Self::NotSent(why),
            Lost::Closed(why) | Lost::Silent(why) => Self::NoAnswer(why),
            Lost::Nonsense(why) => Self::Nonsense(why),
        }
    }
}

/// A connection. After any [`Lost`] it must be dropped: an answer that comes late would be taken for the next one's.
pub(super) struct Connection {
    stream: Stream,
    peer: String,
    client_id: String,
    correlation: i32,
    versions: HashMap<i16, VersionRange>,
    /// Whether something was said that is not answered yet.
    is_pending: bool,
    /// Whether a request has been answered, beyond the question for versions, on this connection or one before.
    has_answered: bool,
}

/// Why a broker that is there may close a connection before it has answered a request.
const FIRST_REQUEST: &str = " before anything was answered; a listener that asks for a login (SASL) does so, and one that \
                             speaks TLS where --tls-ca is not given";

impl Drop for Connection {
    /// Takes back what was said and not answered, as far as that is possible.
    fn drop(&mut self) {
        if self.is_pending {
            self.stream.reset();
        }
    }
}

impl Connection {
    /// Connects to the first of the addresses that takes it and asks which versions it speaks. `has_answered`: this broker has
    /// answered a request of this process before.
    pub(super) fn dial(
        to: &Address,
        addresses: &[SocketAddr],
        tls: Option<&Tls>,
        client_id: &str,
        has_answered: bool,
        by: Instant,
    ) -> Result<Self, String> {
        let tcp = connect(addresses, by.min(monotonic() + CONNECT)).map_err(|e| format!("{to}: {e}"))?;
        let by = by.min(monotonic() + REQUEST);
        let stream = Stream::new(tcp, &to.host, tls, by).map_err(|e| format!("{to}: {e}"))?;
        let client_id = client_id.to_owned();
        let (peer, versions) = (to.to_string(), HashMap::new());
        let mut connection =
            Self { stream, peer, client_id, correlation: 0, versions, is_pending: false, has_answered };
        // Nothing has been asked of the broker yet that could be applied, so whatever fails here was not sent.
        connection.ask_versions(by).map_err(|lost| match lost {
            Lost::NotSent(why) | Lost::Closed(why) | Lost::Nonsense(why) => why,
            Lost::Silent(why) => format!("{why}, though it took the connection"),
        })?;
        Ok(connection)
    }

    /// Whether the broker has answered a request, on this connection or one before.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether it has been closed (brokers do that after ten idle minutes) while nothing was under way.
    pub(super) fn is_stale(&mut self) -> bool {
        self.stream.is_stale()
    }

    /// Writes a request; the number that comes back belongs to its answer.
    pub(super) fn send<R: Asked>(&mut self, request: &R, by: Instant) -> Result<i32, Lost> {
        let range = self.versions.get(&(R::KEY as i16));
        if !range.is_some_and(|range| (range.min..=range.max).contains(&R::VERSION)) {
            let spoken = range.map_or_else(|| "none".to_owned(), ToString::to_string);
            return Err(Lost::NotSent(format!(
                "{} does not speak version {} of {:?} (but {spoken})",
                self.peer,
                R::VERSION,
                R::KEY
            )));
        }
        self.correlation = self.correlation.wrapping_add(1);
        let frame = self.encode(R::KEY as i16, R::VERSION, R::header_version(R::VERSION), request)?;
        self.write(&frame, by)?;
        Ok(self.correlation)
    }

    /// Waits for the answer.
    pub(super) fn receive<R: Asked>(&mut self, correlation: i32, by: Instant) -> Result<R::Response, Lost> {
        let header = <R::Response as HeaderVersion>::header_version(R::VERSION);
        let mut answer = Guarded::new(self.read(correlation, header, R::ANSWER_BYTES, by)?);
        R::Response::decode(&mut answer, R::VERSION)
            .map_err(|e| Lost::Nonsense(format!("{}: {e}", self.peer)))
    }

    fn encode(
        &self,
        key: i16,
        version: i16,
        header: i16,
        request: &impl Encodable,
    ) -> Result<BytesMut, Lost> {
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        let head = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(text(&self.client_id)));
        let encoded = head.encode(&mut frame, header).and_then(|()| request.encode(&mut frame, version));
        encoded.map_err(|e| Lost::NotSent(format!("the request cannot be encoded: {e}")))?;
        let length = i32::try_from(frame.len() - 4)
            .map_err(|_| Lost::NotSent(format!("the request is too large ({} bytes)", frame.len())))?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }

    fn write(&mut self, frame: &[u8], by: Instant) -> Result<(), Lost> {
        self.stream.limit(by);
        self.is_pending = true;
        // A frame that was not taken whole is never complete at the broker, for the connection is given up.
        self.stream.write_all(frame).map_err(|e| Lost::NotSent(format!("{}: {}", self.peer, worded(&e))))?;
        self.stream.flush().map_err(|e| Lost::Closed(format!("{}: {}", self.peer, worded(&e))))
    }

    /// The body of the answer of that number.
    fn read(&mut self, correlation: i32, header: i16, limit: usize, by: Instant) -> Result<Bytes, Lost> {
        self.stream.limit(by);
        let mut frame = frame::read(&mut self.stream, limit).map_err(|broken| match broken {
            Broken::Length(length) => {
                let what = frame::foreign(length).unwrap_or_else(|| format!("an answer of {length} bytes"));
                Lost::Nonsense(format!("{}: {what}", self.peer))
            }
            Broken::Stream(e) if !self.has_answered && !is_timeout(&e) => {
                Lost::Closed(format!("{}: {}{FIRST_REQUEST}", self.peer, worded(&e)))
            }
            Broken::Stream(e) if is_timeout(&e) => Lost::Silent(format!("{}: {}", self.peer, worded(&e))),
            Broken::Stream(e) => Lost::Closed(format!("{}: {}", self.peer, worded(&e))),
        })?;
        let head = ResponseHeader::decode(&mut frame, header);
        let head = head.map_err(|e| Lost::Nonsense(format!("{}: {e}", self.peer)))?;
        if head.correlation_id == correlation {
            self.is_pending = false;
            self.has_answered |= correlation > 0;
            Ok(frame)
        } else {
            Err(Lost::Nonsense(format!("{}: an answer to something else", self.peer)))
        }
    }

    /// `ApiVersions` in version 0, which every broker answers. It is not flexible, so it is read by hand: an error
    /// code, a count, then key, lowest and highest version.
    fn ask_versions(&mut self, by: Instant) -> Result<(), Lost> {
        let key = ApiKey::ApiVersions as i16;
        let frame = self.encode(key, 0, 1, &ApiVersionsRequest::default())?;
        self.write(&frame, by)?;
        let mut answer = self.read(0, 0, crate::common::bounds::ANSWER_BYTES, by)?;
        let short = |_| Lost::Nonsense(format!("{}: it does not say which versions it speaks", self.peer));
        let error = answer.try_get_i16().map_err(short)?;
        let count = answer.try_get_i32().map_err(short)?;
        if error != 0 {
            return Err(Lost::Nonsense(format!("{}: error {error} when asked for versions", self.peer)));
        }
        for _ in 0..count {
            let key = answer.try_get_i16().map_err(short)?;
            let min = answer.try_get_i16().map_err(short)?;
            let max = answer.try_get_i16().map_err(short)?;
            self.versions.insert(key, VersionRange { min, max });
        }
        Ok(())
    }
}

/// Tries each address for its share of the time.
fn connect(addresses: &[SocketAddr], by: Instant) -> Result<TcpStream, String> {
    let mut refused = "no address".to_owned();
    for (tried, address) in addresses.iter().enumerate() {
        let left = by.saturating_duration_since(monotonic());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err("no time left to connect".to_owned());
        }
        match TcpStream::connect_timeout(address, share) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => refused = worded(&error),
        }
    }
    Err(refused)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// What an operator can do about what TLS says.
fn tls_worded(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => format!(
            "its certificate is signed by no authority of the file of --tls-ca (where it is signed by itself, put it \
             into that file): {error}"
        ),
        rustls::Error::InvalidMessage(_) => format!(
            "it does not speak TLS: leave --tls-ca out, or give the port of a listener with TLS ({error})"
        ),
        _ => error.to_string(),
    }
}

/// "Resource temporarily unavailable" is what the system calls a time-out.
fn worded(error: &io::Error) -> String {
    match error.kind() {
        _ if is_timeout(error) => "no answer in time".to_owned(),
        _ if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) => {
            tls_worded(tls)
        }
        io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use kafka_protocol::messages::MetadataRequest;
    use rustix::net::sockopt;

    use super::*;
    use crate::common::thread::spawn;

    /// Which versions a broker speaks: of Metadata up to the one that is asked for here.
    const VERSIONS: &[u8] = &[0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 12];

    /// What a broker hears at last of a connection on which `then` was done.
    fn heard(then: impl FnOnce(&mut Connection)) -> io::Result<usize> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let (tell, told) = crossbeam_channel::bounded(1);
        let broker = spawn("broker", move || {
            let (mut peer, _) = listener.accept().unwrap();
            let _ = peer.read(&mut [0; 4096]).unwrap();
            peer.write_all(VERSIONS).unwrap();
            tell.send(peer.read_to_end(&mut Vec::new())).unwrap();
        });
        let to = Address { host: at.ip().to_string(), port: at.port() };
        let by = Instant::now() + Duration::from_secs(20);
        let mut connection = Connection::dial(&to, &[at], None, "test", false, by).unwrap();
        then(&mut connection);
        drop(connection);
        drop(broker.unwrap());
        told.recv().unwrap()
    }

    #[test]
    fn what_is_given_up_unanswered_is_taken_back_and_nothing_else_is() {
        assert!(heard(|_| {}).is_ok(), "an ordinary end");
        let by = Instant::now() + Duration::from_secs(20);
        let given_up = heard(|connection| {
            connection.send(&MetadataRequest::default(), by).unwrap();
        });
        assert_eq!(given_up.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_broker_that_has_served_us_before_wants_no_login_when_it_dies() {
        let dies = |has_answered: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = listener.local_addr().unwrap();
            let broker = spawn("broker", move || {
                let (mut peer, _) = listener.accept().unwrap();
                let _ = peer.read(&mut [0; 4096]).unwrap();
                peer.write_all(VERSIONS).unwrap();
            });
            let to = Address { host: at.ip().to_string(), port: at.port() };
            let by = Instant::now() + Duration::from_secs(20);
            let mut connection = Connection::dial(&to, &[at], None, "test", has_answered, by).unwrap();
            drop(broker.unwrap());
            let asked = connection.send(&MetadataRequest::default(), by);
            let answer = asked.and_then(|asked| connection.receive::<MetadataRequest>(asked, by));
            BrokerError::from(answer.unwrap_err()).to_string()
        };
        let said = [false, true].map(dies);
        assert!(said[0].contains("SASL"), "{said:?}");
        assert!(!said[1].contains("SASL"), "{said:?}");
    }

    #[test]
    fn a_connection_is_kept_alive() {
        heard(|connection| {
            let tcp = connection.stream.tcp();
            assert!(sockopt::socket_keepalive(tcp).unwrap());
            assert_eq!(sockopt::tcp_keepidle(tcp).unwrap(), Duration::from_secs(30));
            assert_eq!(sockopt::tcp_user_timeout(tcp).unwrap(), 10_000);
        })
        .unwrap();
    }
}
