//! How programs and commands end.

use std::time::{Duration, Instant};

use crate::support::programs::{PATIENCE, World};
use crate::support::wait_until;

/// Processes of a run of this world, by `/proc`. Other worlds have runs of the same id: it says job and instant.
fn processes_of(world: &World, run: &str) -> Vec<u32> {
    let marks = [format!("CRON_CLUSTER={}", world.a), format!("CRON_RUN_ID={run}")];
    let is_number = |name: &str| name.parse::<u32>().ok();
    let all =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| is_number(entry.ok()?.file_name().to_str()?));
    all.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let has = |mark: &String| environment.split(|byte| *byte == 0).any(|line| line == mark.as_bytes());
        marks.iter().all(has)
    })
    .collect()
}

#[test]
fn term_waits_for_a_running_job() {
    let world = World::new();
    let jobs = world.jobs("@every 2s  {a}  [name=slow]  {note}; sleep 3; echo done > {dir}/done\n");
    let producer = world.producer(&jobs, &[]);
    let mut consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    world.await_ledger("a job runs", |ledger| !ledger.is_empty());
    producer.stop();
    consumer.signal("TERM");
    consumer.await_log("running jobs are waited for");
    let (ready, healthy) = (consumer.get("/readyz").unwrap(), consumer.get("/healthz").unwrap());
    assert!(ready.0 == 503 && ready.1.contains("about to end"), "{ready:?}");
    assert_eq!(healthy.0, 200, "{healthy:?}");
    assert_eq!(consumer.wait().code(), Some(0));
    assert!(world.dir().join("done").exists(), "it did not wait:\n{}", consumer.log());
    assert_eq!(world.ledger().len(), 1, "it took another");
}

#[test]
fn a_second_term_does_not_wait_and_the_job_is_passed_on() {
    let world = World::new();
    let jobs = world.jobs("@every 2s  {a}  [name=slow retries=1 backoff=100ms]  {note}; test $CRON_ATTEMPT -gt 1 || sleep 600\n");
    let producer = world.producer(&jobs, &[]);
    let mut consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    world.await_ledger("a job runs", |ledger| !ledger.is_empty());
    producer.stop();
    consumer.signal("TERM");
    consumer.await_log("running jobs are waited for");
    consumer.signal("TERM");
    assert_eq!(consumer.wait().code(), Some(0), "{}", consumer.log());
    let _retry = world.consumer(&format!("{}-retry", world.a), &["--workers", "1"]);
    let first = world.ledger()[0].clone();
    world.await_ledger("the second attempt", |ledger| {
        ledger.iter().any(|entry| entry.run == first.run && entry.attempt == 2)
    });
}

#[test]
fn drain_limits_the_wait() {
    let world = World::new();
    let jobs = world.jobs("@every 2s  {a}  [name=slow]  {note}; sleep 600\n");
    let producer = world.producer(&jobs, &[]);
    let mut consumer = world.consumer(world.a.as_str(), &["--workers", "1", "--drain", "1s"]);
    world.await_ledger("a job runs", |ledger| !ledger.is_empty());
    producer.stop();
    consumer.signal("TERM");
    assert_eq!(consumer.wait().code(), Some(0), "{}", consumer.log());
    let run = world.ledger()[0].run.clone();
    assert_eq!(processes_of(&world, &run), Vec::<u32>::new());
}

#[test]
fn a_consumer_that_ends_its_jobs_leaves_those_of_another_fleet_with_the_same_name_alone() {
    let (world, other) = (World::new(), World::new());
    // Runs of equal ids: the same name, the same instants.
    let [jobs, theirs] = [&world, &other].map(|world| {
        world.jobs("@every 5s  {a}  [name=namesake]  {note}; sleep 3; echo done >> {dir}/done\n")
    });
    let (_producer, _their_producer) = (world.producer(&jobs, &[]), other.producer(&theirs, &[]));
    let mut consumer = world.consumer(world.a.as_str(), &["--workers", "1", "--drain", "0s"]);
    let _their_consumer = other.consumer(other.a.as_str(), &["--workers", "1"]);
    let both = || Some((world.ledger().last()?.run.clone(), other.ledger().last()?.run.clone()));
    wait_until("both run it", PATIENCE, || both().filter(|(ours, theirs)| ours == theirs));
    let before = other.ledger().len();
    consumer.signal("TERM");
    assert_eq!(consumer.wait().code(), Some(0), "{}", consumer.log());
    other.await_ledger("their next run", |ledger| ledger.len() > before);
    let done = std::fs::read_to_string(other.dir().join("done")).unwrap_or_default();
    assert_eq!(done.lines().count(), before, "their job was ended, too");
}

#[test]
fn the_jobs_of_a_killed_consumer_are_gone_a_second_later() {
    let world = World::new();
    let jobs = world.jobs(
        "@every 2s  {a}  [name=deaf]  {note}; trap '' TERM HUP; (trap '' TERM HUP; sleep 600) & setsid sleep 600 & sleep 600\n",
    );
    let _producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    let ledger = world.await_ledger("a job runs", |ledger| !ledger.is_empty());
    let run = &ledger[0].run;
    wait_until("all its processes are there", PATIENCE, || {
        (processes_of(&world, run).len() >= 4).then_some(())
    });
    consumer.kill();
    let killed = Instant::now();
    wait_until("its jobs are gone", PATIENCE, || processes_of(&world, run).is_empty().then_some(()));
    assert!(killed.elapsed() < Duration::from_secs(1), "after {:?}", killed.elapsed());
}

#[test]
fn a_time_out_ends_the_whole_family_and_is_told_apart() {
    let world = World::new();
    let jobs = world.jobs(
        "@every 2s  {a}  [name=deaf timeout=1s grace=300ms]  {note}; trap '' TERM; (trap '' TERM; sleep 600) & sleep 600\n",
    );
    let producer = world.producer(&jobs, &[]);
    let consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    wait_until("a time-out is counted", PATIENCE, || {
        (consumer.metric("cron_attempts_total", &["outcome=\"timed_out\""]) >= 1.0).then_some(())
    });
    producer.stop();
    let run = world.ledger()[0].run.clone();
    assert_eq!(processes_of(&world, &run), Vec::<u32>::new());
}

#[test]
fn a_user_that_does_not_exist_is_an_outcome_and_no_crash() {
    let world = World::new();
    let jobs = world.jobs("@every 1s  {a}  [name=stranger user=no-such-user]  {note}\n");
    let _producer = world.producer(&jobs, &[]);
    let mut consumer = world.consumer(world.a.as_str(), &["--workers", "1"]);
    wait_until("it is counted", PATIENCE, || {
        (consumer.metric("cron_attempts_total", &["outcome=\"could_not_start\""]) >= 2.0).then_some(())
    });
    assert!(consumer.is_running());
    assert_eq!(world.ledger(), []);
}
