//! What is known of the clusters, consumers, producers and runs, folded from what was read. Bounded, however long it goes on.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::messages::{Look, Told};
use crate::common::glyphs::harmless;
use crate::common::model::{ClusterName, Event, Place, RunId, RunningAttempt};
use crate::common::topics;
use crate::cronctl::runs::run_list::RunList;

/// How many runs are kept: under a kilobyte each.
pub const RUNS: usize = 10_000;

/// How many consumers and producers are kept, each.
const PROGRAMS: usize = 1_000;

/// How many of the newest troubles are kept.
const TROUBLES: usize = 3;

/// How many records of missed ticks are kept, each of a job and an interval.
const MISSED: usize = 10_000;

/// How many attempts are looked for at a time.
const WANTED: usize = 100;

/// How long a program is shown after its last sign of life. Consumers without work give one about every minute.
pub const FORGOTTEN: TimeDelta = TimeDelta::minutes(10);

/// A consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// The topic that its attempts came from, where it is known.
    pub topic: Option<String>,
    /// When it was last heard of, by the broker's clock.
    pub seen: DateTime<Utc>,
    /// For how long its last sign of life counts.
    pub lease: TimeDelta,
}

/// A producer that leads or has led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its first beat that was read.
    pub first: DateTime<Utc>,
    /// Its last beat.
    pub last: DateTime<Utc>,
}

/// An attempt that is under way although no event of the window tells of its run.
#[derive(Debug, Clone)]
struct Wanted {
    alive: RunningAttempt,
    consumer: String,
    lease_ms: u64,
    at: DateTime<Utc>,
    is_asked: bool,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Board {
    clusters: Vec<ClusterName>,
    /// The group of the producers. Those of other groups stand by for another fleet.
    pub group: String,
    /// The runs of the window, and those that are under way.
    pub runs: RunList,
    /// Whether runs that are not over had to be forgotten.
    pub is_cut: bool,
    /// By name.
    pub consumers: BTreeMap<String, Consumer>,
    /// Producers whose beats were read, by name: of any fleet on this Kafka.
    pub leaders: BTreeMap<String, Leader>,
    /// When each producer last said that it leads one of these clusters, where the window tells.
    ours: BTreeMap<String, DateTime<Utc>>,
    /// Producers that stand by: when each last said so.
    pub standbys: BTreeMap<String, DateTime<Utc>>,
    /// The job file that the leader uses, where the window tells.
    pub revision: Option<String>,
    /// Ticks that will never run: when that was recorded, and how many.
    missed: VecDeque<(DateTime<Utc>, ClusterName, u64)>,
    /// What went wrong besides, the newest last.
    pub troubles: VecDeque<(DateTime<Utc>, String)>,
    /// What the last look found.
    pub look: Option<Look>,
    wanted: HashMap<RunId, Wanted>,
}

impl Board {
    /// Creates a board on which nothing is known.
    pub fn new(clusters: Vec<ClusterName>) -> Self {
        Self { clusters, ..Self::default() }
    }

    /// The clusters, in the order in which they are shown.
    pub fn clusters(&self) -> &[ClusterName] {
        &self.clusters
    }

    /// Takes a record.
    pub fn take(&mut self, told: &Told) {
        match told {
            Told::Message(attempt) => drop(self.runs.message(attempt)),
            Told::Event(event, at) => self.event(event, *at),
            Told::Found(run, found) => {
                let Some(wanted) = self.wanted.remove(run) else { return };
                let Some(attempt) = found.as_ref().filter(|found| found.run.id == *run) else { return };
                self.runs.message(attempt);
                let claimed = Event::Claimed {
                    attempt: wanted.alive.attempt,
                    job: attempt.run.job.clone(),
                    place: wanted.alive.place,
                    consumer: wanted.consumer,
                    lease_ms: wanted.lease_ms,
                    at: wanted.at,
                };
                self.runs.event(&claimed, wanted.at);
            }
        }
        // A little more at times, so that not every record costs a search for the oldest.
        if self.runs.len() > RUNS + RUNS / 8 {
            self.tidy();
        }
    }

    fn event(&mut self, event: &Event, at: DateTime<Utc>) {
        if !topics::concerns(event, &self.clusters) {
            return;
        }
        self.runs.event(event, at);
        match event {
            Event::Claimed { consumer, place, lease_ms, .. } => {
                self.heard(consumer, at, Some(&place.topic), Some(*lease_ms));
            }
            Event::Finished { attempt, consumer, .. } => {
                self.wanted.remove(&attempt.run);
                self.heard(consumer, at, None, None);
            }
            Event::Lost { attempt, .. } | Event::Ended { attempt, .. } => {
                self.wanted.remove(&attempt.run);
            }
            Event::Alive { consumer, lease_ms, running, .. } => self.alive(consumer, *lease_ms, running, at),
            Event::Beat { leader, number, .. } if *number > 0 => {
                let known = self.leaders.entry(leader.clone()).or_insert(Leader { first: at, last: at });
                known.last = known.last.max(at);
            }
            Event::Standby { producer, group, .. } if *group == self.group => {
                self.standbys.insert(producer.clone(), at);
            }
            Event::Revision { revision, leader, .. } => {
                self.revision = Some(harmless(revision));
                self.ours.insert(leader.clone(), at);
            }
            Event::Missed { job, cluster, count, reason, .. } => {
                self.missed.push_back((at, cluster.clone(), *count));
                if self.missed.len() > MISSED {
                    self.missed.pop_front();
                }
                self.trouble(at, &format!("{cluster}: {count} ticks of {job} missed ({})", reason.word()));
            }
            Event::Unreadable { place, reason, .. } => {
                self.trouble(at, &format!("{}: a message cannot be read: {reason}", lies(place)));
            }
            Event::DeletedUnread { place, next_offset, .. } => {
                let count = next_offset.saturating_sub(place.offset);
                self.trouble(at, &format!("{}: {count} messages were deleted unread", lies(place)));
            }
            Event::Truncated { place, .. } => {
                self.trouble(at, &format!("{}: the topic was cut below what was read", lies(place)));
            }
            _ => {}
        }
    }

    fn alive(&mut self, consumer: &str, lease_ms: u64, running: &[RunningAttempt], at: DateTime<Utc>) {
        let is_ours = |running: &&RunningAttempt| {
            topics::cluster_of(&running.place.topic).is_some_and(|cluster| self.clusters.contains(&cluster))
        };
        let ours: Vec<&RunningAttempt> = running.iter().filter(is_ours).collect();
        if ours.is_empty() && !running.is_empty() {
            return;
        }
        for alive in &ours {
            if !self.runs.sign(alive.attempt, at, lease_ms) && self.wanted.len() < WANTED {
                let (alive, consumer) = ((*alive).clone(), consumer.to_owned());
                let wanted = Wanted { alive, consumer, lease_ms, at, is_asked: false };
                self.wanted.insert(wanted.alive.attempt.run, wanted);
            }
        }
        let topic = ours.first().map(|alive| alive.place.topic.clone());
        self.heard(consumer, at, topic.as_deref(), Some(lease_ms));
    }

    fn heard(&mut self, consumer: &str, at: DateTime<Utc>, topic: Option<&str>, lease_ms: Option<u64>) {
        let fresh = || Consumer { topic: None, seen: at, lease: TimeDelta::zero() };
        let known = self.consumers.entry(consumer.to_owned()).or_insert_with(fresh);
        known.seen = known.seen.max(at);
        if let Some(topic) = topic {
            known.topic = Some(topic.to_owned());
        }
        if let Some(lease_ms) = lease_ms {
            known.lease = TimeDelta::milliseconds(i64::try_from(lease_ms).unwrap_or(i64::MAX / 2));
        }
    }

    fn trouble(&mut self, at: DateTime<Utc>, what: &str) {
        self.troubles.push_back((at, harmless(what)));
        while self.troubles.len() > TROUBLES {
            self.troubles.pop_front();
        }
    }

    /// Takes what a look found, and forgets what is over and was due before the window.
    pub fn looked(&mut self, look: Look, now: DateTime<Utc>, window: TimeDelta) {
        self.look = Some(look);
        let since = now - window;
        self.runs.forget_before(since);
        self.troubles.retain(|(at, _)| *at >= since);
        self.missed.retain(|(at, _, _)| *at >= since);
        self.tidy();
        let is_recent = |at: &DateTime<Utc>| *at + FORGOTTEN >= now;
        self.consumers.retain(|_, consumer| is_recent(&consumer.seen));
        self.leaders.retain(|_, leader| is_recent(&leader.last));
        self.standbys.retain(|_, at| is_recent(at));
        keep_newest(&mut self.consumers, |consumer| consumer.seen);
        keep_newest(&mut self.leaders, |leader| leader.last);
        keep_newest(&mut self.standbys, |at| *at);
        keep_newest(&mut self.ours, |at| *at);
    }

    /// How many ticks of a cluster were recorded as missed within the window.
    pub fn missed(&self, cluster: &ClusterName) -> u64 {
        let of = self.missed.iter().filter(|(_, missed, _)| missed == cluster);
        of.fold(0, |sum, (_, _, count)| sum.saturating_add(*count))
    }

    fn tidy(&mut self) {
        self.is_cut |= self.runs.keep_at_most(RUNS);
    }

    /// The attempts whose messages are to be looked for, each once after each sign of life.
    pub fn wanted(&mut self) -> Vec<(RunId, Place)> {
        let fresh = self.wanted.iter_mut().filter(|(_, wanted)| !wanted.is_asked);
        fresh
            .map(|(run, wanted)| {
                wanted.is_asked = true;
                (*run, wanted.alive.place.clone())
            })
            .collect()
    }

    /// The producer that leads these clusters: the one whose beat is the newest. Beats do not say whose they are, so those of
    /// another fleet on the same Kafka are told apart by what the window tells of our leaders. Also how many others may lead.
    pub fn leader(&self) -> Option<(&str, &Leader, usize)> {
        let is_ours = |(name, _): &(&String, &Leader)| self.ours.contains_key(*name);
        let newest = |(_, beats): &(&String, &Leader)| beats.last;
        let ours = self.leaders.iter().filter(is_ours).max_by_key(newest);
        let (name, leader) = ours.or_else(|| self.leaders.iter().max_by_key(newest))?;
        let beside = |(other, beats): &(&String, &Leader)| *other != name && beats.last > leader.first;
        let others = if ours.is_some() { 0 } else { self.leaders.iter().filter(beside).count() };
        Some((name, leader, others))
    }
}

fn lies(place: &Place) -> String {
    format!("{}/{} offset {}", place.topic, place.partition, place.offset)
}

fn keep_newest<T>(programs: &mut BTreeMap<String, T>, seen: impl Fn(&T) -> DateTime<Utc>) {
    if programs.len() <= PROGRAMS {
        return;
    }
    let mut all: Vec<DateTime<Utc>> = programs.values().map(&seen).collect();
    all.sort_unstable();
    let oldest = all[all.len() - PROGRAMS];
    programs.retain(|_, program| seen(program) >= oldest);
}

#[cfg(test)]
mod tests;
