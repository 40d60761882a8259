//! What a program must keep doing to be of use, and how it says that it cannot.
//!
//! A program that lives and cannot do its work must not look well: each thread reports to a [`Duty`] what it owes, and
//! why a try failed. What is owed for [`PATIENCE`] makes the program not ready (`/readyz`, with the cause and the cure),
//! is logged as an error once and again when it is over, and sets `cron_failing{duty,reason}`, on which an alert
//! stands. The thread that serves the page measures the time, so a thread that hangs in a call is told of as well.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGaugeVec;

use crate::common::broker::BrokerError;
use crate::common::metrics::Metrics;

/// How long something may be owed before the program says that it cannot do it. Longer than a change of a partition's
/// leader takes (`broker.session.timeout.ms` is 9 s by default), so that a broker's restart alarms no operator.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The reason of a duty that is owed although no try has failed: a call hangs, or the thread waits for another one.
const UNDONE: &str = "undone";

/// Why a duty cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The bounded word for the metric's label.
    reason: &'static str,
    /// What was attempted and what went wrong.
    cause: String,
    /// What an operator can do about it.
    cure: String,
}

impl Trouble {
    /// Creates a trouble from what went wrong and what would help, both fragments that start with a small letter.
    pub fn new(reason: &'static str, cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { reason, cause: cause.into(), cure: cure.into() }
    }

    /// Creates a trouble from a failed call to Kafka; `attempt` says what was attempted: `writing claims to cron-runs`.
    pub fn of(attempt: &str, error: &BrokerError) -> Self {
        Self::new(error.word(), format!("{attempt}: {error}"), error.cure())
    }

    /// The bounded word for the metric's label.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.cure.is_empty() {
            f.write_str(&self.cause)
        } else {
            write!(f, "{}; {}", self.cause, self.cure)
        }
    }
}

/// One thing that the program must keep doing. Clones, and handles of the same name, are the same duty.
#[derive(Debug, Clone)]
pub struct Duty {
    name: Arc<str>,
    duties: Duties,
}

impl Duty {
    /// The program owes this from now on, if it did not already.
    pub fn owed(&self) {
        self.with(|duty| duty.is_owed = true);
    }

    /// A try failed: the program owes this, and the newest trouble is the one that it tells.
    pub fn failed(&self, trouble: Trouble) {
        self.with(|duty| {
            duty.is_owed = true;
            duty.trouble = Some(trouble);
        });
    }

    /// The program did it, or does not owe it any more. Cheap enough for every turn of a loop.
    pub fn done(&self) {
        let mut states = self.duties.lock();
        let Some(duty) = states.get_mut(&self.name) else { return };
        if !duty.is_owed {
            return;
        }
        let before = std::mem::take(duty);
        drop(states);
        if let Some(reason) = before.told {
            self.duties.failing.remove_label_values(&[&self.name, reason]).ok();
            log::info!("{}: works again after {} s", self.name, before.overdue.as_secs());
        }
    }

    /// Whether the program owes it.
    pub fn is_owed(&self) -> bool {
        self.duties.lock().get(&self.name).is_some_and(|duty| duty.is_owed)
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        let mut states = self.duties.lock();
        match states.get_mut(&self.name) {
            Some(state) => change(state),
            None => change(states.entry(Arc::clone(&self.name)).or_default()),
        }
    }
}

/// How it stands with one duty.
#[derive(Debug, Default)]
struct State {
    is_owed: bool,
    /// For how long it has been owed, as far as the process ran.
    overdue: Duration,
    trouble: Option<Trouble>,
    /// The reason under which the metric tells of it.
    told: Option<&'static str>,
}

/// All duties of a program. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Duties {
    // A mutex because threads report in passing and must not wait for a reader; held for a look-up.
    states: Arc<Mutex<BTreeMap<Arc<str>, State>>>,
    failing: IntGaugeVec,
}

impl Duties {
    /// Creates none yet, and registers `cron_failing{duty,reason}`.
    pub fn new(metrics: &Metrics) -> Self {
        let help =
            "1 while the program has failed to do what it must do for 15 s or longer; absent otherwise.";
        Self { states: Arc::default(), failing: metrics.gauges("cron_failing", help, &["duty", "reason"]) }
    }

    pub fn duty(&self, name: &str) -> Duty {
        Duty { name: Arc::from(name), duties: self.clone() }
    }

    /// Nothing is owed any more, because the program is about to end; what threads still report counts anew.
    pub fn forget(&self) {
        self.lock().clear();
        self.failing.reset();
    }

    /// Adds the time that has passed to what is owed, and tells of what has been owed for too long.
    pub fn look(&self, since: Duration) {
        for (name, state) in self.lock().iter_mut().filter(|(_, state)| state.is_owed) {
            state.overdue += since;
            if state.overdue < PATIENCE {
                continue;
            }
            let reason = state.trouble.as_ref().map_or(UNDONE, Trouble::reason);
            if state.told.is_none() {
                log::error!("{}", state.line(name));
            }
            if state.told != Some(reason) {
                if let Some(before) = state.told.replace(reason) {
                    self.failing.remove_label_values(&[name, before]).ok();
                }
                self.failing.with_label_values(&[name, reason]).set(1);
            }
        }
    }

    /// What has been owed for too long, a line each.
    pub fn overdue(&self) -> Vec<String> {
        let states = self.lock();
        let overdue = states.iter().filter(|(_, state)| state.is_owed && state.overdue >= PATIENCE);
        overdue.map(|(name, state)| state.line(name)).collect()
    }

    /// What is owed, a line each: the duty and the newest trouble.
    #[cfg(test)]
    pub fn owed(&self) -> Vec<String> {
        let line = |(name, state): (&Arc<str>, &State)| {
            format!("{name}: {}", state.trouble.as_ref().map_or(UNDONE.to_owned(), Trouble::to_string))
        };
        self.lock().iter().filter(|(_, state)| state.is_owed).map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&self, name: &str) -> String {
        let secs = self.overdue.as_secs();
        match &self.trouble {
            Some(trouble) => format!("{name}: not done for {secs} s: {trouble}"),
            None => format!("{name}: not done for {secs} s, and no try has failed: a call hangs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::broker::ErrorCode;

    const NONE: [&str; 0] = [];

    /// Duties, looked at once a second.
    struct Bench {
        metrics: Metrics,
        duties: Duties,
    }

    impl Bench {
        fn new() -> Self {
            let metrics = Metrics::new();
            Self { duties: Duties::new(&metrics), metrics }
        }

        fn seconds_later(&self, secs: u32) {
            (0..secs).for_each(|_| self.duties.look(Duration::from_secs(1)));
        }

        fn check(&self, overdue: &[&str], failing: &[&str]) {
            assert_eq!(self.duties.overdue(), overdue);
            let page = String::from_utf8(self.metrics.page().unwrap()).unwrap();
            let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("cron_failing{")).collect();
            assert_eq!(lines, failing);
        }
    }

    fn refused() -> Trouble {
        Trouble::new("refused", "writing claims: the broker refused", "grant WRITE on cron-runs")
    }

    #[test]
    fn what_fails_for_long_is_told_with_cause_and_cure_until_it_works_again() {
        let bench = Bench::new();
        let claims = bench.duties.duty("claims");
        claims.failed(refused());
        bench.seconds_later(14);
        bench.check(&[], &[]);
        claims.failed(refused());
        bench.seconds_later(1);
        let line = "claims: not done for 15 s: writing claims: the broker refused; grant WRITE on cron-runs";
        bench.check(&[line], &["cron_failing{duty=\"claims\",reason=\"refused\"} 1"]);
        claims.done();
        bench.check(&NONE, &[]);
        claims.failed(refused());
        bench.seconds_later(14);
        bench.check(&[], &[]);
    }

    #[test]
    fn the_newest_reason_is_the_one_that_is_told() {
        let bench = Bench::new();
        let claims = bench.duties.duty("claims");
        claims.failed(refused());
        bench.seconds_later(20);
        claims.failed(Trouble::new("gone", "writing claims: no such topic", "start a producer"));
        bench.seconds_later(1);
        let line = "claims: not done for 21 s: writing claims: no such topic; start a producer";
        bench.check(&[line], &["cron_failing{duty=\"claims\",reason=\"gone\"} 1"]);
    }

    #[test]
    fn what_is_owed_and_never_tried_is_told_as_well() {
        let bench = Bench::new();
        bench.duties.duty("lead").owed();
        bench.seconds_later(8);
        bench.duties.duty("lead").owed();
        bench.seconds_later(8);
        let line = "lead: not done for 16 s, and no try has failed: a call hangs";
        bench.check(&[line], &["cron_failing{duty=\"lead\",reason=\"undone\"} 1"]);
        bench.duties.forget();
        bench.check(&[], &[]);
    }

    #[test]
    fn a_refusal_names_what_was_attempted_and_what_would_help() {
        let trouble = Trouble::of(
            "writing claims to cron-runs",
            &BrokerError::Refused(ErrorCode::TopicAuthorizationFailed),
        );
        assert_eq!(trouble.reason(), "topic_authorization_failed");
        let text = trouble.to_string();
        assert!(text.starts_with("writing claims to cron-runs: the broker refused"), "{text}");
        assert!(text.contains("docs/OPERATIONS.md"), "{text}");
    }
}
