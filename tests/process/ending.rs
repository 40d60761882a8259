//! However an attempt ends, nothing of it is left, and nothing that it leaves behind holds a worker.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use kafka_cron::common::clock::{Clock as _, SystemClock};
use kafka_cron::common::model::Outcome::{Cancelled, Failed, Replaced, Succeeded, TimedOut};
use kafka_cron::common::model::{Outcome, Then};

use crate::bench::{Bench, LONG, attempt, limited, lives, pid_in, run, took, with};
use crate::support::wait_until;

/// Runs a command that writes the number of a process it leaves behind into `$FILE`, and says how it ended and
/// whether that process lives.
fn check(command: &str, limits: (Option<u64>, u64), outcome: &Outcome, left_alive: bool) -> TimeDelta {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let (timeout_ms, grace_ms) = limits;
    let report = run(with(&command.replace("$FILE", file.to_str().unwrap()), |run| {
        run.limits.timeout_ms = timeout_ms;
        run.limits.grace_ms = grace_ms;
    }));
    assert_eq!(&report.outcome, outcome, "{command}: {}", report.output_tail);
    let pid = wait_until("the number", LONG, || pid_in(&file));
    assert_eq!(lives(pid), left_alive, "{command}");
    if left_alive {
        kill(pid);
    }
    took(&report)
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A grandchild that is deaf to TERM, and told to write its number only once it is.
const DEAF: &str = "sh -c 'trap \"\" TERM; echo $$ >$FILE; while :; do sleep 1; done'";

#[test]
fn a_time_out_ends_the_whole_group_the_deaf_included() {
    let took = check(&format!("{DEAF} & wait"), (Some(500), 300), &TimedOut, false);
    assert!((800..5_000).contains(&took.num_milliseconds()), "time-out, grace, KILL: {took}");
}

#[test]
fn a_time_out_ends_what_has_left_the_group_too() {
    check(&format!("setsid {DEAF} & wait"), (Some(500), 100), &TimedOut, false);
}

#[test]
fn a_time_out_is_one_also_when_the_command_takes_term_well() {
    let report =
        run(limited("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done", 300, 10_000));
    assert_eq!(report.outcome, TimedOut);
    assert!(report.output_tail.ends_with("bye\n"), "{}", report.output_tail);
    assert!(
        took(&report) < TimeDelta::seconds(5),
        "no grace is waited out that nobody needs: {}",
        took(&report)
    );
}

#[test]
fn whoever_is_done_in_time_has_not_timed_out() {
    assert_eq!(run(limited("true", 20_000, 0)).outcome, Succeeded);
    assert_eq!(run(limited("exit 4", u64::MAX, u64::MAX)).outcome, Failed { code: 4 });
}

#[test]
fn a_flood_of_output_does_not_put_off_the_time_out() {
    let report = run(limited("cat /dev/zero", 300, 0));
    assert_eq!(report.outcome, TimedOut);
    assert!(took(&report) < TimeDelta::seconds(5), "{}", took(&report));
}

#[test]
fn what_a_command_leaves_in_its_group_ends_with_it_and_changes_nothing() {
    // The grace is long: whoever takes TERM is not waited for.
    let background = "sleep 1000 >/dev/null 2>&1 & echo $! >$FILE; exit 5";
    let took = check(background, (None, 60_000), &Failed { code: 5 }, false);
    assert!(took < TimeDelta::seconds(10), "{took}");
    let ready = "while ! [ -s $FILE ]; do sleep 0.01; done";
    check(&format!("{DEAF} & {ready}"), (None, 100), &Succeeded, false);
}

#[test]
fn what_has_left_the_group_is_let_be_and_holds_nobody() {
    let ready = "while ! [ -s $FILE ]; do sleep 0.01; done";
    let escaped = "setsid sh -c 'echo $$ >$FILE; exec sleep 1000'";
    let took = check(&format!("{escaped} & {ready}; echo said"), (None, 60_000), &Succeeded, true);
    assert!(took < TimeDelta::seconds(5), "it holds the pipe open: {took}");
}

#[test]
fn a_cancellation_ends_what_runs_and_what_was_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let mut bench = Bench::new(2);
    bench.start(attempt(&format!("echo $$ >{}; exec sleep 1000", file.display())));
    bench.start(attempt("trap 'exit 0' TERM; while :; do sleep 0.01; done"));
    let pid = wait_until("it runs", LONG, || pid_in(&file));
    bench.workers.cancel();
    bench.workers.cancel();
    for _ in 0..2 {
        assert_eq!(bench.report().outcome, Cancelled);
    }
    assert!(!lives(pid));
    let report = bench.run(attempt("true"));
    assert_eq!(report.outcome, Cancelled);
    assert_eq!(report.started_at, report.ended_at, "nothing is started any more");
}

#[test]
fn an_order_ends_the_attempts_of_its_run_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let deaf = with(&DEAF.replace("$FILE", file("deaf").to_str().unwrap()), |run| run.limits.grace_ms = 100);
    let polite = "trap 'echo bye; exit 0' TERM; echo $$ >$FILE; while :; do sleep 0.01; done";
    let polite = attempt(&polite.replace("$FILE", file("polite").to_str().unwrap()));
    let other = attempt(&format!("echo $$ >{}; exec sleep 1000", file("other").display()));
    let bench = Bench::new(3);
    let runs = [deaf.run.id, polite.run.id];
    [deaf, polite, other].into_iter().for_each(|attempt| bench.start(attempt));
    let pids = ["deaf", "polite", "other"].map(|name| wait_until(name, LONG, || pid_in(&file(name))));
    bench.desk.order(&runs.map(|run| (run, SystemClock.now())));
    bench.desk.order(&runs.map(|run| (run, SystemClock.now())));
    let mut ends = [bench.report(), bench.report()];
    ends.sort_by_key(|report| report.claimed.attempt.run.id != runs[0]);
    for (report, run) in ends.iter().zip(runs) {
        assert_eq!((&report.outcome, report.claimed.attempt.run.id), (&Replaced, run));
        assert_eq!((report.then(), report.passed_on("me")), (Then::Done, None));
    }
    assert!(ends[1].output_tail.ends_with("bye\n"), "{}", ends[1].output_tail);
    assert_eq!(pids.map(lives), [false, false, true]);
}

#[test]
fn an_attempt_of_a_run_that_is_to_end_is_not_started() {
    let bench = Bench::new(1);
    let ordered = attempt("echo started");
    bench.desk.order(&[(ordered.run.id, SystemClock.now())]);
    let report = bench.run(ordered);
    assert_eq!((&report.outcome, report.output_tail.as_str()), (&Replaced, ""));
    assert_eq!(report.started_at, report.ended_at);
    assert_eq!(bench.run(attempt("true")).outcome, Succeeded);
}

#[test]
fn dropping_the_handle_cancels_and_joins() {
    let mut bench = Bench::new(1);
    bench.start(attempt("exec sleep 1000"));
    wait_until("it runs", LONG, || (bench.measures.workers_busy.get() == 1).then_some(()));
    bench.close();
    let began = Instant::now();
    drop(bench);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
