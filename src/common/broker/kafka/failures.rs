//! Which brokers failed lately, as all clients of the process have seen it. A client that is new (each fetcher has one of
//! its own) would otherwise find out by itself, and a broker that accepts connections and says nothing costs it two seconds.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::resolve::Address;

/// The failures of a process.
#[derive(Default)]
pub(super) struct Failures {
    // A mutex, because each client lives in a thread of its own; held for a look-up.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When an address failed last, as a count of failures.
    failed: HashMap<Address, u64>,
    count: u64,
    /// The addresses at which a request was answered.
    served: HashSet<Address>,
}

impl Failures {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A broker could not be reached, or did not answer.
    pub(super) fn failed(&self, broker: &Address) {
        let mut seen = self.lock();
        seen.count += 1;
        let count = seen.count;
        seen.failed.insert(broker.clone(), count);
    }

    /// A new connection to a broker was answered.
    pub(super) fn answered(&self, broker: &Address) {
        self.lock().failed.remove(broker);
    }

    /// A broker has answered a request, and not only the question for versions: it asks for no login, and speaks as we do.
    pub(super) fn served(&self, broker: &Address) {
        self.lock().served.insert(broker.clone());
    }

    /// Whether a broker has done so since the process began.
    pub(super) fn has_served(&self, broker: &Address) -> bool {
        self.lock().served.contains(broker)
    }

    /// The place of a broker in the order of failures: 0 if it has not failed since it answered, and the higher, the
    /// later it failed.
    pub(super) fn rank(&self, broker: &Address) -> u64 {
        self.lock().failed.get(broker).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_that_failed_last_comes_last_until_it_answers() {
        let broker = |port| Address { host: "kafka".to_owned(), port };
        let failures = Failures::default();
        let order = || {
            let mut ports = [1, 2, 3];
            ports.sort_by_key(|port| failures.rank(&broker(*port)));
            ports
        };
        failures.failed(&broker(1));
        assert_eq!(order(), [2, 3, 1]);
        failures.failed(&broker(2));
        assert_eq!(order(), [3, 1, 2]);
        failures.failed(&broker(1));
        assert_eq!(order(), [3, 2, 1]);
        failures.answered(&broker(1));
        assert_eq!(order(), [1, 3, 2]);
    }
}
