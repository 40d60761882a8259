//! The real thread on a clock that the test turns.

use std::collections::BTreeMap;

use super::*;
use crate::common::clock::ManualClock;
use crate::common::metrics::{Beats, Metrics};
use crate::common::words::{ClusterName, JobName, Limits, RetryPolicy};
use crate::producer::job::{CatchUp, Job, Overlap};
use crate::producer::measures::Measures;
use crate::producer::schedule::Schedule;

const PATIENCE: Duration = Duration::from_secs(30);

/// A timer of a few clusters with one job each, and what their publishers see.
struct Bench {
    clock: Arc<ManualClock>,
    timer: Timer,
    beat: Beat,
    confirming: Sender<Confirmed>,
    batches: Vec<Receiver<Batch>>,
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn bench(now: &str, zone: chrono_tz::Tz, schedules: &[&str]) -> Bench {
    let clock = Arc::new(ManualClock::new(at(now)));
    let metrics = Metrics::new();
    let measures = Measures::new(&metrics);
    let (confirming, confirmed) = bounded(TICK_BATCHES * schedules.len());
    let (mut lanes, mut batches) = (Vec::new(), Vec::new());
    for (number, words) in schedules.iter().enumerate() {
        let cluster = ClusterName::new(&format!("c{number}")).unwrap();
        let job = Job {
            name: JobName::new(&format!("job-{number}")).unwrap(),
            cluster: cluster.clone(),
            schedule: Arc::new(Schedule::parse(words, zone).unwrap()),
            jitter: Duration::ZERO,
            command: String::new(),
            environment: Arc::new(BTreeMap::new()),
            cwd: None,
            user: None,
            limits: Limits { timeout_ms: None, grace_ms: 0, deadline_ms: None },
            retry: RetryPolicy { retries: 0, backoff_ms: 0, backoff_max_ms: 0 },
            overlap: Overlap::Allow,
            catch_up: CatchUp::default(),
        };
        let (to_publisher, queue) = bounded(TICK_BATCHES);
        let timetable = Timetable::new(&[Arc::new(job)], at(now));
        lanes.push(Lane::new(timetable, to_publisher, measures.of(&cluster)));
        batches.push(queue);
    }
    let beat = Beats::new(&metrics).thread("timer");
    let timer =
        Timer::start(lanes, Arc::from("r"), confirmed, Arc::clone(&clock) as Arc<dyn Clock>, beat.clone());
    Bench { clock, timer: timer.unwrap(), beat, confirming, batches }
}

impl Bench {
    /// Lets time pass until the wall clock shows `until`, and returns the ticks of one cluster up to then, confirming
    /// each batch.
    fn ticks_until(&self, until: &str, number: usize) -> Vec<String> {
        let mut ticks = Vec::new();
        while self.clock.now() < at(until) {
            assert!(self.clock.ring_next(PATIENCE), "the timer waits for nothing");
            ticks.extend(self.confirm(number));
        }
        self.settle();
        ticks.extend(self.confirm(number));
        ticks
    }

    /// Waits until the timer has done all that is due now. It comes round to a later instant only when it is through
    /// with this one; alarms that it waits for no more ring too, so one ring may not be enough.
    fn settle(&self) {
        let now = self.clock.now();
        let end = std::time::Instant::now() + PATIENCE;
        #[expect(clippy::cast_precision_loss, reason = "exact to the microsecond until the year 2255")]
        while self.beat.last() <= now.timestamp_micros() as f64 / 1e6 {
            assert!(std::time::Instant::now() < end, "the timer hangs");
            self.clock.ring_next(Duration::from_millis(1));
        }
    }

    fn confirm(&self, number: usize) -> Vec<String> {
        let mut ticks = Vec::new();
        while let Ok(batch) = self.batches[number].try_recv() {
            ticks.extend(batch.ticks.iter().map(|tick| tick.at.format("%dT%H:%M:%S").to_string()));
            self.confirming.send(Confirmed { cluster: number }).unwrap();
        }
        ticks
    }
}

fn check(words: &str, zone: chrono_tz::Tz, (from, until): (&str, &str), expected: &[&str]) {
    let bench = bench(from, zone, &[words]);
    assert_eq!(bench.ticks_until(until, 0), expected, "{words} {zone}");
}

#[test]
fn daylight_saving_comes_through_the_real_timer() {
    use chrono_tz::{America::New_York, Australia::Lord_Howe, Europe::Berlin};
    // Berlin skips 02:00–03:00 on 29 March and repeats 02:00–03:00 on 25 October.
    let spring = ("2026-03-29T00:10:00Z", "2026-03-29T02:10:00Z");
    check("30 2 * * *", Berlin, spring, &["29T01:00:00"]);
    check("30 * * * *", Berlin, spring, &["29T00:30:00", "29T01:30:00"]);
    check("15 30 2 * * *", Berlin, spring, &["29T01:00:00"]);
    let autumn = ("2026-10-25T00:10:00Z", "2026-10-25T02:10:00Z");
    check("30 2 * * *", Berlin, autumn, &["25T00:30:00"]);
    check("*/30 2 * * *", Berlin, autumn, &["25T00:30:00", "25T01:00:00", "25T01:30:00"]);
    check("30 2 * * *", New_York, ("2026-03-08T06:50:00Z", "2026-03-08T07:40:00Z"), &["08T07:00:00"]);
    // Lord Howe Island moves by half an hour.
    check("15 2 * * *", Lord_Howe, ("2026-10-03T15:20:00Z", "2026-10-03T15:50:00Z"), &["03T15:30:00"]);
}

#[test]
fn a_clock_that_jumps_back_fires_no_tick_twice_and_one_that_jumps_forward_loses_none() {
    let bench = bench("2026-03-01T10:00:30Z", chrono_tz::UTC, &["* * * * *"]);
    assert_eq!(bench.ticks_until("2026-03-01T10:02:10Z", 0), ["01T10:01:00", "01T10:02:00"]);
    bench.clock.jump_to(at("2026-03-01T09:59:50Z"));
    assert_eq!(bench.ticks_until("2026-03-01T10:03:10Z", 0), ["01T10:03:00"]);
    bench.clock.jump_to(at("2026-03-01T10:05:30Z"));
    assert_eq!(bench.ticks_until("2026-03-01T10:05:40Z", 0), ["01T10:04:00", "01T10:05:00"]);
}

#[test]
fn a_cluster_whose_publisher_is_stuck_holds_up_no_other_and_loses_nothing() {
    let bench = bench("2026-03-01T10:00:00Z", chrono_tz::UTC, &["* * * * * *", "* * * * * *"]);
    let second = |s: i32| format!("01T10:{:02}:{:02}", s / 60, s % 60);
    let expected: Vec<String> = (1..=70).map(second).collect();
    let other = bench.ticks_until("2026-03-01T10:01:00Z", 1);
    assert_eq!(other[..60], expected[..60]);
    assert_eq!(bench.batches[0].len(), TICK_BATCHES, "as many as may be under way");
    let mut stuck = bench.confirm(0);
    stuck.extend(bench.ticks_until("2026-03-01T10:01:12Z", 0));
    assert_eq!(stuck[..70], expected);
    assert!(!bench.timer.is_over());
}
