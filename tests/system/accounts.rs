//! Every tick is accounted for, and `cronctl verify` would say if it were not.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::broker::{ProduceBatch, Record, TopicPartition};
use kafka_cron::common::model::{Attempt, RunId};
use kafka_cron::common::wire;
use kafka_cron::producer::jobfile;
use serde_json::Value;

use crate::checks::{complete, ticks, verify};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::{soon, unique, wait_until};

/// A second partition may be a tick or two ahead of the first.
const BEHIND: TimeDelta = TimeDelta::seconds(3);

/// Publishes the run of a job's tick once more, for another instant.
fn publish(world: &World, jobs: &Path, job: &str, at: DateTime<Utc>) {
    let content = std::fs::read(jobs).unwrap();
    let file = jobfile::parse("jobs", &content, &[world.a.clone(), world.b.clone()]).unwrap();
    let job = file.jobs.iter().find(|known| known.name.as_str() == job).unwrap();
    let run = Arc::new(job.run(at, &file.revision));
    let to = TopicPartition { topic: job.cluster.to_string(), partition: 0 };
    let value = Some(wire::encode(&Attempt { run, attempt: 1, attempts_left: 0, not_before: None }));
    let record = Record { key: None, value, timestamp_ms: at.timestamp_millis() };
    let batch = ProduceBatch { to, records: vec![record] };
    world.client().produce(&[batch], soon()).remove(0).unwrap();
}

#[test]
fn every_tick_of_a_producers_life_is_accounted_for_and_no_other() {
    let world = World::new();
    let [every, fifth, flaky] = ["every", "fifth", "flaky"].map(unique);
    let jobs = world.jobs(&format!(
        "* * * * * *    {{a}}  [name={every}]                      {{note}}; echo done\n\
         */5 * * * * *  {{b}}  [name={fifth}]                      {{note}}\n\
         @every 3s      {{a}}  [name={flaky} retries=1 backoff=100ms]  {{note}}; test $CRON_ATTEMPT -eq 2\n",
    ));
    let producer = world.producer(&jobs, &[]);
    let retry = format!("{}-retry", world.a);
    let topics = [world.a.as_str(), world.b.as_str(), &retry];
    let consumers = topics.map(|topic| world.consumer(topic, &["--workers", "2"]));
    let ledger = world.await_ledger("15 s of ticks", |ledger| complete(ledger, &every, 1, 15));
    producer.stop();
    consumers.into_iter().for_each(Program::stop);

    let published = ticks(&ledger, &every);
    let (since, until) = (published[0], *published.last().unwrap() - BEHIND);
    let (code, report) = verify(&world, &jobs, since, until);
    assert_eq!(code, 0, "{report:#}");
    let named = report["ticks"]["named"].as_u64().unwrap();
    assert!(named >= 12 + 2 + 3 && report["ticks"]["published"] == named, "{report:#}");

    // Before its life no producer led these clusters, and nothing was owed.
    let (code, report) = verify(&world, &jobs, since - TimeDelta::hours(24), until);
    assert!(
        code == 0 && report["ticks"]["unaccounted"] == 0 && report["asked_since"].is_string(),
        "{report:#}"
    );
    assert!(report["ticks"]["named"].as_u64() >= Some(named), "{report:#}");
    // After its life nothing was published, and nobody said so.
    let (code, report) = verify(&world, &jobs, since, until + TimeDelta::seconds(60));
    assert!(code == 1 && report["unaccounted"]["total"].as_u64() >= Some(50), "{report:#}");

    shows_its_runs(&world, &every, published[0]);

    let five = ticks(&world.ledger(), &fifth)[0];
    publish(&world, &jobs, &fifth, five + TimeDelta::seconds(1));
    let (code, report) = verify(&world, &jobs, since, until);
    assert_eq!((code, &report["too_many"]["total"]), (1, &1.into()), "{report:#}");
}

/// `cronctl runs` lists the runs of a job, and `cronctl run` tells one.
fn shows_its_runs(world: &World, job: &str, tick: DateTime<Utc>) {
    let runs = wait_until("the runs have ended", PATIENCE, || {
        let (code, out, err) =
            world.cronctl(&["runs", "--cluster", world.a.as_str(), "--job", job, "--json"]);
        assert_eq!(code, 0, "{err}");
        let runs: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        runs.iter().filter(|run| run["state"] == "succeeded").nth(11).is_some().then_some(runs)
    });
    let id = RunId::of(&job.parse().unwrap(), tick).to_string();
    let run = runs.iter().find(|run| run["run"] == id.as_str()).unwrap();
    assert!(run["lateness_ms"].is_i64() && run["duration_ms"].is_i64() && run["worker"].is_string(), "{run}");
    assert_eq!(run["attempts"], 1);
    let (code, out, err) = world.cronctl(&["run", &id, "--clusters", world.a.as_str()]);
    assert_eq!(code, 0, "{err}");
    let told: Vec<usize> = ["published: ", "attempt 1 claimed by ", "attempt 1 succeeded", "---", "\ndone\n"]
        .iter()
        .map(|part| out.find(part).unwrap_or_else(|| panic!("no {part:?}: {out}")))
        .collect();
    assert!(told.is_sorted(), "{out}");
    let nothing = RunId::of(&job.parse().unwrap(), tick - TimeDelta::days(1)).to_string();
    assert_eq!(world.cronctl(&["run", &nothing, "--clusters", world.a.as_str()]).0, 1);
}
