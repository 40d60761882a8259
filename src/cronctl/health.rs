//! `cronctl health` asks a program whether it is healthy, for images without curl.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args as Arguments;

use super::screen::{Answer, Screen};
use crate::common::clock::Clock;
use crate::common::exit::Exit;

/// How long connection, question and answer may take together.
const LIMIT: Duration = Duration::from_secs(3);

/// Bytes of an answer that are read: the status and what a health page has to say.
const ANSWER_BYTES: u64 = 8 * 1024;

/// Characters of an answer that are shown.
const SHOWN_CHARS: usize = 200;

/// Does a program say that it is well?
#[derive(Debug, Clone, Arguments)]
pub struct Args {
    /// The page to request, as in http://127.0.0.1:9100/readyz
    pub url: Url,
}

/// The address of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host and port, as a connection takes them.
    authority: String,
    path: String,
}

/// Why a text is not the address of a page that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} (as in `http://127.0.0.1:9100/readyz`)")]
pub struct UrlError(&'static str);

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
            return Err(UrlError("an address has no blanks, and other characters than ASCII are escaped"));
        }
        let rest = text.strip_prefix("http://").ok_or(UrlError("only plain `http://` is asked"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        if host.is_empty() || host.starts_with(':') || host.contains('@') {
            return Err(UrlError("the host is missing or is more than a host"));
        }
        let path = path.split('#').next().unwrap_or("");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = host.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
        match port {
            Some((_, port)) if port.parse::<u16>().is_err() => {
                Err(UrlError("the port is not a number up to 65535"))
            }
            Some(_) => Ok(Self { authority: host.to_owned(), path }),
            None => Ok(Self { authority: format!("{host}:80"), path }),
        }
    }
}

/// Ends with 0 when the answer is 200, and otherwise with 1 and a line that says why.
///
/// # Errors
/// The answer cannot be written.
pub fn run(args: &Args, clock: &dyn Clock, screen: &mut Screen) -> Answer {
    let Url { authority, path } = &args.url;
    let why = match ask(&args.url, &Deadline { clock, at: clock.monotonic() + LIMIT }) {
        Ok(answer) if status(&answer) == Some(200) => return Ok(Exit::Done),
        Ok(answer) => shown(&answer),
        Err(error) => error.to_string(),
    };
    screen.complain(format_args!("http://{authority}{path}: {why}"))?;
    Ok(Exit::Found)
}

struct Deadline<'a> {
    clock: &'a dyn Clock,
    at: Instant,
}

impl Deadline<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(self.clock.monotonic());
        if left.is_zero() { Err(Self::passed()) } else { Ok(left) }
    }

    fn passed() -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", LIMIT.as_secs()))
    }
}

/// What the page answers, status line first. Each read has only what is left of the limit, so that a server that sends
/// a byte a second does not hold us up.
fn ask(url: &Url, deadline: &Deadline<'_>) -> io::Result<Vec<u8>> {
    let mut stream = connect(&url.authority, deadline)?;
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    let question =
        format!("GET {} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n", url.path, url.authority);
    stream.set_write_timeout(Some(deadline.left()?))?;
    stream.write_all(question.as_bytes()).map_err(timed_out)?;
    let mut answer = Vec::new();
    let mut rest = stream.take(ANSWER_BYTES);
    let mut piece = [0; 1024];
    loop {
        rest.get_ref().set_read_timeout(Some(deadline.left()?))?;
        match rest.read(&mut piece).map_err(timed_out)? {
            0 => return Ok(answer),
            length => answer.extend_from_slice(&piece[..length]),
        }
        if status(&answer) == Some(200) {
            return Ok(answer);
        }
    }
}

/// Tries each address of the host; a name is looked up by the system, whose own limits hold for that.
fn connect(authority: &str, deadline: &Deadline<'_>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    let addresses: Vec<SocketAddr> = authority.to_socket_addrs()?.collect();
    for address in addresses {
        match TcpStream::connect_timeout(&address, deadline.left()?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = timed_out(error),
        }
    }
    Err(last)
}

/// A socket's time-out has two kinds, neither of which says what it is.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Deadline::passed(),
        _ => error,
    }
}

/// The status of an answer, once its first line is complete.
fn status(answer: &[u8]) -> Option<u16> {
    let line = &answer[..answer.iter().position(|byte| *byte == b'\n')?];
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

/// The status line and what the page says, on one line and harmless to a terminal.
fn shown(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let status = text.lines().next().unwrap_or("").trim();
    if status.is_empty() {
        return "the connection was closed without an answer".to_owned();
    }
    let page = text.split_once("\r\n\r\n").map_or("", |(_, page)| page);
    let words = [status, page].join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::common::clock::SystemClock;
    use crate::common::thread;

    #[test]
    fn an_address_is_a_host_and_a_page() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| match (text.parse::<Url>(), expected) {
            (Ok(url), Ok((authority, path))) => {
                assert_eq!((&*url.authority, &*url.path), (authority, path), "{text}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (got, expected) => panic!("{text}: {got:?} instead of {expected:?}"),
        };
        check("http://a:9100/readyz", Ok(("a:9100", "/readyz")));
        check("http://127.0.0.1", Ok(("127.0.0.1:80", "/")));
        check("http://[::1]:9100/", Ok(("[::1]:9100", "/")));
        check("http://[::1]", Ok(("[::1]:80", "/")));
        check("http://a?x=1#y", Ok(("a:80", "/?x=1")));
        check("https://a/", Err("only plain `http://` is asked (as in"));
        check("a:9100/readyz", Err("only plain `http://`"));
        check("http:///readyz", Err("the host is missing"));
        check("http://me@a/", Err("more than a host"));
        check("http://a:http/", Err("the port is not a number"));
        check("http://a:65536/", Err("the port is not a number"));
        check("http://a/ b", Err("no blanks"));
        check("http://a/\r\nX: y", Err("no blanks"));
    }

    #[test]
    fn a_status_is_believed_when_its_line_is_complete() {
        let check =
            |answer: &str, expected: Option<u16>| assert_eq!(status(answer.as_bytes()), expected, "{answer}");
        check("HTTP/1.1 200 OK\r\n", Some(200));
        check("HTTP/1.0 503 Service Unavailable\r\n\r\nno", Some(503));
        check("HTTP/1.1 200", None);
        check("SSH-2.0-OpenSSH 200\r\n", None);
        check("\n", None);
        check("HTTP/1.1\n", None);
    }

    #[test]
    fn an_answer_is_shown_on_one_line_and_harmless() {
        let check = |answer: &[u8], expected: &str| assert_eq!(shown(answer), expected);
        check(b"HTTP/1.1 503 X\r\nA: b\r\n\r\ntimer: late\n\x1B[31m", "HTTP/1.1 503 X timer: late [31m");
        check(b"", "the connection was closed without an answer");
        assert_eq!(shown(&[b'x'; 10_000]).len(), SHOWN_CHARS);
    }

    /// A program that takes a connection, sends `answer` and then nothing more, and keeps the connection open.
    fn check_silent(answer: &'static [u8]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse::<Url>().unwrap();
        let (asked, end) = crossbeam_channel::bounded::<()>(0);
        let server = thread::spawn("silent", move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            end.recv().unwrap_err();
        });
        let asked = asked; // dropped before the server is joined, also when what follows fails
        let clock = SystemClock;
        let deadline = Deadline { clock: &clock, at: clock.monotonic() + Duration::from_millis(50) };
        assert_eq!(ask(&url, &deadline).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(asked);
        drop(server);
    }

    #[test]
    fn a_program_that_hangs_does_not_hang_its_check() {
        check_silent(b"");
        check_silent(b"HTTP/1.1 200");
        check_silent(b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
    }
}
