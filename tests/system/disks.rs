//! What the programs write to the host, where there is no room for it: the output of jobs, and the log.

use std::fs::{self, OpenOptions};

use crate::checks::await_ready;
use crate::support::programs::{PATIENCE, World};
use crate::support::wait_until;

#[test]
fn a_directory_for_output_that_is_gone_is_told_and_fails_no_job_and_a_missing_tmpdir_is_not_needed() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=loud]  {note}; echo said\n");
    let _producer = world.producer(&jobs, &[]);
    let directory = world.dir().join("output");
    let flags = ["--workers", "2", "--output", directory.to_str().unwrap()];
    let mut consumer =
        world.consumer_by(&["env", "TMPDIR=/nonexistent", "HOME=/nonexistent"], world.a.as_str(), &flags);
    let (_, page) = wait_until("it tells", PATIENCE * 2, || {
        consumer.get("/readyz").filter(|(code, page)| *code == 503 && page.contains("output: not done for"))
    });
    let says = format!("keeping the output of jobs in {}", directory.display());
    assert!(page.contains(&says) && page.contains("No such file or directory"), "{page}");
    consumer.await_log("output: not done for");
    assert_eq!(consumer.metric("cron_failing", &["duty=\"output\"", "reason=\"output\""]), 1.0);
    let ran = world.await_ledger("jobs are run all the same", |ledger| ledger.len() >= 5).len();
    assert_eq!(consumer.metric("cron_attempts_total", &["outcome=\"failed\""]), 0.0);
    fs::create_dir(&directory).unwrap();
    await_ready(&consumer);
    assert_eq!(consumer.metric("cron_failing", &[]), 0.0);
    world.await_ledger("more are run", |ledger| ledger.len() >= ran + 2);
    let kept = || fs::read_dir(&directory).unwrap().filter_map(Result::ok).map(|entry| entry.path());
    wait_until("output is kept", PATIENCE, || {
        kept().any(|path| fs::read(path).is_ok_and(|text| text == b"said\n")).then_some(())
    });
    assert!(kept().all(|path| path.extension().is_some_and(|end| end == "log")), "{:?}", kept().last());
}

#[test]
fn a_log_on_a_full_disk_holds_up_no_job_and_its_lost_lines_are_counted() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=each]  {note}\n");
    let _producer = world.producer(&jobs, &[]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let consumer = world.consumer_with(world.a.as_str(), &["--workers", "2"], full.into());
    world.await_ledger("jobs are run", |ledger| ledger.len() >= 3);
    assert!(consumer.metric("cron_log_lines_dropped_total", &[]) > 0.0);
    assert_eq!(consumer.get("/readyz").unwrap().0, 200);
}
