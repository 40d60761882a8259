//! A line for a run, as text or as JSON.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::common::duration;
use crate::common::model::{ClusterName, Event, JobName, Outcome, RunId};
use crate::cronctl::instant::shown;

/// A run as `--json` shows it. What is null is not known, or not yet.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    run: RunId,
    job: JobName,
    cluster: Option<ClusterName>,
    scheduled_at: Option<DateTime<Utc>>,
    state: String,
    /// From the scheduled instant to the start of the first attempt.
    lateness_ms: Option<i64>,
    attempts: usize,
    outcome: Option<Outcome>,
    /// From start to end of the last attempt that has ended.
    duration_ms: Option<i64>,
    worker: Option<String>,
}

impl Row {
    /// The row of an entry.
    pub fn of(entry: &Entry) -> Self {
        let end = entry.detail.last_end();
        let lateness = entry.scheduled_at.zip(entry.detail.started_at()).map(|(due, start)| start - due);
        Self {
            run: entry.run,
            job: entry.job.clone(),
            cluster: entry.cluster.clone(),
            scheduled_at: entry.scheduled_at,
            state: entry.word().to_owned(),
            lateness_ms: lateness.map(|late| late.num_milliseconds()),
            attempts: entry.detail.attempts.len(),
            outcome: end.map(|end| end.outcome.clone()),
            duration_ms: end.map(|end| (end.ended_at - end.started_at).num_milliseconds()),
            worker: entry.detail.worker().map(str::to_owned),
        }
    }

    /// Its job.
    pub fn job(&self) -> &JobName {
        &self.job
    }

    /// Its cluster, where it is known.
    pub fn cluster(&self) -> Option<&ClusterName> {
        self.cluster.as_ref()
    }

    /// By what rows are sorted.
    pub fn place(&self) -> (Option<DateTime<Utc>>, &JobName, RunId) {
        (self.scheduled_at, &self.job, self.run)
    }

    /// The row as a line of text.
    pub fn words(&self) -> String {
        let scheduled = self.scheduled_at.map_or_else(unknown, shown);
        let millis = |span: Option<i64>| span.map_or_else(unknown, span_of);
        // The last outcome says more than the state, unless it is the state.
        let more =
            self.outcome.as_ref().filter(|outcome| outcome.word() != self.state).map(Outcome::to_string);
        let state = more.map_or_else(|| self.state.clone(), |more| format!("{}: {more}", self.state));
        let run = self.run.to_string();
        line([
            &scheduled,
            &millis(self.lateness_ms),
            &self.attempts.to_string(),
            &millis(self.duration_ms),
            &state,
            self.job.as_str(),
            &run,
            self.worker.as_deref().unwrap_or("-"),
        ])
    }
}

/// The words of the heading.
pub fn heading() -> String {
    line(["SCHEDULED", "LATE", "TRIES", "TOOK", "STATE", "JOB", "RUN", "WORKER"])
}

/// Ticks that will never be run, as a line of text; `None` for another event.
pub fn missed(event: &Event) -> Option<String> {
    let Event::Missed { job, from, to, count, reason, .. } = event else { return None };
    let state = format!("missed: {count} up to {} ({})", shown(*to), reason.word());
    Some(line([&shown(*from), "-", "0", "-", &state, job.as_str(), "-", "-"]))
}

fn line([due, late, tries, took, state, job, run, by]: [&str; 8]) -> String {
    format!("{due:<20}  {late:>8}  {tries:>5}  {took:>8}  {state:<18}  {job}  {run}  {by}")
}

fn unknown() -> String {
    "-".to_owned()
}

/// A span of milliseconds; the clocks of two hosts may make it negative.
fn span_of(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let span = TimeDelta::milliseconds(millis).abs().to_std().unwrap_or_default();
    format!("{sign}{}", duration::format(span))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::{AttemptRef, MissedReason, Then};
    use crate::cronctl::runs::run_list::RunList;

    fn finished(outcome: Outcome, then: Then) -> Event {
        let at = |second: f64| DateTime::from_timestamp_millis((second * 1000.0) as i64).unwrap();
        let job = JobName::new("backup").unwrap();
        let scheduled_at = at(60.0);
        Event::Finished {
            attempt: AttemptRef { run: RunId::of(&job, scheduled_at), attempt: 1 },
            job,
            cluster: ClusterName::new("c").unwrap(),
            scheduled_at,
            consumer: "host-1/7".to_owned(),
            outcome,
            then,
            started_at: at(60.25),
            ended_at: at(62.25),
            output_bytes: 0,
            output_tail: String::new(),
        }
    }

    fn check(event: &Event, parts: &[&str]) {
        let mut list = RunList::default();
        list.event(event, DateTime::UNIX_EPOCH);
        let run = list.news()[0];
        let line = Row::of(&list.get(run).unwrap()).words();
        let mut rest = line.as_str();
        for part in parts {
            let found = rest.find(part).unwrap_or_else(|| panic!("{line}: no {part:?}"));
            rest = &rest[found + part.len()..];
        }
    }

    #[test]
    fn a_line_says_when_how_late_how_often_how_and_by_whom() {
        let succeeded = finished(Outcome::Succeeded, Then::Done);
        check(
            &succeeded,
            &["1970-01-01T00:01:00Z ", " 250ms ", " 1 ", " 2s ", " succeeded ", "backup", "host-1/7"],
        );
        let failed = Outcome::Failed { code: 3 };
        check(&finished(failed.clone(), Then::Retried), &["waiting for retry: failed (exit code 3)"]);
        check(&finished(failed, Then::Dead), &["given up: failed (exit code 3)"]);
        check(&finished(Outcome::Replaced, Then::Done), &[" 2s ", " replaced ", "backup"]);
        let reason = "no such shell".to_owned();
        check(&finished(Outcome::CouldNotStart { reason }, Then::Dead), &["no such shell"]);
    }

    #[test]
    fn an_interval_that_was_missed_has_a_line() {
        let (from, to) = (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::seconds(60));
        let event = Event::Missed {
            job: JobName::new("backup").unwrap(),
            cluster: ClusterName::new("c").unwrap(),
            from,
            to,
            count: 2,
            reason: MissedReason::Window,
            at: to,
        };
        let line = missed(&event).unwrap();
        assert!(line.starts_with("1970-01-01T00:00:00Z"), "{line}");
        assert!(line.contains("missed: 2 up to 1970-01-01T00:01:00Z (window)  backup"), "{line}");
        assert_eq!(missed(&finished(Outcome::Succeeded, Then::Done)), None);
    }

    #[test]
    fn json_has_the_same_in_numbers() {
        let mut list = RunList::default();
        list.event(&finished(Outcome::Succeeded, Then::Done), DateTime::UNIX_EPOCH);
        let run = list.news()[0];
        let value = serde_json::to_value(Row::of(&list.get(run).unwrap())).unwrap();
        assert_eq!((&value["lateness_ms"], &value["duration_ms"]), (&250.into(), &2000.into()));
        assert_eq!((&value["state"], &value["attempts"]), (&"succeeded".into(), &1.into()));
    }
}
