//! Several producers: one leads, another takes over, and every tick gets its one fate.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::producer::jobfile;

use crate::checks::{assert_none_twice, await_leader, complete, leads, ticks, verify};
use crate::support::programs::{Entry, PATIENCE, Program, World};
use crate::support::wait_until;

const EVERY: &str = "* * * * * *  {a}  [name=every]  {note}\n";

/// Two producers of which the first leads, and a consumer.
fn two_producers(world: &World, jobs: &str) -> (Program, Program, Program) {
    let jobs = world.jobs(jobs);
    let first = world.producer(&jobs, &[]);
    await_leader(&first);
    let second = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    wait_until("the second is ready", PATIENCE, || {
        second.get("/readyz").is_some_and(|(code, _)| code == 200).then_some(())
    });
    (first, second, consumer)
}

#[test]
fn another_takes_over_from_a_killed_leader_and_no_tick_is_missing() {
    let world = World::new();
    let (first, second, _consumer) = two_producers(&world, EVERY);
    world.await_ledger("it works", |ledger| ticks(ledger, "every").len() >= 3);
    assert!(leads(&first) && !leads(&second), "exactly one leads");
    first.kill();
    let after = await_leader(&second);
    assert!(after < Duration::from_secs(10), "after {after:?}");
    let begun = ticks(&world.ledger(), "every").len();
    let ledger = world.await_ledger("no tick is missing", |ledger| complete(ledger, "every", 1, begun + 12));
    assert_none_twice(&ledger);
}

#[test]
fn a_leader_that_ends_hands_over_at_once() {
    let world = World::new();
    let (first, second, _consumer) = two_producers(&world, EVERY);
    world.await_ledger("it works", |ledger| ticks(ledger, "every").len() >= 3);
    first.stop();
    let after = await_leader(&second);
    assert!(after < Duration::from_secs(4), "after {after:?}");
    let begun = ticks(&world.ledger(), "every").len();
    let ledger = world.await_ledger("no tick is missing", |ledger| complete(ledger, "every", 1, begun + 5));
    assert_none_twice(&ledger);
}

#[test]
fn a_leader_that_was_frozen_past_its_session_begins_nothing_and_doubles_nothing() {
    let world = World::new();
    let (first, second, _consumer) = two_producers(&world, EVERY);
    world.await_ledger("it works", |ledger| ticks(ledger, "every").len() >= 3);
    first.signal("STOP");
    await_leader(&second);
    let end = Instant::now() + Duration::from_secs(12);
    wait_until("time passes", PATIENCE, || (Instant::now() >= end).then_some(()));
    first.signal("CONT");
    wait_until("it knows that it leads no more", PATIENCE, || (!leads(&first)).then_some(()));
    let begun = ticks(&world.ledger(), "every").len();
    let ledger = world.await_ledger("no tick is missing", |ledger| complete(ledger, "every", 1, begun + 5));
    assert_none_twice(&ledger);
    assert!(leads(&second) && !leads(&first), "exactly one leads");
}

#[test]
fn what_was_due_while_nobody_published_is_caught_up_as_each_job_asks() {
    let world = World::new();
    let jobs = "* * * * * *  {a}  [name=all catchup=all]    {note}\n\
                * * * * * *  {a}  [name=last]               {note}\n\
                * * * * * *  {a}  [name=none catchup=none]  {note}\n";
    let jobs = world.jobs(jobs);
    let producer = world.producer(&jobs, &[]);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    world.await_ledger("it works", |ledger| ticks(ledger, "all").len() >= 3);
    producer.stop();
    // Longer than ticks may be late (a minute), so that what was due at first is the past.
    let end = Instant::now() + Duration::from_secs(70);
    wait_until("time passes", Duration::from_secs(100), || (Instant::now() >= end).then_some(()));
    let back = SystemClock.now();
    let _producer = world.producer(&jobs, &[]);
    let ledger = world.await_ledger("all is caught up", |ledger| complete(ledger, "all", 1, 75));
    assert_none_twice(&ledger);
    let since = ticks(&ledger, "all")[0];
    // Runs of different jobs begin in any order: the comparison needs every run that was due until now to be over.
    wait_until("every tick is accounted for", PATIENCE, || {
        (verify(&world, &jobs, since, back).0 == 0).then_some(())
    });
    let ledger = world.ledger();
    let missing = |job: &str| {
        let ticks = ticks(&ledger, job).into_iter().filter(|tick| (since..back).contains(tick)).count();
        (back - since).num_seconds() + 1 - i64::try_from(ticks).unwrap()
    };
    // What is late by less than a minute is published whatever the policy.
    assert!((3..30).contains(&missing("last")), "{}", missing("last"));
    assert_eq!(
        missing("none"),
        missing("last") + 1,
        "the last of the past is published where it is asked for"
    );
}

#[test]
fn a_changed_job_file_is_in_force_without_a_restart_and_a_bad_one_changes_nothing() {
    let world = World::new();
    let jobs = world.jobs(EVERY);
    let mut producer = world.producer(&jobs, &[]);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    world.await_ledger("it works", |ledger| ticks(ledger, "every").len() >= 3);
    world.jobs("* * * * * *  {a}  [name=every]  {note}\nrubbish\n");
    producer.await_log("jobs.cron:2: ");
    assert_eq!(producer.get("/readyz").map(|(code, _)| code), Some(503));
    world.jobs("* * * * * *  {a}  [name=every]  {note}\n* * * * * *  {a}  [name=other]  {note}\n");
    let ledger = world.await_ledger("the new job runs", |ledger| ticks(ledger, "other").len() >= 3);
    assert_none_twice(&ledger);
    let begun = ticks(&ledger, "every").len();
    world.await_ledger("the old one was not disturbed", |ledger| complete(ledger, "every", 1, begun + 3));
    world.jobs("* * * * * *  {a}  [name=other]  {note}\n");
    producer.await_log("1 jobs");
    let begun = ticks(&world.ledger(), "other").len();
    let ledger = world.await_ledger("4 more", |ledger| ticks(ledger, "other").len() >= begun + 4);
    let (every, other) = (ticks(&ledger, "every"), ticks(&ledger, "other"));
    assert!(every[every.len() - 1] < other[other.len() - 1], "the job that was removed still runs");
}

#[test]
fn producers_whose_job_files_differ_are_named_until_they_are_the_same() {
    let world = World::new();
    let jobs = world.jobs(EVERY);
    let mut first = world.producer(&jobs, &[]);
    await_leader(&first);
    let content = fs::read_to_string(&jobs).unwrap();
    let theirs = world.dir().join("theirs.cron");
    fs::write(&theirs, content.replace("every", "other")).unwrap();
    let second = world.producer(&theirs, &[]);
    let of = |path: &Path| jobfile::revision(&fs::read(path).unwrap());
    let said = first.await_log("job files differ");
    assert!(said.contains(&*of(&jobs)) && said.contains(&*of(&theirs)), "{said}");
    let differs = |producer: &Program| producer.metric("cron_job_file_differs", &[]);
    wait_until("the metric says so too", PATIENCE, || (differs(&first) == 1.0).then_some(()));
    assert_eq!(differs(&second), 0.0, "only the leader compares");
    fs::write(&theirs, content).unwrap();
    first.await_log("no producer has another job file");
    wait_until("the metric says so too", PATIENCE, || (differs(&first) == 0.0).then_some(()));
    assert!(leads(&first) && !leads(&second), "the lead was not disturbed");
}

#[test]
fn reboot_jobs_run_once_when_the_first_producer_starts() {
    let world = World::new();
    let jobs = "@reboot  {a}  [name=boot]  {note}\n* * * * * *  {a}  [name=every]  {note}\n";
    let (first, second, _consumer) = two_producers(&world, jobs);
    world.await_ledger("it ran", |ledger| ticks(ledger, "boot").len() == 1);
    first.kill();
    await_leader(&second);
    let begun = ticks(&world.ledger(), "every").len();
    let ledger = world.await_ledger("5 more ticks", |ledger| ticks(ledger, "every").len() >= begun + 5);
    assert_eq!(ticks(&ledger, "boot").len(), 1, "a take-over is no reboot");
}

#[test]
fn reboot_jobs_run_once_when_two_producers_start_together() {
    let world = World::new();
    let jobs = world.jobs("@reboot  {a}  [name=boot]  {note}\n* * * * * *  {a}  [name=every]  {note}\n");
    // Both are in one generation of the group from the first, or one of them is there a moment before the other.
    let _producers = [world.producer(&jobs, &[]), world.producer(&jobs, &[])];
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    let ledger = world.await_ledger("both jobs run", |ledger| {
        !ticks(ledger, "boot").is_empty() && ticks(ledger, "every").len() >= 5
    });
    assert_eq!(ticks(&ledger, "boot").len(), 1);
}

#[test]
fn runs_of_a_job_do_not_overlap_where_it_says_so() {
    let world = World::new();
    let jobs = world.jobs(
        "* * * * * *  {a}  [name=skips overlap=skip]   {note}; sleep 2\n\
         */4 * * * * *  {a}  [name=queues overlap=queue]  {note}; sleep 5\n",
    );
    let producer = world.producer(&jobs, &[]);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "8"]);
    let ledger = world.await_ledger("several of each", |ledger| {
        ticks(ledger, "skips").len() >= 4 && ticks(ledger, "queues").len() >= 3
    });
    assert_none_twice(&ledger);
    let starts = |job: &str| -> Vec<u64> {
        let mut starts: Vec<u64> = ledger.iter().filter(|e| e.job == job).map(|e| e.at_ms).collect();
        starts.sort_unstable();
        starts
    };
    for (job, takes_ms) in [("skips", 2_000), ("queues", 5_000)] {
        let starts = starts(job);
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= takes_ms), "{job}: {starts:?}");
    }
    assert!(producer.metric("cron_ticks_skipped_total", &[]) >= 4.0);
}

#[test]
fn a_job_that_is_given_overlap_while_it_runs_waits_for_what_runs() {
    let world = World::new();
    let job = "*/5 * * * * *  {a}  [name=long OPTION]  {note}; sleep 20\n";
    let mut producer = world.producer(&world.jobs(&job.replace(" OPTION", "")), &[]);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "16"]);
    world.await_ledger("two run", |ledger| ledger.len() >= 2);
    world.jobs(&job.replace("OPTION", "overlap=skip"));
    producer.await_log("waits until it is known which runs are not finished");
    producer.await_log("of the job file is active");
    // What the file before it has published starts still, maybe only now: those runs are all known once a tick is skipped.
    wait_until("a tick is skipped", PATIENCE, || {
        (producer.metric("cron_ticks_skipped_total", &[]) >= 1.0).then_some(())
    });
    let published = producer.metric("cron_ticks_published_total", &[]) as usize;
    let before = world.await_ledger("what was published", |ledger| ledger.len() >= published);
    let ledger = world.await_ledger("the next one", |ledger| ledger.len() > before.len());
    let last = |ledger: &[Entry]| ledger.iter().map(|entry| entry.at_ms).max().unwrap();
    let waited_ms = last(&ledger) - last(&before);
    assert!(waited_ms >= 19_500, "{waited_ms} ms after the last one began, which takes 20 s");
    assert!(producer.metric("cron_ticks_skipped_total", &[]) >= 3.0);
}

#[test]
fn the_attempts_of_a_killed_consumer_are_found_and_run_again() {
    let world = World::new();
    let jobs = world.jobs(
        "*/3 * * * * *  {a}  [name=long retries=1 backoff=100ms]  {note}; test $CRON_ATTEMPT -gt 1 || sleep 600\n",
    );
    let lease = ["--lease", "9s"];
    let producer = world.producer(&jobs, &lease);
    let short = [&["--workers", "2", "--session-timeout", "6s"], &lease[..]].concat();
    let killed = world.consumer(world.a.as_str(), &short);
    let _retry = world.consumer(&format!("{}-retry", world.a), &short);
    let ledger = world.await_ledger("two run", |ledger| ledger.len() >= 2);
    killed.kill();
    let runs: Vec<String> = ledger.iter().map(|entry| entry.run.clone()).collect();
    let ledger = world.await_ledger("both run again", |ledger| {
        runs.iter().all(|run| ledger.iter().any(|entry| entry.run == *run && entry.attempt == 2))
    });
    assert_none_twice(&ledger);
    wait_until("both are counted", PATIENCE, || {
        (producer.metric("cron_attempts_lost_total", &[]) >= 2.0).then_some(())
    });
}
