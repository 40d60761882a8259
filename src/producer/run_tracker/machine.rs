//! The run tracker's state machine: what a step does, and in which order.

mod deleted_messages;
mod log_reader;
mod lost_attempts;
mod lost_check;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::deleted_messages::DeletedMessages;
use self::log_reader::{Arrived, offsets};
use self::lost_check::LostCheck;
use super::duties::{Duties, Undone};
use super::heartbeat::{BEATS_PER_LEASE, Ends};
use super::history::{History, Search};
use super::leases::Leases;
use super::messages::{Effect, FollowRequest, RunNews};
use super::open_runs::{Followed, OpenRuns, Said};
use super::standbys as peers;
use super::standbys::{Compared, Standbys};
use crate::common::broker::{BrokerError, Client, Deadline, Position};
use crate::common::clock::Now;
use crate::common::model::{ClusterName, Event, Then};
use crate::common::outgoing::Writer;
use crate::common::rests::Rests;
use crate::producer::leadership::Term;

/// How long all the calls of a step may take: less than the shortest session, so that a producer that has lost the lead
/// since the step began stops deciding.
const STEP: Duration = Duration::from_secs(2);

/// The tracker looks for a run of a job whose runs may not overlap when the run has waited for so long, or for a lease
/// if that is shorter: consumers that are there claim within seconds.
const LOOK_AFTER: Duration = Duration::from_secs(60);
/// How often the tracker looks which runs have waited for long.
const LOOK_FOR_WAITING: Duration = Duration::from_secs(5);

/// For how many leases the tracker remembers what is over.
const REMEMBERED: u32 = 4;

/// The tracker remembers which runs of jobs that may not overlap are over, at least for this long: a new leader finds
/// runs in the clusters' topics, as far back as the cursor lies, and must know which of them are over.
pub const OVER_REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// The options of a run tracker.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our name in events and letters.
    pub name: String,
    /// The group in whose name the cursors are committed, and with them the offsets from which `cron-runs` must be
    /// read.
    pub group: String,
    /// The clusters whose attempts are watched.
    pub clusters: Vec<ClusterName>,
    /// The lease that consumers commonly have: how often beats are written, and how far back reading begins.
    pub lease: Duration,
    /// The jobs whose ticks wait for the run before them, or are skipped. For these the tracker reads all of
    /// `cron-runs` once, to know which of their runs are open.
    pub overlapping: Followed,
    /// The revision of the active job file.
    pub revision: Arc<str>,
    /// The version of the zone data that its schedules follow.
    pub tzdata: Arc<str>,
}

/// The pause between two steps. The fetch in a step waits for something to read, so this is for brokers that answer at
/// once.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause after a step in which a call failed, at first and at most.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
const LONGEST_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often the leader's tracker tells from where the next leader must read.
const SAY_WHERE: Duration = Duration::from_secs(10);

/// For what part of a lease a beat shows that some producer leads: half as long again as from one beat to the next. A
/// second fleet's leader on the same Kafka counts as well: beats do not say which group they are of.
pub(super) const LED_FOR: u32 = 4;

/// The state of the run tracker.
#[derive(Debug)]
pub struct RunTracker {
    pub(super) options: Options,
    pub(super) ends: Ends,
    pub(super) leases: Leases,
    /// What the last step's fetches brought, not yet taken.
    pub(super) arrived: Vec<Arrived>,
    /// The id of the `cron-runs` that is followed.
    pub(super) topic_id: Option<Uuid>,
    /// Partitions whose log does not have the offset where reading was to go on.
    pub(super) astray: Vec<i32>,
    /// Whether the log turned out to be another one than the one that was read so far.
    pub(super) is_another: bool,
    /// When to look up the partitions again; `None` means at once.
    pub(super) look_up_at: Option<Instant>,
    round: LostCheck,
    pub(super) next_round: Instant,
    pub(super) search: Option<Search>,
    pub(super) runs: OpenRuns,
    /// What is still to be read for `runs`; `None` when all was.
    pub(super) history: Option<History>,
    /// The ends of `cron-runs` when following began, or other jobs were asked for: what had been claimed by then is known only
    /// when all below them was read. None until they are looked up.
    pub(super) ends_when_asked: Option<BTreeMap<i32, i64>>,
    /// Whether all was read once, so that new open runs are told at once.
    has_told: bool,
    /// When the tracker tells again from where the next leader must read.
    say_where_at: Instant,
    rests: Rests,
    /// The term in which the tracker said that all was read.
    pub(super) said_in: Option<Term>,
    /// Runs whose messages may have been deleted unread.
    pub(super) missing: Option<DeletedMessages>,
    pub(super) peers: Standbys,
    pub(super) zones: Standbys,
    /// When to say again which job file we have, while we stand by.
    say_file_at: Instant,
    pub(super) writer: Writer,
    is_behind: bool,
    is_blind: bool,
    /// When a leader's beat was last read, or this producer led.
    led_at: Instant,
    is_led: bool,
    pub(super) undone: Undone,
    forget_at: Instant,
    look_for_waiting_at: Instant,
}

fn note<T>(work: Duties, what: &str, answer: Result<T, BrokerError>, effects: &mut Vec<Effect>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(error) => {
            log::debug!("{what}: {error}; trying again");
            effects.push(Effect::Failed(work, error));
            None
        }
    }
}

impl RunTracker {
    /// Creates a tracker that has read nothing yet.
    pub fn new(options: Options, now: Instant) -> Self {
        let look_after = options.lease.min(LOOK_AFTER);
        let runs = OpenRuns::new(Followed::clone(&options.overlapping), look_after);
        Self {
            history: (!runs.is_idle()).then(History::default),
            ends_when_asked: None,
            has_told: runs.is_idle(),
            said_in: None,
            say_where_at: now + SAY_WHERE,
            rests: Rests::new(AFTER_FAILURE, LONGEST_AFTER_FAILURE),
            missing: None,
            peers: Standbys::new(options.name.clone(), options.group.clone(), Compared::File),
            zones: Standbys::new(options.name.clone(), options.group.clone(), Compared::Zones),
            say_file_at: now,
            runs,
            leases: Leases::of(&options.clusters),
            options,
            ends: Ends::new(now),
            arrived: Vec::new(),
            topic_id: None,
            astray: Vec::new(),
            is_another: false,
            look_up_at: None,
            round: LostCheck::Idle,
            next_round: now,
            search: None,
            writer: Writer::default(),
            is_behind: false,
            is_blind: false,
            led_at: now,
            is_led: true,
            undone: Undone::default(),
            forget_at: now,
            look_for_waiting_at: now,
        }
    }

    /// Follows the runs of other jobs from now on: those of a job file that is about to become active. The tracker
    /// reads all of `cron-runs` again, tells which runs are open, and then [`RunNews::HistoryRead`].
    pub(super) fn follow(&mut self, overlapping: Followed) {
        self.runs.follow(overlapping);
        self.history = Some(History::until_now(&self.ends));
        self.ends_when_asked = None;
        self.said_in = None;
    }

    /// Another job file is active, or the same one by other zone data.
    pub(super) fn active_jobs(&mut self, revision: Arc<str>, tzdata: Arc<str>) {
        self.options.revision = revision;
        self.options.tzdata = tzdata;
    }

    /// Takes a request of the scheduler.
    pub fn handle(&mut self, request: FollowRequest) {
        match request {
            FollowRequest::Follow(overlapping) => self.follow(overlapping),
            FollowRequest::Active(revision, tzdata) => self.active_jobs(revision, tzdata),
        }
    }

    /// Makes the next step, and says after how long to step again. `now` is read anew for each step, after the last one
    /// has returned. `leads` is the term in which this producer leads.
    pub fn step(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        leads: Option<Term>,
    ) -> (Vec<Effect>, Duration) {
        let mut effects = self.advance(client, now, leads);
        if leads.is_some() && self.say_where_at <= now.mono {
            self.say_where_at = now.mono + SAY_WHERE;
            effects.push(Effect::Tell(RunNews::ReadFrom(self.must_be_read_from())));
        }
        if effects.iter().any(|effect| matches!(effect, Effect::Failed(..))) {
            return (effects, self.rests.failed(now.mono));
        }
        self.rests.succeeded();
        (effects, if self.is_behind() { Duration::ZERO } else { PAUSE })
    }

    fn advance(&mut self, client: &mut dyn Client, now: Now, leads: Option<Term>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.ends.lead(leads, now.mono);
        if leads.is_none() {
            (self.round, self.search, self.said_in) = (LostCheck::Idle, None, None);
            self.miss_later(now.mono);
        }
        let behind = |(_, fetched): &Arrived| fetched.as_ref().is_ok_and(|f| f.next_offset < f.end_offset);
        self.is_behind = self.arrived.iter().any(behind) || self.history.is_some();
        self.take_arrived(now, &mut effects);
        let is_blind = self.ends.check(now.mono, self.beat_every());
        match (is_blind, std::mem::replace(&mut self.is_blind, is_blind)) {
            (true, false) => log::warn!("the end of cron-runs is out of sight: nothing is found to be lost"),
            (false, true) => log::info!("the end of cron-runs is in sight again, and leases start anew"),
            _ => {}
        }
        self.compare_files(leads.is_some(), now.mono);
        if leads.is_some() {
            self.led_at = now.mono;
        }
        self.is_led = now.mono.saturating_duration_since(self.led_at) < self.options.lease / LED_FOR;
        if self.forget_at <= now.mono {
            self.forget_at = now.mono + self.options.lease;
            self.leases.forget_settled(now.mono, self.options.lease * REMEMBERED);
            if self.history.is_none() {
                self.runs.forget(now.mono, OVER_REMEMBERED.max(self.options.lease * REMEMBERED));
            }
        }
        self.go_on(client, now, leads.is_some(), &mut effects);
        self.undone.following =
            effects.iter().any(|effect| matches!(effect, Effect::Failed(Duties::Following, _)));
        if leads != self.said_in && leads.is_some() && self.history.is_none() && self.ends.seen().is_some() {
            self.said_in = leads;
            let over = self.runs.over();
            effects.extend(leads.map(|term| Effect::Tell(RunNews::ReadToEnd { term, over })));
        }
        effects
    }

    /// A part that fails does not keep the other parts from running.
    fn go_on(&mut self, client: &mut dyn Client, now: Now, leads: bool, effects: &mut Vec<Effect>) {
        let by = now.mono + STEP;
        if self.look_up_at.is_none_or(|at| at <= now.mono) {
            let looked_up = self.look_up(client, now, by);
            note(Duties::Following, "where cron-runs is", looked_up, effects);
        }
        let found_back = self.find_back(client, now, by);
        note(Duties::Following, "where cron-runs goes on", found_back, effects);
        let read = self.read_history(client, now, by, effects);
        note(Duties::Following, "reading all of cron-runs", read, effects);
        if !leads && self.say_file_at <= now.mono {
            self.say_file_at = now.mono + peers::SAY;
            self.say_file(client, now, by, effects);
        }
        if leads {
            if self.look_for_waiting_at <= now.mono {
                self.look_for_waiting_at = now.mono + LOOK_FOR_WAITING;
                self.runs.doubt_long_waiting(&self.leases.runs(), now.mono);
            }
            self.say_beats(client, now, by, effects);
            let looked_back = self.look_back(client, now, by);
            self.undone.looking_back =
                note(Duties::LostAttempts, "looking back in cron-runs", looked_back, effects).is_none();
            let looked_for = self.look_for_missing(client, now, by, effects);
            if note(Duties::LostAttempts, "which runs no consumer will run", looked_for, effects).is_none() {
                self.undone.looking_for_runs = true;
            }
            let decided = self.decide(client, now, by, effects);
            if note(Duties::LostAttempts, "what has become of attempts", decided, effects) == Some(true) {
                return;
            }
        }
        self.fetch(client, by, effects);
    }

    /// Reads on, by one fetch, in the part of `cron-runs` before the offset where following began.
    fn read_history(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) -> Result<(), BrokerError> {
        let Some(past) = self.history.as_mut().filter(|_| !self.ends.partitions().is_empty()) else {
            return Ok(());
        };
        let until = match &self.ends_when_asked {
            Some(ends) => ends.clone(),
            None => {
                let partitions = self.ends.partitions().keys().copied();
                let ends = offsets(client, partitions, Position::End, by)?;
                self.ends_when_asked.insert(ends).clone()
            }
        };
        match past.read(client, &self.ends, &self.options.clusters, by)? {
            Some(events) => {
                for event in events {
                    // Open runs are told when all is read.
                    drop(self.runs.take(&event, now.mono));
                    self.runs.deleted(&event, now.mono);
                }
            }
            // A claim in the history counts only if its attempt is known to be under way.
            None if !self.ends.has_read(&until) => {}
            None => {
                (self.history, self.has_told) = (None, true);
                self.runs.all_was_read(&self.leases.runs());
                effects
                    .extend(self.runs.open().into_iter().map(|told| Effect::Tell(RunNews::Unfinished(told))));
                let of = Followed::clone(self.runs.followed());
                effects.push(Effect::Tell(RunNews::HistoryRead { of, over: self.runs.over() }));
            }
        }
        Ok(())
    }

    /// Takes an event that was read from a partition and offset of `cron-runs`.
    pub(super) fn take_event(&mut self, event: &Event, at: (i32, i64), now: Now, effects: &mut Vec<Effect>) {
        // An attempt that was declared lost may end all the same, while another attempt of its run is under way.
        let was_over = matches!(event, Event::Finished { attempt, .. } if self.leases.has_settled(attempt));
        self.leases.take(event, at, now.mono);
        self.peers.take(event, now.mono);
        self.zones.take(event, now.mono);
        // No leader writes number 0: a producer that is about to lead asks for the time by that beat.
        if matches!(event, Event::Beat { number: 1.., .. }) {
            self.led_at = now.mono;
        }
        let is_late = match self.runs.take(event, now.mono) {
            Said::Unfinished(run) => {
                effects.extend(self.has_told.then_some(Effect::Tell(RunNews::Unfinished(run))));
                was_over
            }
            Said::Over => false,
            Said::LateEnd => true,
            Said::Nothing => was_over,
        };
        self.runs.deleted(event, now.mono);
        match event {
            Event::Finished { attempt, job, then: Then::Done | Then::Dead, .. } if !is_late => {
                effects.push(Effect::Tell(RunNews::Over { job: Some(job.clone()), run: attempt.run }));
            }
            Event::Lost { attempt, job, then: Then::Done | Then::Dead, .. } if !is_late => {
                effects.push(Effect::Tell(RunNews::Over { job: job.clone(), run: attempt.run }));
            }
            Event::Ended { attempt, job, .. } if !is_late => {
                effects.push(Effect::Tell(RunNews::Over { job: Some(job.clone()), run: attempt.run }));
            }
            _ => {}
        }
    }

    /// Whether a duty is done, as far as this producer owes it; a duty that failed lately is not.
    pub fn is_done(&self, work: Duties) -> bool {
        let leads = self.ends.leads();
        match work {
            Duties::Following => !self.undone.following && !self.ends.partitions().is_empty(),
            Duties::Beats => !leads || (!self.is_blind && self.ends.seen().is_some()),
            Duties::LostAttempts => !leads || !self.undone.is_undecided(),
            Duties::StandingBy => leads || !self.undone.saying_file,
            Duties::Led => leads || self.is_led,
        }
    }

    /// Whether beats were written and are not read back, although that is long overdue.
    pub fn misses_beats(&self) -> bool {
        self.is_blind && self.ends.awaits()
    }

    /// How often beats are written: for the shortest lease that is under way.
    pub(super) fn beat_every(&self) -> Duration {
        let shortest = self.leases.shortest().unwrap_or(self.options.lease);
        shortest.min(self.options.lease) / BEATS_PER_LEASE
    }

    /// Whether there is more to read at once.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// How many attempts are under way.
    pub fn watched(&self) -> usize {
        self.leases.count()
    }

    /// How long runs have waited for their first attempt to be claimed, the longest of each cluster: of the jobs whose ticks
    /// wait for them or are skipped.
    pub fn longest_waits(&self, now: DateTime<Utc>) -> BTreeMap<ClusterName, Duration> {
        self.runs.longest_waits(&self.leases.runs(), now)
    }

    /// How long the leader's last beat took to be read back, or the one that is awaited takes already; none where this
    /// producer does not lead.
    pub fn beat_delay(&self, now: Instant) -> Duration {
        self.ends.delay(now)
    }

    /// The offsets of `cron-runs` from which the next leader must read, so that it knows all that is under way. They
    /// are to be committed for the group `cron-leader` together with the cursors.
    pub(super) fn must_be_read_from(&self) -> BTreeMap<i32, i64> {
        let from = |(partition, next): (&i32, i64)| {
            (*partition, self.leases.oldest_sign(*partition).map_or(next, |sign| sign.min(next)))
        };
        self.ends.partitions().iter().map(|(partition, end)| from((partition, end.next))).collect()
    }
}
