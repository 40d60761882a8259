//! Topics that others have created, and whose messages the broker packs.

use kafka_cron::common::broker::Broker as _;
use kafka_cron::common::topics::{self, TopicSpec};

use crate::checks::{assert_none_twice, ticks};
use crate::support::broker::{OwnBroker, await_groups, version};
use crate::support::programs::{PATIENCE, World};
use crate::support::{soon, wait_until};

#[test]
fn jobs_run_are_retried_and_given_up_in_topics_that_the_broker_packs() {
    let own = OwnBroker::start(version());
    await_groups(&mut *own.broker().client("test"));
    let world = World::on(&own.brokers());
    let (cluster, retry) = (world.a.to_string(), topics::retry(&world.a));
    let all = [(cluster.clone(), "zstd"), (retry.clone(), "lz4"), (topics::dead(&world.a), "lz4")];
    for (name, codec) in all.into_iter().chain([(topics::RUNS.to_owned(), "zstd")]) {
        let settings = vec![("compression.type", codec.to_owned())];
        let spec = TopicSpec { name, partitions: 1, replication_factor: 1, settings };
        world.client().create_topic(&spec, soon()).unwrap();
    }
    // The first goes on only if the leader reads on `cron-runs` that the run before it has ended.
    let jobs = world.jobs(
        "* * * * * *    {a}  [name=one overlap=skip]         {note}\n\
         */2 * * * * *  {a}  [name=bad retries=1 backoff=1s] {note}; false\n",
    );
    let _producer = world.producer(&jobs, &[]);
    let _consumers = [&cluster, &retry].map(|topic| world.consumer(topic, &["--workers", "4"]));
    let ledger = world.await_ledger("runs and a second attempt", |ledger| {
        ticks(ledger, "one").len() >= 4 && ledger.iter().any(|entry| entry.attempt == 2)
    });
    assert_none_twice(&ledger);
    wait_until("a letter can be read", PATIENCE, || {
        let (exit, letters, _) = world.cronctl(&["dead", "list", "--cluster", &cluster]);
        (exit == 0 && letters.contains("bad")).then_some(())
    });
}
