//! The topic of events as others may have made it, or make it anew under the programs; and runs that no consumer will run.

use kafka_cron::common::broker::Broker as _;
use kafka_cron::common::topics::{self, TopicSpec};

use crate::checks::{assert_none_twice, await_leader, ticks};
use crate::support::broker::{OwnBroker, await_groups, version};
use crate::support::programs::{PATIENCE, World};
use crate::support::{raw, soon, wait_until};

#[test]
fn a_compacted_topic_of_events_lets_a_producer_lead_and_one_that_is_made_anew_loses_nothing() {
    let own = OwnBroker::start(version());
    await_groups(&mut *own.broker().client("test"));
    let world = World::on(&own.brokers());
    let settings = vec![("cleanup.policy", "compact".to_owned())];
    let spec = TopicSpec { name: topics::RUNS.to_owned(), partitions: 2, replication_factor: 1, settings };
    world.client().create_topic(&spec, soon()).unwrap();
    let jobs = world.jobs("* * * * * *  {a}  [name=every retries=2 backoff=1s]  {note}; sleep 3\n");
    let producer = world.producer(&jobs, &["--lease", "12s"]);
    await_leader(&producer);
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "16", "--lease", "12s"]);
    world.await_ledger("it works", |ledger| ticks(ledger, "every").len() >= 5);
    // Attempts are under way whose ends are then said on the new topic.
    raw::delete_topic(&world.brokers, topics::RUNS);
    let begun = ticks(&world.ledger(), "every").len();
    let ledger = world.await_ledger("it goes on", |ledger| ticks(ledger, "every").len() >= begun + 18);
    assert_none_twice(&ledger);
    assert!(ledger.iter().all(|entry| entry.attempt == 1), "none is tried again: {ledger:?}");
}

#[test]
fn a_job_goes_on_when_the_run_before_it_was_deleted_with_its_topic() {
    let world = World::new();
    let jobs = world.jobs("* * * * * *  {a}  [name=one overlap=skip]  {note}\n");
    let producer = world.producer(&jobs, &["--lease", "6s"]);
    let skipped = |least: f64| {
        let count = || producer.metric("cron_ticks_skipped_total", &[world.a.as_str()]);
        wait_until("ticks are skipped", PATIENCE, || (count() >= least).then_some(()));
    };
    skipped(2.0);
    let mut client = world.client();
    let before = client.topic(world.a.as_str(), soon()).unwrap().unwrap().id;
    raw::delete_topic(&world.brokers, world.a.as_str());
    wait_until("the topic is there again", PATIENCE, || {
        client.topic(world.a.as_str(), soon()).unwrap().filter(|topic| topic.id != before).map(drop)
    });
    let _consumer = world.consumer(world.a.as_str(), &["--workers", "2"]);
    world.await_ledger("the job goes on", |ledger| ticks(ledger, "one").len() >= 3);
    assert!(producer.metric("cron_runs_unclaimable_total", &[world.a.as_str()]) >= 1.0);
}
