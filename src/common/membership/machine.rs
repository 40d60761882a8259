//! A member of a group as a state machine: one call of [`Member::step`] makes at most one step towards being a member
//! with a share, or keeps that alive. The thread and the simulation both do nothing but call it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::messages::{Change, Event, Failing, Options, Report};
use super::{ASSIGNOR, assign, flatten};
use crate::common::broker::{
    BrokerError, Client, ErrorCode, Holder, Join, JoinRequest, Joined, Owned, Share, Subscription,
};
use crate::common::rests::Rests;

#[derive(Debug, PartialEq, Eq)]
enum State {
    Outside,
    Joined { leads: bool, alone: bool, is_first: bool },
    Fenced,
}

/// Why we are about to leave.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// To come back at once, under another id.
    ToJoinAsNew,
    /// To let others have our share for so long.
    For(Duration),
}

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    options: Options,
    state: State,
    member_id: String,
    generation: i32,
    share: Vec<Owned>,
    /// The generation of the share: while a later one is still being shared out, it is older than `generation`.
    share_generation: i32,
    /// Whether this process was ever told how partitions are shared out, or has taken up what it was given.
    was_assigned: bool,
    leaving: Option<Leaving>,
    /// Whether a static member leaves its share to others when it leaves.
    hands_over: bool,
    /// Outside of the group by our own wish until then.
    away_until: Option<Instant>,
    /// When the last request was sent whose answer proved that we are a member.
    proven: Option<Instant>,
    /// Failures one after the other.
    rests: Rests,
    failing: Option<Failing>,
    /// How many partitions the group's leader shared out in this generation; none: the topic did not exist.
    shared_out: i32,
    next_look: Option<Instant>,
    /// When we left last to join as new.
    left_at: Option<Instant>,
    /// What operators are to be told of the last step.
    reports: Vec<Report>,
}

/// How often the group's leader looks whether the topic has more partitions now, and whether it is there at all.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY_WHILE_MISSING: Duration = Duration::from_millis(500);

/// How often a member joins as a new one at most, and how long it stays away where strangers share out.
const ANEW_EVERY: Duration = Duration::from_secs(1);
const REST_FROM_STRANGERS: Duration = Duration::from_secs(5);

/// How long a member waits after a call that failed: at first, and at most.
const FIRST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST_AFTER_FAILURES: Duration = Duration::from_millis(1_600);

/// How long a member that stays away does not come round at most: its thread is watched.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How much longer than others may take to join our own joining may take.
const JOIN_MARGIN: Duration = Duration::from_secs(2);

/// How long a step may take, and a minute more: joining waits for the other members, for as long as these may take to join.
pub fn longest_step(session_timeout: Duration) -> Duration {
    session_timeout + JOIN_MARGIN + Duration::from_secs(60)
}

impl Member {
    /// One that has not joined yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            state: State::Outside,
            member_id: String::new(),
            generation: -1,
            share: Vec::new(),
            share_generation: -1,
            was_assigned: false,
            leaving: None,
            hands_over: false,
            away_until: None,
            proven: None,
            rests: Rests::new(FIRST_REST, LONGEST_REST_AFTER_FAILURES),
            failing: None,
            shared_out: 0,
            next_look: None,
            left_at: None,
            reports: Vec::new(),
        }
    }

    /// When the last request was sent whose answer proved that we are a member: our session cannot have ended before
    /// its time-out from then. `None` while we are none.
    pub fn proven(&self) -> Option<Instant> {
        self.proven
    }

    /// As [`Self::proven`], while our share is not empty.
    pub fn proven_holder(&self) -> Option<Instant> {
        self.proven.filter(|_| !self.share.is_empty())
    }

    /// Why we are of no use at present; `None` while all is well, or nothing is known yet.
    pub fn failing(&self) -> Option<&Failing> {
        self.failing.as_ref()
    }

    /// Whether we are outside of the group and ought to be in it. Not while we stay away by our own wish.
    pub fn is_missing(&self) -> bool {
        self.state != State::Fenced && self.proven.is_none() && self.away_until.is_none()
    }

    /// Takes what is asked for.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::JoinAsNew => self.join_as_new(),
            Event::StayAway(rest) => self.stay_away(rest),
            Event::TakenUp => self.taken_up(),
            Event::HandOver => self.hand_over(),
        }
    }

    /// What operators are to be told of the last step.
    pub fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Leave, and join under a new member id with the next step: a commit of ours may still be under way on a
    /// connection that was given up, and only a new id makes the coordinator refuse it. Joining with the old one
    /// returns the same generation in a stable group and fences nothing.
    pub fn join_as_new(&mut self) {
        self.leaving.get_or_insert(Leaving::ToJoinAsNew);
    }

    /// Leave with the next step, and stay out of the group for so long: a member that finds that it must not do what its
    /// share asks for lets others do it.
    pub fn stay_away(&mut self, rest: Duration) {
        self.leaving = Some(Leaving::For(rest));
    }

    /// What our share asks for is being done. Until then a member that only [counts once it has taken up its
    /// share](Options::counts_once_taken_up) is to the others like one that has just been started.
    pub fn taken_up(&mut self) {
        self.was_assigned = true;
    }

    /// From now on, leave as a member without an instance id does: this process ends, and not soon enough to be back
    /// before its session is over.
    pub fn hand_over(&mut self) {
        self.hands_over = true;
    }

    /// Makes the next step and says what changed, and after how long to step again.
    pub fn step(&mut self, client: &mut dyn Client, now: Instant) -> (Option<Change>, Duration) {
        self.reports.clear();
        let leaving = self.leaving.take();
        if self.state == State::Fenced {
            // A process that came back would fence the other one in its turn.
            return (None, Duration::from_secs(3600));
        }
        match leaving {
            // It is no member at present, and will be a new one anyway.
            Some(Leaving::ToJoinAsNew) if self.member_id.is_empty() => {}
            Some(Leaving::ToJoinAsNew) => {
                self.leave(client, now);
                // Asked for again and again, it does not make the others share out without end.
                let again = self.left_at.replace(now).map(|last| last + ANEW_EVERY);
                self.away_until = again.filter(|again| now < *again);
            }
            Some(Leaving::For(rest)) => {
                let was_member = self.generation >= 0;
                self.leave(client, now);
                self.failing = None;
                self.away_until = Some(now + rest);
                return (was_member.then_some(Change::Lost), LONGEST_REST);
            }
            None => {}
        }
        if let Some(until) = self.away_until.filter(|until| now < *until) {
            return (None, LONGEST_REST.min(until - now));
        }
        self.away_until = None;
        match self.state {
            State::Outside | State::Fenced => self.join(client, now, false),
            State::Joined { leads, .. } => {
                if leads && self.topic_has_grown(client, now) {
                    return self.join(client, now, false);
                }
                self.beat(client, now)
            }
        }
    }

    /// Leaves the group, so that others take over at once. A static member leaves nothing, unless it hands over: its
    /// share waits for its return until the session time-out.
    pub fn leave(&mut self, client: &mut dyn Client, now: Instant) {
        let leaves_others_its_share = self.options.instance_id.is_none() || self.hands_over;
        if leaves_others_its_share && !self.member_id.is_empty() {
            let by = now + Duration::from_secs(2);
            if let Err(error) = client.leave(&self.holder(), by) {
                self.reports.push(Report::NotLeft(error));
            }
        }
        self.forget_identity();
    }

    fn forget_identity(&mut self) {
        self.member_id.clear();
        self.generation = -1;
        self.share.clear();
        self.share_generation = -1;
        self.proven = None;
        self.state = State::Outside;
    }

    fn holder(&self) -> Holder {
        Holder {
            group: self.options.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.options.instance_id.clone(),
            generation: self.generation,
        }
    }

    /// Joins the group, of its own accord or because a heartbeat has asked to.
    fn join(&mut self, client: &mut dyn Client, now: Instant, is_asked: bool) -> (Option<Change>, Duration) {
        // Until the share of the next generation is known: a member of it that was not told its share would
        // be heard in every heartbeat, and would read nothing.
        self.state = State::Outside;
        // A rebalance waits for the others as long as they may take to join.
        let by = now + self.options.session_timeout + JOIN_MARGIN;
        match self.ask_to_join(client, by).and_then(|joined| self.sync(client, joined, by)) {
            Ok(true) => {
                self.rests.succeeded();
                self.failing = self.missing_topic();
                // The coordinator's clock for us starts when it answers the join, which is later than this.
                self.proven = Some(now);
                let alone = matches!(self.state, State::Joined { alone: true, .. });
                let is_first = matches!(self.state, State::Joined { is_first: true, .. });
                let partitions = flatten(&self.share);
                let change = Change::Assigned { holder: self.holder(), partitions, alone, is_first };
                // Joining may have taken as long as others take to join: a heartbeat at once proves the membership anew. It is not
                // made where one has just asked to join again, because a coordinator that always does must not be stormed.
                (Some(change), if is_asked { self.beat_every() } else { Duration::ZERO })
            }
            Ok(false) => self.keep_from_strangers(client, now),
            Err(error) => self.failed("joining group", &error, now),
        }
    }

    fn ask_to_join(&mut self, client: &mut dyn Client, by: Instant) -> Result<Joined, BrokerError> {
        for _ in 0..2 {
            let request = JoinRequest {
                group: self.options.group.clone(),
                member_id: self.member_id.clone(),
                instance_id: self.options.instance_id.clone(),
                session_timeout: self.options.session_timeout,
                rebalance_timeout: self.options.session_timeout,
                protocol: ASSIGNOR.to_owned(),
                subscription: Subscription {
                    topics: vec![self.options.topic.clone()],
                    owned: self.share.clone(),
                    owned_generation: if self.was_assigned { self.share_generation.max(0) } else { -1 },
                },
            };
            match client.join(&request, by)? {
                // Kept whatever comes of the next request: that one may make us a member without our hearing of it.
                Join::Named(member_id) => self.member_id = member_id,
                Join::Joined(joined) => return Ok(joined),
            }
        }
        Err(BrokerError::Nonsense("the coordinator makes up one member id after the other".to_owned()))
    }

    /// Asks for our share, after sharing out where that is ours to do. `false`: another program has shared out.
    fn sync(&mut self, client: &mut dyn Client, joined: Joined, by: Instant) -> Result<bool, BrokerError> {
        self.member_id = joined.member_id;
        self.generation = joined.generation;
        let (leads, alone) = (!joined.members.is_empty(), joined.members.len() == 1);
        let is_first = joined.members.iter().all(|member| member.subscription.owned_generation < 0);
        let mut shares = Vec::new();
        if leads && !joined.skips_assignment {
            let count = partition_count(client, &self.options.topic, by)?;
            let counts = BTreeMap::from([(self.options.topic.clone(), count)]);
            let share = |(id, owned)| (id, Share { owned, shared_out: Some(count), is_first });
            shares = assign(&joined.members, &counts).into_iter().map(share).collect();
        }
        let share = client.sync(&self.holder(), ASSIGNOR, &shares, by)?;
        let Some(shared_out) = share.shared_out else { return Ok(false) };
        // Not what we have counted: a leader that has come back did not share out, and may find more partitions than the
        // active shares were made of.
        (self.share, self.shared_out) = (share.owned, shared_out);
        self.share_generation = self.generation;
        // A topic that does not exist yet is no assignment.
        self.was_assigned |= shared_out > 0 && !self.options.counts_once_taken_up;
        self.state = State::Joined { leads, alone, is_first: share.is_first };
        Ok(true)
    }

    /// Another program leads the group. Its shares may be of anything, and its commits go past what is unclaimed:
    /// we take no part in it, and ask again once in a while.
    fn keep_from_strangers(&mut self, client: &mut dyn Client, now: Instant) -> (Option<Change>, Duration) {
        let was_member = self.share_generation >= 0;
        self.leave(client, now);
        self.failing = Some(Failing::Strangers);
        self.away_until = Some(now + REST_FROM_STRANGERS);
        (was_member.then_some(Change::Lost), LONGEST_REST)
    }

    fn missing_topic(&self) -> Option<Failing> {
        (self.shared_out == 0).then_some(Failing::NoTopic)
    }

    fn beat(&mut self, client: &mut dyn Client, now: Instant) -> (Option<Change>, Duration) {
        match client.heartbeat(&self.holder(), now + Duration::from_secs(2)) {
            Ok(()) => {
                self.rests.succeeded();
                self.failing = self.missing_topic();
                self.proven = Some(now);
                (None, self.beat_every())
            }
            Err(BrokerError::Refused(ErrorCode::RebalanceInProgress)) => self.join(client, now, true),
            Err(error) => self.failed("sending a heartbeat to group", &error, now),
        }
    }

    fn failed(
        &mut self,
        what: &'static str,
        error: &BrokerError,
        now: Instant,
    ) -> (Option<Change>, Duration) {
        let (failures, rest) = (self.rests.failures(), self.rests.failed(now));
        let before = self.failing.replace(Failing::Call { attempt: what, error: error.clone() });
        // This is how a coordinator says that there is a new generation: at once, but not again and again.
        let is_new = |error: &BrokerError| matches!(error.code(), Some(code) if asks_to_join_anew(code));
        let again = matches!(&before, Some(Failing::Call { error, .. }) if is_new(error));
        let at_once = if again { rest } else { Duration::ZERO };
        match error.code() {
            Some(ErrorCode::FencedInstanceId) => {
                self.reports.push(Report::Fenced);
                self.state = State::Fenced;
                self.failing = Some(Failing::Fenced);
                return (Some(Change::Fenced), Duration::ZERO);
            }
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.reports.push(Report::JoiningAnew(what, error.clone()));
                let was_member = self.generation >= 0;
                self.forget_identity();
                return (was_member.then_some(Change::Lost), at_once);
            }
            Some(ErrorCode::RebalanceInProgress) => {
                self.state = State::Outside;
                return (None, at_once);
            }
            _ => {}
        }
        // Once it has lasted a second, and then once in a while: a fresh cluster needs that long to find coordinators,
        // and an outage is one thing to be told, not a thousand.
        if failures % 20 == 3 {
            self.reports.push(Report::TryingAgain(what, error.clone()));
        }
        (None, rest)
    }

    fn topic_has_grown(&mut self, client: &mut dyn Client, now: Instant) -> bool {
        if self.next_look.is_some_and(|at| now < at) {
            return false;
        }
        self.next_look = Some(now + if self.shared_out == 0 { LOOK_EVERY_WHILE_MISSING } else { LOOK_EVERY });
        let count = partition_count(client, &self.options.topic, now + Duration::from_secs(2));
        count.is_ok_and(|count| count != self.shared_out)
    }

    /// Often enough that a rebalance is noticed within a second, and that several beats may fail.
    pub(super) fn beat_every(&self) -> Duration {
        let usual = (self.options.session_timeout / 6).min(Duration::from_secs(1));
        let waits_for_topic = self.shared_out == 0 && matches!(self.state, State::Joined { leads: true, .. });
        if waits_for_topic { usual.min(LOOK_EVERY_WHILE_MISSING) } else { usual }
    }
}

/// Whether a refusal says that there is a new generation, or that we are in none.
fn asks_to_join_anew(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress)
}

/// How many partitions a topic has; none: it does not exist.
fn partition_count(client: &mut dyn Client, topic: &str, by: Instant) -> Result<i32, BrokerError> {
    let topic = client.topic(topic, by)?;
    Ok(topic.map_or(0, |topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)))
}
