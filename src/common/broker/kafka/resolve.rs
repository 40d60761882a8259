//! Names to addresses, with a time limit that the system's resolver does not have: it runs on threads of its own.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use crate::common::bounds;
use crate::common::clock::monotonic;
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

/// Asks the system's resolver, for all clients of the process. While one name is not answered for (the host of a broker that is down,
/// where the name service does not say at once that it knows no such host), other names are, and what a name was last is used. Where the
/// name service says that there is no such host, that is believed.
pub(super) struct Resolver {
    // Before the threads: they end when this is gone. A question under way is waited for (the system's own limit), and those that wait are
    // dropped.
    questions: Sender<Address>,
    threads: Vec<Joined>,
    names: Arc<Names>,
}

/// What is known of names. A lock guards it: threads that ask for a name while it is looked up wait for the same answer.
#[derive(Default)]
struct Names {
    known: Mutex<HashMap<Address, Name>>,
    answered: Condvar,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Name {
    /// The addresses that it had when it was last answered for.
    addresses: Vec<SocketAddr>,
    /// What the system said, if it was not answered for then, or is unknown.
    refused: Option<String>,
    /// How many answers there were.
    answers: u64,
    /// A thread looks it up, or will.
    is_asked: bool,
}

/// How long a name that has been answered for before is waited for. A name service that is well answers in milliseconds.
const ANSWERED_BEFORE: Duration = Duration::from_millis(100);

type LookUp = dyn Fn(&Address) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Resolver {
    /// # Errors
    /// When the system has no room for its threads.
    pub(super) fn start() -> io::Result<Self> {
        let look_up = |of: &Address| (of.host.as_str(), of.port).to_socket_addrs().map(Iterator::collect);
        Self::with(&(Arc::new(look_up) as Arc<LookUp>))
    }

    fn with(look_up: &Arc<LookUp>) -> io::Result<Self> {
        let names = Arc::new(Names::default());
        let (questions, asked) = bounded(bounds::NAMES_LOOKED_UP);
        let mut resolver = Self { questions, threads: Vec::new(), names };
        for number in 0..bounds::NAMES_AT_A_TIME {
            let (asked, names, look_up) = (asked.clone(), resolver.names.clone(), look_up.clone());
            let thread = spawn(&format!("kafka-resolve-{number}"), move || {
                for of in asked.iter().take_while(|_| !names.is_over.load(Ordering::Relaxed)) {
                    names.answer(&of, look_up(&of));
                }
            });
            resolver.threads.push(thread?);
        }
        Ok(resolver)
    }

    /// All addresses of a broker, or why there are none by then. Where its name is not answered for, those that it had when it last was.
    pub(super) fn addresses(&self, of: &Address, by: Instant) -> Result<Vec<SocketAddr>, String> {
        if let Ok(number) = of.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(number, of.port)]);
        }
        let mut names = self.names.lock();
        let name = names.entry(of.clone()).or_default();
        if !name.is_asked {
            if self.questions.try_send(of.clone()).is_err() {
                let others = "are not answered for, so it was not looked up";
                return name.last(|| {
                    format!("{}: the names of {} others {others}", of.host, bounds::NAMES_LOOKED_UP)
                });
            }
            name.is_asked = true;
        }
        let before = name.answers;
        let patience = if name.addresses.is_empty() { by } else { by.min(monotonic() + ANSWERED_BEFORE) };
        let is_waiting =
            |names: &mut HashMap<Address, Name>| names.get(of).is_some_and(|name| name.answers == before);
        let limit = patience.saturating_duration_since(monotonic());
        let waited = self.names.answered.wait_timeout_while(names, limit, is_waiting);
        let (mut names, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let name = names.entry(of.clone()).or_default();
        if timeout.timed_out() {
            return name.last(|| format!("the name service does not say in time who {} is", of.host));
        }
        let refused = name.refused.clone();
        name.last(|| refused.unwrap_or_else(|| format!("{} has no address", of.host)))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.names.is_over.store(true, Ordering::Relaxed);
    }
}

impl Name {
    fn last(&self, why_not: impl FnOnce() -> String) -> Result<Vec<SocketAddr>, String> {
        if self.addresses.is_empty() { Err(why_not()) } else { Ok(self.addresses.clone()) }
    }
}

/// Whether the name service has answered that there is no such host. (std says it in the words of getaddrinfo(3) only.) Every other error
/// says that there was no answer.
fn is_unknown(error: &io::Error) -> bool {
    let said = error.to_string();
    [libc::EAI_NONAME, libc::EAI_NODATA].into_iter().any(|code| {
        // SAFETY: the words are the library's own, which nobody changes.
        let words = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
        words.to_str().is_ok_and(|words| said.ends_with(words))
    })
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Name>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, of: &Address, found: io::Result<Vec<SocketAddr>>) {
        let mut names = self.lock();
        let name = names.entry(of.clone()).or_default();
        name.is_asked = false;
        name.answers += 1;
        match found {
            Ok(addresses) if !addresses.is_empty() => (name.addresses, name.refused) = (addresses, None),
            Ok(_) => (name.addresses, name.refused) = (Vec::new(), None),
            Err(error) => {
                if is_unknown(&error) {
                    name.addresses.clear();
                }
                name.refused = Some(format!("{}: {error}", of.host));
            }
        }
        drop(names);
        self.answered.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

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

    fn named(host: &str) -> Address {
        Address { host: host.to_owned(), port: 1 }
    }

    fn numbered(last: u8) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([10, 0, 0, last], 1))]
    }

    fn soon() -> Instant {
        monotonic() + Duration::from_millis(300)
    }

    const LATE: Duration = Duration::from_secs(60);

    /// A resolver over a name service that knows `alive`, does not know `unknown`, and says of any other, each time that it is asked,
    /// what is sent.
    fn resolver() -> (Resolver, Sender<io::Result<Vec<SocketAddr>>>) {
        let (say, said) = bounded(100);
        let look_up = move |of: &Address| match of.host.as_str() {
            "alive" => Ok(numbered(1)),
            "unknown" => ("no-such-host.invalid", 1).to_socket_addrs().map(Iterator::collect),
            _ => said.recv().unwrap_or_else(|_| Ok(Vec::new())),
        };
        (Resolver::with(&(Arc::new(look_up) as Arc<LookUp>)).unwrap(), say)
    }

    fn unknown() -> io::Error {
        // SAFETY: the words are the library's own.
        let words = unsafe { CStr::from_ptr(libc::gai_strerror(libc::EAI_NONAME)) };
        io::Error::other(format!("failed to lookup address information: {}", words.to_str().unwrap()))
    }

    #[test]
    fn the_wait_for_a_name_ends_at_the_deadline() {
        let (resolver, say) = resolver();
        let began = monotonic();
        assert_eq!(
            resolver.addresses(&named("dead"), soon()),
            Err("the name service does not say in time who dead is".to_owned())
        );
        assert!(began.elapsed() < LATE);
        drop(say);
    }

    #[test]
    fn a_name_that_is_not_answered_for_holds_up_no_other_however_often_it_is_asked_for() {
        let (resolver, say) = resolver();
        for _ in 0..bounds::NAMES_LOOKED_UP * 2 {
            assert!(resolver.addresses(&named("dead"), monotonic()).is_err());
        }
        assert_eq!(resolver.addresses(&named("alive"), monotonic() + LATE), Ok(numbered(1)));
        drop(say);
    }

    #[test]
    fn as_many_names_may_hang_as_are_looked_up_at_a_time_and_known_names_are_what_they_were() {
        let (resolver, say) = resolver();
        let alive = || resolver.addresses(&named("alive"), monotonic() + LATE);
        assert_eq!(alive(), Ok(numbered(1)));
        for number in 0..bounds::NAMES_AT_A_TIME {
            assert!(resolver.addresses(&named(&format!("dead-{number}")), monotonic()).is_err());
        }
        let began = monotonic();
        assert_eq!(alive(), Ok(numbered(1)));
        assert!(began.elapsed() < LATE);
        drop(say);
    }

    #[test]
    fn where_no_answer_comes_a_name_is_what_it_was_last() {
        let (resolver, say) = resolver();
        let ask = || resolver.addresses(&named("dead"), monotonic() + LATE);
        say.send(Ok(numbered(7))).unwrap();
        assert_eq!(ask(), Ok(numbered(7)));
        let began = monotonic();
        assert_eq!(ask(), Ok(numbered(7)), "not answered in time");
        assert!(began.elapsed() < LATE);
        // The answer to that question, which nobody waits for any more, counts for the next.
        say.send(Ok(numbered(8))).unwrap();
        while ask() == Ok(numbered(7)) {}
        assert_eq!(ask(), Ok(numbered(8)), "not answered in time");
        say.send(Err(io::Error::other("Temporary failure in name resolution"))).unwrap();
        assert_eq!(ask(), Ok(numbered(8)), "the name service is away");
        say.send(Err(unknown())).unwrap();
        while resolver.addresses(&named("dead"), soon()).is_ok() {}
        drop(say);
    }

    #[test]
    fn that_there_is_no_such_host_is_told_from_that_nobody_answers() {
        assert!(is_unknown(&unknown()));
        assert!(!is_unknown(&io::Error::other("Temporary failure in name resolution")));
    }

    #[test]
    fn all_who_ask_for_a_name_meanwhile_get_the_same_answer() {
        let (say, said) = bounded(1);
        let looked_up = Arc::new(AtomicUsize::new(0));
        let count = looked_up.clone();
        let look_up = move |_: &Address| {
            count.fetch_add(1, Ordering::SeqCst);
            said.recv().unwrap_or_else(|_| Ok(Vec::new()))
        };
        let resolver = Resolver::with(&(Arc::new(look_up) as Arc<LookUp>)).unwrap();
        let began = monotonic();
        let (asking, asked) = bounded(10);
        std::thread::scope(|scope| {
            let ask = || {
                asking.send(()).unwrap();
                resolver.addresses(&named("dead"), monotonic() + LATE)
            };
            let all: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
            asked.iter().take(10).for_each(drop);
            say.send(Ok(numbered(7))).unwrap();
            // For those that ask when that is said already.
            drop(say);
            all.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap(), Ok(numbered(7))));
        });
        assert!(began.elapsed() < LATE);
        assert!(looked_up.load(Ordering::SeqCst) < 10);
    }
}
