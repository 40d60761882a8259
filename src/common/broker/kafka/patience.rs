//! How long to wait for an answer: the longer, the slower a broker has been with requests of that kind.
//!
//! A request that is given up although the broker is at work on it is applied all the same, and the caller sends it
//! again. So the limit grows while a broker answers late, and with it the work that is done twice ends. A broker that
//! has stopped altogether does not get this far: a new connection begins with a question of its own, whose limit stays.
//!
//! All clients of a process share the limits: a client that is new (each fetcher has one of its own) would otherwise give up
//! a slow broker after the shortest limit, and so would the next.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::REQUEST;
use super::resolve::Address;

/// The longest wait for an answer: what Kafka's own clients wait at first (`request.timeout.ms`).
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// The limits of a process.
#[derive(Default)]
pub(super) struct Patience {
    // A mutex, because each client lives in a thread of its own; held for a look-up.
    limits: Mutex<Limits>,
}

/// The limits that differ from [`REQUEST`], by broker and kind of request.
#[derive(Default)]
struct Limits(HashMap<(Address, i16), Duration>);

impl Patience {
    fn lock(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limit for an answer.
    pub(super) fn of(&self, broker: &Address, kind: i16) -> Duration {
        self.lock().of(broker, kind)
    }

    /// No answer came within `limit`: the next one may take twice as long. Clients that give up side by side have all waited
    /// for the same limit, and double it once.
    pub(super) fn silent(&self, broker: &Address, kind: i16, limit: Duration) {
        let mut limits = self.lock();
        let known = limits.of(broker, kind);
        limits.set(broker, kind, known.max(limit * 2));
    }

    /// An answer came after that time: the limit stays at twice what the slow ones take, and sinks slowly.
    pub(super) fn answered(&self, broker: &Address, kind: i16, took: Duration) {
        let mut limits = self.lock();
        let sunk = limits.of(broker, kind) / 4 * 3;
        limits.set(broker, kind, sunk.max(took * 2));
    }
}

impl Limits {
    fn of(&self, broker: &Address, kind: i16) -> Duration {
        self.0.get(&(broker.clone(), kind)).copied().unwrap_or(REQUEST)
    }

    fn set(&mut self, broker: &Address, kind: i16, limit: Duration) {
        let key = (broker.clone(), kind);
        if limit <= REQUEST {
            self.0.remove(&key);
        } else {
            self.0.insert(key, limit.min(LONGEST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_while_a_broker_is_slow_and_sink_when_it_is_not() {
        let broker = Address { host: "kafka".to_owned(), port: 9092 };
        let patience = Patience::default();
        let check = |patience: &Patience, seconds: f64| {
            assert_eq!(patience.of(&broker, 0), Duration::from_secs_f64(seconds));
            assert_eq!(patience.of(&broker, 3), REQUEST, "other kinds of requests keep theirs");
        };
        check(&patience, 2.0);
        let step = |took: Option<f64>, seconds: f64| {
            match took {
                None => patience.silent(&broker, 0, patience.of(&broker, 0)),
                Some(took) => patience.answered(&broker, 0, Duration::from_secs_f64(took)),
            }
            check(&patience, seconds);
        };
        step(Some(0.1), 2.0);
        step(None, 4.0);
        step(None, 8.0);
        // Slow answers hold it, and quick ones let it sink step by step.
        step(Some(5.0), 10.0);
        step(Some(5.0), 10.0);
        step(Some(0.1), 7.5);
        step(Some(1.5), 5.625);
        step(Some(0.1), 4.218_75);
        for _ in 0..3 {
            patience.answered(&broker, 0, Duration::ZERO);
        }
        check(&patience, 2.0);
        for _ in 0..9 {
            patience.silent(&broker, 0, patience.of(&broker, 0));
        }
        check(&patience, 30.0);
    }

    #[test]
    fn clients_that_give_up_side_by_side_double_the_limit_once() {
        let broker = Address { host: "kafka".to_owned(), port: 9092 };
        let patience = Patience::default();
        for _ in 0..5 {
            patience.silent(&broker, 1, REQUEST);
        }
        assert_eq!(patience.of(&broker, 1), REQUEST * 2);
    }
}
