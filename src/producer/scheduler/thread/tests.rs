//! The real thread on a clock that the test turns.

mod clocks;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::*;
use crate::common::bounds::TICK_BATCHES;
use crate::common::clock::{ManualClock, Skew};
use crate::common::membership::Standing;
use crate::common::metrics::{Beats, Metrics};
use crate::common::model::{ClusterName, Event, JobName};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job::{Job, sample};
use crate::producer::jobfile::JobFile;
use crate::producer::leadership::{CursorCommit, Effect, LeaderLease, Published, Runs, Start, Term};
use crate::producer::plan::Batch;
use crate::producer::publisher::Confirmed;
use crate::producer::run_tracker::messages::{FollowRequest, RunNews};
use crate::producer::run_tracker::open_runs::OpenRun;
use crate::producer::schedule::Schedule;

const PATIENCE: Duration = Duration::from_secs(30);

/// A scheduler of a few clusters with one job each, leading, and what their publishers see.
struct Bench {
    clock: Arc<ManualClock>,
    timer: SchedulerThread,
    beat: Beat,
    lead: Sender<Effect>,
    keeps: Receiver<CursorCommit>,
    standing: Standing,
    confirming: Sender<Confirmed>,
    batches: Vec<Receiver<Batch>>,
    news: Sender<RunNews>,
    files: Sender<JobFile>,
    asks: Receiver<FollowRequest>,
    metrics: Metrics,
    health: Health,
}

const SESSION: Duration = Duration::from_secs(3_600 * 24 * 365);

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn job(number: usize, words: &str, zone: &str) -> Arc<Job> {
    let schedule = Arc::new(Schedule::parse(words, &zone.parse().unwrap()).unwrap());
    Arc::new(Job { cluster: cluster(number), schedule, ..sample(&format!("job-{number}"), words) })
}

fn cluster(number: usize) -> ClusterName {
    ClusterName::new(&format!("c{number}")).unwrap()
}

fn bench(now: &str, zone: &str, schedules: &[&str]) -> Bench {
    let clock = Arc::new(ManualClock::new(at(now)));
    let metrics = Metrics::new();
    let clusters: Vec<ClusterName> = (0..schedules.len()).map(cluster).collect();
    let jobs = schedules.iter().enumerate().map(|(number, words)| job(number, words, zone)).collect();
    let file = ActiveJobs { jobs, revision: Arc::from("r"), tzdata: "2026f".into() };
    let (confirming, confirmed) = bounded(TICK_BATCHES * schedules.len());
    let (to_publishers, batches) = clusters.iter().map(|_| bounded(TICK_BATCHES)).unzip();
    let (lead, leadership) = bounded(8);
    let (cursors, keeps) = bounded(1);
    let (files_from, files) = bounded(1);
    let (asks, asked) = bounded(2);
    let (news, runs) = bounded(1);
    let standing = Standing::new(clock.monotonic());
    standing.set(Some(clock.monotonic()));
    let beat = Beats::new(&metrics).thread("timer");
    let channels = Channels { batches: to_publishers, confirmed, leadership, cursors, files, runs, asks };
    let lease = LeaderLease::new(standing.clone(), SESSION);
    let health = Health::new(&metrics);
    let context = Context {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        metrics: SchedulerMetrics::new(&metrics, &clusters),
        health: health.clone(),
        beat: beat.clone(),
    };
    let scheduler = Scheduler::new(clusters, file, "me".to_owned(), lease);
    let timer = SchedulerThread::start(scheduler, channels, context).unwrap();
    lead.send(Effect::Begin { term: Term::FIRST, losses: 0 }).unwrap();
    for number in 0..schedules.len() {
        lead.send(start(Term::FIRST, number, now)).unwrap();
    }
    let files = files_from;
    let bench = Bench {
        clock,
        timer,
        beat,
        lead,
        keeps,
        standing,
        confirming,
        batches,
        news,
        files,
        asks: asked,
        metrics,
        health,
    };
    bench.await_lead();
    bench
}

fn start(term: Term, cluster: usize, cursor: &str) -> Effect {
    let start = Start {
        cursor: at(cursor),
        reboot: None,
        published: Published { topic_id: Uuid::nil(), runs: Runs::default(), until: at(cursor) },
        is_gap: false,
    };
    Effect::Start { term, cluster, start }
}

impl Bench {
    /// Waits until the scheduler has taken what it was told about leadership.
    fn await_lead(&self) {
        let end = std::time::Instant::now() + PATIENCE;
        while !self.lead.is_empty() {
            assert!(std::time::Instant::now() < end, "the timer hears nothing");
            std::thread::yield_now();
        }
    }

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

    /// Waits until the scheduler has done all that is due now. It comes to a later instant only when it is through with
    /// this one. Alarms that it no longer waits for ring too, so one ring may not be enough.
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
        while self.keeps.try_recv().is_ok() {}
        while let Ok(batch) = self.batches[number].try_recv() {
            ticks.extend(batch.ticks.iter().map(|tick| tick.at.format("%dT%H:%M:%S").to_string()));
            self.confirming.send(Confirmed::of(number, &batch)).unwrap();
        }
        ticks
    }
}

#[test]
fn a_cluster_whose_publisher_is_stuck_holds_up_no_other_and_loses_nothing() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *", "* * * * * *"]);
    let second = |s: i32| format!("01T10:{:02}:{:02}", s / 60, s % 60);
    // It lasts less than a minute; otherwise the ticks would move to the backlog.
    let expected: Vec<String> = (1..=50).map(second).collect();
    let other = bench.ticks_until("2026-03-01T10:00:40Z", 1);
    // The last few may wait for a confirmation that the scheduler has not taken yet.
    assert_eq!(other[..35], expected[..35]);
    assert_eq!(bench.batches[0].len(), TICK_BATCHES, "as many as may be under way");
    let mut stuck = bench.confirm(0);
    stuck.extend(bench.ticks_until("2026-03-01T10:00:57Z", 0));
    assert_eq!(stuck[..50], expected);
    assert!(!bench.timer.is_over());
}

#[test]
fn without_a_proof_of_membership_nothing_is_begun_and_afterwards_nothing_is_missing() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *"]);
    let before = bench.ticks_until("2026-03-01T10:00:03Z", 0);
    bench.standing.set(None);
    bench.settle();
    let before = [before, bench.confirm(0)].concat();
    assert_eq!(bench.ticks_until("2026-03-01T10:00:20Z", 0), [""; 0]);
    bench.standing.set(Some(bench.clock.monotonic()));
    let after = bench.ticks_until("2026-03-01T10:00:30Z", 0);
    let all: Vec<String> = (1..=25).map(|second| format!("01T10:00:{second:02}")).collect();
    assert_eq!([before, after].concat()[..25], all);
}

#[test]
fn the_cursor_says_what_is_on_record_and_a_later_term_begins_where_it_is_told() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *"]);
    bench.ticks_until("2026-03-01T10:00:05Z", 0);
    while bench.keeps.try_recv().is_ok() {}
    bench.settle();
    let kept = bench.keeps.recv_timeout(PATIENCE).unwrap();
    assert_eq!(kept.term, Term::FIRST);
    let cursor = kept.cursors[0].unwrap();
    // The last confirmations may still be on their way.
    assert!(cursor >= at("2026-03-01T10:00:02Z") && cursor <= bench.clock.now(), "{cursor}");
    bench.lead.send(Effect::End).unwrap();
    bench.await_lead();
    bench.settle();
    bench.confirm(0);
    assert_eq!(bench.ticks_until("2026-03-01T10:00:20Z", 0).len(), 0);
    bench.lead.send(Effect::Begin { term: Term::FIRST.next(), losses: bench.standing.losses() }).unwrap();
    bench.lead.send(start(Term::FIRST.next(), 0, "2026-03-01T10:00:10Z")).unwrap();
    bench.await_lead();
    let ticks = bench.ticks_until("2026-03-01T10:00:25Z", 0);
    let expected: Vec<String> = (11..=20).map(|second| format!("01T10:00:{second}")).collect();
    assert_eq!(ticks[..10], expected);
}

#[test]
fn at_the_end_the_cursor_covers_what_is_confirmed_although_nobody_follows_the_runs_any_more() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *"]);
    bench.ticks_until("2026-03-01T10:00:05Z", 0);
    while bench.batches[0].is_empty() {
        assert!(bench.clock.ring_next(PATIENCE), "the timer waits for nothing");
    }
    let Bench { timer, news, keeps, batches, confirming, .. } = bench;
    drop(news);
    let mut under_way: Vec<Batch> = batches[0].try_iter().collect();
    // Dropping the handle waits for the thread, which waits for these confirmations.
    let ending = crate::common::thread::spawn("ending", move || drop(timer)).unwrap();
    let (mut last, mut kept) = (None, None);
    loop {
        let is_over = ending.is_finished();
        kept = keeps.recv_timeout(Duration::from_millis(1)).ok().or(kept);
        for batch in under_way.drain(..).chain(batches[0].try_iter()) {
            last = batch.ticks.iter().map(|tick| tick.at).max().max(last);
            confirming.send(Confirmed::of(0, &batch)).unwrap();
        }
        if is_over {
            break;
        }
    }
    drop(ending);
    let kept = keeps.try_iter().last().or(kept).unwrap();
    assert!(last.is_some() && kept.cursors[0] >= last, "{kept:?}: {last:?} is confirmed");
}

#[test]
fn batches_of_an_earlier_term_that_are_still_in_the_way_end_nothing() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *"]);
    while bench.batches[0].len() < TICK_BATCHES {
        assert!(bench.clock.ring_next(PATIENCE), "the timer waits for nothing");
    }
    bench.lead.send(Effect::End).unwrap();
    bench.lead.send(Effect::Begin { term: Term::FIRST.next(), losses: bench.standing.losses() }).unwrap();
    bench.lead.send(start(Term::FIRST.next(), 0, "2026-03-01T10:00:00Z")).unwrap();
    bench.await_lead();
    bench.settle();
    assert!(!bench.timer.is_over());
    // No more: as soon as there is room the new term's is handed over.
    let first = bench.batches[0].try_iter().take(TICK_BATCHES);
    let terms: Vec<Term> = first.map(|batch| batch.term).collect();
    assert_eq!(terms, [Term::FIRST; TICK_BATCHES]);
    let ticks = bench.ticks_until("2026-03-01T10:00:20Z", 0);
    assert_eq!(ticks[0], "01T10:00:01", "the new term goes on where it was told to begin");
}

#[test]
fn a_file_that_gives_a_job_overlap_comes_in_force_when_it_is_known_which_runs_are_not_finished() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *"]);
    assert!(!bench.ticks_until("2026-03-01T10:00:05Z", 0).is_empty());
    let text = "* * * * * * c0 [name=job-0 overlap=skip] x\n";
    bench
        .files
        .send(crate::producer::jobfile::parse("jobs", text.as_bytes(), &[cluster(0)]).unwrap())
        .unwrap();
    let asked = bench.asks.recv_timeout(PATIENCE).unwrap();
    let FollowRequest::Follow(followed) = asked else { panic!("{asked:?}") };
    assert_eq!(followed.len(), 1);
    let before = bench.ticks_until("2026-03-01T10:00:15Z", 0);
    assert!(before.len() >= 3 && bench.asks.is_empty(), "the old file is active: {before:?}");
    let job: JobName = "job-0".parse().unwrap();
    let run = crate::common::model::RunId::of(&job, at("2026-03-01T10:00:04Z"));
    let scheduled_at = Some(at("2026-03-01T10:00:04Z"));
    bench.news.send(RunNews::Unfinished(OpenRun { job, run, scheduled_at })).unwrap();
    bench.news.send(RunNews::HistoryRead { of: followed, over: Arc::default() }).unwrap();
    let revision = crate::producer::jobfile::revision(text.as_bytes());
    assert_eq!(bench.asks.recv_timeout(PATIENCE), Ok(FollowRequest::Active(revision, "2026f".into())));
    // The round in which the file became active and, when the next has begun, all of what the old one owed.
    bench.settle();
    bench.settle();
    bench.confirm(0);
    assert_eq!(bench.ticks_until("2026-03-01T10:00:25Z", 0), [""; 0], "each is skipped");
}

#[test]
fn the_fill_of_a_channel_that_nobody_empties_is_shown() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *", "@daily"]);
    let shows =
        |line: &str| String::from_utf8(bench.metrics.page().unwrap()).unwrap().lines().any(|l| l == line);
    assert!(shows("cron_channel_capacity{channel=\"batches-c0\"} 2"));
    let full = "cron_channel_items{channel=\"batches-c0\"} 2";
    let seconds =
        (0..30).take_while(|_| !shows(full)).inspect(|_| assert!(bench.clock.ring_next(PATIENCE))).count();
    assert!((1..30).contains(&seconds), "{seconds}");
    // The other cluster's publisher has only been told which job file it is.
    assert!(shows("cron_channel_items{channel=\"batches-c1\"} 1"));
    assert!(shows("cron_leads_total 1"));
}

#[test]
fn a_scheduler_whose_publisher_is_gone_ends() {
    let mut bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *"]);
    assert!(!bench.timer.is_over());
    bench.batches.clear();
    let end = std::time::Instant::now() + PATIENCE;
    while !bench.timer.is_over() {
        assert!(std::time::Instant::now() < end, "it goes on without a publisher");
        bench.clock.ring_next(Duration::from_millis(1));
    }
}

#[test]
fn a_suspended_leader_looks_every_tenth_of_a_second_whether_its_membership_is_proven() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["@daily"]);
    bench.ticks_until("2026-03-01T10:00:05Z", 0);
    bench.standing.set(None);
    bench.settle();
    let before = bench.clock.now();
    for _ in 0..20 {
        assert!(bench.clock.ring_next(PATIENCE));
    }
    let passed = bench.clock.now() - before;
    // Alarms that the thread no longer waits for ring too; they lie within a second.
    assert!(passed <= TimeDelta::seconds(3), "{passed}");
}

#[test]
fn whether_it_leads_and_what_is_wrong_with_its_clock_or_cursors_is_shown() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["@daily"]);
    let shows = |line: &str| {
        let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
        assert!(page.lines().any(|l| l == line), "{line}: {page}");
    };
    let tell = |effect: Effect| {
        bench.lead.send(effect).unwrap();
        bench.await_lead();
        bench.settle();
    };
    bench.settle();
    shows("cron_leader 1");
    let error = || crate::common::broker::BrokerError::NotSent("refused".to_owned());
    let failed =
        |call| Effect::Failed(crate::producer::leadership::Failure { call, topic: None, error: error() });
    tell(failed(crate::producer::leadership::Call::Read));
    let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
    assert!(!page.contains("reason=\"unreachable\""), "{page}");
    tell(failed(crate::producer::leadership::Call::CursorCommit));
    let page = String::from_utf8(bench.metrics.page().unwrap()).unwrap();
    assert!(page.contains("reason=\"unreachable\"} 1"), "{page}");
    tell(Effect::End);
    shows("cron_leader 0");
    tell(Effect::ClockOff(TimeDelta::seconds(3_600)));
    assert_eq!(bench.health.unready(), ["clock: our clock is 3600 s ahead of the broker's"]);
    tell(Effect::ClockOff(TimeDelta::seconds(-3_600)));
    assert_eq!(bench.health.unready(), ["clock: our clock is 3600 s behind the broker's"]);
}
