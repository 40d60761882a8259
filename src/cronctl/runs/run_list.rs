//! The run list: the runs of a period, as far as messages and events tell. Memory grows with the runs, not with the events, and
//! where the list has a limit, it gives up a part of the runs instead of growing beyond that.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::entry::{Decision, Entry};
use super::finished::{Finished, RunNames};
use super::part::Part;
use super::run_detail as story;
use super::run_detail::RunDetail;
use crate::common::model::{Attempt, ClusterName, Event, JobName, RunId};
use crate::common::topics;

/// Runs by id.
#[derive(Debug, Default)]
pub struct RunList {
    runs: HashMap<RunId, Kept>,
    names: RunNames,
    /// Runs of other parts are passed over.
    part: Part,
    /// How many runs are kept as entries.
    whole: usize,
    /// The room for runs, where there is a limit, and the parts that were given up to keep it.
    room: Option<usize>,
    given_up: Vec<Part>,
}

/// What is kept of a run.
#[derive(Debug)]
enum Kept {
    /// All of it, and whether something is new about it.
    Whole(Box<Entry>, bool),
    /// It had one attempt, which succeeded: so most runs end.
    Finished(Finished),
}

/// How much more room an entry takes than a finished run.
const ENTRY: usize = 8;

/// What is known of a run from one message or event.
struct Told<'a> {
    run: RunId,
    job: &'a JobName,
    cluster: Option<ClusterName>,
    scheduled_at: Option<DateTime<Utc>>,
    decision: Decision,
}

impl RunList {
    /// Creates a list of the runs of a part. Where these take more room than for so many finished runs, it gives up a half of
    /// the part, and says so in [`Self::given_up`].
    pub fn of(part: Part, room: usize) -> Self {
        Self { part, room: Some(room), ..Self::default() }
    }

    /// The parts that the list gave up: their runs are in none of its answers.
    pub fn given_up(&mut self) -> Vec<Part> {
        std::mem::take(&mut self.given_up)
    }

    /// Whether the run belongs here.
    pub fn takes(&self, run: RunId) -> bool {
        self.part.has(run)
    }

    /// Takes a message of a cluster's topic. Returns its run, if something is new about it.
    pub fn message(&mut self, attempt: &Attempt) -> Option<RunId> {
        let run = &attempt.run;
        let told = Told {
            run: run.id,
            job: &run.job,
            cluster: Some(run.cluster.clone()),
            scheduled_at: Some(run.scheduled_at),
            decision: Decision::Published,
        };
        self.tell(told, None)
    }

    /// Takes an event. Returns the run that it tells something about, if something is new about it.
    pub fn event(&mut self, event: &Event, written_at: DateTime<Utc>) -> Option<RunId> {
        let run = story::run_of(event)?;
        let told = |job, cluster: &ClusterName, at: DateTime<Utc>, decision| {
            Some(Told { run, job, cluster: Some(cluster.clone()), scheduled_at: Some(at), decision })
        };
        let told = match event {
            Event::Claimed { job, place, .. } => Some(Told {
                run,
                job,
                cluster: topics::cluster_of(&place.topic),
                scheduled_at: None,
                decision: Decision::Published,
            }),
            Event::Lost { job: None, .. }
            | Event::Lost { scheduled_at: None, .. }
            | Event::Ended { scheduled_at: None, .. } => {
                // Its message is gone; what is known of the run was told by the claim.
                let (entry, is_news) = unpacked(self.runs.get_mut(&run)?, run, &self.names, &mut self.whole)?;
                entry.story.take(event, written_at);
                *is_news = true;
                return Some(run);
            }
            Event::Lost { job: Some(job), cluster, scheduled_at: Some(scheduled_at), .. }
            | Event::Ended { job, cluster, scheduled_at: Some(scheduled_at), .. }
            | Event::Finished { job, cluster, scheduled_at, .. }
            | Event::Published { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Published)
            }
            Event::Queued { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Queued)
            }
            Event::Skipped { job, cluster, scheduled_at, .. } => {
                told(job, cluster, *scheduled_at, Decision::Skipped)
            }
            _ => None,
        }?;
        self.tell(told, Some((event, written_at)))
    }

    fn tell(&mut self, told: Told<'_>, event: Option<(&Event, DateTime<Utc>)>) -> Option<RunId> {
        let Told { run, job, cluster, scheduled_at, decision } = told;
        if !self.part.has(run) {
            return None;
        }
        let mut is_fresh = false;
        let kept = self.runs.entry(run).or_insert_with(|| {
            is_fresh = true;
            self.whole += 1;
            let story = RunDetail::default();
            let job = job.clone();
            Kept::Whole(
                Box::new(Entry { run, job, cluster: None, scheduled_at: None, decision, story }),
                false,
            )
        });
        if let Kept::Finished(finished) = kept
            && event.is_none_or(|(event, _)| finished.is_told_already(event, &self.names))
        {
            return None;
        }
        let (entry, is_news) = unpacked(kept, run, &self.names, &mut self.whole)?;
        let mut news = is_fresh || decision > entry.decision;
        entry.decision = entry.decision.max(decision);
        entry.cluster = entry.cluster.take().or(cluster);
        entry.scheduled_at = entry.scheduled_at.or(scheduled_at);
        if let Some((event, written_at)) = event {
            let before = entry.story.clone();
            entry.story.take(event, written_at);
            news |= entry.story != before;
        }
        *is_news |= news;
        if let Some(finished) = Finished::of(entry, *is_news, &mut self.names) {
            *kept = Kept::Finished(finished);
            self.whole -= 1;
        }
        self.keep_to_its_room();
        news.then_some(run)
    }

    fn keep_to_its_room(&mut self) {
        while self.room.is_some_and(|room| self.runs.len() + self.whole * ENTRY > room)
            && let Some((mine, other)) = self.part.halves()
        {
            self.part = mine;
            self.given_up.push(other);
            self.runs.retain(|run, _| mine.has(*run));
            self.whole = self.runs.values().filter(|kept| matches!(kept, Kept::Whole(..))).count();
        }
    }

    /// What is known of a run.
    pub fn get(&self, run: RunId) -> Option<Cow<'_, Entry>> {
        Some(match self.runs.get(&run)? {
            Kept::Whole(entry, _) => Cow::Borrowed(entry),
            Kept::Finished(finished) => Cow::Owned(finished.entry(run, &self.names)?),
        })
    }

    /// The runs that something is new about since the last call, in the order in which they are shown: by their instants,
    /// then by job.
    pub fn news(&mut self) -> Vec<RunId> {
        let mut news = Vec::new();
        for (run, kept) in &mut self.runs {
            let (scheduled_at, job, is_news) = match kept {
                Kept::Whole(entry, is_news) => {
                    (entry.scheduled_at, self.names.jobs.number(&entry.job), is_news)
                }
                Kept::Finished(finished) => {
                    (Some(finished.scheduled_at), finished.job, &mut finished.is_news)
                }
            };
            if std::mem::take(is_news) {
                news.push((scheduled_at, job, *run));
            }
        }
        let place =
            |(at, job, run): &(Option<DateTime<Utc>>, u32, RunId)| (*at, self.names.jobs.name(*job), *run);
        news.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
        news.into_iter().map(|(_, _, run)| run).collect()
    }

    /// Forgets what is over and older than an instant.
    pub fn forget_before(&mut self, instant: DateTime<Utc>) {
        self.runs.retain(|_, kept| match kept {
            Kept::Whole(entry, _) => !entry.is_over() || entry.scheduled_at.is_none_or(|at| at >= instant),
            Kept::Finished(finished) => finished.scheduled_at >= instant,
        });
        self.whole = self.runs.values().filter(|kept| matches!(kept, Kept::Whole(..))).count();
    }
}

/// The entry of a run, and its mark that something is new about it. `None` where a name is unknown, which cannot be.
fn unpacked<'a>(
    kept: &'a mut Kept,
    run: RunId,
    names: &RunNames,
    whole: &mut usize,
) -> Option<(&'a mut Entry, &'a mut bool)> {
    if let Kept::Finished(finished) = kept {
        *kept = Kept::Whole(Box::new(finished.entry(run, names)?), finished.is_news);
        *whole += 1;
    }
    match kept {
        Kept::Whole(entry, is_news) => Some((entry, is_news)),
        Kept::Finished(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::model::{AttemptRef, Place};

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn skipped(scheduled: i64) -> Event {
        let (job, cluster) = (JobName::new("j").unwrap(), ClusterName::new("c").unwrap());
        let blocked_by = RunId::of(&job, at(0));
        Event::Skipped { job, cluster, scheduled_at: at(scheduled), blocked_by, at: at(scheduled) }
    }

    fn queued(scheduled: i64) -> Event {
        let (job, cluster) = (JobName::new("j").unwrap(), ClusterName::new("c").unwrap());
        let blocked_by = RunId::of(&job, at(0));
        Event::Queued { job, cluster, scheduled_at: at(scheduled), blocked_by, at: at(scheduled) }
    }

    fn claimed(scheduled: i64) -> Event {
        let job = JobName::new("j").unwrap();
        let topic = "c-retry".to_owned();
        Event::Claimed {
            attempt: AttemptRef { run: RunId::of(&job, at(scheduled)), attempt: 1 },
            job,
            place: Place { topic, topic_id: uuid::Uuid::nil(), partition: 0, offset: 0 },
            consumer: "me".to_owned(),
            lease_ms: 1,
            at: at(scheduled),
        }
    }

    #[test]
    fn events_in_any_order_make_one_entry_a_run() {
        let check = |events: &[Event], word: &str, scheduled_at: Option<i64>| {
            let mut journal = RunList::default();
            for event in events {
                journal.event(event, at(0));
            }
            let runs = journal.news();
            let entries: Vec<_> = runs.iter().filter_map(|run| journal.get(*run)).collect();
            assert_eq!(entries.len(), 1, "{events:?}");
            assert_eq!((entries[0].word(), entries[0].scheduled_at), (word, scheduled_at.map(at)));
            assert_eq!(entries[0].cluster.as_ref().map(ClusterName::as_str), Some("c"));
        };
        check(&[skipped(60)], "skipped", Some(60));
        check(&[queued(60)], "queued", Some(60));
        check(&[claimed(60)], "running", None);
        check(&[queued(60), claimed(60)], "running", Some(60));
        check(&[claimed(60), queued(60)], "running", Some(60));
    }

    #[test]
    fn what_is_told_again_is_no_news() {
        let mut journal = RunList::default();
        let mut check = |event: Event, news: bool| {
            assert_eq!(journal.event(&event, at(0)).is_some(), news, "{event:?}");
        };
        check(queued(60), true);
        check(queued(60), false);
        check(claimed(60), true);
        check(claimed(60), false);
        check(Event::Beat { leader: String::new(), number: 1, at: at(0) }, false);
    }

    #[test]
    fn only_what_is_over_is_forgotten() {
        let mut journal = RunList::default();
        for event in [skipped(60), skipped(120), queued(30)] {
            journal.event(&event, at(0));
        }
        journal.forget_before(at(100));
        let left = journal.news();
        let left: Vec<i64> =
            left.iter().filter_map(|run| journal.get(*run)?.scheduled_at).map(|at| at.timestamp()).collect();
        assert_eq!(left, [30, 120]);
    }
}
