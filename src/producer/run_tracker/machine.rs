//! The run tracker's state machine: the parts, and in which order a step goes through them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::beats;
use super::deleted_messages::DeletedMessages;
use super::duties::{Duties, Standing, State};
use super::followed_runs::FollowedRuns;
use super::heartbeat::{BEATS_PER_LEASE, Heartbeat, Sight};
use super::leases::Leases;
use super::log_reader::{LogChange, LogReader};
use super::lost_check::LostCheck;
use super::messages::{Effect, FollowRequest, Options, RunNews};
use super::notes::Note;
use super::orders::Orders;
use super::standing_by::StandingBy;
use super::step::Step;
use crate::common::broker::Client;
use crate::common::clock::Now;
use crate::common::model::{ClusterName, Event};
use crate::common::outgoing::Writer;
use crate::common::rests::Rests;
use crate::producer::leadership::Term;

/// How long all the calls of a step may take: less than the shortest session, so that a producer that has lost the lead
/// since the step began stops deciding.
const STEP: Duration = Duration::from_secs(2);

/// The tracker looks for a run of a job whose runs may not overlap when the run has waited for so long, or for a lease
/// if that is shorter: consumers that are there claim within seconds.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// For how many leases the tracker remembers what is over.
const REMEMBERED: u32 = 4;

/// The tracker remembers which runs of jobs that may not overlap are over, at least for this long: a new leader finds
/// runs in the clusters' topics, as far back as the cursor lies, and must know which of them are over.
pub const OVER_REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// The pause between two steps. The fetch in a step waits for something to read, so this is for brokers that answer at
/// once.
const PAUSE: Duration = Duration::from_millis(20);
/// The pause after a step in which a call failed, at first and at most.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
const LONGEST_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often the leader's tracker tells from where the next leader must read.
const SAY_WHERE: Duration = Duration::from_secs(10);

/// The run tracker.
#[derive(Debug)]
pub struct RunTracker {
    options: Options,
    writer: Writer,
    pub(super) parts: Parts,
    rests: Rests,
    /// When the tracker tells again from where the next leader must read.
    say_where_at: Instant,
}

/// The parts of the run tracker; each owns its state.
#[derive(Debug)]
pub(super) struct Parts {
    pub log: LogReader,
    pub heartbeat: Heartbeat,
    pub leases: Leases,
    pub lost_check: LostCheck,
    pub runs: FollowedRuns,
    pub deleted: DeletedMessages,
    pub orders: Orders,
    pub standing_by: StandingBy,
    /// Whether there was more to read at once when the last step began.
    is_behind: bool,
    /// Whether a call failed in the last step that follows `cron-runs`.
    cannot_follow: bool,
    /// When to forget again what was over long ago.
    forget_at: Instant,
}

impl RunTracker {
    /// Creates a tracker that has read nothing yet.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            parts: Parts::new(&options, now),
            options,
            writer: Writer::default(),
            rests: Rests::new(AFTER_FAILURE, LONGEST_AFTER_FAILURE),
            say_where_at: now + SAY_WHERE,
        }
    }

    /// Takes a request of the scheduler.
    pub fn handle(&mut self, request: FollowRequest) {
        match request {
            FollowRequest::Follow(jobs) => self.parts.runs.follow(jobs, self.parts.log.ends()),
            FollowRequest::Active(revision, tzdata) => self.parts.standing_by.active_jobs(revision, tzdata),
            FollowRequest::End(runs) => self.parts.orders.want(runs),
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
        let (options, writer) = (&self.options, &mut self.writer);
        let by = now.mono + STEP;
        let mut step = Step { client, writer, options, now, by, leads, effects: Vec::new() };
        self.parts.advance(&mut step);
        if leads.is_some() && self.say_where_at <= now.mono {
            self.say_where_at = now.mono + SAY_WHERE;
            step.tell(RunNews::ReadFrom(self.parts.must_be_read_from()));
        }
        let effects = step.effects;
        if effects.iter().any(|effect| matches!(effect, Effect::Failed(..))) {
            return (effects, self.rests.failed(now.mono));
        }
        self.rests.succeeded();
        (effects, if self.is_behind() { Duration::ZERO } else { PAUSE })
    }

    /// How a part of the work stands after the last step.
    pub fn standing(&self, work: Duties) -> Standing {
        self.parts.state().standing(work)
    }

    /// Whether there was more to read at once when the last step began.
    pub(super) fn is_behind(&self) -> bool {
        self.parts.is_behind
    }

    /// How many attempts are under way.
    pub fn watched(&self) -> usize {
        self.parts.leases.count()
    }

    /// How long runs have waited for their first attempt to be claimed, or for their end that the leader has asked for, the
    /// longest of each cluster: of the jobs whose ticks wait for them or are skipped.
    pub fn longest_waits(&self, now: Now) -> BTreeMap<ClusterName, Duration> {
        let mut longest = self.parts.runs.known().longest_waits(&self.parts.leases.runs(), now.wall);
        for (cluster, waits) in self.parts.orders.waits(now.mono) {
            let known = longest.entry(cluster.clone()).or_default();
            *known = waits.max(*known);
        }
        longest
    }

    /// How long the leader's last beat took to be read back, or the one that is awaited takes already; none where this
    /// producer does not lead.
    pub fn beat_delay(&self, now: Instant) -> Duration {
        self.parts.heartbeat.delay(now)
    }

    /// How many producers have had a job file other than the leader's for a while; none where this one does not lead.
    pub fn differing(&self) -> usize {
        self.parts.standing_by.differing()
    }

    /// How many have had zone data of another version than the leader's for a while; none where this one does not lead.
    pub fn zones_differing(&self) -> usize {
        self.parts.standing_by.zones_differing()
    }
}

impl Parts {
    fn new(options: &Options, now: Instant) -> Self {
        let look_after = options.lease.min(LOOK_AFTER);
        Self {
            log: LogReader::default(),
            heartbeat: Heartbeat::new(now),
            leases: Leases::of(&options.clusters),
            lost_check: LostCheck::new(now),
            runs: FollowedRuns::new(Arc::clone(&options.overlapping), look_after),
            deleted: DeletedMessages::new(now),
            orders: Orders::default(),
            standing_by: StandingBy::new(options, now),
            is_behind: false,
            cannot_follow: false,
            forget_at: now,
        }
    }

    fn advance(&mut self, step: &mut Step<'_>) {
        let (now, lease) = (step.now.mono, step.options.lease);
        self.heartbeat.lead(step.leads, now);
        if step.leads.is_none() {
            self.lost_check.stop();
            self.orders.stop();
            self.runs.stand_by();
            self.deleted.look_later(now);
        }
        self.is_behind = self.log.is_behind() || self.runs.is_reading_history();
        self.take_arrived(step);
        match self.heartbeat.check(now, self.beat_every(lease)) {
            Some(Sight::Lost) => step.note(Note::OutOfSight),
            Some(Sight::Regained) => step.note(Note::InSight),
            None => {}
        }
        self.standing_by.compare(step);
        self.heartbeat.look_for_leader(now, lease);
        if self.forget_at <= now {
            self.forget_at = now + lease;
            self.leases.forget_settled(now, lease * REMEMBERED);
            self.runs.forget(now, OVER_REMEMBERED.max(lease * REMEMBERED));
        }
        self.go_on(step);
        self.cannot_follow = step.has_failed(Duties::Following);
        self.runs.tell_read_to_end(step, &self.heartbeat);
    }

    fn take_arrived(&mut self, step: &mut Step<'_>) {
        for read in self.log.take_arrived(step) {
            for (offset, event) in &read.events {
                step.effects.extend(self.take_event(event, (read.partition, *offset), step.now.mono));
            }
            self.heartbeat.read_to(read.partition, read.next, step.now.mono);
        }
    }

    /// Takes an event that was read from a partition and offset of `cron-runs`.
    pub(super) fn take_event(&mut self, event: &Event, at: (i32, i64), now: Instant) -> Vec<Effect> {
        let was_over = matches!(event, Event::Finished { attempt, .. } if self.leases.has_settled(attempt));
        self.leases.take(event, at, now);
        self.standing_by.take(event, now);
        self.heartbeat.take(event, now);
        self.deleted.take(event, now);
        self.runs.take(event, was_over, now)
    }

    /// A part that fails does not keep the other parts from running.
    fn go_on(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono;
        if self.log.is_look_up_due(now) {
            let looked_up = self.log.look_up(step);
            self.take_changes(step);
            step.attempted(Duties::Following, "where cron-runs is", looked_up);
        }
        let found_back = self.log.find_back(step);
        self.take_changes(step);
        step.attempted(Duties::Following, "where cron-runs goes on", found_back);
        let read = self.runs.read_history(step, self.log.ends(), &self.leases);
        let read = step.attempted(Duties::Following, "reading all of cron-runs", read);
        read.iter().flatten().for_each(|event| self.deleted.take(event, now));
        self.standing_by.say(step);
        if step.leads.is_some() && self.decide(step) {
            return;
        }
        // Reading the history must not wait for messages that are still to come.
        self.log.fetch(step, !self.runs.is_reading_history());
    }

    /// What only the leader does. Returns whether the lost-attempt check had a move to make.
    fn decide(&mut self, step: &mut Step<'_>) -> bool {
        let now = step.now.mono;
        if self.deleted.is_look_due(now) {
            let topics = self.runs.take_long_waiting(&self.leases, now);
            topics.into_iter().for_each(|topic| self.deleted.doubt(topic, now));
        }
        let every = self.beat_every(step.options.lease);
        beats::write_due(step, &mut self.heartbeat, &mut self.log, every);
        self.orders.write_due(step);
        self.lost_check.look_back(step, self.log.ends(), &mut self.leases);
        if !self.runs.is_reading_history() {
            self.deleted.look(step, self.log.ends(), &self.heartbeat, self.runs.known(), &self.leases);
        }
        let decided = self.lost_check.decide(step, &mut self.log, &self.heartbeat, &mut self.leases);
        self.take_changes(step);
        step.attempted(Duties::LostAttempts, "what has become of attempts", decided) == Some(true)
    }

    /// Has the other parts know what has changed in the log.
    fn take_changes(&mut self, step: &mut Step<'_>) {
        let now = step.now.mono;
        for change in self.log.take_changes() {
            match change {
                LogChange::Begun(partition) => self.heartbeat.follow(partition, now),
                LogChange::Gap(partition, from, to) => {
                    step.note(Note::DeletedUnread { partition, from, to });
                    self.leases.clear();
                    self.heartbeat.skip(partition, now);
                }
                // No known attempt may be declared lost because of events that were never read: the tracker learns again of
                // attempts under way when their consumers say that they are alive.
                LogChange::Another(ends) => {
                    step.note(Note::LogIsAnother { attempts: self.leases.count() });
                    step.tell(RunNews::AnotherLog);
                    self.heartbeat.restart(ends.keys().copied(), now);
                    self.leases.clear();
                    self.runs.start_anew(ends);
                    self.deleted.look_later(now);
                    self.lost_check.stop();
                }
            }
        }
    }

    /// How often beats are written: for the shortest lease that is under way, where consumers commonly have one of `lease`.
    pub(super) fn beat_every(&self, lease: Duration) -> Duration {
        self.leases.shortest().unwrap_or(lease).min(lease) / BEATS_PER_LEASE
    }

    /// The offsets of `cron-runs` from which the next leader must read.
    pub(super) fn must_be_read_from(&self) -> BTreeMap<i32, i64> {
        self.log.must_be_read_from(&self.leases)
    }

    fn state(&self) -> State {
        State {
            leads: self.heartbeat.leads(),
            is_following: !self.log.ends().is_empty(),
            cannot_follow: self.cannot_follow,
            has_seen_end: self.heartbeat.seen().is_some(),
            is_blind: self.heartbeat.is_blind(),
            awaits_beat: self.heartbeat.awaits(),
            is_undecided: self.lost_check.is_undone() || self.deleted.is_undone(),
            is_unordered: self.orders.is_unordered(),
            is_unsaid: self.standing_by.is_unsaid(),
            is_led: self.heartbeat.is_led(),
        }
    }
}
