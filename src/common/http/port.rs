//! The port rule: programs started side by side on one host must just start, and an address that the user asked for
//! is that address or an error.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;

/// The ports of those that named none: the first that is free.
const IMPLICIT_PORTS: RangeInclusive<u16> = 9100..=9199;

/// Why no port is listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address that was asked for.
    #[error("cannot serve metrics on {addr}: {source}")]
    Explicit {
        /// What `--metrics-addr` said.
        addr: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// All ports of the range are taken.
    #[error("cannot serve metrics: the ports {}-{} are all taken (--metrics-addr names another)", .0.start(), .0.end())]
    AllTaken(RangeInclusive<u16>),
}

/// An address that is listened on already and served once [`Page::start`](super::Page::start) has it. Connections
/// made before wait.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: TcpListener,
    addr: SocketAddr,
    /// The port that would have been the first choice.
    wanted: u16,
}

impl Bound {
    /// Listens on `explicit`, where port 0 means any, or, when there is none, on the first free port of 9100-9199 on
    /// all addresses of the host.
    ///
    /// # Errors
    /// The explicit address is taken or not this host's; or no port of the range is free.
    pub fn bind(explicit: Option<SocketAddr>) -> Result<Self, BindError> {
        match explicit {
            Some(addr) => listen(addr).map_err(|source| BindError::Explicit { addr, source }),
            None => first_free(IMPLICIT_PORTS),
        }
    }

    /// The address, with the port that was got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// As the log says it: `0.0.0.0:9101 (9100 is taken)`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.addr)?;
        if self.wanted != 0 && self.wanted != self.addr.port() {
            write!(f, " ({} is taken)", self.wanted)?;
        }
        Ok(())
    }
}

fn listen(addr: SocketAddr) -> io::Result<Bound> {
    let listener = TcpListener::bind(addr)?;
    // A connection that is gone again between poll and accept must not leave the thread waiting in accept.
    listener.set_nonblocking(true)?;
    Ok(Bound { addr: listener.local_addr()?, listener, wanted: addr.port() })
}

fn first_free(ports: RangeInclusive<u16>) -> Result<Bound, BindError> {
    let wanted = *ports.start();
    for port in ports.clone() {
        let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        match listen(addr) {
            Ok(bound) => return Ok(Bound { wanted, ..bound }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(source) => return Err(BindError::Explicit { addr, source }),
        }
    }
    Err(BindError::AllTaken(ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two neighbouring ports that this test holds, below those that the system gives to outgoing connections.
    fn neighbours() -> (Bound, Bound) {
        let start = 10_000 + u16::try_from(std::process::id() % 10_000).unwrap();
        let pair = (start..start + 2_000).find_map(|port| {
            let one = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
            Some((one, listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port + 1))).ok()?))
        });
        pair.unwrap()
    }

    #[test]
    fn without_a_wish_the_next_free_port_is_taken_and_named() {
        let (one, two) = neighbours();
        let (first, last) = (one.addr().port(), two.addr().port());
        let error = first_free(first..=last).unwrap_err().to_string();
        let expected = format!("cannot serve metrics: the ports {first}-{last} are all taken");
        assert!(error.starts_with(&expected), "{error}");
        drop(two);
        let got = first_free(first..=last).unwrap();
        assert_eq!(got.to_string(), format!("0.0.0.0:{last} ({first} is taken)"));
        drop((one, got));
        assert_eq!(first_free(first..=last).unwrap().to_string(), format!("0.0.0.0:{first}"));
    }

    #[test]
    fn an_address_that_was_asked_for_is_that_one_or_an_error() {
        let any = Bound::bind(Some("127.0.0.1:0".parse().unwrap())).unwrap();
        assert_ne!(any.addr().port(), 0);
        assert_eq!(any.to_string(), any.addr().to_string(), "nothing was taken");
        let error = Bound::bind(Some(any.addr())).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot serve metrics on {}: ", any.addr())), "{error}");
        // Of the addresses that documentation may use (RFC 5737), so no host's.
        let error = Bound::bind(Some("192.0.2.1:0".parse().unwrap())).unwrap_err().to_string();
        assert!(error.starts_with("cannot serve metrics on 192.0.2.1:0: "), "{error}");
    }
}
