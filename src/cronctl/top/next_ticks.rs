//! The next tick of each cluster, as a job file says. Pure: each job's schedule is asked only when its tick has passed.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::common::model::{ClusterName, JobName};
use crate::producer::job::Job;

/// Jobs with their next ticks.
#[derive(Debug, Default)]
pub struct NextTicks(Vec<(Arc<Job>, Option<DateTime<Utc>>)>);

impl NextTicks {
    /// Creates it from the jobs of a file.
    pub fn of(jobs: Vec<Arc<Job>>, now: DateTime<Utc>) -> Self {
        let with_next = |job: Arc<Job>| {
            let next = job.next(now);
            (job, next)
        };
        Self(jobs.into_iter().map(with_next).collect())
    }

    /// The first tick after an instant of each cluster that has one.
    pub fn after(&mut self, now: DateTime<Utc>) -> BTreeMap<ClusterName, (DateTime<Utc>, JobName)> {
        let mut first: BTreeMap<ClusterName, (DateTime<Utc>, JobName)> = BTreeMap::new();
        for (job, next) in &mut self.0 {
            if next.is_some_and(|at| at <= now) {
                *next = job.next(now);
            }
            let Some(at) = *next else { continue };
            let known = first.entry(job.cluster.clone()).or_insert_with(|| (at, job.name.clone()));
            if at < known.0 {
                *known = (at, job.name.clone());
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cronctl::top::sample::at;
    use crate::producer::schedule::Schedule;
    use crate::producer::zone::Zone;

    #[test]
    fn the_first_tick_of_each_cluster_is_found_as_time_goes_on() {
        let job = |name: &str, cluster: &str, words: &str| {
            let schedule = Schedule::parse(words, &Zone::utc()).unwrap();
            Arc::new(Job::sample(name.parse().unwrap(), cluster.parse().unwrap(), schedule))
        };
        let jobs = vec![
            job("minute", "a", "* * * * *"),
            job("five", "a", "*/5 * * * * *"),
            job("hour", "b", "0 * * * *"),
            job("boot", "c", "@reboot"),
        ];
        let mut ticks = NextTicks::of(jobs, at(0));
        let mut check = |now: i64, a: (i64, &str), b: (i64, &str)| {
            let found: Vec<(String, i64, String)> = ticks
                .after(at(now))
                .into_iter()
                .map(|(cluster, (at, job))| (cluster.to_string(), at.timestamp(), job.to_string()))
                .collect();
            let row = |cluster: &str, of: (i64, &str)| (cluster.to_owned(), of.0, of.1.to_owned());
            assert_eq!(found, [row("a", a), row("b", b)], "{now}");
        };
        check(0, (5, "five"), (3600, "hour"));
        check(4, (5, "five"), (3600, "hour"));
        check(5, (10, "five"), (3600, "hour"));
        check(3_600, (3_605, "five"), (7_200, "hour"));
    }
}
