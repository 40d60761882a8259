//! Topics that vanish, or are not as they should be, while programs run.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use kafka_cron::common::clock::{Clock, SystemClock};
use kafka_cron::common::topics::{self, LEADER, RUNS, TopicSpec};

use crate::checks::{assert_none_twice, await_leader, ticks, verify};
use crate::support::broker::{OwnBroker, version};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::{raw, soon, wait_until};

fn is_ready(program: &Program) -> bool {
    program.get("/readyz").is_some_and(|(code, _)| code == 200)
}

#[test]
fn topics_that_are_deleted_while_programs_run_come_back_within_seconds() {
    let own = OwnBroker::start(version());
    let world = World::on(&own.brokers());
    let jobs = world.jobs(
        "* * * * * *    {a}  [name=every]  {note}\n\
         */2 * * * * *  {a}  [name=bad retries=1 backoff=500ms]  {note}; test $CRON_ATTEMPT -gt 1\n",
    );
    let retry = topics::retry(&world.a);
    let mut producers = [world.producer(&jobs, &[]), world.producer(&jobs, &[])];
    let consumers = [world.a.as_str(), &retry].map(|topic| world.consumer(topic, &["--workers", "4"]));
    let retried = || world.ledger().iter().filter(|entry| entry.attempt == 2).count();
    world.await_ledger("all work", |ledger| ticks(ledger, "every").len() >= 3);
    wait_until("retries too", PATIENCE, || (retried() >= 1).then_some(()));
    for topic in [&retry, LEADER] {
        let (begun, before) = (SystemClock.now(), retried());
        raw::delete_topic(&own.brokers(), topic);
        let anew = format!("topic {topic} was deleted and is made anew");
        for producer in &mut producers {
            producer.await_log(&anew);
        }
        let after = SystemClock.now() - begun;
        assert!(after < TimeDelta::seconds(15), "{topic} came back after {after}");
        world.await_ledger("ticks go on", |ledger| {
            ticks(ledger, "every")
                .last()
                .is_some_and(|last| *last > SystemClock.now() - TimeDelta::seconds(2))
                && ticks(ledger, "every").last().is_some_and(|last| *last > begun + TimeDelta::seconds(5))
        });
        wait_until("retries go on", PATIENCE, || (retried() >= before + 2).then_some(()));
        wait_until("all are ready", PATIENCE, || {
            producers.iter().chain(&consumers).all(is_ready).then_some(())
        });
    }
    let until = SystemClock.now();
    let leading =
        |producers: &[Program; 2]| producers.iter().filter(|producer| crate::checks::leads(producer)).count();
    wait_until("one leads", PATIENCE, || (leading(&producers) == 1).then_some(()));
    world.await_ledger("what was due has run", |ledger| {
        ticks(ledger, "every").last().is_some_and(|last| *last > until)
    });
    producers.into_iter().for_each(Program::stop);
    consumers.into_iter().for_each(Program::stop);
    let ledger = world.ledger();
    assert_none_twice(&ledger);
    let (_, report) = verify(&world, &jobs, ticks(&ledger, "every")[0], until);
    // A retry that waited when its topic was deleted went with it, and that is said.
    let lists = report.as_object().unwrap().iter().filter(|(name, _)| *name != "lost_retries");
    let found = lists.filter_map(|(name, list)| Some((name, list.get("total")?.as_u64()?)));
    let found: Vec<_> = found.filter(|(_, total)| *total > 0).collect();
    assert!(found.is_empty() && report["lost_retries"]["total"].as_u64() <= Some(1), "{report:#}");
}

#[test]
fn what_brokers_pass_on_does_not_count_and_what_others_have_set_up_is_told() {
    // Settings of the broker that would delete letters, compact events, or refuse records.
    let own = OwnBroker::start_with(
        version(),
        &[
            "log.retention.bytes=1048576",
            "log.segment.bytes=1048576",
            // Not less: a broker holds its own records about groups against them, and those of 4.0 are some milliseconds old.
            "log.message.timestamp.after.max.ms=1000",
            "log.message.timestamp.before.max.ms=1000",
            "message.max.bytes=20000",
            "compression.type=zstd",
            "log.roll.ms=1000",
        ],
    );
    let world = World::on(&own.brokers());
    let mut client = world.client();
    let dead = topics::dead(&world.a);
    for (name, setting, value) in [(RUNS, "cleanup.policy", "compact"), (&dead, "retention.bytes", "1024")] {
        let by_broker = ("message.timestamp.type", "LogAppendTime".to_owned());
        let settings = vec![(setting, value.to_owned()), by_broker];
        let spec = TopicSpec { name: name.to_owned(), partitions: 2, replication_factor: 1, settings };
        client.create_topic(&spec, soon()).unwrap();
    }
    let jobs = world.jobs("* * * * * *  {a}  [name=every]  {note}\n");
    let mut producer = world.producer(&jobs, &[]);
    producer.await_log("has retention.bytes=1024: letters are deleted, read or not");
    let differs = |producer: &Program, topic: &str, setting: &str| {
        let labels = [format!("topic=\"{topic}\""), format!("setting=\"{setting}\"")];
        producer.metric("cron_topic_settings_differ", &labels.each_ref().map(String::as_str))
    };
    wait_until("the metric says so", PATIENCE, || {
        (differs(&producer, &dead, "retention.bytes") == 1.0).then_some(())
    });
    assert_eq!(differs(&producer, RUNS, "cleanup.policy"), 1.0);
    let why = wait_until("it is not ready", PATIENCE, || {
        producer.get("/readyz").filter(|(code, why)| *code == 503 && why.contains("cleanup.policy=compact"))
    });
    assert!(why.1.contains("kafka-configs.sh"), "the cure is named: {}", why.1);
    for topic in [RUNS, &dead] {
        raw::delete_topic(&own.brokers(), topic);
    }
    wait_until("it is ready", PATIENCE, || is_ready(&producer).then_some(()));
    wait_until("nothing differs any more", PATIENCE, || {
        (producer.metric("cron_topic_settings_differ", &[]) == 0.0).then_some(())
    });
    for spec in topics::all(&[world.a.clone(), world.b.clone()], 2, 1) {
        let names: Vec<&str> = spec.settings.iter().map(|(name, _)| *name).collect();
        let have: BTreeSet<_> =
            client.topic_settings(&spec.name, &names, soon()).unwrap().into_iter().collect();
        let want: BTreeSet<_> =
            spec.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(have, want, "{}", spec.name);
    }
    let after = await_leader(&producer);
    assert!(after < Duration::from_secs(30), "it leads after {after:?}");
    producer.stop();
}
