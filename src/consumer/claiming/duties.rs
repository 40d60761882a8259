//! What the claiming thread owes: positions, claims, commits, letters and rereads. A duty shows when its call fails for long.

use super::machine::{Call, Claimer, Failure, Options};
use crate::common::bounds::WAITING_PER_PARTITION;
use crate::common::broker::BrokerError;
use crate::common::http::{Duty, Health, Trouble};
use crate::common::topics;

const CALLS: [Call; 5] = [Call::Load, Call::ReadAgain, Call::Claim, Call::Commit, Call::Letter];

/// The duties of the claiming thread.
pub(super) struct Duties {
    /// One for each call, in the order of [`CALLS`], and what is attempted by it.
    each: [(Duty, String); 5],
    /// That what is due fits beside what waits.
    room: Duty,
    /// That what lies behind messages that wait is read.
    waiting: Duty,
    /// That there is a topic to write claims to, also while there is nothing to claim.
    runs: Duty,
}

impl Duties {
    /// Nothing is owed yet.
    pub(super) fn new(health: &Health, options: &Options) -> Self {
        let Options { topic, group, cluster, .. } = options;
        let each = CALLS.map(|call| {
            let (name, attempt) = match call {
                Call::Load => {
                    ("positions", format!("looking up where group {group} goes on in topic {topic}"))
                }
                Call::ReadAgain => ("retries", format!("reading what is due again from topic {topic}")),
                Call::Claim => ("claims", format!("writing claims to topic {}", topics::RUNS)),
                Call::Commit => {
                    ("commits", format!("committing what is claimed of topic {topic} for group {group}"))
                }
                Call::Letter => {
                    ("letters", format!("writing a dead letter to topic {}", topics::dead(cluster)))
                }
            };
            (health.duty(name), attempt)
        });
        let [room, waiting, runs] = ["holes", "waiting", "runs-topic"].map(|name| health.duty(name));
        Self { each, room, waiting, runs }
    }

    /// A call failed.
    pub(super) fn failed(&self, failure: &Failure) {
        let of = CALLS.iter().zip(&self.each).find(|(call, _)| **call == failure.call);
        if let Some((_, (duty, attempt))) = of {
            duty.failed(Trouble::of(attempt, &failure.error));
        }
    }

    /// After a step in which these calls failed, or none.
    pub(super) fn look(&self, claimer: &Claimer, failed: &[Call]) {
        for (call, (duty, _)) in CALLS.iter().zip(&self.each) {
            if !failed.contains(call) && !claimer.owes(*call) {
                duty.done();
            }
        }
        match claimer.crowded() {
            None => self.room.done(),
            Some(partition) => self.room.failed(Trouble::new(
                "holes",
                format!(
                    "partition {partition} has retries that are due and cannot be claimed: those that still wait lie \
                     too far apart to be written down beside its offset"
                ),
                "wait, or add partitions to the topic",
            )),
        }
        match claimer.full_of_waiting() {
            None => self.waiting.done(),
            Some(partition) => self.waiting.failed(Trouble::new(
                "waiting",
                format!(
                    "in partition {partition} {WAITING_PER_PARTITION} retries or more wait for their instant: what lies \
                     behind them is not read until some of them are due"
                ),
                "wait, give jobs that fail often a shorter backoff_max, or add partitions to the topic",
            )),
        }
    }

    /// What was found where claims are written to.
    pub(super) fn found_runs(&self, found: Result<bool, BrokerError>) {
        match found {
            Ok(true) => self.runs.done(),
            Ok(false) => self.runs.failed(Trouble::new(
                "unknown_topic_or_partition",
                format!("there is no topic {}, to which claims are written", topics::RUNS),
                "start a producer, which creates it",
            )),
            Err(error) => {
                self.runs.failed(Trouble::of(&format!("looking up topic {}", topics::RUNS), &error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::common::broker::ErrorCode;
    use crate::common::metrics::Metrics;

    fn bench() -> (Health, Duties, Claimer) {
        let options = Options {
            cluster: "c".parse().unwrap(),
            topic: "c-retry".to_owned(),
            group: "g".to_owned(),
            consumer: "me".to_owned(),
            lease: Duration::from_secs(60),
            waiting_bytes: 1 << 20,
            workers: 1,
        };
        let health = Health::new(&Metrics::new());
        let duties = Duties::new(&health, &options);
        (health, duties, Claimer::new(options))
    }

    fn error() -> BrokerError {
        BrokerError::Refused(ErrorCode::NotEnoughReplicas)
    }

    #[test]
    fn a_call_that_fails_is_owed_under_its_name_until_it_fails_no_more() {
        let rows = [
            (Call::Load, "positions: looking up where group g goes on in topic c-retry: "),
            (Call::ReadAgain, "retries: reading what is due again from topic c-retry: "),
            (Call::Claim, "claims: writing claims to topic cron-runs: "),
            (Call::Commit, "commits: committing what is claimed of topic c-retry for group g: "),
            (Call::Letter, "letters: writing a dead letter to topic c-dead: "),
        ];
        for (call, line) in rows {
            let (health, duties, claimer) = bench();
            let owed = || health.owed();
            duties.failed(&Failure { call, error: error() });
            assert!(matches!(&owed()[..], [one] if one.starts_with(line)), "{:?}", owed());
            duties.look(&claimer, &[call]);
            assert_eq!(owed().len(), 1, "it failed in this step, too");
            duties.look(&claimer, &[]);
            assert_eq!(owed(), [""; 0]);
        }
    }

    #[test]
    fn a_topic_for_claims_is_owed_until_it_is_found() {
        let (health, duties, _) = bench();
        let check = |found, line: &str| {
            duties.found_runs(found);
            let owed = health.owed().concat();
            assert!(owed.starts_with(line) && owed.is_empty() == line.is_empty(), "{owed}");
        };
        check(Ok(false), "runs-topic: there is no topic cron-runs");
        check(Err(error()), "runs-topic: looking up topic cron-runs: ");
        check(Ok(true), "");
    }
}
