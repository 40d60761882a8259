//! A run with one attempt and one success, kept in a few bytes, and unpacked when an event adds something to it.

use chrono::DateTime;

use crate::common::model::{Event, Outcome, Then};
use crate::cronctl::runs::run_detail::{Attempts, End, RunDetail, Try};
use crate::cronctl::verify::tick_ledger::Fate;

/// Takes the run detail out of a fate, so that an event can be added to it.
pub(super) fn take_detail(fate: &mut Fate) -> Box<RunDetail> {
    match std::mem::take(fate) {
        Fate::Told(detail) => detail,
        Fate::Silent | Fate::Done { .. } => Box::default(),
    }
}

/// The end of a run that can be kept compactly: one attempt, one end, a success. Other claims of it play no part.
pub(super) fn compacted(detail: &RunDetail) -> Option<End> {
    let (number, tried) = detail.attempts.last()?;
    let [end] = &tried.ends[..] else { return None };
    let is_compact = detail.attempts.len() == 1
        && number == 1
        && tried.lost.is_none()
        && end.outcome == Outcome::Succeeded
        && end.then == Then::Done;
    is_compact.then(|| end.clone())
}

/// The run detail of a compact run, as much of it as was kept.
pub(super) fn succeeded(consumer: String, ended_ms: i64) -> RunDetail {
    let ended_at = DateTime::from_timestamp_millis(ended_ms).unwrap_or_default();
    let (outcome, then) = (Outcome::Succeeded, Then::Done);
    let end = End { consumer, outcome, then, started_at: ended_at, ended_at };
    let tried = Try { ends: vec![end], ..Try::default() };
    RunDetail { attempts: Attempts::of(1, tried), ended: None }
}

/// Whether an event is a copy of what the compact run was made of, or adds nothing to it.
pub(super) fn is_told_already(event: &Event, consumer: &str, ended: i64) -> bool {
    match event {
        Event::Claimed { attempt, .. } => attempt.attempt == 1,
        Event::Finished { attempt, consumer: by, ended_at, .. } => {
            attempt.attempt == 1 && by == consumer && ended_at.timestamp_millis() == ended
        }
        _ => false,
    }
}
