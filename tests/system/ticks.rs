//! What is published and who runs it.

use crate::checks::{assert_none_twice, complete, ticks};
use crate::support::programs::{Program, World};

fn partitions(consumer: &mut Program) -> usize {
    consumer.await_log("partitions [");
    let log = consumer.log();
    let line = log.lines().rfind(|line| line.contains("partitions [")).unwrap();
    let list = line.split("partitions [").nth(1).unwrap().trim_end_matches(']');
    list.split(", ").filter(|number| !number.is_empty()).count()
}

/// Two consumers of the first cluster, once they have shared out the partitions that the producer made.
fn two_consumers(world: &World, count: usize) -> [Program; 2] {
    let topic = world.a.as_str();
    let mut both = [world.consumer(topic, &["--workers", "2"]), world.consumer(topic, &["--workers", "2"])];
    crate::support::wait_until("all partitions are shared out", crate::support::programs::PATIENCE, || {
        let [one, two] = both.each_mut().map(partitions);
        (one + two == count && one.abs_diff(two) <= 1).then_some(())
    });
    both
}

#[test]
fn ticks_are_exactly_as_the_file_names_them_and_both_consumers_work() {
    let world = World::new();
    let jobs = world.jobs(
        "* * * * * *    {a}  [name=every]  {note}\n\
         */5 * * * * *  {b}  [name=fifth]  {note}\n",
    );
    let producer = world.producer(&jobs, &[]);
    let both = two_consumers(&world, 2);
    let other = world.consumer(world.b.as_str(), &["--workers", "1"]);
    let ledger = world.await_ledger("30 s of ticks", |ledger| {
        complete(ledger, "every", 1, 30) && complete(ledger, "fifth", 5, 6)
    });
    assert_none_twice(&ledger);
    assert!(ledger.iter().all(|entry| entry.attempt == 1));
    for consumer in &both {
        assert!(consumer.metric("cron_attempts_started_total", &[]) > 0.0, "one of them does nothing");
    }
    producer.stop();
    both.into_iter().for_each(Program::stop);
    other.stop();
}

#[test]
fn with_one_partition_one_consumer_is_idle() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let _producer = world.producer(&jobs, &["--partitions", "1"]);
    let both = two_consumers(&world, 1);
    let begun = ticks(&world.ledger(), "every").len();
    world.await_ledger("5 more ticks", |ledger| ticks(ledger, "every").len() >= begun + 5);
    let mut started = both.each_ref().map(|c| c.metric("cron_attempts_started_total", &[]));
    started.sort_by(f64::total_cmp);
    assert!(started[0] == 0.0 && started[1] >= 5.0, "{started:?}");
}

#[test]
fn three_partitions_are_split_two_to_one() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let _producer = world.producer(&jobs, &["--partitions", "3"]);
    let mut both = two_consumers(&world, 3);
    let mut shares = both.each_mut().map(partitions);
    shares.sort_unstable();
    assert_eq!(shares, [1, 2]);
    world.await_ledger("both work", |_| {
        both.iter().all(|consumer| consumer.metric("cron_attempts_started_total", &[]) > 0.0)
    });
    assert_none_twice(&world.ledger());
}

#[test]
fn a_producer_that_is_started_again_publishes_no_tick_twice() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    let producer = world.producer(&jobs, &[]);
    world.await_ledger("3 ticks", |ledger| ticks(ledger, "every").len() >= 3);
    producer.stop();
    let before = ticks(&world.ledger(), "every").len();
    let producer = world.producer(&jobs, &[]);
    world.await_ledger("3 more ticks", |ledger| ticks(ledger, "every").len() >= before + 3);
    producer.stop();
    consumer.stop();
    assert_none_twice(&world.ledger());
}

#[test]
fn a_job_file_with_problems_is_not_used_and_every_problem_is_told() {
    let world = World::new();
    let jobs = world.jobs("61 * * * *  {a}  true\n* * * * *  nowhere  true\n");
    let mut producer = world.producer(&jobs, &[]);
    assert_eq!(producer.wait().code(), Some(2));
    let log = producer.log();
    assert!(log.contains("jobs.cron:1: ") && log.contains("jobs.cron:2: "), "{log}");
}
