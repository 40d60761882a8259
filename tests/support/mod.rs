//! What the tests against real brokers stand on. Each test file takes what it needs of it:
//!
//! ```text
//! #[cfg(test)] // it is, and this tells the lints
//! #[expect(dead_code, reason = "each test binary takes its own part")]
//! mod support;
//! ```
//!
//! - [`broker::TestBroker`]: one broker for all tests of a binary, started by the first that asks.
//! - [`broker::OwnBroker`]: a broker (or three) that one test may kill, freeze, start again.
//! - [`programs::World`]: the real programs, on clusters of the test's own, with a ledger that the jobs write.
//! - [`proxy::Proxy`]: stands between a client and a broker; holds requests back, cuts connections, delivers late.
//! - [`raw`]: requests that the product never makes (deleting things).
//! - [`unique`], [`wait_until`], [`soon`].
//!
//! No broker outlives the test process, however that ends: `scripts/kafka-broker.sh --parent` sees to it.

pub mod broker;
pub mod programs;
pub mod proxy;
pub mod raw;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A name that no other test has, in this process or another, and that is a valid topic, group and cluster name.
pub fn unique(base: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{base}-{:x}-{:x}-{count}", since.as_millis() & 0xff_ffff, std::process::id())
}

/// A deadline for calls that should not need one: long enough for a loaded machine.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Asks again and again until the answer is `Some`, and fails with what was awaited when it does not come in time.
pub fn wait_until<T>(what: &str, timeout: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + timeout;
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {timeout:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Whether somebody in this system has a connection to a port of 127.0.0.1 that the other side has closed: one in the
/// state `CLOSE_WAIT` (proc(5), `/proc/net/tcp`).
pub fn closed_by_peer(port: u16) -> bool {
    const CLOSE_WAIT: &str = "08";
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let remote = format!(":{port:04X}");
    tables.iter().flat_map(|table| table.lines()).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 3 && fields[2].ends_with(&remote) && fields[3] == CLOSE_WAIT
    })
}
