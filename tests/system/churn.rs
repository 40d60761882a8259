//! Consumers that come and go beside one that works: nothing is lost or run twice, and the one that stays does not grow.

use std::time::Duration;

use crate::checks::{assert_none_twice, await_ready, complete};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::wait_until;

/// What a program has open, how many threads it runs, and its memory in KiB: the least of each within two seconds, because a
/// command that runs or is being started has descriptors, too.
fn size(program: &Program) -> [u64; 3] {
    let once = |_| {
        std::thread::park_timeout(Duration::from_millis(20));
        let descriptors = u64::try_from(program.descriptors()).unwrap();
        [descriptors, program.of_process("Threads"), program.of_process("VmRSS")]
    };
    (0..100).map(once).reduce(|least, now| std::array::from_fn(|what| least[what].min(now[what]))).unwrap()
}

#[test]
fn thirty_rebalances_lose_and_double_nothing_and_cost_8_descriptors_2_threads_and_8_mib_at_most() {
    // Each visit is two of them: one more comes, and goes.
    let visits = if std::env::var_os("KAFKA_CRON_TEST_LONG").is_some() { 500 } else { 15 };
    let world = World::new();
    let line = |n: u32| format!("* * * * * *  {{a}}  [name=n{n}]  {{note}}\n");
    let jobs = world.jobs(&(0..4).map(line).collect::<String>());
    let producer = world.producer(&jobs, &["--partitions", "2"]);
    let flags = ["--workers", "4", "--session-timeout", "6s"];
    let consumer = world.consumer(world.a.as_str(), &flags);
    world.await_ledger("it works", |ledger| !ledger.is_empty());
    let rebalances = || consumer.metric("cron_rebalances_total", &[]);
    let visit = || {
        let before = rebalances();
        let other = world.consumer(world.a.as_str(), &flags);
        await_ready(&other);
        wait_until("the one that stays has shared", PATIENCE, || (rebalances() > before).then_some(()));
        let shared = rebalances();
        other.stop();
        wait_until("it has everything again", PATIENCE, || (rebalances() > shared).then_some(()));
    };
    // What the first ones open stays open.
    (0..3).for_each(|_| visit());
    let before = size(&consumer);
    (3..visits).for_each(|_| visit());
    let after = size(&consumer);
    for (number, (what, most)) in
        [("descriptors", 8), ("threads", 2), ("KiB", 8 * 1024)].into_iter().enumerate()
    {
        assert!(after[number] <= before[number] + most, "{what}: {before:?} became {after:?}");
    }
    assert!(rebalances() >= 2.0 * f64::from(visits), "{}", rebalances());
    producer.stop();
    let jobs = ["n0", "n1", "n2", "n3"];
    let ledger = world.await_ledger("nothing is missing", |ledger| {
        jobs.iter().all(|job| complete(ledger, job, 1, usize::try_from(visits).unwrap() / 2))
    });
    assert_none_twice(&ledger);
    // What was published last is run: no consumer holds anything back.
    let left = || consumer.metric("cron_lag_messages", &[]);
    wait_until("all is run", PATIENCE, || (left() == 0.0).then_some(()));
    std::thread::park_timeout(Duration::from_millis(500));
    assert_none_twice(&world.ledger());
}
