//! `cronctl dead list` prints a line for each letter.

use clap::Args as Arguments;
use serde::Serialize;

use super::letters::{Letter, Letters};
use super::{Kafka, Of, refused};
use crate::common::exit::Exit;
use crate::common::model::{JobName, Outcome, Place, RunId};
use crate::common::wire::DeadReason;
use crate::cronctl::screen::{Answer, Screen};
use chrono::{DateTime, SecondsFormat, Utc};

/// Which letters are shown, and how.
#[derive(Debug, Clone, Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    pub of: Of,

    /// Print one JSON object per line instead of text
    #[arg(long)]
    json: bool,

    /// Only letters that have not been put back
    #[arg(long)]
    open: bool,
}

/// A letter as `--json` shows it. What is null does not apply: the message could not be read.
#[derive(Debug, Serialize)]
struct Row<'a> {
    run: Option<RunId>,
    job: Option<&'a JobName>,
    attempt: Option<u32>,
    reason: DeadReason,
    detail: &'a str,
    scheduled_at: Option<DateTime<Utc>>,
    outcome: Option<&'a Outcome>,
    output_tail: &'a str,
    at: DateTime<Utc>,
    consumer: &'a str,
    place: &'a Place,
    partition: i32,
    offset: i64,
    replayed: bool,
}

fn row(letter: &Letter) -> Row<'_> {
    let attempt = letter.letter.attempt.as_ref();
    Row {
        run: letter.run(),
        job: attempt.map(|attempt| &attempt.run.job),
        attempt: attempt.map(|attempt| attempt.attempt),
        reason: letter.letter.reason,
        detail: &letter.letter.detail,
        scheduled_at: attempt.map(|attempt| attempt.run.scheduled_at),
        outcome: letter.letter.outcome.as_ref(),
        output_tail: &letter.letter.output_tail,
        at: letter.letter.at,
        consumer: &letter.letter.consumer,
        place: &letter.letter.place,
        partition: letter.place.0,
        offset: letter.place.1,
        replayed: letter.replayed,
    }
}

pub(super) fn run(args: &Args, mut letters: Letters, client: Kafka<'_>, screen: &mut Screen) -> Answer {
    loop {
        let part = match letters.next(client) {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(Exit::Done),
            Err(error) => return refused(screen, &error),
        };
        part.unreadable.iter().try_for_each(|what| screen.complain(what))?;
        for letter in part.letters.iter().filter(|letter| !(args.open && letter.replayed)) {
            if args.json {
                screen.say_json(&row(letter))?;
            } else {
                screen.say(words(letter))?;
            }
        }
    }
}

/// `2026-11-23T17:00:04Z  offset 7  attempts_exhausted  backup  run 6f1d…  attempt 4  the last: failed (exit code 1)`.
fn words(letter: &Letter) -> String {
    let at = letter.letter.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (here, reason, detail) = (letter.place, letter.letter.reason.word(), &letter.letter.detail);
    let what = letter.letter.attempt.as_ref().map_or_else(
        || {
            let place = &letter.letter.place;
            format!("{}/{} offset {}", place.topic, place.partition, place.offset)
        },
        |attempt| format!("{}  run {}", attempt.run.job, attempt.run.id),
    );
    let replayed = if letter.replayed { "  (put back)" } else { "" };
    format!("{at}  {here}  {reason}  {what}  {detail}{replayed}")
}
