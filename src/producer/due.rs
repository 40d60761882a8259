//! How many ticks have come due by a job file and the wall clock alone: the number to be expected, whichever producer
//! leads and whatever is published. Each producer counts for itself, so that operators can compare what is published
//! with what should have been, even when the producer that should have published is gone.

use chrono::{DateTime, TimeDelta, Utc};

use super::active_jobs::ActiveJobs;
use super::plan::timetable::Timetable;
use crate::common::model::ClusterName;

/// The longest time between two counts. If more has passed, the clock has jumped or the process stood still: then
/// nothing was expected meanwhile, and counting begins anew. A clock that is set right later takes nothing back and
/// leaves no time uncounted.
const LEAP: TimeDelta = TimeDelta::minutes(5);

/// The ticks of a job file that have come due since the counting began, cluster by cluster.
#[derive(Debug)]
pub struct DueTicks {
    /// In the order in which counts are told.
    clusters: Vec<(ClusterName, Timetable)>,
    counted_to: DateTime<Utc>,
}

impl DueTicks {
    /// Counts the ticks of `file` after `now`.
    pub fn new(clusters: &[ClusterName], file: &ActiveJobs, now: DateTime<Utc>) -> Self {
        let timetable = |cluster: &ClusterName| (cluster.clone(), Timetable::new(&file.of(cluster), now));
        Self { clusters: clusters.iter().map(timetable).collect(), counted_to: now }
    }

    /// The ticks that have come due since the last count, for each cluster that has any.
    pub fn count(&mut self, now: DateTime<Utc>) -> Vec<(ClusterName, u64)> {
        let since = now - self.counted_to;
        if since.abs() > LEAP {
            self.begin_anew(now);
            return Vec::new();
        }
        // A clock that goes back a little: what was counted stays counted, and is not counted again.
        self.counted_to = self.counted_to.max(now);
        let count =
            |(cluster, timetable): &mut (ClusterName, Timetable)| (cluster.clone(), pass(timetable, now));
        self.clusters.iter_mut().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// Takes another job file: ticks that came due up to `now` and were not counted still belong to the old file, and
    /// are told.
    pub fn swap(&mut self, file: &ActiveJobs, now: DateTime<Utc>) -> Vec<(ClusterName, u64)> {
        let counted = self.count(now);
        for (cluster, timetable) in &mut self.clusters {
            *timetable = Timetable::new(&file.of(cluster), self.counted_to);
        }
        counted
    }

    fn begin_anew(&mut self, now: DateTime<Utc>) {
        self.counted_to = now;
        for (_, timetable) in &mut self.clusters {
            *timetable = timetable.after(now);
        }
    }
}

/// Passes over what is due, and returns how much that was.
fn pass(timetable: &mut Timetable, now: DateTime<Utc>) -> u64 {
    let mut passed = 0;
    while let Some(due) = timetable.due(now) {
        let jobs = due.jobs.len();
        passed += jobs as u64;
        timetable.pass(jobs);
    }
    passed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::producer::job::{Job, sample};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("an instant")
    }

    fn cluster(name: &str) -> ClusterName {
        name.parse().expect("a name")
    }

    /// Jobs by their cluster and schedule.
    fn file(jobs: &[(&str, &str)]) -> ActiveJobs {
        let job = |(number, (of, words)): (usize, &(&str, &str))| {
            Arc::new(Job { cluster: cluster(of), ..sample(&format!("job-{number}"), words) })
        };
        ActiveJobs {
            jobs: jobs.iter().enumerate().map(job).collect(),
            revision: Arc::from("r"),
            tzdata: "2026f".into(),
        }
    }

    fn ticks(jobs: &[(&str, &str)]) -> DueTicks {
        DueTicks::new(&[cluster("a"), cluster("b")], &file(jobs), at(0))
    }

    fn told(counts: &[(ClusterName, u64)]) -> Vec<(&str, u64)> {
        counts.iter().map(|(cluster, count)| (cluster.as_str(), *count)).collect()
    }

    #[track_caller]
    fn check(due: &mut DueTicks, second: i64, expected: &[(&str, u64)]) {
        assert_eq!(told(&due.count(at(second))), expected, "at {second}");
    }

    #[test]
    fn each_tick_is_counted_once_when_its_instant_has_come() {
        let mut due =
            ticks(&[("a", "@every 10s"), ("a", "@every 10s"), ("b", "@every 30s"), ("a", "@reboot")]);
        check(&mut due, 9, &[]);
        check(&mut due, 10, &[("a", 2)]);
        check(&mut due, 10, &[]);
        check(&mut due, 35, &[("a", 4), ("b", 1)]);
    }

    #[test]
    fn a_clock_that_goes_back_a_little_counts_nothing_twice() {
        let mut due = ticks(&[("a", "@every 10s")]);
        check(&mut due, 30, &[("a", 3)]);
        check(&mut due, 5, &[]);
        check(&mut due, 30, &[]);
        check(&mut due, 40, &[("a", 1)]);
    }

    #[test]
    fn nothing_was_expected_while_the_process_stood_still_or_the_clock_was_elsewhere() {
        for elsewhere in [3_600 * 24, -3_600 * 24] {
            let mut due = ticks(&[("a", "@every 10s")]);
            check(&mut due, 20, &[("a", 2)]);
            check(&mut due, elsewhere, &[]);
            check(&mut due, elsewhere + 10, &[("a", 1)]);
            check(&mut due, 20, &[]);
            check(&mut due, 30, &[("a", 1)]);
        }
    }

    #[test]
    fn the_longest_pause_of_a_busy_host_is_counted() {
        let mut due = ticks(&[("a", "@every 10s")]);
        check(&mut due, 300, &[("a", 30)]);
        check(&mut due, 601, &[]);
    }

    #[test]
    fn ticks_before_a_new_file_are_those_of_the_old_one() {
        let mut due = ticks(&[("a", "@every 10s")]);
        let new = file(&[("a", "@every 5s"), ("b", "@every 5s")]);
        assert_eq!(told(&due.swap(&new, at(20))), [("a", 2)]);
        check(&mut due, 25, &[("a", 1), ("b", 1)]);
        // A clock that is behind what was counted: the new file begins where the old one was left.
        assert_eq!(due.swap(&file(&[("a", "@every 1s")]), at(15)), []);
        check(&mut due, 26, &[("a", 1)]);
    }
}
