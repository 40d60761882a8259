//! Names to addresses, with a time limit that the system's resolver does not have: it runs on a thread of its own.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::common::bounds;
use crate::common::thread::{Joined, spawn};

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    /// Name or number, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `host:port` or `[v6]:port`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let plain = bare.is_some() || !host.contains(':');
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (plain && !host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Asks the system's resolver. One question at a time: while the name service is silent no caller would get an
/// answer anyhow.
pub(super) struct Resolver {
    // Before the thread: it ends when this is gone. A question under way is waited for (the system's own limit).
    questions: Sender<Question>,
    _thread: Joined,
}

struct Question {
    of: Address,
    answer: Sender<io::Result<Vec<SocketAddr>>>,
}

impl Resolver {
    /// # Errors
    /// When the system has no room for a thread.
    pub(super) fn start() -> io::Result<Self> {
        let (questions, asked) = bounded(bounds::RESOLVER_QUESTIONS);
        let thread = spawn("kafka-resolve", move || answer(&asked))?;
        Ok(Self { questions, _thread: thread })
    }

    /// All addresses of a broker, or why there are none by then.
    pub(super) fn addresses(&self, of: &Address, by: Instant) -> Result<Vec<SocketAddr>, String> {
        if let Ok(number) = of.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(number, of.port)]);
        }
        let (answer, answered) = bounded(1);
        let question = Question { of: of.clone(), answer };
        if self.questions.send_deadline(question, by).is_err() {
            return Err(format!("the name service is busy; {} was not looked up", of.host));
        }
        match answered.recv_deadline(by) {
            Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            Ok(Ok(_)) => Err(format!("{} has no address", of.host)),
            Ok(Err(error)) => Err(format!("{}: {error}", of.host)),
            Err(_) => Err(format!("the name service does not say in time who {} is", of.host)),
        }
    }
}

fn answer(asked: &Receiver<Question>) {
    for Question { of, answer } in asked {
        let found = (of.host.as_str(), of.port).to_socket_addrs().map(Iterator::collect);
        // The caller may not be waiting any more.
        drop(answer.try_send(found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Address::parse(text).map(|a| a.to_string()).as_deref(), expected, "{text}");
        };
        check("localhost:9092", Some("localhost:9092"));
        check(" kafka-1.example.org:29092 ", Some("kafka-1.example.org:29092"));
        check("[::1]:9092", Some("[::1]:9092"));
        check("127.0.0.1:1", Some("127.0.0.1:1"));
        check("localhost", None);
        check("::1:9092", None);
        check(":9092", None);
        check("localhost:0", None);
        check("localhost:65536", None);
        check("localhost:http", None);
    }

    #[test]
    fn the_wait_for_a_name_ends_at_the_deadline() {
        let resolver = Resolver::start().unwrap();
        let past = Instant::now();
        let of = Address { host: "no-such-host.invalid".to_owned(), port: 1 };
        assert!(resolver.addresses(&of, past).is_err());
    }
}
