//! How long brokers want to be left alone: quotas (KIP-13, KIP-124), as brokers have enforced them since KIP-219.
//!
//! A broker that finds a client above its quota answers at once, names in the answer how long it will not listen
//! (`throttle_time_ms`), and reads nothing from that connection until then. A request that is sent meanwhile lies in the
//! broker's receive buffer: it gets no answer, is given up, and is applied all the same when the time is over. So
//! nothing is sent before that. A quota belongs to a client id (or a user), so a new connection changes nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus::CounterVec;

use super::resolve::Address;
use crate::common::metrics::Metrics;

/// How often the log says that a client is held back.
const SAY: Duration = Duration::from_secs(60);

/// The quotas that hold clients of this process back, by client id and broker.
#[derive(Default)]
pub(super) struct Quotas {
    // A mutex, because clients of one id live in several threads; held for a look-up.
    held: Mutex<HashMap<(String, Address), Held>>,
    /// How long that was, by client id; it is not counted where no program asked for it.
    throttled: OnceLock<CounterVec>,
}

struct Held {
    until: Instant,
    said_at: Option<Instant>,
}

impl Quotas {
    /// Has the time counted for which quotas hold clients back.
    pub(super) fn measure(&self, metrics: &Metrics) {
        self.throttled.get_or_init(|| {
            metrics.sums(
                "cron_throttled_seconds_total",
                "Seconds for which brokers did not listen to a client of this program because it was above a quota.",
                &["client"],
            )
        });
    }

    /// There is a client of this id: its time is shown from the start, so that it can be seen that no quota holds it back.
    pub(super) fn shows(&self, client: &str) {
        if let Some(throttled) = self.throttled.get() {
            throttled.with_label_values(&[client]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Address), Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what an answer says: the broker listens to the client again in `throttle_ms` milliseconds.
    pub(super) fn answered(&self, client: &str, broker: &Address, throttle_ms: i32, now: Instant) {
        let Some(hold) = u64::try_from(throttle_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
        else {
            return;
        };
        let mut all = self.lock();
        let held =
            all.entry((client.to_owned(), broker.clone())).or_insert(Held { until: now, said_at: None });
        // Answers to requests that were sent before the first of them name the same time again.
        let longer = (now + hold).saturating_duration_since(held.until.max(now));
        held.until = held.until.max(now + hold);
        if let Some(throttled) = self.throttled.get().filter(|_| !longer.is_zero()) {
            throttled.with_label_values(&[client]).inc_by(longer.as_secs_f64());
        }
        if held.said_at.is_none_or(|said| now.duration_since(said) >= SAY) {
            held.said_at = Some(now);
            log::warn!(
                "{broker}: a quota holds client {client} back; nothing is sent to it for {throttle_ms} ms"
            );
        }
    }

    /// Until when nothing may be sent to a broker, if a quota holds the client back.
    pub(super) fn until(&self, client: &str, broker: &Address, now: Instant) -> Option<Instant> {
        let all = self.lock();
        all.get(&(client.to_owned(), broker.clone())).map(|held| held.until).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_which_a_client_is_held_back_is_counted_once() {
        let (metrics, quotas) = (Metrics::new(), Quotas::default());
        let [one, other] = [1, 2].map(|port| Address { host: "kafka".to_owned(), port });
        let began = Instant::now();
        let answered = |broker: &Address, at, throttle_ms| {
            quotas.answered("a", broker, throttle_ms, began + Duration::from_millis(at));
        };
        answered(&one, 0, 1_000); // before a program counts
        quotas.measure(&metrics);
        quotas.measure(&metrics);
        for (broker, at, throttle_ms, seconds) in [
            (&one, 2_000, 500, Some("0.5")),
            (&one, 2_100, 400, Some("0.5")),
            (&one, 2_250, 500, Some("0.75")),
            (&one, 9_000, 0, Some("0.75")),
            (&one, 10_000, 250, Some("1")),
            (&other, 10_000, 1_000, Some("2")),
        ] {
            answered(broker, at, throttle_ms);
            let page = String::from_utf8(metrics.page().unwrap()).unwrap();
            let counted = page
                .lines()
                .find_map(|line| line.strip_prefix("cron_throttled_seconds_total{client=\"a\"} "));
            assert_eq!(counted, seconds, "{broker} at {at}: {throttle_ms}");
        }
    }

    #[test]
    fn a_hold_is_the_clients_at_that_broker_and_only_grows() {
        let quotas = Quotas::default();
        let [one, other] = [1, 2].map(|port| Address { host: "kafka".to_owned(), port });
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let check = |client: &str, broker: &Address, now: u64, until: Option<u64>| {
            assert_eq!(quotas.until(client, broker, at(now)), until.map(at), "{client} {broker} at {now}");
        };
        check("a", &one, 0, None);
        quotas.answered("a", &one, 0, at(0));
        quotas.answered("a", &one, -5, at(0));
        check("a", &one, 0, None);
        quotas.answered("a", &one, 500, at(100));
        check("a", &one, 100, Some(600));
        check("a", &other, 100, None);
        check("b", &one, 100, None);
        // An answer to a request that was sent before says less: the longer time counts.
        quotas.answered("a", &one, 100, at(200));
        check("a", &one, 599, Some(600));
        check("a", &one, 600, None);
        quotas.answered("a", &one, 1, at(700));
        check("a", &one, 700, Some(701));
    }
}
