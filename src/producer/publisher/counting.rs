//! How many ticks the events of a batch stand for, counted when the events are on record: each tick once, although a later
//! term of this producer decides anew what an earlier one has recorded, because its cursor was not committed any more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::common::model::{Event, JobName, MissedReason, RunId};
use crate::common::outgoing::Outgoing;
use crate::common::wire;
use crate::producer::job::Job;

/// How many skipped ticks are remembered, so that none is counted twice: more than one producer decides between two commits
/// of its cursor.
const SKIPPED_REMEMBERED: usize = 10_000;

/// Ticks whose fate an event tells.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// Ticks in a row that are missed.
    Missed {
        /// The name of their job.
        name: JobName,
        /// The job, where there can be more than one tick.
        job: Option<Arc<Job>>,
        /// The first tick.
        from: DateTime<Utc>,
        /// The last tick.
        to: DateTime<Utc>,
        /// How many they are.
        count: u64,
        /// Why.
        reason: MissedReason,
    },
    /// A tick that is skipped.
    Skipped(RunId),
}

impl Fact {
    /// What an event tells of ticks that will never be run. `jobs` are those of which more than one tick can be missed.
    pub fn of(event: &Event, jobs: &HashMap<&JobName, &Arc<Job>>) -> Option<Self> {
        match event {
            Event::Missed { job: name, from, to, count, reason, .. } => {
                let (job, name) = (jobs.get(name).map(|job| Arc::clone(job)), name.clone());
                Some(Self::Missed { name, job, from: *from, to: *to, count: *count, reason: *reason })
            }
            Event::Skipped { job, scheduled_at, .. } => Some(Self::Skipped(RunId::of(job, *scheduled_at))),
            _ => None,
        }
    }
}

/// What the events of a batch tell, by the values of their records.
pub(super) type Facts = HashMap<Bytes, Fact>;

/// The fact of a record whose value is an event.
pub(super) fn fact_of(record: &Outgoing) -> Option<Fact> {
    wire::decode_event(&record.value).ok().and_then(|event| Fact::of(&event, &HashMap::new()))
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// So many ticks are missed.
    Missed(u64, MissedReason),
    /// One is skipped.
    Skipped,
    /// All that was counted before.
    Nothing,
}

/// What was counted. It outlives terms.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// By job, the latest ticks in a row that were missed: the first and the last.
    missed: HashMap<JobName, (DateTime<Utc>, DateTime<Utc>)>,
    skipped: HashSet<RunId>,
    /// The same, the oldest first.
    skipped_in_order: VecDeque<RunId>,
}

impl Counting {
    /// A fact is on record; how many of its ticks were not counted before.
    pub fn count(&mut self, fact: &Fact) -> Count {
        match fact {
            Fact::Missed { name, job, from, to, count, reason } => {
                match self.missed(name, job.as_deref(), (*from, *to), *count) {
                    0 => Count::Nothing,
                    count => Count::Missed(count, *reason),
                }
            }
            Fact::Skipped(run) if self.skipped.insert(*run) => {
                self.skipped_in_order.push_back(*run);
                if self.skipped_in_order.len() > SKIPPED_REMEMBERED
                    && let Some(oldest) = self.skipped_in_order.pop_front()
                {
                    self.skipped.remove(&oldest);
                }
                Count::Skipped
            }
            Fact::Skipped(_) => Count::Nothing,
        }
    }

    fn missed(
        &mut self,
        name: &JobName,
        job: Option<&Job>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        count: u64,
    ) -> u64 {
        let Some(known) = self.missed.get_mut(name).filter(|(first, last)| (*first..=*last).contains(&from))
        else {
            self.missed.insert(name.clone(), (from, to));
            return count;
        };
        let counted_to = known.1;
        if to <= counted_to {
            return 0;
        }
        known.1 = to;
        let Some(job) = job else { return count };
        // As many as are due after those that were counted.
        let mut next = job.next(counted_to);
        let mut more = 0;
        while let Some(at) = next.filter(|at| *at <= to && more < count) {
            more += 1;
            next = job.next(at);
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::job::sample;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    #[test]
    fn a_tick_that_is_recorded_as_missed_again_is_counted_once() {
        let check = |intervals: &[(i64, i64, u64)], expected: &[u64]| {
            let job = Arc::new(sample("a", "*/2 * * * * *"));
            let mut counting = Counting::default();
            let counts = intervals.iter().map(|(from, to, count)| {
                let (name, job, reason) =
                    (job.name.clone(), Some(Arc::clone(&job)), MissedReason::NotCaughtUp);
                let fact = Fact::Missed { name, job, from: at(*from), to: at(*to), count: *count, reason };
                match counting.count(&fact) {
                    Count::Missed(count, MissedReason::NotCaughtUp) => count,
                    Count::Nothing => 0,
                    other => panic!("{other:?}"),
                }
            });
            assert_eq!(counts.collect::<Vec<_>>(), expected, "{intervals:?}");
        };
        check(&[(2, 8, 4)], &[4]);
        check(&[(2, 8, 4), (2, 8, 4), (4, 6, 2)], &[4, 0, 0]);
        // A term that took over later finds more of the same outage.
        check(&[(2, 8, 4), (2, 12, 6), (6, 14, 5)], &[4, 2, 1]);
        check(&[(2, 8, 4), (10, 12, 2), (10, 12, 2)], &[4, 2, 0]);
        // One that begins before what is known was not counted by us.
        check(&[(10, 12, 2), (2, 12, 6)], &[2, 6]);
        // Where some were published, no more than the event says.
        check(&[(2, 8, 4), (2, 100, 3)], &[4, 3]);
    }

    #[test]
    fn a_message_that_is_too_large_is_counted_as_a_missed_tick() {
        let (job, mut counting) = (Arc::new(sample("a", "*/2 * * * * *")), Counting::default());
        let tick = crate::producer::plan::timetable::Tick { job, at: at(2) };
        let fact = fact_of(&crate::producer::publisher::records::missed(&tick, at(3))).unwrap();
        let counts = [(); 2].map(|()| counting.count(&fact));
        assert_eq!(counts, [Count::Missed(1, MissedReason::TooLarge), Count::Nothing]);
    }

    #[test]
    fn a_tick_that_is_skipped_again_is_counted_once() {
        let mut counting = Counting::default();
        let run = |second: i64| Fact::Skipped(RunId::of(&"a".parse().unwrap(), at(second)));
        assert_eq!(
            [1, 2, 1].map(|second| counting.count(&run(second))),
            [Count::Skipped, Count::Skipped, Count::Nothing]
        );
        for second in 0..20_000 {
            counting.count(&run(second));
        }
        assert_eq!((counting.skipped.len(), counting.skipped_in_order.len()), (10_000, 10_000));
    }
}
