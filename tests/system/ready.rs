//! A program that cannot do its work says so, whatever the cause: within a stated time it is not ready, its log has one
//! error line that names the cause and the cure, and a metric shows it; and when the cause is gone, all of that is over.
//!
//! One row a cause, all of them caused for real.

use std::time::Duration;

use kafka_cron::common::topics;

use crate::support::broker::{OwnBroker, VERSION, free_port};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::raw::{self, Resource};
use crate::support::wait_until;

/// With access lists, which shut nobody out until there are some.
const WITH_ACCESS_LISTS: [&str; 4] = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
    "super.users=User:root",
    "group.max.size=3",
];

/// Jobs that have all rooms of both programs at work.
const JOBS: &str = "* * * * * *  {a}  [name=every]  true\n\
                    * * * * * *  {a}  [name=bad retries=1 backoff=1s]  false\n\
                    * * * * * *  {a}  [name=one overlap=skip]  true\n";

/// What is seen of a program that cannot do its work.
#[derive(Clone, Copy)]
struct Told<'a> {
    /// The duty, as in the metric and at the line's beginning.
    duty: &'a str,
    /// The word for the cause in the metric.
    reason: &'a str,
    /// What the line says of cause and cure.
    says: &'a [&'a str],
}

/// Waits until a program tells of a duty that it cannot do, everywhere.
fn await_told(what: &str, program: &Program, told: Told) {
    let begins = format!("{}: ", told.duty);
    let line = wait_until(&format!("{what}: {} is on /readyz", told.duty), PATIENCE * 2, || {
        let (code, page) = program.get("/readyz")?;
        let line = page.lines().find(|line| line.starts_with(&begins)).map(str::to_owned)?;
        (code == 503 && told.says.iter().all(|part| line.contains(part))).then_some(line)
    });
    let labels = [format!("duty=\"{}\"", told.duty), format!("reason=\"{}\"", told.reason)];
    wait_until(&format!("{what}: the metric has {labels:?} ({line})"), PATIENCE, || {
        (program.metric("cron_failing", &[&labels[0], &labels[1]]) == 1.0).then_some(())
    });
    let errors = errors(program, &begins);
    assert_eq!(errors.len(), 1, "{what}: said once: {errors:?}");
}

/// The error lines of a program's log about a duty.
fn errors(program: &Program, begins: &str) -> Vec<String> {
    let log = program.log();
    let of = |line: &&str| line.contains("ERROR") && line.contains(begins) && line.contains("not done for");
    log.lines().filter(of).map(str::to_owned).collect()
}

/// Waits until a program is ready, and shows no metric of a duty that fails.
fn await_ready(what: &str, program: &Program) {
    wait_until(&format!("{what}: ready"), PATIENCE * 2, || {
        let ready = program.get("/readyz").is_some_and(|(code, _)| code == 200);
        (ready && program.metric("cron_failing", &[]) == 0.0).then_some(())
    });
}

/// How long a program may take that is fine, and is not to be mistaken for one that is not.
const LONGER_THAN_PATIENCE: Duration = Duration::from_secs(20);
