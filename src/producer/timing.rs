//! The timer as a state machine: which lanes are ours in this term, what each hands over, and how far they are. The
//! thread `timer` and the simulation do nothing but call it. It never learns that Kafka exists.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::in_force::JobsInForce;
use super::lane::{LATE, Lane, Missed, Portion};
use super::leadership::{Keep, Start};
use super::measures::ClusterMeasures;
use super::publisher::{Batch, Confirmed};
use super::timetable::Tick;
use crate::common::bounds::{TICK_BATCHES, TICKS_PER_BATCH};
use crate::common::words::{ClusterName, Event, MissedReason, RunId};

/// One cluster as the timer sees it.
#[derive(Debug)]
struct Cluster {
    name: ClusterName,
    measures: ClusterMeasures,
    /// Ours in this term, from the moment that its start is known.
    turn: Option<Turn>,
}

/// A cluster in a term of ours.
#[derive(Debug)]
struct Turn {
    lane: Lane,
    /// What was published already of what is owed, up to the instant of the take-over.
    published: HashSet<RunId>,
    published_until: DateTime<Utc>,
    /// The instant of a reboot whose jobs are still owed their tick.
    reboot: Option<DateTime<Utc>>,
    /// Batches that were handed over and are not confirmed.
    under_way: usize,
}

/// The timer's state.
#[derive(Debug)]
pub struct Timing {
    clusters: Vec<Cluster>,
    file: JobsInForce,
    /// The term; 0 while another one leads.
    epoch: u64,
    kept: Option<Keep>,
}

impl Timing {
    /// A timer that leads nothing yet.
    pub fn new(clusters: Vec<(ClusterName, ClusterMeasures)>, file: JobsInForce) -> Self {
        let cluster = |(name, measures)| Cluster { name, measures, turn: None };
        let timing =
            Self { clusters: clusters.into_iter().map(cluster).collect(), file, epoch: 0, kept: None };
        timing.count_jobs();
        timing
    }

    /// A term of ours begins: lanes come one by one.
    pub fn begin(&mut self, epoch: u64) {
        self.end();
        self.epoch = epoch;
    }

    /// Our term is over, and what is under way is nobody's business any more.
    pub fn end(&mut self) {
        self.epoch = 0;
        self.kept = None;
        for cluster in &mut self.clusters {
            cluster.turn = None;
            cluster.measures.under_way.set(0);
        }
    }

    /// The term; 0 while another one leads.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A cluster's ticks are ours from here on. Returns what is to be recorded about a cursor that was lost.
    pub fn start(&mut self, epoch: u64, number: usize, start: Start, now: DateTime<Utc>) -> Option<Event> {
        let cluster = self.clusters.get_mut(number).filter(|_| epoch == self.epoch)?;
        let horizon = (now - LATE).max(start.cursor);
        let lane = Lane::new(&self.file, &cluster.name, start.cursor, horizon);
        log::info!("{}: leading from {}", cluster.name, start.cursor);
        let gap = start.is_gap.then(|| lost_cursor(&cluster.name, start.cursor, now));
        cluster.turn = Some(Turn {
            lane,
            published: start.published,
            published_until: now,
            reboot: start.reboot,
            under_way: 0,
        });
        gap
    }

    /// A new job file: ticks up to `at` belong to the old one.
    pub fn swap(&mut self, file: JobsInForce, at: DateTime<Utc>) {
        self.file = file;
        for cluster in &mut self.clusters {
            if let Some(turn) = &mut cluster.turn {
                turn.lane.swap(&self.file, at);
            }
        }
        self.count_jobs();
    }

    fn count_jobs(&self) {
        for cluster in &self.clusters {
            let count = self.file.of(&cluster.name).len();
            cluster.measures.jobs.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// The next batch that is due and has room, with its cluster's number.
    pub fn next_batch(&mut self, now: DateTime<Utc>) -> Option<(usize, Batch)> {
        for number in 0..self.clusters.len() {
            while let Some(batch) = self.batch_of(number, now) {
                if let Some(batch) = batch {
                    return Some((number, batch));
                }
            }
        }
        None
    }

    /// `None`: nothing is due, or there is no room. `Some(None)`: a portion of which nothing is left to be written.
    fn batch_of(&mut self, number: usize, now: DateTime<Utc>) -> Option<Option<Batch>> {
        let epoch = self.epoch;
        let cluster = &mut self.clusters[number];
        let turn = cluster.turn.as_mut().filter(|turn| turn.under_way < TICK_BATCHES)?;
        if let Some(ticks) = turn.of_reboot(&self.file, &cluster.name) {
            let revision = Arc::clone(&self.file.revision);
            turn.under_way += 1;
            cluster.measures.under_way.add(i64::try_from(ticks.len()).unwrap_or(0));
            return Some(Some(Batch { epoch, kind: None, ticks, events: Vec::new(), revision }));
        }
        let Portion { kind, mut ticks, missed, revision } = turn.lane.take(now, TICKS_PER_BATCH)?;
        if !turn.published.is_empty() {
            ticks.retain(|tick| !turn.published.contains(&RunId::of(&tick.job.name, tick.at)));
            if turn.lane.cursor(now) > turn.published_until {
                turn.published = HashSet::new();
            }
        }
        if ticks.is_empty() && missed.is_empty() {
            turn.lane.confirmed(kind);
            return Some(None);
        }
        for missed in &missed {
            cluster.measures.missed(missed.count, missed.reason.word());
        }
        let events = missed.iter().map(|missed| event(missed, &cluster.name, now)).collect();
        turn.under_way += 1;
        cluster.measures.under_way.add(i64::try_from(ticks.len()).unwrap_or(0));
        Some(Some(Batch { epoch, kind: Some(kind), ticks, events, revision }))
    }

    /// A batch has its fate on record.
    pub fn confirmed(&mut self, confirmed: Confirmed) {
        let turn = self.clusters.get_mut(confirmed.cluster).filter(|_| confirmed.epoch == self.epoch);
        if let Some(turn) = turn.and_then(|cluster| cluster.turn.as_mut()) {
            turn.under_way = turn.under_way.saturating_sub(1);
            match confirmed.kind {
                None => turn.reboot = None,
                Some(kind) => turn.lane.confirmed(kind),
            }
        }
    }

    /// Whether something is under way.
    pub fn is_busy(&self) -> bool {
        self.clusters.iter().filter_map(|cluster| cluster.turn.as_ref()).any(|turn| turn.under_way > 0)
    }

    /// How far every cluster is, where that is worth keeping: all have begun, and something has moved.
    pub fn keep(&mut self, now: DateTime<Utc>) -> Option<Keep> {
        let cursor = |cluster: &mut Cluster| cluster.turn.as_mut().map(|turn| turn.cursor(now));
        let cursors = self.clusters.iter_mut().map(cursor).collect::<Option<Vec<_>>>()?;
        let keep = Keep { epoch: self.epoch, cursors };
        (self.kept.as_ref() != Some(&keep)).then(|| self.kept.insert(keep).clone())
    }

    /// How long until the next tick of a cluster that has room.
    pub fn wait(&self, now: DateTime<Utc>, longest: Duration) -> Duration {
        let turns = self.clusters.iter().filter_map(|cluster| cluster.turn.as_ref());
        let next =
            turns.filter(|turn| turn.under_way < TICK_BATCHES).filter_map(|turn| turn.lane.next()).min();
        next.map_or(longest, |at| (at - now).to_std().unwrap_or_default()).min(longest)
    }
}

impl Turn {
    /// The ticks of a reboot, once.
    fn of_reboot(&mut self, file: &JobsInForce, cluster: &ClusterName) -> Option<Vec<Tick>> {
        let at = self.reboot.filter(|_| self.under_way == 0)?;
        let jobs = file.of(cluster).into_iter().filter(|job| job.schedule.is_reboot());
        let ticks: Vec<Tick> = jobs.map(|job| Tick { job, at }).collect();
        if ticks.is_empty() {
            self.reboot = None;
            return None;
        }
        Some(ticks)
    }

    /// A reboot that is still owed its tick holds the cursor back.
    fn cursor(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let cursor = self.lane.cursor(now);
        self.reboot.map_or(cursor, |at| cursor.min(at))
    }
}

fn event(missed: &Missed, cluster: &ClusterName, now: DateTime<Utc>) -> Event {
    Event::Missed {
        job: missed.job.name.clone(),
        cluster: cluster.clone(),
        from: missed.from,
        to: missed.to,
        count: missed.count,
        reason: missed.reason,
        at: now,
    }
}

/// One event for all that lies before a cursor that was lost, for no job in particular.
fn lost_cursor(cluster: &ClusterName, cursor: DateTime<Utc>, now: DateTime<Utc>) -> Event {
    log::error!(
        "{cluster}: the cursor is gone although the topic has records; what was due before {cursor} is given up"
    );
    Event::Missed {
        job: crate::common::words::JobName::any(),
        cluster: cluster.clone(),
        from: DateTime::UNIX_EPOCH,
        to: cursor,
        count: 0,
        reason: MissedReason::NoCursor,
        at: now,
    }
}
