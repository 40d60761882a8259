//! Which of the owed ticks a cluster's topic holds already. A takeover finds this out, and the scheduler asks it for
//! each tick until the cursor has passed it.
//!
//! There is one entry a message since the cursor, so its size counts: 16 bytes. A cursor is usually some seconds old.
//! It is old where a tick of a job with `overlap=queue` has waited for long, or where a long backlog is being caught
//! up: a day at 100 ticks a second is 8.6 million messages and takes 140 MB, as long as the new leader has not passed
//! them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::common::model::{JobName, RunId};

/// What a cluster's topic holds already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The runs.
    pub runs: Runs,
    /// None of them is due later, by the clocks of those who published them.
    pub until: DateTime<Utc>,
}

/// Runs that stand in a topic, each with the partition and the offset where it stands first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    /// By job, in the order of their instants once all are known.
    of_jobs: HashMap<JobName, Vec<Found>>,
    /// Those of which only the key can be read, and those that are due at no whole second of this age.
    others: HashMap<RunId, (i32, i64)>,
}

/// A run's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// The instant of its tick, in seconds since the epoch.
    second: u32,
    partition: i32,
    offset: i64,
}

fn second(at: DateTime<Utc>) -> Option<u32> {
    u32::try_from(at.timestamp()).ok().filter(|_| at.timestamp_subsec_nanos() == 0)
}

fn instant(second: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(i64::from(second), 0).unwrap_or_default()
}

impl Runs {
    /// Adds the run of a job's tick.
    pub fn add(&mut self, job: &JobName, at: DateTime<Utc>, (partition, offset): (i32, i64)) {
        let Some(second) = second(at) else { return self.add_other(RunId::of(job, at), (partition, offset)) };
        let found = Found { second, partition, offset };
        match self.of_jobs.get_mut(job) {
            Some(of) => of.push(found),
            None => drop(self.of_jobs.insert(job.clone(), vec![found])),
        }
    }

    /// Adds a run of which only the id is known.
    pub fn add_other(&mut self, run: RunId, place: (i32, i64)) {
        self.others.entry(run).or_insert(place);
    }

    /// Puts all in order. To be called when the last was added, before anything is asked.
    pub fn sort(&mut self) {
        for of in self.of_jobs.values_mut() {
            of.sort_unstable();
            of.dedup_by_key(|found| found.second);
            of.shrink_to_fit();
        }
    }

    /// Where the run of a job's tick stands.
    pub fn find(&self, job: &JobName, at: DateTime<Utc>) -> Option<(i32, i64)> {
        let of_job = self.of_jobs.get(job).zip(second(at)).and_then(|(of, second)| {
            let place = of.binary_search_by_key(&second, |found| found.second).ok()?;
            Some((of[place].partition, of[place].offset))
        });
        // Most topics have none of the others, and the id of a run is a hash.
        of_job.or_else(|| {
            if self.others.is_empty() { None } else { self.others.get(&RunId::of(job, at)).copied() }
        })
    }

    /// Where a run stands of which only the id is known.
    #[cfg(test)]
    pub fn place_of(&self, run: RunId) -> Option<(i32, i64)> {
        self.others.get(&run).copied()
    }

    /// How many runs of a job there are from one instant to another, both included.
    pub fn count(&self, job: &JobName, from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
        let Some(of) = self.of_jobs.get(job) else { return 0 };
        let low = of.partition_point(|found| instant(found.second) < from);
        let high = of.partition_point(|found| instant(found.second) <= to);
        u64::try_from(high.saturating_sub(low)).unwrap_or(u64::MAX)
    }

    /// The instants of a job's runs, in order.
    pub fn instants<'a>(&'a self, job: &JobName) -> impl Iterator<Item = DateTime<Utc>> + use<'a> {
        self.of_jobs.get(job).into_iter().flatten().map(|found| instant(found.second))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.of_jobs.is_empty() && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_800_000_000_000 + millis).unwrap()
    }

    #[test]
    fn a_run_is_found_where_it_stands_first_in_whatever_order_runs_were_read() {
        let (job, other) = ("job".parse().unwrap(), "other".parse().unwrap());
        let mut runs = Runs::default();
        for (second, place) in [(7, (1, 5)), (3, (0, 9)), (7, (1, 2)), (5, (2, 0)), (7, (1, 8))] {
            runs.add(&job, at(second * 1_000), place);
        }
        runs.add(&job, at(3_500), (0, 10));
        runs.add_other(RunId::of(&other, at(0)), (4, 4));
        runs.sort();
        let check = |job: &JobName, millis: i64, place: Option<(i32, i64)>| {
            assert_eq!(runs.find(job, at(millis)), place, "{job} {millis}");
        };
        check(&job, 7_000, Some((1, 2)));
        check(&job, 3_000, Some((0, 9)));
        check(&job, 3_500, Some((0, 10)));
        check(&job, 4_000, None);
        check(&other, 0, Some((4, 4)));
        check(&other, 7_000, None);
        let counts = [(0, 9_000), (3_000, 5_000), (3_001, 6_999), (8_000, 9_000)];
        let counts = counts.map(|(from, to)| runs.count(&job, at(from), at(to)));
        assert_eq!(counts, [3, 2, 1, 0]);
        assert_eq!(runs.instants(&job).collect::<Vec<_>>(), [at(3_000), at(5_000), at(7_000)]);
    }

    #[test]
    fn a_message_takes_sixteen_bytes() {
        assert_eq!(size_of::<Found>(), 16);
    }
}
