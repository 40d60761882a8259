//! What attempts cost the consumer that outlives them: nothing. Each test has a process of its own to count in.

use std::fs;
use std::os::unix::fs::MetadataExt;

use kafka_cron::common::words::Outcome::Succeeded;

use crate::bench::{Bench, attempt};
use crate::child;

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
    for _ in 0..500 {
        bench.start(attempt("true"));
        bench.start(attempt("exit 1"));
        (0..2).for_each(|_| drop(bench.report()));
    }
    assert_eq!(open_descriptors(), before);
    let guard = bench.workers.guard_pid().unwrap().to_string();
    assert_eq!(children().split_whitespace().collect::<Vec<_>>(), [guard.as_str()]);
    drop(bench);
    assert_eq!(children(), "");
}

#[test]
fn three_hundred_megabytes_of_output_leave_memory_flat() {
    if child::part().is_none() {
        return child::run("resources::three_hundred_megabytes_of_output_leave_memory_flat");
    }
    let peak_kib = || -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    };
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
fn what_is_created_belongs_to_the_consumers_user() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("made");
    let report = crate::bench::run(attempt(&format!("touch {}", file.display())));
    assert_eq!(report.outcome, Succeeded);
    assert_eq!(fs::metadata(file).unwrap().uid(), rustix::process::geteuid().as_raw());
}
