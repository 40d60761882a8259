//! The records that ticks and events become.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::common::broker::TopicPartition;
use crate::common::model::{Attempt, Event, MissedReason, Place, RunId};
use crate::common::outgoing::{Outgoing, Written};
use crate::common::wire;
use crate::producer::job::Overlap;
use crate::producer::plan::timetable::Tick;

/// The first attempt of a tick's run.
pub(super) fn message(topic: &Arc<str>, tick: &Tick, revision: &str) -> Outgoing {
    let run = tick.job.run(tick.at, revision);
    let attempts_left = run.retry.retries;
    let key = run.id.to_string().into();
    let attempt = Attempt { run: Arc::new(run), attempt: 1, attempts_left, not_before: None };
    Outgoing { topic: Arc::clone(topic), key, value: wire::encode(&attempt) }
}

/// The events for the runs of a batch that is confirmed, of jobs whose runs may not overlap.
pub(super) fn published<'a>(
    batch: &Written,
    tick_of: impl Fn(&Bytes) -> Option<&'a Tick>,
    at: DateTime<Utc>,
) -> Vec<Outgoing> {
    let event = |(offset, record): (i64, &Outgoing)| {
        let tick = tick_of(&record.key).filter(|tick| tick.job.overlap != Overlap::Allow)?;
        let TopicPartition { topic, partition } = batch.to.clone();
        Some(Outgoing::event(&Event::Published {
            run: RunId::of(&tick.job.name, tick.at),
            job: tick.job.name.clone(),
            cluster: tick.job.cluster.clone(),
            scheduled_at: tick.at,
            place: Place { topic, topic_id: batch.topic_id, partition, offset },
            at,
        }))
    };
    (batch.base_offset..).zip(&batch.records).filter_map(event).collect()
}

/// The event for a tick whose message no broker takes.
pub(super) fn missed(tick: &Tick, now: DateTime<Utc>) -> Outgoing {
    let event = Event::Missed {
        job: tick.job.name.clone(),
        cluster: tick.job.cluster.clone(),
        from: tick.at,
        to: tick.at,
        count: 1,
        reason: MissedReason::TooLarge,
        at: now,
    };
    Outgoing::event(&event)
}

/// The instant of a tick, for people.
pub(super) fn instant(due: DateTime<Utc>) -> String {
    due.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What the log says of runs that are published, in the order of their instants: each run where they are few, how many
/// where they are many.
pub(super) fn lines(confirmed: &[&Tick], now: DateTime<Utc>) -> Vec<String> {
    const FEW: usize = 5;
    let late = |tick: &Tick| (now - tick.at).num_milliseconds();
    if confirmed.len() <= FEW {
        let line = |tick: &&Tick| {
            format!("published {} due {}, {} ms late", tick.job.name, instant(tick.at), late(tick))
        };
        return confirmed.iter().map(line).collect();
    }
    let (number, first) = (confirmed.len(), confirmed[0]);
    vec![format!("published {number} runs, the first due {}, {} ms late", instant(first.at), late(first))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::job::sample;

    #[test]
    fn few_runs_are_told_one_by_one_and_many_by_their_number() {
        let job = Arc::new(sample("a", "@hourly"));
        let due = |second: i64| DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        let ticks: Vec<Tick> = (0..6).map(|second| Tick { job: Arc::clone(&job), at: due(second) }).collect();
        let told = |count: usize| lines(&ticks.iter().take(count).collect::<Vec<_>>(), due(7));
        assert_eq!(told(0), [""; 0]);
        let second = "published a due 2027-01-15T08:00:01Z, 6000 ms late";
        assert_eq!((told(5).len(), told(5)[1].as_str()), (5, second));
        assert_eq!(told(6), ["published 6 runs, the first due 2027-01-15T08:00:00Z, 7000 ms late"]);
    }
}
