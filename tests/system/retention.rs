//! What retention deletes, and a retry topic that somebody deletes, as `cronctl verify` sees them afterwards.

use chrono::{SecondsFormat, TimeDelta};
use kafka_cron::common::topics;

use crate::checks::{complete, ticks, verify};
use crate::support::programs::{Program, World};
use crate::support::{raw, unique};

/// A second partition may be a tick or two ahead of the first.
const BEHIND: TimeDelta = TimeDelta::seconds(3);

#[test]
fn what_retention_deleted_is_accounted_for_and_a_retry_that_is_gone_is_found() {
    let world = World::new();
    let [every, bad] = ["every", "bad"].map(unique);
    let jobs = world.jobs(&format!(
        "* * * * * *    {{a}}  [name={every}]  {{note}}\n\
         */4 * * * * *  {{a}}  [name={bad} retries=1 backoff=1h]  {{note}}; false\n",
    ));
    let producer = world.producer(&jobs, &[]);
    let retry = topics::retry(&world.a);
    let consumers = [world.a.as_str(), &retry].map(|topic| world.consumer(topic, &["--workers", "4"]));
    let ledger = world.await_ledger("ticks of both jobs", |ledger| {
        complete(ledger, &every, 1, 12) && complete(ledger, &bad, 4, 2)
    });
    producer.stop();
    consumers.into_iter().for_each(Program::stop);
    let published = ticks(&ledger, &every);
    let (since, until) = (published[0], *published.last().unwrap() - BEHIND);
    let (code, report) = verify(&world, &jobs, since, until);
    assert_eq!((code, &report["ticks"]["message_deleted"]), (0, &0.into()), "{report:#}");

    // Of each partition some messages, all of which were run.
    for partition in [0, 1] {
        raw::delete_records(&world.brokers, world.a.as_str(), partition, 3);
    }
    let (code, report) = verify(&world, &jobs, since, until);
    assert_eq!((code, &report["ticks"]["published"]), (0, &report["ticks"]["named"]), "{report:#}");
    assert!(report["ticks"]["message_deleted"].as_u64() >= Some(1), "{report:#}");
    let note = report["notes"][0].as_str().unwrap_or_default();
    assert!(note.contains("what became of those is taken from cron-runs"), "{report:#}");
    // The same where nobody says from when on, and little is left.
    let (jobs_path, clusters) = (jobs.display().to_string(), format!("{},{}", world.a, world.b));
    let until_text = until.to_rfc3339_opts(SecondsFormat::Secs, true);
    let args = ["verify", &jobs_path, "--clusters", &clusters, "--until", &until_text];
    let (code, out, err) = world.cronctl(&args);
    assert_eq!((code, out.lines().last()), (0, Some("every tick is accounted for")), "{out}{err}");

    // The retries that wait are gone with their topic.
    raw::delete_topic(&world.brokers, &retry);
    let (code, report) = verify(&world, &jobs, since, until);
    let lost = report["lost_retries"]["first"][0]["why"].as_str().unwrap_or_default();
    assert!(code == 1 && lost.starts_with("attempt 2 was passed on"), "{report:#}");
}
