//! What follows from the end of an attempt: the next attempt, or a dead letter, and then `finished`.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::common::model::{AttemptRef, Event, Outcome, Then};
use crate::common::outgoing::Outgoing;
use crate::common::passing::{Ended, Fit};
use crate::common::topics;
use crate::consumer::claiming::machine::Claimed;

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was run.
    pub claimed: Claimed,
    /// How it ended.
    pub outcome: Outcome,
    /// When the process was started.
    pub started_at: DateTime<Utc>,
    /// When it had ended.
    pub ended_at: DateTime<Utc>,
    /// How much it wrote, in bytes.
    pub output_bytes: u64,
    /// The end of what it wrote.
    pub output_tail: String,
    /// What of it fits into the topic that it is passed on to.
    pub fit: Fit,
    /// It does not fit into `cron-runs` with its output.
    pub is_terse: bool,
}

impl Report {
    fn ended(&self) -> Ended<'_> {
        Ended {
            attempt: &self.claimed.attempt,
            place: &self.claimed.place,
            outcome: &self.outcome,
            at: self.ended_at,
            output_tail: &self.output_tail,
            fit: self.fit,
        }
    }

    /// Which attempt it is.
    pub fn name(&self) -> AttemptRef {
        self.claimed.attempt.name()
    }

    /// What must be done about it.
    pub fn then(&self) -> Then {
        self.ended().then()
    }

    /// The record that must be confirmed before `finished` is written: the next attempt or a letter.
    pub fn passed_on(&self, consumer: &str) -> Option<Outgoing> {
        self.ended().passed_on(consumer)
    }

    /// What the log says when all that follows is confirmed:
    /// `cluster-a: ping due 2026-11-23T17:00:00Z, attempt 1: failed (exit code 1) after 12 ms; retried at …`.
    pub fn line(&self) -> String {
        let Claimed { attempt, place, .. } = &self.claimed;
        let due = second(attempt.run.scheduled_at);
        let took = (self.ended_at - self.started_at).num_milliseconds();
        let then = match self.then() {
            Then::Done => String::new(),
            Then::Retried => {
                let at = self.ended().next_attempt().not_before.map_or_else(String::new, second);
                format!("; attempt {} follows at {at}", attempt.attempt + 1)
            }
            Then::Dead => format!("; given up, the letter is in {}", topics::dead(&attempt.run.cluster)),
        };
        let (topic, job, number, outcome) = (&place.topic, &attempt.run.job, attempt.attempt, &self.outcome);
        if *outcome == Outcome::Expired {
            let late = (self.ended_at - attempt.run.scheduled_at).num_seconds();
            return format!(
                "{topic}: {job} due {due}, attempt {number}: expired, found {late} s after it was due"
            );
        }
        if !self.was_started() {
            return format!(
                "{topic}: {job} due {due}, attempt {number}: {outcome} before it was started{then}"
            );
        }
        format!("{topic}: {job} due {due}, attempt {number}: {outcome} after {took} ms{then}")
    }

    /// Whether its process was started.
    pub fn was_started(&self) -> bool {
        self.outcome.was_started(self.started_at, self.ended_at)
    }

    /// The event that ends the lease.
    pub fn finished(&self, consumer: &str) -> Outgoing {
        let run = &self.claimed.attempt.run;
        let event = Event::Finished {
            attempt: self.ended().name(),
            job: run.job.clone(),
            cluster: run.cluster.clone(),
            scheduled_at: run.scheduled_at,
            consumer: consumer.to_owned(),
            outcome: self.outcome.clone(),
            then: self.then(),
            started_at: self.started_at,
            ended_at: self.ended_at,
            output_bytes: self.output_bytes,
            output_tail: if self.is_terse { String::new() } else { self.output_tail.clone() },
        };
        Outgoing::event(&event)
    }
}

fn second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::Place;
    use crate::common::wire;
    use uuid::Uuid;

    fn report(attempt: u32, left: u32, outcome: Outcome) -> Report {
        let text = format!(
            r#"{{"v":1,"run":{{"id":"00000000-0000-0000-0000-000000000001","job":"j","cluster":"a",
            "scheduled_at":"2026-11-23T17:00:00Z","command":"false","limits":{{"grace_ms":1}},
            "retry":{{"retries":3,"backoff_ms":1000,"backoff_max_ms":60000}},"revision":"r"}},
            "attempt":{attempt},"attempts_left":{left}}}"#
        );
        let at: DateTime<Utc> = "2026-11-23T17:00:01Z".parse().unwrap();
        let place = Place { topic: "a".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
        let attempt = wire::decode_attempt(text.as_bytes()).unwrap();
        let start_by = std::time::Instant::now();
        let claimed = Claimed { attempt, place, published_ms: 0, claimed_at: at, start_by };
        let output_tail = "oops".to_owned();
        let (fit, is_terse) = (Fit::Whole, false);
        Report { claimed, outcome, started_at: at, ended_at: at, output_bytes: 4, output_tail, fit, is_terse }
    }

    fn check(attempt: u32, left: u32, outcome: Outcome, then: Then, topic: Option<&str>) -> Option<Outgoing> {
        let report = report(attempt, left, outcome);
        assert_eq!(report.then(), then);
        let passed_on = report.passed_on("me");
        assert_eq!(passed_on.as_ref().map(|out| out.topic.as_ref()), topic);
        passed_on
    }

    #[test]
    fn a_failed_attempt_is_passed_on_and_a_good_one_is_not() {
        let failed = Outcome::Failed { code: 1 };
        check(1, 3, Outcome::Succeeded, Then::Done, None);
        check(1, 0, Outcome::Expired, Then::Done, None);
        check(1, 3, failed.clone(), Then::Retried, Some("a-retry"));
        check(1, 1, Outcome::Cancelled, Then::Retried, Some("a-retry"));
        check(4, 0, failed, Then::Dead, Some("a-dead"));
        check(4, 0, Outcome::TimedOut, Then::Dead, Some("a-dead"));
    }

    #[test]
    fn the_log_says_how_it_ended_and_what_follows() {
        let check = |attempt, left, outcome, line: &str| {
            assert_eq!(report(attempt, left, outcome).line(), line);
        };
        let begin = "a: j due 2026-11-23T17:00:00Z, attempt";
        check(1, 3, Outcome::Succeeded, &format!("{begin} 1: succeeded after 0 ms"));
        check(1, 3, Outcome::Expired, &format!("{begin} 1: expired, found 1 s after it was due"));
        let given_up = "timed out after 0 ms; given up, the letter is in a-dead";
        check(4, 0, Outcome::TimedOut, &format!("{begin} 4: {given_up}"));
        let line = report(1, 3, Outcome::Failed { code: 7 }).line();
        let failed =
            format!("{begin} 1: failed (exit code 7) after 0 ms; attempt 2 follows at 2026-11-23T17:00:0");
        assert!(line.starts_with(&failed), "{line}");
    }

    #[test]
    fn the_next_attempt_has_one_less_left_and_waits_for_its_backoff() {
        let out = check(2, 2, Outcome::TimedOut, Then::Retried, Some("a-retry")).unwrap();
        let next = wire::decode_attempt(&out.value).unwrap();
        assert_eq!((next.attempt, next.attempts_left), (3, 1));
        let wait = next.not_before.unwrap() - "2026-11-23T17:00:01Z".parse::<DateTime<Utc>>().unwrap();
        assert!((1600..=2400).contains(&wait.num_milliseconds()), "{wait}");
        assert_eq!(report(2, 2, Outcome::TimedOut).passed_on("me"), Some(out), "the same message every time");
    }
}
