//! Compares a cluster plan with a plain list of all its ticks, each with its fate. Random schedules, outages, limits,
//! confirmations, swaps and jumps of the clock must give the same answers in both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::catchup::LATE;
use super::{Batch, ClusterPlan, Missed, Source};
use crate::common::model::{JobName, Limits, MissedReason};
use crate::producer::active_jobs::ActiveJobs;
use crate::producer::job::{CatchUp, CatchUpPolicy, Job, sample};
use crate::producer::leadership::Term;
use crate::producer::schedule::random::Random;
use crate::producer::window::Window;

const ROUNDS: u64 = 20;
const STEPS: u32 = 80;
/// Nothing is asked about after it, in seconds.
const END: i64 = 4_000;

/// A tick that is owed.
#[derive(Debug)]
struct Owed {
    job: Arc<Job>,
    revision: Arc<str>,
    /// When it moved to the backlog, and in which outage.
    past: Option<(DateTime<Utc>, usize)>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    InFlight,
    OnRecord,
}

type Key = (DateTime<Utc>, JobName);

struct Model {
    ticks: BTreeMap<Key, Owed>,
    /// Batches in flight, by source.
    under_way: [Vec<Vec<Key>>; 2],
    /// Ticks after it are those of the latest file.
    boundary: DateTime<Utc>,
    cursor: DateTime<Utc>,
    outages: usize,
    last_cut: DateTime<Utc>,
    /// The latest that it ever was, and the earliest since each outage: between them, a deadline may have been judged
    /// either way.
    latest_now: DateTime<Utc>,
    earliest_now: BTreeMap<usize, DateTime<Utc>>,
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("an instant")
}

impl Model {
    fn new(file: &ActiveJobs, cursor: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let mut model = Self {
            ticks: BTreeMap::new(),
            under_way: [Vec::new(), Vec::new()],
            boundary: cursor,
            cursor,
            outages: 0,
            last_cut: now,
            latest_now: now,
            earliest_now: BTreeMap::new(),
        };
        model.owe(file);
        model.cut((now - LATE).max(cursor), now);
        model.last_cut = DateTime::UNIX_EPOCH - LATE;
        model
    }

    /// Lists the file's ticks after the boundary.
    fn owe(&mut self, file: &ActiveJobs) {
        for job in &file.jobs {
            let ticks = std::iter::successors(job.next(self.boundary), |tick| job.next(*tick));
            for tick in ticks.take_while(|tick| *tick <= at(END)) {
                let (job, revision) = (Arc::clone(job), Arc::clone(&file.revision));
                let owed = Owed { job, revision, past: None, state: State::Waiting };
                self.ticks.insert((tick, owed.job.name.clone()), owed);
            }
        }
    }

    fn cut(&mut self, until: DateTime<Utc>, now: DateTime<Utc>) {
        self.outages += 1;
        self.last_cut = now;
        for (_, owed) in self.ticks.range_mut(..=(until, last_name())) {
            if owed.state == State::Waiting && owed.past.is_none() {
                owed.past = Some((now, self.outages));
            }
        }
        self.boundary = self.boundary.max(until);
        self.earliest_now.insert(self.outages, now);
    }

    fn swap(&mut self, file: &ActiveJobs, at: DateTime<Utc>) {
        let handed_out =
            self.ticks.iter().filter(|(_, owed)| owed.state != State::Waiting && owed.past.is_none());
        let handed_out = handed_out.map(|((at, _), _)| *at).max();
        self.boundary = handed_out.into_iter().chain([at, self.boundary, self.cursor]).max().expect("some");
        self.ticks.split_off(&(self.boundary, last_name()));
        self.owe(file);
    }

    /// The keys of what waits of one source, up to `now`, of the oldest file that has any.
    fn waiting(&self, source: Source, now: DateTime<Utc>) -> Vec<&Key> {
        let of_kind = |owed: &Owed| owed.past.is_some() == (source == Source::Backlog);
        let waiting: Vec<_> = self
            .ticks
            .range(..=(now, last_name()))
            .filter(|(_, owed)| owed.state == State::Waiting && of_kind(owed))
            .collect();
        let revision = waiting.first().map(|(_, owed)| Arc::clone(&owed.revision));
        let of_file = waiting.into_iter().filter(|(_, owed)| Some(&owed.revision) == revision.as_ref());
        of_file.map(|(key, _)| key).collect()
    }

    fn tick_clock(&mut self, now: DateTime<Utc>) {
        self.latest_now = self.latest_now.max(now);
        for earliest in self.earliest_now.values_mut() {
            *earliest = now.min(*earliest);
        }
        let oldest = self.waiting(Source::Current, at(END)).first().map(|(at, _)| *at);
        if oldest.is_some_and(|at| at < now - LATE) {
            let again = now < self.last_cut + LATE;
            self.cut(if again { now } else { now - LATE }, now);
        }
    }

    /// Judges an answer of the plan, and takes it over.
    fn took(&mut self, now: DateTime<Utc>, limit: usize, batch: Option<&Batch>) {
        let present: Vec<Key> = self.waiting(Source::Current, now).into_iter().cloned().collect();
        let Some(batch) = batch else {
            assert_eq!(
                (present, self.waiting(Source::Backlog, at(END))),
                (vec![], vec![]),
                "nothing at {now}"
            );
            return;
        };
        assert!(!batch.is_empty() && batch.len() <= limit);
        if !present.is_empty() {
            assert_eq!(batch.source, Source::Current, "the present first, at {now}");
            assert_eq!(batch.len(), limit.min(present.len()));
            let instants: Vec<_> = batch.ticks.iter().map(|tick| tick.at).collect();
            assert!(instants.iter().eq(present[..instants.len()].iter().map(|(at, _)| at)), "in order");
        }
        let published = batch.ticks.iter().map(|tick| (tick.at, tick.job.name.clone()));
        let mut keys: Vec<Key> = published.collect();
        for (key, tick) in keys.iter().zip(&batch.ticks) {
            assert_eq!(self.ticks[key].job, tick.job);
            if let Some(expected) = self.reason(key, None) {
                panic!("{key:?} published: {expected:?}");
            }
        }
        for missed in &batch.missed {
            assert_eq!(batch.source, Source::Backlog);
            keys.extend(self.missed(missed, &batch.revision));
        }
        for key in &keys {
            let owed = self.ticks.get_mut(key).expect("a tick that is owed");
            assert_eq!((owed.state, &owed.revision), (State::Waiting, &batch.revision), "{key:?}");
            assert_eq!(owed.past.is_some(), batch.source == Source::Backlog, "{key:?}");
            owed.state = State::InFlight;
        }
        self.under_way[batch.source as usize].push(keys);
    }

    /// The ticks of an interval.
    fn missed(&self, missed: &Missed, revision: &Arc<str>) -> Vec<Key> {
        let range = (missed.from, first_name())..=(missed.to, last_name());
        let of_job = self.ticks.range(range).filter(|((_, name), owed)| {
            *name == missed.job.name && owed.revision == *revision && owed.state == State::Waiting
        });
        let keys: Vec<Key> = of_job.map(|(key, _)| key.clone()).collect();
        assert_eq!(u64::try_from(keys.len()).expect("few"), missed.count, "{missed:?}");
        assert_eq!((keys[0].0, keys[keys.len() - 1].0), (missed.from, missed.to), "{missed:?}");
        for key in &keys {
            assert_eq!(self.reason(key, Some(missed.reason)), Some(missed.reason), "{key:?}");
        }
        keys
    }

    /// Why a tick is missed, where it is. Whether a deadline has passed depends on when it was asked: `given` decides
    /// where both answers are right.
    fn reason(&self, key: &Key, given: Option<MissedReason>) -> Option<MissedReason> {
        let owed = &self.ticks[key];
        let (found, outage) = owed.past?;
        let seconds = |later: DateTime<Utc>| (later - key.0).to_std().unwrap_or_default();
        if let Some(deadline) = owed.job.limits.deadline_ms.map(Duration::from_millis) {
            let certainly = seconds(self.earliest_now[&outage]) > deadline;
            let possibly = seconds(self.latest_now) > deadline;
            if certainly || possibly && given == Some(MissedReason::Deadline) {
                return Some(MissedReason::Deadline);
            }
        }
        if found - key.0 < LATE {
            return None;
        }
        let too_old = (seconds(found) > owed.job.catch_up.window).then_some(MissedReason::Window);
        let later = self
            .ticks
            .range((key.0 + TimeDelta::seconds(1), first_name())..)
            .filter(|((_, name), later)| *name == key.1 && later.past.is_some_and(|(_, of)| of == outage));
        match owed.job.catch_up.policy {
            CatchUpPolicy::None => Some(MissedReason::NotCaughtUp),
            CatchUpPolicy::All => too_old,
            // The last of its file is not asked for where the job is due again under the next, and may be too old.
            CatchUpPolicy::Last => match later.map(|(_, later)| &later.revision).next() {
                None => too_old,
                Some(next) if *next != owed.revision && given == too_old => {
                    too_old.or(Some(MissedReason::NotCaughtUp))
                }
                Some(_) => Some(MissedReason::NotCaughtUp),
            },
        }
    }

    fn confirmed(&mut self, source: Source) {
        if !self.under_way[source as usize].is_empty() {
            for key in self.under_way[source as usize].remove(0) {
                self.ticks.get_mut(&key).expect("a tick").state = State::OnRecord;
            }
        }
    }

    /// What the cursor must be: as far as it can be without passing a tick, but never back.
    fn cursor(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let open = self.ticks.iter().find(|(_, owed)| owed.state != State::OnRecord);
        let before = open.map_or(now, |((at, _), _)| *at - TimeDelta::milliseconds(1));
        self.cursor = self.cursor.max(before.min(now));
        self.cursor
    }
}

/// Names of jobs lie between the two.
fn first_name() -> JobName {
    "0".parse().expect("a name")
}

fn last_name() -> JobName {
    "zzz".parse().expect("a name")
}

fn random_file(random: &mut Random, number: usize) -> ActiveJobs {
    let mut jobs = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        if random.below(4) == 0 {
            continue;
        }
        let words = *random.pick(&["@every 1s", "@every 7s", "@every 30s", "* * * * *", "*/5 * * * *"]);
        let job = sample(name, words);
        let policy = *random.pick(&[CatchUpPolicy::Last, CatchUpPolicy::All, CatchUpPolicy::None]);
        let window = Duration::from_secs(*random.pick(&[30, 200, 86_400]));
        let [from, until] = [1_500, 3_000].map(|end| random.pick(&[None, None, Some(at(end))]).to_owned());
        jobs.push(Arc::new(Job {
            window: Window { from, until },
            jitter: Duration::from_secs(*random.pick(&[0, 0, 20])),
            catch_up: CatchUp { policy, window },
            limits: Limits { deadline_ms: *random.pick(&[None, None, Some(90_000)]), ..job.limits },
            ..job
        }));
    }
    ActiveJobs { jobs, revision: number.to_string().into(), tzdata: "2026f".into() }
}

/// A plan and its model go through the same events.
fn check(seed: u64) -> usize {
    let mut random = Random(seed);
    let file = random_file(&mut random, 0);
    let mut now = 1_000 + i64::from(random.below(300));
    let cursor = 1_000;
    let mut plan = ClusterPlan::new(Term::FIRST, &file, &sample("a", "@hourly").cluster, at(cursor), at(now));
    let mut model = Model::new(&file, at(cursor), at(now));
    let take = |plan: &mut ClusterPlan, model: &mut Model, now: i64, limit: usize| {
        model.tick_clock(at(now));
        let batch = plan.take(at(now), limit);
        model.took(at(now), limit, batch.as_ref());
        batch.map(|batch| batch.source)
    };
    for step in 0..STEPS {
        now += match random.below(10) {
            0 => i64::from(random.below(400)),
            1 => -i64::from(random.below(50)),
            _ => i64::from(random.below(8)),
        };
        now = now.min(END - 1_000);
        match random.below(8) {
            0 => {
                let file = random_file(&mut random, step as usize + 1);
                let from = at(now + 10 - i64::from(random.below(40)));
                plan.swap(&file, from);
                model.swap(&file, from);
            }
            1..=4 => {
                let limit = 1 + random.below(30) as usize;
                take(&mut plan, &mut model, now, limit);
            }
            _ => {
                let source = *random.pick(&[Source::Current, Source::Backlog]);
                plan.confirmed(source);
                model.confirmed(source);
            }
        }
        assert_eq!(plan.cursor(at(now)), model.cursor(at(now)), "step {step}, at {now}");
    }
    let now = END - 500;
    while let Some(source) = take(&mut plan, &mut model, now, 50) {
        model.confirmed(source);
        plan.confirmed(source);
    }
    for source in [Source::Current, Source::Backlog] {
        while !model.under_way[source as usize].is_empty() {
            model.confirmed(source);
            plan.confirmed(source);
        }
    }
    assert_eq!(plan.cursor(at(now)), at(now));
    let due = model.ticks.range(..=(at(now), last_name()));
    due.map(|(key, owed)| assert_eq!(owed.state, State::OnRecord, "{key:?}")).count()
}

#[test]
fn every_tick_has_exactly_one_fate_and_the_cursor_is_never_ahead() {
    let rounds = std::env::var("LANE_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let ticks: usize = (0..rounds).inspect(|seed| println!("seed {seed}")).map(check).sum();
    assert!(ticks > 20_000, "only {ticks} ticks");
}
