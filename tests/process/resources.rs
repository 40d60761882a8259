//! What attempts cost the consumer that outlives them: nothing. Each test has a process of its own to count in.

use std::fs;

use kafka_cron::common::model::Outcome::{Succeeded, TimedOut};
use kafka_cron::consumer::running::process::descriptors::Descriptors;
use kafka_cron::consumer::running::process::{Output, Settings};
use kafka_cron::consumer::running::worker::Options;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bench::{Bench, LONG, attempt, limited, options, settings, system_clock, with};
use crate::child;
use crate::support::wait_until;

/// From now on this process may open so many descriptors more.
fn leave(more: usize) {
    // The lowest number that is free is the next one's; what we were given open may have a high one.
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let open: Vec<u64> = open.filter_map(|fd| fd.unwrap().file_name().to_str()?.parse().ok()).collect();
    limit((0..).filter(|number| !open.contains(number)).nth(more).unwrap());
}

fn limit(soft: u64) {
    let ours = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: ours.maximum }).unwrap();
}

#[test]
fn a_consumer_has_the_descriptors_that_its_workers_need_and_jobs_have_those_that_it_was_given() {
    if child::part().is_none() {
        let name =
            "a_consumer_has_the_descriptors_that_its_workers_need_and_jobs_have_those_that_it_was_given";
        return child::run(&format!("resources::{name}"));
    }
    limit(512);
    let descriptors = Descriptors::raise_for(100).unwrap();
    assert!(getrlimit(Resource::Nofile).current.unwrap() > 1_000);
    let bench = Bench::with(
        Options { process: Settings { descriptors, ..settings() }, ..options(1) },
        &system_clock(),
    );
    for command in ["ulimit -n; ulimit -Sn", "/bin/grep files /proc/self/limits"] {
        let report = bench.run(attempt(command));
        assert!(report.outcome == Succeeded && report.output_tail.contains("512"), "{report:?}");
        assert!(!report.output_tail.contains("1356"), "{report:?}");
    }
}

#[test]
fn a_start_for_which_no_descriptor_is_left_is_put_off_and_spends_no_attempt() {
    if child::part().is_none() {
        return child::run(
            "resources::a_start_for_which_no_descriptor_is_left_is_put_off_and_spends_no_attempt",
        );
    }
    let bench = Bench::new(1);
    let before = getrlimit(Resource::Nofile).current.unwrap();
    leave(0);
    bench.start(attempt("true"));
    let put_off = || (bench.measures.starts_put_off.get() >= 3).then_some(());
    wait_until("the start is put off", LONG, put_off);
    limit(before);
    assert_eq!(bench.report().outcome, Succeeded);
}

#[test]
fn more_workers_than_there_are_descriptors_kill_no_job_and_spend_none() {
    if child::part().is_none() {
        return child::run("resources::more_workers_than_there_are_descriptors_kill_no_job_and_spend_none");
    }
    let bench = Bench::new(40);
    leave(30);
    for _ in 0..120 {
        bench.start(attempt("sleep 0.05"));
    }
    for _ in 0..120 {
        assert_eq!(bench.report().outcome, Succeeded);
    }
    assert!(bench.measures.starts_put_off.get() > 0, "they were never short of any");
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> String {
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    fs::read_dir("/proc/self/task").unwrap().map(|task| of(task.unwrap())).collect()
}

#[test]
fn a_thousand_attempts_leave_no_zombie_and_no_descriptor() {
    if child::part().is_none() {
        return child::run("resources::a_thousand_attempts_leave_no_zombie_and_no_descriptor");
    }
    let bench = Bench::new(2);
    // The first ones open what stays open.
    (0..2).for_each(|_| bench.start(attempt("true")));
    (0..2).for_each(|_| drop(bench.report()));
    let before = open_descriptors();
    for _ in 0..250 {
        bench.start(attempt("true"));
        bench.start(attempt("exit 1"));
        (0..2).for_each(|_| drop(bench.report()));
        // What cannot be executed, and what cannot be begun at all.
        bench.start(attempt("/nowhere/program"));
        bench.start(with("true", |run| run.cwd = Some("/nowhere".to_owned())));
        (0..2).for_each(|_| drop(bench.report()));
    }
    assert_eq!(open_descriptors(), before);
    let guard = bench.workers.guard_pid().unwrap().to_string();
    assert_eq!(children().split_whitespace().collect::<Vec<_>>(), [guard.as_str()]);
    drop(bench);
    assert_eq!(children(), "");
}

/// The most memory that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn jobs_that_print_for_ever_end_at_their_time_limit_and_cost_8_mib_at_most() {
    if child::part().is_none() {
        return child::run(
            "resources::jobs_that_print_for_ever_end_at_their_time_limit_and_cost_8_mib_at_most",
        );
    }
    let timeout_ms = if std::env::var_os("KAFKA_CRON_TEST_LONG").is_some() { 20_000 } else { 2_000 };
    // What they print is short lines, lines without an end, and no text.
    let endless = ["yes", "yes | tr -d '\\n'", "cat /dev/zero", "while :; do printf '\\303'; done"];
    // The log is bounded, too: here it has no reader at all.
    for output in [Output::Tail, Output::Log] {
        let process = Settings { output, ..settings() };
        let bench = Bench::with(Options { process, ..options(endless.len()) }, &system_clock());
        // The first ones take what the later ones use again.
        endless.iter().for_each(|command| bench.start(limited(command, 200, 100)));
        endless.iter().for_each(|_| drop(bench.report()));
        let before = peak_kib();
        endless.iter().for_each(|command| bench.start(limited(command, timeout_ms, 100)));
        for _ in endless {
            let report = bench.report();
            assert_eq!(report.outcome, TimedOut, "{report:?}");
            assert!(report.output_tail.len() <= 3 * 8192 && report.output_bytes > 8192, "{report:?}");
        }
        let grown = peak_kib() - before;
        assert!(grown < 8 * 1024, "{grown} KiB more");
    }
}

#[test]
fn three_hundred_megabytes_of_output_leave_memory_flat() {
    if child::part().is_none() {
        return child::run("resources::three_hundred_megabytes_of_output_leave_memory_flat");
    }
    let bench = Bench::new(1);
    assert_eq!(bench.run(attempt("echo warm")).outcome, Succeeded);
    let before = peak_kib();
    let report = bench.run(attempt("head -c 300000000 /dev/zero; echo done"));
    assert_eq!((report.outcome, report.output_bytes), (Succeeded, 300_000_005));
    assert!(report.output_tail.ends_with("done\n") && report.output_tail.len() == 8192);
    let grown = peak_kib() - before;
    assert!(grown < 4 * 1024, "{grown} KiB more");
}

#[test]
fn what_the_consumer_was_given_open_goes_to_no_command() {
    if child::part().is_none() {
        return child::run("resources::what_the_consumer_was_given_open_goes_to_no_command");
    }
    let given = fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&given, rustix::io::FdFlags::empty()).unwrap();
    let report =
        crate::bench::run(attempt("for fd in 0 1 2 3 4 5 6 7 8 9; do readlink /proc/$$/fd/$fd; done; true"));
    let open: Vec<&str> = report.output_tail.lines().collect();
    assert_eq!(open.len(), 3, "{open:?}");
    assert_eq!(open[0], "/dev/null", "the consumer's standard input is a pipe here");
    assert!(open[1].starts_with("pipe:") && open[1] == open[2], "{open:?}");
}
