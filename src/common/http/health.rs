//! The facts behind `/healthz` and `/readyz`. The thread that owns a fact sets it; the page reads them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntGaugeVec;

use super::duty::{Duties, Duty};
use crate::common::glyphs::harmless;
use crate::common::metrics::{Beat, Metrics};

/// What one look at the beats may add to a thread's silence. The page looks once a second; when it comes later than
/// this, the whole process stood still (stopped, or starved of its CPU), and no thread is to blame.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// One thing that must hold before a program is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It holds.
    Ready,
    /// It does not, and why: `not connected to localhost:9092 yet`.
    NotReady(String),
}

/// What is known about the program. Clones share it.
///
/// *Healthy* (`/healthz`) means that its threads come round: a restart would help where it is not. *Ready*
/// (`/readyz`) means healthy, that every fact holds, and that no [`Duty`] has been owed for too long.
#[derive(Debug, Clone)]
pub struct Health {
    // A mutex because threads set facts in passing and must not wait for a reader to take them; held for a look-up.
    state: Arc<Mutex<State>>,
    ready: IntGaugeVec,
    duties: Duties,
}

#[derive(Debug, Default)]
struct State {
    facts: BTreeMap<String, Fact>,
    threads: Vec<Watched>,
    looked: Option<Instant>,
}

/// A thread that must come round.
#[derive(Debug)]
struct Watched {
    name: &'static str,
    beat: Beat,
    /// The beat that was seen last, and for how long it has been the same. Not the beat's own instant, which is the
    /// wall clock's and may jump.
    last: f64,
    silence: Duration,
    limit: Duration,
}

impl Health {
    /// Healthy and ready: nothing is expected yet. Registers `cron_ready{fact}` and `cron_failing{duty,reason}`.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "1 while the fact holds without which the program is not ready, else 0.";
        let ready = metrics.gauges("cron_ready", help, &["fact"]);
        Self { state: Arc::default(), ready, duties: Duties::new(metrics) }
    }

    /// The duty of that name, a word or two in small letters: `claims`, `cursors`. Nothing is owed yet.
    pub fn duty(&self, name: &str) -> Duty {
        self.duties.duty(name)
    }

    /// What is owed now, however short a time, with what went wrong: for tests of the threads that report it.
    #[cfg(test)]
    pub fn owed(&self) -> Vec<String> {
        self.duties.owed()
    }

    /// What is missing, as the page says it: for tests of the threads that report it.
    #[cfg(test)]
    pub fn unready(&self) -> Vec<String> {
        self.missing()
    }

    /// Sets a fact: one word that names it, and whether it holds. Cheap enough for every turn of a loop.
    pub fn set(&self, name: &str, fact: Fact) {
        let mut state = self.state();
        if state.facts.get(name) != Some(&fact) {
            self.ready.with_label_values(&[name]).set(i64::from(fact == Fact::Ready));
            state.facts.insert(name.to_owned(), fact);
        }
    }

    /// From now on the program is unhealthy while the thread's beat has stood still for `limit` or longer. Only for
    /// threads that come round whatever happens; not for those that wait for a command to end.
    pub fn watch(&self, name: &'static str, beat: Beat, limit: Duration) {
        let watched = Watched { name, last: beat.last(), beat, silence: Duration::ZERO, limit };
        self.state().threads.push(watched);
    }

    /// The program is about to end, which may take as long as its jobs do: it is not ready any more, and its threads
    /// are not watched, because they end one after the other. A probe that killed it now would kill the jobs.
    pub fn stops(&self) {
        self.state().threads.clear();
        self.duties.forget();
        self.set("running", Fact::NotReady("about to end; what is under way is waited for".to_owned()));
    }

    /// Looks at the beats. The page does so once a second and before each answer.
    pub(super) fn look(&self, now: Instant) {
        let mut state = self.state();
        let since = state.looked.replace(now).map_or(Duration::ZERO, |looked| now.duration_since(looked));
        for watched in &mut state.threads {
            watched.look(since.min(LONGEST_LOOK));
        }
        drop(state);
        self.duties.look(since.min(LONGEST_LOOK));
    }

    /// The threads that do not come round, a line each. Empty: the program is healthy.
    pub(super) fn stalled(&self) -> Vec<String> {
        let state = self.state();
        let stalled = state.threads.iter().filter(|watched| watched.silence >= watched.limit);
        stalled.map(|w| format!("{}: has not come round for {} s", w.name, w.silence.as_secs())).collect()
    }

    /// What is missing, a line each. Empty: the program is ready.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = self.stalled();
        missing.extend(self.duties.overdue());
        missing.extend(self.state().facts.iter().filter_map(|(name, fact)| match fact {
            Fact::Ready => None,
            Fact::NotReady(why) => Some(format!("{name}: {why}")),
        }));
        // Causes quote job files and other programs, and people read the page in a terminal.
        missing.iter().map(|line| harmless(line)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn look(&mut self, since: Duration) {
        let last = self.beat.last();
        if last.to_bits() == self.last.to_bits() {
            self.silence += since;
        } else {
            self.last = last;
            self.silence = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::common::metrics::Beats;

    const NONE: [&str; 0] = [];

    #[test]
    fn nothing_that_a_terminal_would_obey_is_shown() {
        let health = Health::new(&Metrics::new());
        health.set("job-file", Fact::NotReady("a\x1b[31m\nb\u{202e}".to_owned()));
        assert_eq!(health.missing(), [r"job-file: a\u{1b}[31m\nb\u{202e}"]);
    }

    #[test]
    fn a_program_is_ready_when_every_fact_holds() {
        let metrics = Metrics::new();
        let health = Health::new(&metrics);
        assert_eq!(health.missing(), NONE);
        health.set("topics", Fact::NotReady("cluster-a is missing".to_owned()));
        health.set("kafka", Fact::NotReady("not connected yet".to_owned()));
        assert_eq!(health.missing(), ["kafka: not connected yet", "topics: cluster-a is missing"]);
        health.set("kafka", Fact::Ready);
        assert_eq!(health.missing(), ["topics: cluster-a is missing"]);
        let page = String::from_utf8(metrics.page().unwrap()).unwrap();
        assert!(page.contains("cron_ready{fact=\"kafka\"} 1\ncron_ready{fact=\"topics\"} 0\n"), "{page}");
        health.set("topics", Fact::Ready);
        assert_eq!(health.missing(), NONE);
        assert_eq!(health.stalled(), NONE, "facts say nothing about threads");
    }

    /// A thread that is watched with a limit of 3 s, and looks at it.
    struct Bench {
        health: Health,
        beat: Beat,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let metrics = Metrics::new();
            let health = Health::new(&metrics);
            let beat = Beats::new(&metrics).thread("timer");
            health.watch("timer", beat.clone(), Duration::from_secs(3));
            Self { health, beat, now: Instant::now() }
        }

        fn check(&mut self, after_secs: u64, expected: &[&str]) {
            self.now += Duration::from_secs(after_secs);
            self.health.look(self.now);
            assert_eq!(self.health.stalled(), expected);
            assert_eq!(self.health.missing(), expected, "what is not healthy is not ready");
        }
    }

    #[test]
    fn a_thread_that_does_not_come_round_makes_the_program_unhealthy_until_it_does() {
        let mut bench = Bench::new();
        bench.check(9, &[]);
        bench.check(2, &[]);
        bench.check(1, &["timer: has not come round for 3 s"]);
        bench.check(1, &["timer: has not come round for 4 s"]);
        bench.beat.touch(DateTime::UNIX_EPOCH + TimeDelta::days(1));
        bench.check(1, &[]);
    }

    #[test]
    fn a_program_that_is_about_to_end_is_healthy_and_not_ready_for_as_long_as_it_takes() {
        let mut bench = Bench::new();
        bench.health.stops();
        for _ in 0..3 {
            bench.now += Duration::from_secs(2);
            bench.health.look(bench.now);
        }
        assert_eq!(bench.health.stalled(), NONE);
        assert_eq!(bench.health.missing(), ["running: about to end; what is under way is waited for"]);
    }

    #[test]
    fn a_wall_clock_that_jumps_stalls_no_thread() {
        let mut bench = Bench::new();
        let noon: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
        for hours in [0, 48, -48, 1] {
            bench.beat.touch(noon + TimeDelta::hours(hours));
            bench.check(2, &[]);
        }
    }

    #[test]
    fn a_process_that_was_stopped_as_a_whole_blames_no_thread() {
        let mut bench = Bench::new();
        bench.check(1, &[]);
        bench.check(3600, &[]);
        bench.beat.touch(DateTime::UNIX_EPOCH + TimeDelta::days(1));
        bench.check(1, &[]);
    }
}
