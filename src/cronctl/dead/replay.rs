//! `cronctl dead replay` puts letters back. The attempt is confirmed before the letter is marked, so that a crash in
//! between can only write the same attempt again, which consumers know as a copy.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use clap::Args as Arguments;

use super::letters::{Letter, LetterPlace, Letters};
use super::reread::reread;
use super::{Kafka, Of, refused, soon};
use crate::common::broker::{BrokerError, ProduceBatch, Record, TopicPartition};
use crate::common::clock::Clock;
use crate::common::exit::Exit;
use crate::common::model::{Attempt, AttemptRef, ClusterName, RunId};
use crate::common::outgoing::{Outgoing, Unwritten, Writer, is_final};
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

    /// The partition of that offset, where the topic was given more than one
    #[arg(long, value_name = "P", requires = "offset", default_value_t = 0)]
    partition: i32,
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
    mut letters: Letters,
    client: Kafka<'_>,
    clock: &dyn Clock,
    screen: &mut Screen,
) -> Answer {
    let which = &args.which;
    let mut desk = Desk::new(args.of.cluster.clone(), clock);
    // Of the letters of one run the newest counts.
    let mut newest = None;
    loop {
        let part = match letters.next(client) {
            Ok(Some(part)) => part,
            Ok(None) => break,
            Err(error) => return desk.stopped(screen, &error),
        };
        part.unreadable.iter().try_for_each(|what| screen.complain(what))?;
        let chosen: Vec<Letter> = part.letters.into_iter().filter(|letter| args.chooses(letter)).collect();
        if which.run.is_some() {
            newest = chosen.into_iter().next_back().or(newest);
        } else if let Err(error) = desk.put_back(&chosen, client, screen)? {
            return desk.stopped(screen, &error);
        }
    }
    if let Err(error) = desk.put_back(newest.as_slice(), client, screen)? {
        return desk.stopped(screen, &error);
    }
    if desk.seen == 0 && !which.all {
        screen.complain(format_args!("{} has no such letter", topics::dead(&args.of.cluster)))?;
        return Ok(Exit::Found);
    }
    Ok(desk.exit)
}

impl Args {
    fn chooses(&self, letter: &Letter) -> bool {
        match (self.which.run, self.which.offset) {
            (Some(run), _) => letter.run() == Some(run),
            (_, Some(offset)) => letter.place == LetterPlace(self.partition, offset),
            _ => letter.run().is_some() && !letter.replayed,
        }
    }
}

/// Attempts that are written together, before their marks. A crash in between repeats no more, and consumers know copies
/// that lie many times as far apart.
const TOGETHER: usize = 500;

/// Puts letters back.
struct Desk<'a> {
    cluster: ClusterName,
    clock: &'a dyn Clock,
    writer: Writer,
    /// Letters that were handed over, and those of them that were put back.
    seen: usize,
    put_back: usize,
    exit: Exit,
}

impl<'a> Desk<'a> {
    fn new(cluster: ClusterName, clock: &'a dyn Clock) -> Self {
        Self { cluster, clock, writer: Writer::default(), seen: 0, put_back: 0, exit: Exit::Done }
    }

    /// Puts letters back. Those that cannot be put back are told of, and hold up no other.
    fn put_back(
        &mut self,
        letters: &[Letter],
        client: Kafka<'_>,
        screen: &mut Screen,
    ) -> io::Result<Result<(), BrokerError>> {
        self.seen += letters.len();
        for letters in letters.chunks(TOGETHER) {
            let (mut attempts, mut marks) = (Vec::new(), Vec::new());
            for letter in letters {
                if letter.replayed {
                    screen.say(format_args!("{}: has been put back before", letter.place))?;
                    continue;
                }
                match back(letter, &self.cluster, client) {
                    Ok(Ok(Back::Attempt(record, named))) => attempts.push((letter.place, record, named)),
                    Ok(Ok(Back::Originals(to, originals))) => {
                        let topic = to.topic.clone();
                        match produce(client, &to, originals, self.clock.now().timestamp_millis()) {
                            Ok(()) => {
                                marks.push((letter.place, None));
                                let place = letter.place;
                                screen.say(format_args!("{place}: is in topic {topic} again, as it was"))?;
                            }
                            Err(error) if is_final(&error) => self.cannot(letter.place, &error, screen)?,
                            Err(error) => return Ok(Err(error)),
                        }
                    }
                    Ok(Err(why)) => self.cannot(letter.place, &why, screen)?,
                    Err(error) => return Ok(Err(error)),
                }
            }
            let failed = self.write_attempts(attempts, &mut marks, client, screen)?;
            // What is in the retry topic is marked, whatever became of the others.
            let marked = self.write_marks(&marks, client);
            if let Err(error) = failed.and(marked) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn write_attempts(
        &mut self,
        attempts: Vec<(LetterPlace, Outgoing, AttemptRef)>,
        marks: &mut Vec<(LetterPlace, Option<AttemptRef>)>,
        client: Kafka<'_>,
        screen: &mut Screen,
    ) -> io::Result<Result<(), BrokerError>> {
        let records = attempts.iter().map(|(_, record, _)| record.clone()).collect();
        let timestamp_ms = self.clock.now().timestamp_millis();
        let unwritten = self.writer.write(client, records, timestamp_ms, soon());
        let mut left: HashMap<Outgoing, BrokerError> = HashMap::new();
        for Unwritten { records, error } in unwritten {
            left.extend(records.into_iter().map(|record| (record, error.clone())));
        }
        let mut result = Ok(());
        for (place, record, named) in attempts {
            match left.get(&record) {
                None => {
                    marks.push((place, Some(named)));
                    let AttemptRef { run, attempt } = named;
                    screen.say(format_args!("run {run}: attempt {attempt} is in the retry topic"))?;
                }
                Some(error) if is_final(error) => self.cannot(place, error, screen)?,
                Some(error) => result = Err(error.clone()),
            }
        }
        Ok(result)
    }

    /// A mark goes to the partition of its letter, which it names by the offset alone.
    fn write_marks(
        &mut self,
        marks: &[(LetterPlace, Option<AttemptRef>)],
        client: Kafka<'_>,
    ) -> Result<(), BrokerError> {
        let at = self.clock.now();
        let mut of: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        for (LetterPlace(partition, letter_offset), attempt) in marks {
            let (letter_offset, attempt) = (*letter_offset, *attempt);
            let value = wire::encode(&DeadRecord::Replayed(Replayed { attempt, letter_offset, at }));
            let key = attempt.map_or_else(|| letter_offset.to_string(), |attempt| attempt.run.to_string());
            let timestamp_ms = at.timestamp_millis();
            let record = Record { key: Some(key.into()), value: Some(value), timestamp_ms };
            of.entry(*partition).or_default().push(record);
        }
        let topic = topics::dead(&self.cluster);
        for (partition, records) in of {
            let (to, count) = (TopicPartition { topic: topic.clone(), partition }, records.len());
            client
                .produce(&[ProduceBatch { to, records }], soon())
                .into_iter()
                .try_for_each(|answer| answer.map(drop))?;
            self.put_back += count;
        }
        Ok(())
    }

    fn cannot(&mut self, place: LetterPlace, why: impl Display, screen: &mut Screen) -> io::Result<()> {
        self.exit = Exit::Found;
        screen.complain(format_args!("{place}: {why}"))
    }

    fn stopped(&self, screen: &mut Screen, error: &BrokerError) -> Answer {
        screen.complain(format_args!("{} letters were put back before this:", self.put_back))?;
        refused(screen, error)
    }
}

/// What goes back where.
enum Back {
    /// To the partition of its key.
    Attempt(Outgoing, AttemptRef),
    /// To the partition that they came from.
    Originals(TopicPartition, Vec<Original>),
}

/// What goes back, or why nothing can.
fn back(
    letter: &Letter,
    cluster: &ClusterName,
    client: Kafka<'_>,
) -> Result<Result<Back, String>, BrokerError> {
    if let Some(failed) = &letter.letter.attempt {
        let Some(attempt) = failed.attempt.checked_add(1) else {
            return Ok(Err(format!("attempt {} was the last that has a number", failed.attempt)));
        };
        let attempts_left = failed.run.retry.retries;
        let next = Attempt { run: Arc::clone(&failed.run), attempt, attempts_left, not_before: None };
        if let Err(error) = next.check() {
            return Ok(Err(format!("no consumer would run it: {error}")));
        }
        let named = AttemptRef { run: next.run.id, attempt: next.attempt };
        let key = next.run.id.to_string().into();
        let record = Outgoing { topic: topics::retry(cluster).into(), key, value: wire::encode(&next) };
        return Ok(Ok(Back::Attempt(record, named)));
    }
    let original = letter.letter.original.clone().filter(|original| original.value.is_some());
    let originals = match original {
        Some(original) => Ok(vec![original]),
        None if letter.letter.reason == DeadReason::Undecodable => reread(&letter.letter, client)?,
        None => Err("holds no message to put back".to_owned()),
    };
    let place = &letter.letter.place;
    let from = TopicPartition { topic: place.topic.clone(), partition: place.partition };
    Ok(originals.map(|originals| Back::Originals(from, originals)))
}

/// Writes messages to where they came from, one by one: a batch that was packed may be larger unpacked than its topic takes.
fn produce(
    client: Kafka<'_>,
    to: &TopicPartition,
    originals: Vec<Original>,
    timestamp_ms: i64,
) -> Result<(), BrokerError> {
    originals.into_iter().try_for_each(|Original { key, value }| {
        let batch = ProduceBatch { to: to.clone(), records: vec![Record { key, value, timestamp_ms }] };
        client.produce(&[batch], soon()).into_iter().try_for_each(|answer| answer.map(drop))
    })
}
