//! The tick ledger: every tick that the schedules of some jobs name in a period, and what is known of its fate. A tick takes
//! some fifty bytes, whatever the topics hold, so a ledger takes as many jobs as it has room for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::calendar::{Calendar, NotUnderstood, Period};
use super::ruled::Ruled;
use crate::common::model::{ClusterName, JobName, MissedReason, RunId};
use crate::cronctl::runs::run_detail::RunDetail;
use crate::producer::job::Job;
use crate::producer::jobfile::JobFile;

/// Number of a tick.
pub type TickNo = usize;

/// What is on record about a tick; several of these may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks(u16);

/// Where a tick's reason to be missed stands in its [`Marks`]; 0 for none.
const REASON_SHIFT: u32 = 8;

impl Marks {
    /// Its message is in the cluster's topic.
    pub const PUBLISHED: Self = Self(1);
    /// It was skipped.
    pub const SKIPPED: Self = Self(2);
    /// It waited for the run before it.
    pub const QUEUED: Self = Self(4);
    /// It lies in an interval that was missed.
    pub const MISSED: Self = Self(8);
    /// A run of it was made from another job file.
    pub const OTHER_FILE: Self = Self(16);
    /// An event says that its message was in the cluster's topic.
    pub const SAID_PUBLISHED: Self = Self(32);
    /// Its message is deleted: by retention, or with its topic.
    pub const DELETED: Self = Self(64);
    /// Its message was claimed in a topic that has been deleted since.
    pub const TOPIC_DELETED: Self = Self(128);

    /// Whether all of these are there.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds these.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// It lies in an interval that was missed for this reason; whether it did before. What was recorded last counts.
    pub fn miss(&mut self, reason: MissedReason) -> bool {
        let was_missed = self.has(Self::MISSED);
        self.add(Self::MISSED);
        let number = REASONS.iter().position(|known| *known == reason).map_or(0, |place| place + 1);
        self.0 &= (1 << REASON_SHIFT) - 1;
        self.0 |= u16::try_from(number).unwrap_or(0) << REASON_SHIFT;
        was_missed
    }

    /// Why it was missed.
    pub fn reason(self) -> Option<MissedReason> {
        usize::from(self.0 >> REASON_SHIFT).checked_sub(1).and_then(|place| REASONS.get(place).copied())
    }
}

/// All reasons, in the order of their numbers in [`Marks`].
const REASONS: [MissedReason; 6] = [
    MissedReason::TooLarge,
    MissedReason::NotCaughtUp,
    MissedReason::Window,
    MissedReason::Deadline,
    MissedReason::NoCursor,
    MissedReason::Removed,
];

/// What became of a published run, as small as it can be kept.
#[derive(Debug, Clone, Default)]
pub enum Fate {
    /// No event says anything.
    #[default]
    Silent,
    /// One attempt that this consumer ran and that succeeded. So most runs end.
    Done {
        /// Number of the consumer.
        consumer: u32,
        /// When it ended, in milliseconds since the epoch.
        ended_ms: i64,
    },
    /// Anything else.
    Told(Box<RunDetail>),
}

/// A job and its ticks.
#[derive(Debug)]
struct Page {
    job: Arc<Job>,
    /// In order, in seconds since the epoch. Shared by the jobs that are due at the same instants.
    at: Arc<Vec<i64>>,
    /// Number of the first of them.
    first: TickNo,
    /// No instants are known beforehand: each is right.
    open: bool,
    /// All versions of zone data name the same instants.
    is_certain: bool,
}

/// Where a run belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// To this tick.
    Tick(TickNo),
    /// To a job that has no such tick.
    Unnamed,
    /// To a job whose ticks no calendar names.
    Open,
    /// To no job of this ledger.
    NoJob,
}

/// When the leader followed zone data that is not at hand: since when, up to when, and its version.
pub type UnknownZones = [(DateTime<Utc>, DateTime<Utc>, String)];

/// Every tick of some jobs in a period.
#[derive(Debug)]
pub struct TickLedger {
    pages: Vec<Page>,
    by_name: HashMap<JobName, usize>,
    by_run: HashMap<RunId, u32>,
    /// By the tick's number.
    pub marks: Vec<Marks>,
    /// By the tick's number.
    pub fates: Vec<Fate>,
    /// By the tick's number: when its message was in the topic, in seconds since the epoch.
    pub published: Vec<u32>,
    /// Page and instant of the ticks that no calendar names; their numbers come after those of all others.
    opened: Vec<(usize, i64)>,
}

impl TickLedger {
    /// The ticks that the schedules of the first of these jobs name in a period: of as many jobs as there is room for their
    /// ticks, and of one at least. With the jobs that are left.
    ///
    /// # Errors
    /// A schedule that cannot be read a second time.
    pub fn new<'a>(
        file: &JobFile,
        jobs: &'a [Arc<Job>],
        period: Period,
        ruled: &Ruled<'_>,
        room: usize,
    ) -> Result<(Self, &'a [Arc<Job>]), NotUnderstood> {
        let mut calendars = HashMap::new();
        for written in &file.written {
            let calendar =
                Calendar::read(&written.words).ok_or_else(|| NotUnderstood(written.words.clone()))?;
            calendars.insert(Arc::as_ptr(&written.schedule), (calendar, written));
        }
        let mut pages: Vec<Page> = Vec::new();
        let mut shared: HashMap<_, (Arc<Vec<i64>>, bool)> = HashMap::new();
        let mut ticks = 0;
        for job in jobs {
            let schedule = Arc::as_ptr(&job.schedule);
            let Some((calendar, written)) = calendars.get(&schedule) else {
                return Err(NotUnderstood(format!("of {}", job.name)));
            };
            let shift = job.shift();
            let (at, is_certain) = match shared.entry((schedule, job.window, shift)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let (instants, is_fixed) = ruled.instants(calendar, written, period, shift)?;
                    let (from, until) = (job.window.from, job.window.until);
                    let counts = |at: DateTime<Utc>| {
                        from.is_none_or(|from| at >= from) && until.is_none_or(|until| at < until)
                    };
                    let instants = instants.into_iter().filter(|second| counts(instant(*second)));
                    let at: Vec<i64> = instants.map(|second| second + shift.num_seconds()).collect();
                    place.insert((Arc::new(at), is_fixed || !matches!(calendar, Calendar::Local(_))))
                }
            };
            if !pages.is_empty() && !at.is_empty() && ticks + at.len() > room {
                break;
            }
            let open = *calendar == Calendar::Never;
            pages.push(Page {
                job: Arc::clone(job),
                at: Arc::clone(at),
                first: ticks,
                open,
                is_certain: *is_certain,
            });
            ticks += at.len();
        }
        let left = &jobs[pages.len()..];
        Ok((Self::of(pages, ticks), left))
    }

    fn of(pages: Vec<Page>, ticks: usize) -> Self {
        let mut by_run = HashMap::with_capacity(ticks);
        for page in &pages {
            for (number, second) in (page.first..).zip(page.at.iter()) {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                by_run.insert(RunId::of(&page.job.name, instant(*second)), number);
            }
        }
        let mut fates = Vec::new();
        fates.resize_with(ticks, Fate::default);
        Self {
            by_name: pages.iter().enumerate().map(|(place, page)| (page.job.name.clone(), place)).collect(),
            pages,
            by_run,
            marks: vec![Marks::default(); ticks],
            fates,
            published: vec![0; ticks],
            opened: Vec::new(),
        }
    }

    /// The tick of a job whose instants no calendar names (`@reboot`): each that was published is one.
    pub fn open(&mut self, job: &JobName, at: DateTime<Utc>) -> Option<TickNo> {
        let page = *self.by_name.get(job)?;
        let number = self.marks.len();
        self.by_run.insert(RunId::of(job, at), u32::try_from(number).ok()?);
        self.opened.push((page, at.timestamp()));
        self.marks.push(Marks::default());
        self.fates.push(Fate::default());
        self.published.push(0);
        Some(number)
    }

    /// Whether a job has its ticks here.
    pub fn has(&self, job: &str) -> bool {
        self.by_name.contains_key(job)
    }

    /// The tick of a run, by its id alone.
    pub fn tick_of(&self, run: RunId) -> Option<TickNo> {
        self.by_run.get(&run).and_then(|number| usize::try_from(*number).ok())
    }

    /// The cluster of a job.
    pub fn cluster_of(&self, job: &JobName) -> Option<&ClusterName> {
        self.by_name.get(job).map(|page| &self.pages[*page].job.cluster)
    }

    /// The tick of a job at an instant.
    pub fn find(&self, job: &JobName, at: DateTime<Utc>) -> Found {
        let Some(page) = self.by_name.get(job).map(|page| &self.pages[*page]) else { return Found::NoJob };
        let whole = at.timestamp_subsec_nanos() == 0;
        match page.at.binary_search(&at.timestamp()) {
            Ok(place) if whole => Found::Tick(page.first + place),
            _ if page.open => self.tick_of(RunId::of(job, at)).map_or(Found::Open, Found::Tick),
            _ => Found::Unnamed,
        }
    }

    /// Whether a job's tick was decided by zone data that is not at hand, and that matters.
    pub fn is_by_unknown(&self, unknown: &UnknownZones, job: &JobName, at: DateTime<Utc>) -> bool {
        let page = self.by_name.get(job).map(|page| &self.pages[*page]);
        page.is_some_and(|page| !page.is_certain)
            && unknown.iter().any(|(since, until, _)| (*since..=*until).contains(&at))
    }

    /// Whether the instants of any job depend on zone data.
    pub fn has_uncertain(&self) -> bool {
        self.pages.iter().any(|page| !page.is_certain)
    }

    /// The ticks of a job from one instant to another, both included.
    pub fn between(&self, job: &JobName, from: DateTime<Utc>, to: DateTime<Utc>) -> std::ops::Range<TickNo> {
        let Some(page) = self.by_name.get(job).map(|page| &self.pages[*page]) else { return 0..0 };
        let low = page.at.partition_point(|second| instant(*second) < from);
        let high = page.at.partition_point(|second| instant(*second) <= to).max(low);
        page.first + low..page.first + high
    }

    /// The ticks of each job of a cluster from one instant to another, both included.
    pub fn of_cluster(
        &self,
        cluster: &ClusterName,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<std::ops::Range<TickNo>> {
        let pages = self.pages.iter().filter(|page| page.job.cluster == *cluster);
        pages.map(|page| self.between(&page.job.name, from, to)).collect()
    }

    /// The job of a tick, and its instant.
    pub fn tick(&self, number: TickNo) -> (&Arc<Job>, DateTime<Utc>) {
        let named = self.marks.len() - self.opened.len();
        if let Some((page, second)) = number.checked_sub(named).and_then(|place| self.opened.get(place)) {
            return (&self.pages[*page].job, instant(*second));
        }
        // Of pages without ticks, the last that begins there is the one that has it.
        let page = &self.pages[self.pages.partition_point(|page| page.first <= number) - 1];
        (&page.job, instant(page.at[number - page.first]))
    }

    /// All ticks.
    pub fn numbers(&self) -> std::ops::Range<TickNo> {
        0..self.marks.len()
    }
}

fn instant(second: i64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(second)
}
