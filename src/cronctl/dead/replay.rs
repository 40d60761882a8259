//! `cronctl dead replay`: puts letters back. The attempt is confirmed before the letter is marked, so that a crash in
//! between can only write the same attempt again, which consumers know as a copy.

use std::sync::Arc;

use clap::Args as Arguments;

use super::letters::Letter;
use super::{Kafka, Of, refused, soon};
use crate::common::broker::{BrokerError, ProduceBatch, Record, TopicPartition};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::outgoing::{Outgoing, Writer};
use crate::common::topics;
use crate::common::wire::{self, DeadRecord, Original, Replayed};
use crate::common::words::{Attempt, AttemptRef, ClusterName, RunId};
use crate::cronctl::screen::{Answer, Screen};

/// Which letters are put back.
#[derive(Debug, Clone, Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    pub of: Of,

    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Clone, Arguments)]
#[group(required = true, multiple = false)]
struct Which {
    /// The run with this id
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,

    /// The letter at this offset of the dead-letter topic, as `dead list` shows it
    #[arg(long, value_name = "N")]
    offset: Option<i64>,

    /// All runs that have not been put back; not what could not be read
    #[arg(long)]
    all: bool,
}

pub(super) fn run(
    args: &Args,
    letters: &[Letter],
    client: Kafka<'_>,
    clock: &dyn Clock,
    screen: &mut Screen,
) -> Answer {
    let chosen = choose(&args.which, letters);
    if chosen.is_empty() && !args.which.all {
        screen.complain(format_args!("{} has no such letter", topics::dead(&args.of.cluster)))?;
        return Ok(Exit::Found);
    }
    let mut writer = Writer::default();
    let mut put_back = 0;
    let mut exit = Exit::Done;
    for letter in chosen {
        if letter.replayed {
            screen.say(format_args!("offset {}: has been put back before", letter.offset))?;
            continue;
        }
        let (what, replayed) = match back(letter, &args.of.cluster) {
            Some(back) => back,
            None => {
                screen.complain(format_args!("offset {}: holds no message to put back", letter.offset))?;
                exit = Exit::Found;
                continue;
            }
        };
        let mark = mark(letter, replayed, &args.of.cluster, clock);
        let written =
            write(client, &mut writer, what, clock).and_then(|()| write(client, &mut writer, mark, clock));
        if let Err(error) = written {
            screen.complain(format_args!("{put_back} letters were put back before this:"))?;
            return refused(screen, &error);
        }
        put_back += 1;
        match replayed {
            Some(AttemptRef { run, attempt }) => {
                screen.say(format_args!("run {run}: attempt {attempt} is in the retry topic"))?;
            }
            None => {
                let topic = &letter.letter.place.topic;
                screen.say(format_args!("offset {}: is in topic {topic} again, as it was", letter.offset))?;
            }
        }
    }
    Ok(exit)
}

/// The newest letter of a run, the letter of an offset, or all runs.
fn choose<'a>(which: &Which, letters: &'a [Letter]) -> Vec<&'a Letter> {
    match (which.run, which.offset) {
        (Some(run), _) => letters.iter().rfind(|letter| letter.run() == Some(run)).into_iter().collect(),
        (_, Some(offset)) => letters.iter().filter(|letter| letter.offset == offset).collect(),
        _ => letters.iter().filter(|letter| letter.run().is_some() && !letter.replayed).collect(),
    }
}

/// What goes back where.
enum Back {
    /// To the partition of its key.
    Attempt(Outgoing),
    /// To the partition that it came from.
    Original(TopicPartition, Original),
}

fn back(letter: &Letter, cluster: &ClusterName) -> Option<(Back, Option<AttemptRef>)> {
    if let Some(failed) = &letter.letter.attempt {
        let next = Attempt {
            run: Arc::clone(&failed.run),
            attempt: failed.attempt + 1,
            attempts_left: failed.run.retry.retries,
            not_before: None,
        };
        let named = AttemptRef { run: next.run.id, attempt: next.attempt };
        let key = next.run.id.to_string().into();
        let record = Outgoing { topic: topics::retry(cluster).into(), key, value: wire::encode(&next) };
        return Some((Back::Attempt(record), Some(named)));
    }
    let original = letter.letter.original.clone().filter(|original| original.value.is_some())?;
    let place = &letter.letter.place;
    let from = TopicPartition { topic: place.topic.clone(), partition: place.partition };
    Some((Back::Original(from, original), None))
}

fn mark(letter: &Letter, attempt: Option<AttemptRef>, cluster: &ClusterName, clock: &dyn Clock) -> Back {
    let record = DeadRecord::Replayed(Replayed { attempt, letter_offset: letter.offset, at: clock.now() });
    let key = attempt.map_or_else(|| letter.offset.to_string(), |attempt| attempt.run.to_string());
    Back::Attempt(Outgoing {
        topic: topics::dead(cluster).into(),
        key: key.into(),
        value: wire::encode(&record),
    })
}

fn write(client: Kafka<'_>, writer: &mut Writer, what: Back, clock: &dyn Clock) -> Result<(), BrokerError> {
    let timestamp_ms = clock.now().timestamp_millis();
    match what {
        Back::Attempt(record) => {
            let unwritten = writer.write(client, vec![record], timestamp_ms, soon());
            unwritten.into_iter().next().map_or(Ok(()), |left| Err(left.error))
        }
        Back::Original(to, Original { key, value }) => {
            let batch = ProduceBatch { to, records: vec![Record { key, value, timestamp_ms }] };
            client.produce(&[batch], soon()).into_iter().try_for_each(|answer| answer.map(drop))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use uuid::Uuid;

    use super::*;
    use crate::common::broker::Broker;
    use crate::common::broker::memory::MemoryBroker;
    use crate::common::clock::ManualClock;
    use crate::common::wire::{DeadLetter, DeadReason};
    use crate::common::words::Place;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_letter_that_holds_nothing_to_put_back_is_no_success() {
        let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
        let mut client = MemoryBroker::new(Arc::clone(&clock) as Arc<dyn Clock>).client("test");
        let place = Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
        let letter = DeadLetter {
            reason: DeadReason::Deleted,
            detail: "its message is gone".to_owned(),
            place,
            last_offset: 4,
            attempt: None,
            outcome: None,
            output_tail: String::new(),
            original: None,
            consumer: "p".to_owned(),
            at: clock.now(),
        };
        let letters = [Letter { offset: 7, letter, replayed: false }];
        for (offset, expected) in [("7", Exit::Found), ("8", Exit::Found)] {
            let line = Line::parse_from(["replay", "--cluster", "c", "--offset", offset]);
            let mut screen = Screen::new(std::io::sink(), std::io::sink());
            let exit = run(&line.args, &letters, client.as_mut(), clock.as_ref(), &mut screen).unwrap();
            assert_eq!(exit, expected, "offset {offset}");
        }
    }
}
