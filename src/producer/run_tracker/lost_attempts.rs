//! Passes lost attempts on: first the tracker writes the next attempt or a dead letter, and has it confirmed; then it
//! writes `lost`.

use std::time::Duration;

use super::duties::Duties;
use super::heartbeat::Heartbeat;
use super::leases::Leases;
use super::messages::Effect;
use super::notes::Note;
use super::step::Step;
use crate::common::broker::{BrokerError, ErrorCode, NodeId, TopicPartition, Want};
use crate::common::model::{Attempt, AttemptRef, ClusterName, Event, Outcome, Place, Then};
use crate::common::outgoing::Outgoing;
use crate::common::passing::{Ended, Fit};
use crate::common::topics;
use crate::common::wire;
use crate::common::wire::{DeadLetter, DeadReason, DeadRecord};

/// An attempt of which nothing was heard for a lease, and whose message no consumer will claim again: the committed offset
/// has passed it, or it is gone.
#[derive(Debug)]
pub struct Suspect {
    /// The attempt.
    pub name: AttemptRef,
    /// Where its message lies.
    pub place: Place,
    /// Who leads its partition.
    pub leader: Option<NodeId>,
    /// Its message has been deleted, or its topic.
    pub is_deleted: bool,
}

/// A lost attempt and what is to be written for it.
struct Lost {
    suspect: Suspect,
    attempt: Option<Attempt>,
    consumer: String,
    fit: Fit,
    cluster: ClusterName,
    then: Then,
    /// The next attempt, or a dead letter.
    follows: Outgoing,
    event: Outgoing,
}

/// Passes on the suspects of which the tracker has still heard nothing, now that it has read everything that may
/// have been said of them before it looked up their offsets.
pub fn pass_on(step: &mut Step<'_>, suspects: Vec<Suspect>, heartbeat: &Heartbeat, leases: &mut Leases) {
    let now = step.now.mono;
    let mut all = Vec::new();
    for suspect in suspects {
        if !is_lost(&suspect, heartbeat, leases) {
            continue;
        }
        match message(step, &suspect) {
            Ok(attempt) => all.extend(lost(step, leases, suspect, attempt, Fit::Whole)),
            Err(error) => {
                step.note(Note::UnreadMessage { place: suspect.place, error: error.clone() });
                step.failed(Duties::LostAttempts, error);
                leases.ask_again(&suspect.name, now);
            }
        }
    }
    let (mut not_yet, mut passed_on) = (Vec::new(), Vec::new());
    while !all.is_empty() {
        let (unwritten, too_large) = step.write(all.iter().map(|lost| lost.follows.clone()).collect());
        let mut smaller = Vec::new();
        for is_lost in all {
            let key = &is_lost.follows.key;
            match is_lost.fit.smaller().filter(|_| too_large.contains(key) && is_lost.attempt.is_some()) {
                Some(fit) => smaller.extend(lost(step, leases, is_lost.suspect, is_lost.attempt, fit)),
                None if unwritten.contains(key) => not_yet.push(is_lost),
                None => passed_on.push(is_lost),
            }
        }
        all = smaller;
    }
    let (unwritten, _) = step.write(passed_on.iter().map(|lost| lost.event.clone()).collect());
    let (unsaid, done): (Vec<Lost>, Vec<Lost>) =
        passed_on.into_iter().partition(|lost| unwritten.contains(&lost.event.key));
    // An attempt that was passed on without a confirmed `lost` is passed on again. That makes a copy, and consumers
    // drop copies.
    not_yet.iter().chain(&unsaid).for_each(|lost| leases.ask_again(&lost.suspect.name, now));
    for lost in done {
        leases.settle(lost.suspect.name, now);
        step.note(Note::Lost {
            attempt: lost.suspect.name,
            job: lost.attempt.map(|attempt| attempt.run.job.clone()),
            topic: lost.suspect.place.topic,
            consumer: lost.consumer,
            to: lost.follows.topic.to_string(),
        });
        step.effects.push(Effect::Lost(lost.cluster, lost.then));
    }
}

fn is_lost(suspect: &Suspect, heartbeat: &Heartbeat, leases: &Leases) -> bool {
    heartbeat.seen().is_some_and(|(from, seen)| leases.is_over(&suspect.name, from, seen))
        && leases.get(&suspect.name).is_some_and(|lease| lease.place == suspect.place)
}

fn lost(
    step: &mut Step<'_>,
    leases: &mut Leases,
    suspect: Suspect,
    attempt: Option<Attempt>,
    fit: Fit,
) -> Option<Lost> {
    let Suspect { name, place, .. } = &suspect;
    let consumer = leases.get(name)?.consumer.clone();
    let Some(cluster) = topics::cluster_of(&place.topic) else {
        step.note(Note::OfNoCluster { topic: place.topic.clone() });
        leases.settle(*name, step.now.mono);
        return None;
    };
    let (outcome, at) = (Outcome::Lost, step.now.wall);
    let ended =
        attempt.as_ref().map(|attempt| Ended { attempt, place, outcome: &outcome, at, output_tail: "", fit });
    let passed_on = ended.and_then(|ended| Some((ended.then(), ended.passed_on(&step.options.name)?)));
    let (then, follows) =
        passed_on.unwrap_or_else(|| (Then::Dead, letter(step, &suspect, &cluster, &consumer)));
    let run = attempt.as_ref().map(|attempt| &attempt.run);
    let event = Event::Lost {
        attempt: *name,
        job: run.map(|run| run.job.clone()),
        cluster: cluster.clone(),
        scheduled_at: run.map(|run| run.scheduled_at),
        consumer: consumer.clone(),
        place: place.clone(),
        then,
        at,
    };
    let event = Outgoing::event(&event);
    Some(Lost { suspect, attempt, consumer, fit, cluster, then, follows, event })
}

/// The dead letter for an attempt whose message is gone: nothing is left that could be tried again.
fn letter(step: &Step<'_>, suspect: &Suspect, cluster: &ClusterName, consumer: &str) -> Outgoing {
    let Suspect { name: AttemptRef { run, attempt }, place, .. } = suspect;
    let letter = DeadLetter {
        reason: DeadReason::Deleted,
        detail: format!(
            "attempt {attempt} of run {run} was lost with consumer {consumer}, and its message is gone: it cannot be \
             tried again"
        ),
        place: place.clone(),
        last_offset: place.offset,
        attempt: None,
        outcome: Some(Outcome::Lost),
        output_tail: String::new(),
        original: None,
        consumer: step.options.name.clone(),
        at: step.now.wall,
    };
    let value = wire::encode(&DeadRecord::Letter(Box::new(letter)));
    Outgoing { topic: topics::dead(cluster).into(), key: run.to_string().into(), value }
}

/// The message of a lost attempt; `None` where it is gone, or is not what was claimed.
fn message(step: &mut Step<'_>, suspect: &Suspect) -> Result<Option<Attempt>, BrokerError> {
    if suspect.is_deleted {
        return Ok(None);
    }
    let Place { topic, partition, offset, .. } = &suspect.place;
    let from = TopicPartition { topic: topic.clone(), partition: *partition };
    let want = Want { from, offset: *offset, max_bytes: 1 };
    let fetched = match step.client.fetch_one(suspect.leader, want, Duration::ZERO, step.by) {
        Err(BrokerError::Refused(ErrorCode::OffsetOutOfRange)) => return Ok(None),
        fetched => fetched?,
    };
    // A new leader of the partition may not know yet how far it may be read.
    let not_yet = || BrokerError::NotSent(format!("offset {offset} is not there yet"));
    let fetched = fetched.filter(|fetched| fetched.next_offset > *offset).ok_or_else(not_yet)?;
    let record = fetched.records.into_iter().find(|record| record.offset == *offset);
    let attempt = record.and_then(|record| wire::decode_attempt(record.value.as_deref()?).ok());
    let AttemptRef { run, attempt: number } = suspect.name;
    Ok(attempt.filter(|attempt| attempt.run.id == run && attempt.attempt == number))
}
