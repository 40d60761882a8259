//! `cronctl dead replay` puts letters back. The attempt is confirmed before the letter is marked, so that a crash in
//! between can only write the same attempt again, which consumers know as a copy.

use std::sync::Arc;

use clap::Args as Arguments;

use super::letters::Letter;
use super::reread::reread;
use super::{Kafka, Of, refused, soon};
use crate::common::broker::{BrokerError, ProduceBatch, Record, TopicPartition};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{Attempt, AttemptRef, ClusterName, RunId};
use crate::common::outgoing::{Outgoing, Writer};
use crate::common::topics;
use crate::common::wire::{self, DeadReason, DeadRecord, Original, Replayed};
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

    /// All runs that have not been put back, but no messages that could not be read
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
        let (what, replayed) = match back(letter, &args.of.cluster, client) {
            Ok(Ok(back)) => back,
            Ok(Err(why)) => {
                screen.complain(format_args!("offset {}: {why}", letter.offset))?;
                exit = Exit::Found;
                continue;
            }
            Err(error) => return refused(screen, &error),
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
    /// To the partition that they came from.
    Originals(TopicPartition, Vec<Original>),
}

/// What goes back, or why nothing can.
fn back(
    letter: &Letter,
    cluster: &ClusterName,
    client: Kafka<'_>,
) -> Result<Result<(Back, Option<AttemptRef>), String>, BrokerError> {
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
        return Ok(Ok((Back::Attempt(record), Some(named))));
    }
    let original = letter.letter.original.clone().filter(|original| original.value.is_some());
    let originals = match original {
        Some(original) => Ok(vec![original]),
        None if letter.letter.reason == DeadReason::Undecodable => reread(&letter.letter, client)?,
        None => Err("holds no message to put back".to_owned()),
    };
    let place = &letter.letter.place;
    let from = TopicPartition { topic: place.topic.clone(), partition: place.partition };
    Ok(originals.map(|originals| (Back::Originals(from, originals), None)))
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
        // One by one: a batch that was packed may be larger unpacked than its topic takes.
        Back::Originals(to, originals) => originals.into_iter().try_for_each(|Original { key, value }| {
            let batch = ProduceBatch { to: to.clone(), records: vec![Record { key, value, timestamp_ms }] };
            client.produce(&[batch], soon()).into_iter().try_for_each(|answer| answer.map(drop))
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use uuid::Uuid;

    use super::*;
    use crate::common::broker::Broker;
    use crate::common::broker::Position;
    use crate::common::broker::memory::MemoryBroker;
    use crate::common::clock::ManualClock;
    use crate::common::model::Place;
    use crate::common::scan::scan;
    use crate::common::topics::TopicSpec;
    use crate::common::wire::DeadLetter;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn letter(reason: DeadReason, place: Place, last_offset: i64) -> DeadLetter {
        DeadLetter {
            reason,
            detail: String::new(),
            place,
            last_offset,
            attempt: None,
            outcome: None,
            output_tail: String::new(),
            original: None,
            consumer: "p".to_owned(),
            at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_letter_that_holds_nothing_to_put_back_is_no_success() {
        let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
        let mut client = MemoryBroker::new(Arc::clone(&clock) as Arc<dyn Clock>).client("test");
        let place = Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset: 4 };
        let letter = letter(DeadReason::Deleted, place, 4);
        let letters = [Letter { offset: 7, letter, replayed: false }];
        for (offset, expected) in [("7", Exit::Found), ("8", Exit::Found)] {
            let line = Line::parse_from(["replay", "--cluster", "c", "--offset", offset]);
            let mut screen = Screen::new(std::io::sink(), std::io::sink());
            let exit = run(&line.args, &letters, client.as_mut(), clock.as_ref(), &mut screen).unwrap();
            assert_eq!(exit, expected, "offset {offset}");
        }
    }
    #[test]
    fn what_could_not_be_decoded_is_read_again_where_it_lies_and_put_back_once() {
        let clock = Arc::new(ManualClock::new(chrono::DateTime::UNIX_EPOCH));
        let broker = MemoryBroker::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let mut client = broker.client("test");
        for name in ["c", "c-dead"] {
            let (name, settings) = (name.to_owned(), vec![]);
            let spec = TopicSpec { name, partitions: 1, replication_factor: 1, settings };
            client.create_topic(&spec, soon()).unwrap();
        }
        let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
        let record =
            |text: &'static str| Record { key: Some(text.into()), value: Some(text.into()), timestamp_ms: 5 };
        for records in [vec!["before", "a", "b"], vec!["after"]] {
            let records = records.into_iter().map(record).collect();
            client.produce(&[ProduceBatch { to: of.clone(), records }], soon()).remove(0).unwrap();
        }
        let topic_id = client.topic("c", soon()).unwrap().unwrap().id;
        let place = |topic_id, offset| Place { topic: "c".to_owned(), topic_id, partition: 0, offset };
        let mut check = |place: Place, last: i64, exit: Exit, said: &str, end: i64| {
            let undecodable = letter(DeadReason::Undecodable, place, last);
            let why = reread(&undecodable, client.as_mut()).unwrap().err().unwrap_or_default();
            assert!(why.contains(said) && why.is_empty() == said.is_empty(), "{why}");
            let letters = [Letter { offset: 7, letter: undecodable, replayed: false }];
            let line = Line::parse_from(["replay", "--cluster", "c", "--offset", "7"]);
            let mut screen = Screen::new(std::io::sink(), std::io::sink());
            let done = run(&line.args, &letters, client.as_mut(), clock.as_ref(), &mut screen).unwrap();
            assert_eq!(done, exit, "{why}");
            assert_eq!(client.offset(&of, Position::End, soon()), Ok(end));
        };
        broker.faults().spoil(&of, 3);
        check(place(topic_id, 3), 3, Exit::Found, "still cannot be decoded: its checksum is wrong", 4);
        check(place(Uuid::nil(), 1), 2, Exit::Found, "not the one any more", 4);
        check(place(topic_id, 1), 2, Exit::Done, "", 6);
        broker.faults().delete_records(&of, 2);
        check(place(topic_id, 1), 2, Exit::Found, "deleted", 6);
        let mut values = Vec::new();
        scan(client.as_mut(), "c", |_, record| values.push(record.value.unwrap())).unwrap();
        assert_eq!(values, ["b", "a", "b"]);
        let mut marks = 0;
        scan(client.as_mut(), "c-dead", |_, _| marks += 1).unwrap();
        assert_eq!(marks, 1);
    }
}
