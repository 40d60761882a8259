//! A program that cannot do its work says so, whatever the cause: it is not ready within a stated time, its log has one
//! error line that names the cause and the cure, and a metric shows it; and when the cause is gone, all of that is over.
//!
//! Each cause is a row, and each is caused for real. Programs wait side by side: what takes time here is patience.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use kafka_cron::common::broker::Broker;
use kafka_cron::common::topics::{self, TopicSpec};

use crate::support::broker::{OwnBroker, await_groups, free_port, version};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::raw::{self, Resource};
use crate::support::{soon, wait_until};

/// Access lists, which shut no client out until there are some, and small groups.
const SETTINGS: [&str; 4] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
    "super.users=User:root",
    "group.max.size=2",
];

/// Jobs that keep all rooms of both programs at work.
const JOBS: &str = "* * * * * *  {a}  [name=every]  true\n\
                    * * * * * *  {a}  [name=bad retries=1 backoff=1s]  false\n\
                    * * * * * *  {a}  [name=one overlap=skip]  true\n";

/// Waits until a program says that it cannot do its work: `/readyz` has a line that holds all `says`, the metric has the
/// duty of that line with the reason, and the log has one error line about it.
fn await_told(what: &str, program: &Program, reason: &str, says: &[&str]) {
    await_told_since(0, what, program, reason, says);
}

/// As [`await_told`]; of the log only what follows its first so many bytes counts.
fn await_told_since(logged: usize, what: &str, program: &Program, reason: &str, says: &[&str]) {
    let end = Instant::now() + PATIENCE * 2;
    let duty = loop {
        let page = program.get("/readyz");
        let (code, lines) = page.clone().unwrap_or_default();
        let fits =
            |line: &&str| line.contains(": not done for ") && says.iter().all(|part| line.contains(part));
        let duties = lines.lines().filter(fits).filter_map(|line| line.split(": ").next());
        let shows = |duty: &&str| {
            let labels = [format!("duty=\"{duty}\""), format!("reason=\"{reason}\"")];
            program.metric("cron_failing", &[&labels[0], &labels[1]]) == 1.0
        };
        if let Some(duty) = duties.filter(|_| code == 503).find(shows) {
            break duty.to_owned();
        }
        assert!(
            Instant::now() < end,
            "{what}: no duty fails for {reason} and says {says:?}; /readyz: {page:?}"
        );
        std::thread::park_timeout(Duration::from_millis(100));
    };
    let told = format!(" {duty}: not done for");
    let said = wait_until(&format!("{what}: {duty} is told in the log"), PATIENCE, || {
        let log = program.log();
        let of = |line: &&str| line.contains("[ERROR]") && line.contains(&told);
        Some(log[logged..].lines().filter(of).count()).filter(|count| *count > 0)
    });
    assert_eq!(said, 1, "{what}: {duty} is to be told once in the log");
}

/// Waits until a program is ready, and no metric of a failure is left.
fn await_ready(what: &str, program: &Program) {
    wait_until(&format!("{what}: ready; now {:?}", program.get("/readyz")), PATIENCE * 2, || {
        let is_ready = program.get("/readyz").is_some_and(|(code, _)| code == 200);
        (is_ready && program.metric("cron_failing", &[]) == 0.0).then_some(())
    });
}

/// A cause: its name, and what it does to a world of its own on a broker of `SETTINGS`. It asserts what is told.
type Cause = (&'static str, fn(&str, &World));

const WORKERS: [&str; 2] = ["--workers", "4"];

/// Both programs at work on the first cluster, and well.
fn both(what: &str, world: &World) -> [Program; 2] {
    let programs = [world.producer(&world.jobs(JOBS), &[]), world.consumer(world.a.as_str(), &WORKERS)];
    programs.iter().for_each(|program| await_ready(what, program));
    let begun = || programs[1].metric("cron_attempts_total", &["outcome=\"failed\""]) > 0.0;
    wait_until(&format!("{what}: jobs are run"), PATIENCE, || begun().then_some(()));
    programs
}

/// Shuts both programs out of a resource, and lets them in again when one has told of it.
fn shut_out(what: &str, world: &World, of: (Resource, &str), who: usize, reason: &str, says: &[&str]) {
    let programs = both(what, world);
    raw::shut_out(&world.brokers, of.0, of.1);
    await_told(what, &programs[who], reason, says);
    raw::let_in(&world.brokers, of.0, of.1);
    await_ready(what, &programs[who]);
}

const RIGHTS: &str = "docs/OPERATIONS.md";

const CAUSES: [Cause; 16] = [
    ("a session that the coordinator refuses to a producer", |what, world| {
        let producer = world.producer(&world.jobs(JOBS), &["--session-timeout", "2s"]);
        await_told(
            what,
            &producer,
            "invalid_session_timeout",
            &["--session-timeout", "group.min.session.timeout.ms"],
        );
    }),
    ("a session that the coordinator refuses to a consumer", |what, world| {
        world.client().create_topic(&topic(world.a.as_str()), soon()).unwrap();
        let consumer = world.consumer(world.a.as_str(), &["--session-timeout", "2s"]);
        await_told(
            what,
            &consumer,
            "invalid_session_timeout",
            &["--session-timeout", "group.min.session.timeout.ms"],
        );
    }),
    ("the leaders' group is shut", |what, world| {
        let group = format!("leader-{}", world.a);
        shut_out(what, world, (Resource::Group, &group), 0, "group_authorization_failed", &[&group, RIGHTS]);
    }),
    ("the consumers' group is shut", |what, world| {
        let group = world.a.as_str();
        shut_out(what, world, (Resource::Group, group), 1, "group_authorization_failed", &[group, RIGHTS]);
    }),
    ("the cluster's topic is shut to the producer", |what, world| {
        let topic = world.a.as_str();
        shut_out(what, world, (Resource::Topic, topic), 0, "topic_authorization_failed", &[topic, RIGHTS]);
    }),
    ("the cluster's topic is shut to the consumer", |what, world| {
        let topic = world.a.as_str();
        shut_out(what, world, (Resource::Topic, topic), 1, "topic_authorization_failed", &[topic, RIGHTS]);
    }),
    ("the retry topic is shut", |what, world| {
        let topic = topics::retry(&world.a);
        shut_out(what, world, (Resource::Topic, &topic), 1, "topic_authorization_failed", &[&topic, RIGHTS]);
    }),
    ("the dead-letter topic is shut", |what, world| {
        let topic = topics::dead(&world.a);
        let programs = both(what, world);
        let retries = world.consumer(&topics::retry(&world.a), &WORKERS);
        raw::shut_out(&world.brokers, Resource::Topic, &topic);
        for program in [&programs[0], &retries] {
            await_told(what, program, "topic_authorization_failed", &[&topic, RIGHTS]);
        }
        raw::let_in(&world.brokers, Resource::Topic, &topic);
        [&programs[0], &retries].iter().for_each(|program| await_ready(what, program));
    }),
    ("a group that is full", |what, world| {
        let jobs = world.jobs(JOBS);
        let members = [(); 3].map(|()| world.producer(&jobs, &[]));
        let is_refused = |member: &&Program| {
            member.get("/readyz").is_some_and(|(_, page)| page.contains("group_max_size_reached"))
        };
        // Which of them it is depends on who comes first.
        let refused = wait_until("one is refused", PATIENCE, || members.iter().find(is_refused));
        await_told(what, refused, "group_max_size_reached", &["group.max.size"]);
    }),
    ("a group that a program of another kind uses", |what, world| {
        world.client().create_topic(&topic(world.a.as_str()), soon()).unwrap();
        raw::join_as_stranger(&world.brokers, world.a.as_str());
        let consumer = world.consumer(world.a.as_str(), &WORKERS);
        await_told(what, &consumer, "inconsistent_group_protocol", &[world.a.as_str(), "another kind"]);
    }),
    ("a topic that is not there", |what, world| {
        let consumer = world.consumer(world.a.as_str(), &WORKERS);
        await_told(what, &consumer, "unknown_topic_or_partition", &[world.a.as_str(), "producer"]);
    }),
    ("a topic that is deleted while no producer runs", |what, world| {
        let [producer, consumer] = both(what, world);
        producer.stop();
        raw::delete_topic(&world.brokers, world.a.as_str());
        await_told(what, &consumer, "unknown_topic_or_partition", &[world.a.as_str(), "producer"]);
        let producer = world.producer(&world.jobs(JOBS), &[]);
        [&producer, &consumer].iter().for_each(|program| await_ready(what, program));
    }),
    ("a port at which nothing listens", |what, world| {
        let brokers = format!("127.0.0.1:{}", free_port());
        for program in elsewhere(world, &brokers) {
            await_told(what, &program, "unreachable", &[&brokers, "--brokers"]);
        }
    }),
    ("a port that takes connections and never answers", |what, world| {
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let brokers = mute.local_addr().unwrap().to_string();
        for program in elsewhere(world, &brokers) {
            await_told(what, &program, "unreachable", &[&brokers, "no answer in time"]);
        }
    }),
    ("a port that speaks HTTP", |what, world| {
        let page = world.consumer(world.b.as_str(), &[]);
        wait_until("the page is served", PATIENCE, || page.get("/healthz"));
        let brokers = format!("127.0.0.1:{}", page.port());
        for program in elsewhere(world, &brokers) {
            await_told(what, &program, "unreachable", &["HTTP"]);
        }
    }),
    ("brokers that advertise an address that is not known here", |what, _| {
        let own =
            OwnBroker::start_with(version(), &["advertised.listeners=PLAINTEXT://kafka-1.invalid:9092"]);
        let world = World::on(&own.brokers());
        for program in elsewhere(&world, &own.brokers()) {
            await_told(what, &program, "unreachable", &["kafka-1.invalid", "advertised.listeners"]);
        }
    }),
];

/// A producer and a consumer that are given these brokers.
fn elsewhere(world: &World, brokers: &str) -> [Program; 2] {
    let brokers = ["--brokers", brokers];
    [world.producer(&world.jobs(JOBS), &brokers), world.consumer(world.a.as_str(), &brokers)]
}

fn topic(name: &str) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: 1, replication_factor: 1, settings: Vec::new() }
}

#[test]
fn whatever_keeps_a_program_from_its_work_is_told_with_its_cure() {
    let own = OwnBroker::start_with(version(), &SETTINGS);
    await_groups(&mut *own.broker().client("test"));
    let brokers = own.brokers();
    std::thread::scope(|scope| {
        for (what, cause) in CAUSES {
            let brokers = &brokers;
            scope.spawn(move || cause(what, &World::on(brokers)));
        }
    });
}

/// Causes that concern `cron-runs`, which all clusters share: one after the other, on a broker of their own. What each is
/// called, how it begins, how it ends, and what each of the programs says.
#[test]
fn whatever_is_the_matter_with_cron_runs_is_told_with_its_cure() {
    let own = OwnBroker::start_with(version(), &SETTINGS);
    await_groups(&mut *own.broker().client("test"));
    let world = World::on(&own.brokers());
    let (brokers, runs) = (own.brokers(), topics::RUNS);
    let [producer, consumer] = both("at first", &world);
    let set = |setting: &str, value: Option<&str>| raw::set_topic(&brokers, runs, setting, value);
    let row = |what: &str, begin: &dyn Fn(), end: &dyn Fn(), reason: &str, says: &[&str]| {
        // The consumer took its time to be ready again: a producer that failed meanwhile would have said so already.
        await_ready(what, &producer);
        let logged = [&producer, &consumer].map(|program| program.log().len());
        begin();
        await_told_since(logged[0], what, &producer, reason, says);
        await_told_since(logged[1], what, &consumer, reason, says);
        end();
        await_ready(what, &producer);
        await_ready(what, &consumer);
    };
    row(
        "records that are too large for it",
        &|| set("max.message.bytes", Some("100")),
        &|| set("max.message.bytes", None),
        "message_too_large",
        &[runs, "max.message.bytes"],
    );
    row(
        "it is shut",
        &|| raw::shut_out(&brokers, Resource::Topic, runs),
        &|| raw::let_in(&brokers, Resource::Topic, runs),
        "topic_authorization_failed",
        &[runs, RIGHTS],
    );
    row("the broker is frozen", &|| own.freeze(), &|| own.thaw(), "unreachable", &["no answer in time"]);
    row("the broker is gone", &|| own.kill(), &|| own.restart(), "unreachable", &["--brokers"]);
    let logged = producer.log().len();
    set("cleanup.policy", Some("compact"));
    await_told_since(logged, "it is compacted", &producer, "settings", &[runs, "cleanup.policy"]);
    set("cleanup.policy", Some("delete"));
    await_ready("it is compacted", &producer);
    let logged = consumer.log().len();
    producer.stop();
    raw::delete_topic(&brokers, runs);
    await_told_since(logged, "it is deleted", &consumer, "unknown_topic_or_partition", &[runs, "producer"]);
}
