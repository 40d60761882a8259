//! A cluster in one term of this leader: its plan, and the extra batches that are not part of the plan. Those hold the
//! ticks of a reboot, ticks that waited for the run before them, and facts for `cron-runs`.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::events;
use super::overlap::Queued;
use crate::common::bounds::{TICK_BATCHES, TICKS_HELD_BACK, TICKS_PER_BATCH};
use crate::common::model::{ClusterName, Event, JobName, MissedReason, Place};
use crate::common::topics;
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job::{Job, Overlap};
use crate::producer::leadership::{Published, Runs};
use crate::producer::plan::catchup::LATE;
use crate::producer::plan::timetable::Tick;
use crate::producer::plan::{Batch, ClusterPlan, Missed, Source};

/// A tick that waits: its instant, and its job.
type Waiting = (DateTime<Utc>, JobName);

/// A cluster in one term of this leader.
#[derive(Debug)]
pub(super) struct ClusterTerm {
    pub plan: ClusterPlan,
    /// Which of the owed ticks were published already, up to an instant that may lie ahead of our clock.
    published: Published,
    /// Whether the cursor has yet to pass some of those.
    remembers: bool,
    /// Whether the scheduler has taken the runs among them of the file's jobs whose runs may not overlap.
    has_taken: bool,
    /// The jobs whose runs were taken, under this file or one before it.
    taken: HashSet<JobName>,
    /// Where the cursor stays until those runs are taken: `cron-runs` may not say of them that they are published, and a
    /// leader that began behind them would not find them.
    untaken_from: Option<DateTime<Utc>>,
    /// Ticks that cannot be decided yet.
    held_back: VecDeque<Queued>,
    /// Extra batches that are still to be handed over. The cursor does not pass the instant of a batch until that batch
    /// is confirmed.
    extra: VecDeque<(DateTime<Utc>, Batch)>,
    /// Those that were handed over: their instants, and what waits for their confirmation.
    extra_in_flight: VecDeque<(DateTime<Utc>, Vec<Waiting>)>,
    /// Ticks that are held back, or wait for the run before them, or were released and are not confirmed.
    waiting: BTreeSet<Waiting>,
    /// How many batches are in flight: handed over and not confirmed.
    batches_in_flight: usize,
    /// How many ticks they have.
    ticks_in_flight: usize,
}

impl ClusterTerm {
    /// Creates the term of a cluster that begins at `now` and finds something published in its topic. A run that was
    /// published and has been deleted from the topic is not due later than those that are still there, nor later than a
    /// leader may have thought that it is by then.
    pub fn new(plan: ClusterPlan, published: Published, now: DateTime<Utc>) -> Self {
        let until = published.until.max(now + LATE);
        Self {
            plan,
            published: Published { until, ..published },
            remembers: true,
            has_taken: false,
            taken: HashSet::new(),
            untaken_from: None,
            held_back: VecDeque::new(),
            extra: VecDeque::new(),
            extra_in_flight: VecDeque::new(),
            waiting: BTreeSet::new(),
            batches_in_flight: 0,
            ticks_in_flight: 0,
        }
    }

    /// Whether another batch may be handed over.
    pub fn has_room(&self) -> bool {
        self.batches_in_flight < TICK_BATCHES && self.held_back.len() < TICKS_HELD_BACK
    }

    /// Whether something is handed over and not confirmed.
    pub fn is_busy(&self) -> bool {
        self.batches_in_flight > 0
    }

    /// How many ticks are in flight.
    pub fn ticks_in_flight(&self) -> usize {
        self.ticks_in_flight
    }

    /// Whether ticks may be undecided that a former file owes.
    pub fn owes_former(&self) -> bool {
        !self.held_back.is_empty() || self.plan.owes_former()
    }

    /// Adds an extra batch, unless it would be empty. The cursor does not pass `holds` until it is confirmed.
    pub fn add_extra(
        &mut self,
        revision: &Arc<str>,
        ticks: Vec<Tick>,
        events: Vec<Event>,
        holds: DateTime<Utc>,
    ) {
        if !ticks.is_empty() || !events.is_empty() {
            let batch = Batch { ticks, events, ..Batch::new(self.plan.term(), Source::Extra, revision) };
            self.extra.push_back((holds, batch));
        }
    }

    /// Adds the ticks of a reboot that are not published yet. Those of jobs whose runs may not overlap are decided like
    /// other ticks.
    pub fn reboot(&mut self, file: &ActiveJobs, cluster: &ClusterName, at: DateTime<Utc>) {
        let jobs = file.of(cluster).into_iter().filter(|job| job.schedule.is_reboot());
        let ticks = jobs.map(|job| Tick { job, at }).filter(|tick| self.published(tick).is_none());
        let (free, others): (Vec<_>, Vec<_>) = ticks.partition(|tick| tick.job.overlap == Overlap::Allow);
        self.add_extra(&file.revision, free, Vec::new(), at);
        others.into_iter().for_each(|tick| self.hold_back(tick, &file.revision));
    }

    /// Takes the next extra batch; extra batches go before those of the plan. The batch counts as handed over.
    pub fn next_extra(&mut self) -> Option<Batch> {
        let (holds, batch) = self.extra.pop_front()?;
        let ticks = batch.ticks.iter().map(|tick| (tick.at, tick.job.name.clone())).collect();
        self.extra_in_flight.push_back((holds, ticks));
        self.hand_over(&batch);
        Some(batch)
    }

    /// Notes that a batch is handed over.
    pub fn hand_over(&mut self, batch: &Batch) {
        self.batches_in_flight += 1;
        self.ticks_in_flight += batch.ticks.len();
    }

    /// Notes that the fate of every tick in the oldest batch of a source is on record; the batch had so many to publish.
    pub fn confirmed(&mut self, source: Source, ticks: usize) {
        self.batches_in_flight = self.batches_in_flight.saturating_sub(1);
        self.ticks_in_flight = self.ticks_in_flight.saturating_sub(ticks);
        if source != Source::Extra {
            return self.plan.confirmed(source);
        }
        for tick in self.extra_in_flight.pop_front().into_iter().flat_map(|(_, ticks)| ticks) {
            self.waiting.remove(&tick);
        }
    }

    /// Holds back a tick that cannot be decided yet.
    pub fn hold_back(&mut self, tick: Tick, revision: &Arc<str>) {
        self.waits(&tick);
        self.held_back.push_back(Queued { tick, revision: Arc::clone(revision) });
    }

    /// Takes the next ticks that were held back: those of one job file, and no more than a batch.
    pub fn take_held_back(&mut self) -> Option<(Vec<Tick>, Arc<str>)> {
        let revision = Arc::clone(&self.held_back.front()?.revision);
        let others = self.held_back.iter().position(|held| held.revision != revision);
        let count = others.unwrap_or(self.held_back.len()).min(TICKS_PER_BATCH);
        let these = self.held_back.drain(..count);
        Some((these.map(|held| held.tick).collect(), revision))
    }

    /// Adds as an extra batch what was decided about held-back ticks, of which the first is due at `from`.
    pub fn decided(
        &mut self,
        ticks: Vec<Tick>,
        events: Vec<Event>,
        revision: &Arc<str>,
        from: DateTime<Utc>,
    ) {
        self.add_extra(revision, ticks, events, from - TimeDelta::milliseconds(1));
    }

    /// Notes that a tick waits for the run before it.
    pub fn waits(&mut self, tick: &Tick) {
        self.waiting.insert((tick.at, tick.job.name.clone()));
    }

    /// Notes that a tick waits no more: its fate is on record, or is about to be.
    pub fn waits_no_more(&mut self, tick: &Tick) {
        self.waiting.remove(&(tick.at, tick.job.name.clone()));
    }

    /// Notes that a tick waits no more, because a newer one has taken its place. It was decided in an earlier batch, so the
    /// event that says so is an extra batch, which holds the cursor before the tick.
    pub fn gives_place(&mut self, queued: &Queued, skipped: Event) {
        self.waits_no_more(&queued.tick);
        let holds = queued.tick.at - TimeDelta::milliseconds(1);
        self.add_extra(&queued.revision, Vec::new(), vec![skipped], holds);
    }

    /// Adds a tick that waits no more as an extra batch: it is to be published.
    pub fn release(&mut self, queued: Queued) {
        let Queued { tick, revision } = queued;
        let holds = tick.at - TimeDelta::milliseconds(1);
        self.add_extra(&revision, vec![tick], Vec::new(), holds);
    }

    /// Takes the held-back ticks of jobs that the file no longer has.
    pub fn take_removed(&mut self, file: &ActiveJobs) -> Vec<Tick> {
        let is_gone = |held: &Queued| !file.jobs.iter().any(|job| job.name == held.tick.job.name);
        let (gone, left) = std::mem::take(&mut self.held_back).into_iter().partition(is_gone);
        self.held_back = left;
        let gone: VecDeque<Queued> = gone;
        gone.into_iter().map(|held| held.tick).collect()
    }

    /// Gives up a tick that waited, because the file no longer has its job. Returns the event that says so.
    pub fn give_up(&mut self, tick: &Tick, cluster: &ClusterName, now: DateTime<Utc>) -> Event {
        self.waiting.remove(&(tick.at, tick.job.name.clone()));
        let (from, to, count) = (tick.at, tick.at, 1);
        let missed = Missed { job: Arc::clone(&tick.job), from, to, count, reason: MissedReason::Removed };
        events::missed(&missed, cluster, now)
    }

    /// Where the topic held the tick's run when the term began.
    pub fn published(&self, tick: &Tick) -> Option<Place> {
        let (partition, offset) = self.published.runs.find(&tick.job.name, tick.at)?;
        let topic = topics::first(&tick.job.cluster);
        Some(Place { topic, topic_id: self.published.topic_id, partition, offset })
    }

    /// Leaves out of ticks that are missed those that the topic held when the term began: a cursor that was held back, by a
    /// tick that waits for instance, lies before many that were published. `None` when none is left.
    pub fn not_published(&self, missed: Missed) -> Option<Missed> {
        let Missed { job, from, to, .. } = &missed;
        if self.published.runs.count(&job.name, *from, *to) == 0 {
            return Some(missed);
        }
        // Go by the schedule: a run that an earlier job file has published at another instant is none of these ticks.
        let ticks = std::iter::successors(Some(*from), |at| job.next(*at)).take_while(|at| at <= to);
        let published = ticks.filter(|at| self.published.runs.find(&job.name, *at).is_some()).count();
        let count = missed.count.saturating_sub(u64::try_from(published).unwrap_or(u64::MAX));
        (count > 0).then_some(Missed { count, ..missed })
    }

    /// Whether there are published runs to be [taken](Self::take_published). The check is cheap, because the scheduler
    /// makes it for each batch.
    pub fn owes_published(&self) -> bool {
        !self.has_taken && !self.published.runs.is_empty()
    }

    /// Takes the owed runs of these jobs, each once, with their places in the topic when the term began, in the order
    /// of their instants.
    pub fn take_published<'a>(&mut self, jobs: impl Iterator<Item = &'a Arc<Job>>) -> Vec<(Tick, Place)> {
        self.has_taken = true;
        let mut all = Vec::new();
        for job in jobs {
            if !self.taken.insert(job.name.clone()) {
                continue;
            }
            for at in self.published.runs.instants(&job.name) {
                let tick = Tick { job: Arc::clone(job), at };
                let place = self.published(&tick);
                all.extend(place.map(|place| (tick, place)));
            }
        }
        all.sort_by_key(|(tick, _)| tick.at);
        all
    }

    /// Keeps the cursor before the runs of these jobs until they are taken. It does not go back to those that it has passed:
    /// another job file may have come, in which runs of other jobs may not overlap.
    pub fn hold_published<'a>(&mut self, jobs: impl Iterator<Item = &'a Arc<Job>>, now: DateTime<Utc>) {
        let passed = self.cursor(now);
        let untaken = jobs.filter(|job| !self.taken.contains(&job.name));
        let first = untaken.filter_map(|job| self.published.runs.instants(&job.name).next()).min();
        self.untaken_from = first.map(|at| passed.max(at - TimeDelta::milliseconds(1)));
        self.has_taken = false;
    }

    /// Whether ticks are owed whose runs may have been published before the term.
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// Forgets what was published before the term once it has been taken and the cursor has passed all of it.
    pub fn forget_published(&mut self, now: DateTime<Utc>) {
        if !self.remembers || !self.held_back.is_empty() || self.owes_published() {
            return;
        }
        if self.plan.cursor(now) > self.published.until {
            self.remembers = false;
            (self.published.runs, self.taken) = (Runs::default(), HashSet::new());
        }
    }

    /// The plan's cursor, held back by extra batches, by ticks that wait, and by runs that are still to be taken.
    pub fn cursor(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let extra = self.extra.iter().map(|(holds, _)| *holds);
        let extra = extra.chain(self.extra_in_flight.iter().map(|(holds, _)| *holds));
        let waiting = self.waiting.first().map(|(at, _)| *at - TimeDelta::milliseconds(1));
        let untaken = self.untaken_from.filter(|_| !self.has_taken);
        extra.chain(waiting).chain(untaken).fold(self.plan.cursor(now), DateTime::min)
    }
}
