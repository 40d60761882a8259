//! Calls that fail, and clusters whose topics are refused, against a broker in memory.

mod clocks;
mod commits;
mod ending;
mod giving_way;
mod reading;
mod starting;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::super::messages::Start;
use super::{CursorCommit, Effect, Leadership, Options, REST, Term, clock_skew as skew};
use crate::common::broker::memory::{Call, Fate, MemoryBroker};
use crate::common::broker::{
    Broker, Client, Committed, ErrorCode, Position, ProduceBatch, Record, TopicPartition,
};
use crate::common::clock::{Clock, ManualClock, Now};
use crate::common::membership;
use crate::common::membership::{Change, Member, Standing};
use crate::common::topics;
use crate::common::topics::{LEADER, RUNS};

/// A producer on a host whose clock is off, and the broker, whose clock is right.
struct Host {
    clock: Arc<ManualClock>,
    client: Box<dyn Client>,
    broker: MemoryBroker,
    leadership: Leadership,
    member: Member,
    /// How far the host's clock is ahead.
    ahead: TimeDelta,
}

impl Host {
    fn new(ahead: TimeDelta) -> Self {
        let clock = Arc::new(ManualClock::new(DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000)));
        let broker = MemoryBroker::stepped(Arc::clone(&clock) as Arc<dyn Clock>);
        let mut client = broker.client("host");
        let clusters = vec!["c".parse().unwrap()];
        for spec in topics::all(&clusters, 1, 1) {
            client.create_topic(&spec, soon(&clock)).unwrap();
        }
        let (leadership, member) = fresh();
        Self { clock, client, broker, leadership, member, ahead }
    }

    /// Another process in its place.
    fn start_again(&mut self) {
        (self.leadership, self.member) = fresh();
    }

    /// One step of the membership, and of the leadership.
    fn step(&mut self) -> Vec<Effect> {
        let (change, _) = self.member.step(self.client.as_mut(), self.clock.monotonic());
        if let Some(change) = change {
            self.leadership.changed(&change);
        }
        let now = Now { wall: self.clock.now() + self.ahead, mono: self.clock.monotonic() };
        let (effects, _) = self.leadership.step(self.client.as_mut(), now);
        effects.iter().filter_map(Effect::for_membership).for_each(|event| self.member.handle(event));
        effects
    }

    /// A step each second, with what was said at which.
    fn pass(&mut self, secs: u64) -> Vec<(u64, Vec<Effect>)> {
        let step = |second| {
            self.clock.turn(Duration::from_secs(1));
            (second, self.step())
        };
        (1..=secs).map(step).collect()
    }

    fn committed(&mut self) -> Option<Committed> {
        let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
        let by = soon(&self.clock);
        self.client.committed("g", &[of], by).unwrap().remove(0)
    }

    fn beats(&mut self) -> i64 {
        let of = TopicPartition { topic: RUNS.to_owned(), partition: 0 };
        self.client.offset(&of, Position::End, soon(&self.clock)).unwrap()
    }
}

/// What a producer is when it has just been started.
fn fresh() -> (Leadership, Member) {
    let options = membership::Options {
        group: "g".to_owned(),
        topic: LEADER.to_owned(),
        instance_id: None,
        session_timeout: Duration::from_secs(6),
        counts_once_taken_up: true,
    };
    let clusters = vec!["c".parse().unwrap()];
    (
        Leadership::new(Options {
            clusters,
            window: Duration::from_secs(3600),
            standing: Standing::new(Instant::now()),
        }),
        Member::new(options),
    )
}

fn soon(clock: &ManualClock) -> Instant {
    clock.monotonic() + Duration::from_secs(5)
}

fn leads(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Begin { .. }))
}

fn agrees(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Clock(_)))
}

#[test]
fn a_commit_that_fails_is_not_made_again_with_every_newer_cursor() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    host.step();
    let commits = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&commits);
    host.broker.faults().decide(Box::new(move |_, call| {
        let is_commit = call == Call::Commit;
        counted.fetch_add(usize::from(is_commit), std::sync::atomic::Ordering::Relaxed);
        is_commit.then_some(Fate::NotSent)
    }));
    for _ in 0..500 {
        host.clock.turn(Duration::from_millis(2));
        let cursors = vec![Some(host.clock.now())];
        host.leadership.keep(CursorCommit { term: Term::FIRST, cursors, reads: BTreeMap::new() });
        host.step();
    }
    let commits = commits.load(std::sync::atomic::Ordering::Relaxed);
    assert!((3..=6).contains(&commits), "{commits} in a second");
}

/// How often a call is made in ten seconds in which the broker refuses it, while the scheduler tells newer cursors
/// every two milliseconds, and whether a failure is told.
fn made_while_refused(call: Call, of: &str, code: ErrorCode, leads_first: bool) -> (usize, bool) {
    let mut host = Host::new(TimeDelta::zero());
    if leads_first {
        assert!(leads(&host.step()));
        host.step();
    }
    host.broker.faults().refuse(call, of, code);
    let before = host.broker.faults().made(call);
    let mut is_told = false;
    for _ in 0..5_000 {
        host.clock.turn(Duration::from_millis(2));
        let cursors = vec![Some(host.clock.now())];
        host.leadership.keep(CursorCommit { term: Term::FIRST, cursors, reads: BTreeMap::from([(0, 7)]) });
        let now = Now { wall: host.clock.now(), mono: host.clock.monotonic() };
        if leads_first {
            let (effects, _) = host.leadership.step(host.client.as_mut(), now);
            is_told |= effects.iter().any(|effect| matches!(effect, Effect::Failed(_)));
        } else {
            is_told |= host.step().iter().any(|effect| matches!(effect, Effect::Failed(_)));
        }
    }
    (host.broker.faults().made(call) - before, is_told)
}

#[test]
fn nothing_that_is_refused_for_long_is_asked_again_and_again() {
    let check = |call, of: &str, code, leads_first| {
        let (made, is_told) = made_while_refused(call, of, code, leads_first);
        assert!((1..=12).contains(&made), "{call:?} of {of}, {code}: made {made} times in ten seconds");
        assert!(is_told, "{call:?} of {of}, {code}: nobody is told");
    };
    let (group, topic) = (ErrorCode::GroupAuthorizationFailed, ErrorCode::TopicAuthorizationFailed);
    check(Call::Commit, "g", group, true);
    check(Call::Commit, "c", topic, true);
    check(Call::Commit, RUNS, topic, true);
    check(Call::Commit, "g", ErrorCode::CoordinatorNotAvailable, true);
    check(Call::Commit, "g", ErrorCode::OffsetMetadataTooLarge, true);
    check(Call::Produce, RUNS, topic, true);
    check(Call::Commit, "g", group, false);
    check(Call::Commit, "c", topic, false);
    check(Call::Committed, "g", group, false);
    check(Call::Produce, RUNS, topic, false);
    check(Call::Topic, "c", topic, false);
}

#[test]
fn a_cursor_that_is_refused_for_one_topic_holds_up_no_other_cluster() {
    let mut host = Host::new(TimeDelta::zero());
    let clusters = vec!["forbidden".parse().unwrap(), "c".parse().unwrap()];
    for spec in topics::all(&clusters, 1, 1) {
        // Some of them are there already.
        drop(host.client.create_topic(&spec, soon(&host.clock)));
    }
    let (window, standing) = (Duration::from_secs(3600), Standing::new(Instant::now()));
    host.leadership = Leadership::new(Options { clusters, window, standing });
    let denied = ErrorCode::TopicAuthorizationFailed;
    host.broker.faults().refuse(Call::Commit, "forbidden", denied);
    let effects = host.step();
    assert!(leads(&effects), "{effects:?}");
    assert!(host.leadership.is_taking_over(), "one is still to be taken over");
    let begun = host.step().iter().any(|effect| matches!(effect, Effect::Start { cluster: 1, .. }));
    assert!(begun, "the other has begun");
    host.broker.faults().allow(Call::Commit, "forbidden");
    host.clock.turn(Duration::from_secs(1));
    assert!(host.step().iter().any(|effect| matches!(effect, Effect::Start { cluster: 0, .. })));
    assert!(!host.leadership.is_taking_over());
    host.broker.faults().refuse(Call::Commit, "forbidden", denied);
    host.clock.turn(Duration::from_secs(1));
    let at = host.clock.now();
    host.leadership.keep(CursorCommit {
        term: Term::FIRST,
        cursors: vec![Some(at), Some(at)],
        reads: BTreeMap::new(),
    });
    let effects = host.step();
    assert!(effects.contains(&Effect::Kept(vec![None, Some(at)])), "{effects:?}");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Failed(_))), "{effects:?}");
}

#[test]
fn a_cursor_that_must_not_be_read_holds_up_no_other_cluster() {
    for forbidden in ["forbidden", "forbidden-retry"] {
        let mut host = Host::new(TimeDelta::zero());
        let clusters = vec!["forbidden".parse().unwrap(), "c".parse().unwrap()];
        for spec in topics::all(&clusters, 1, 1) {
            // Some of them are there already.
            drop(host.client.create_topic(&spec, soon(&host.clock)));
        }
        let (window, standing) = (Duration::from_secs(3600), Standing::new(Instant::now()));
        host.leadership = Leadership::new(Options { clusters, window, standing });
        host.broker.faults().refuse(Call::Committed, forbidden, ErrorCode::TopicAuthorizationFailed);
        let effects = host.step();
        assert!(leads(&effects), "{effects:?}");
        assert!(host.leadership.is_taking_over(), "one is still to be taken over");
        let told = |effect: &Effect| match effect {
            Effect::Failed(failure) => failure.attempt().contains("forbidden"),
            _ => false,
        };
        assert!(effects.iter().any(told), "{effects:?}");
        let begun = host.step().iter().any(|effect| matches!(effect, Effect::Start { cluster: 1, .. }));
        assert!(begun, "the other has begun");
        host.broker.faults().allow(Call::Committed, forbidden);
        host.clock.turn(Duration::from_secs(1));
        assert!(host.step().iter().any(|effect| matches!(effect, Effect::Start { cluster: 0, .. })));
        assert!(!host.leadership.is_taking_over());
    }
}

#[test]
fn a_commit_of_cursors_that_fails_is_told_apart_from_other_calls() {
    let failed = |effects: &[Effect]| {
        let call = |effect: &Effect| match effect {
            Effect::Failed(super::Failure { call, error, .. }) => Some((*call, error.word())),
            _ => None,
        };
        effects.iter().find_map(call)
    };
    let mut host = Host::new(TimeDelta::zero());
    host.broker.faults().next(Call::Committed, Fate::RequestLost);
    assert_eq!(failed(&host.step()), Some((super::Call::LookUp, "no_answer")));
    host.broker.faults().next(Call::Commit, Fate::NotSent);
    host.clock.turn(Duration::from_millis(200));
    assert_eq!(failed(&host.step()), Some((super::Call::Claim, "unreachable")), "taking over");
    host.clock.turn(Duration::from_millis(400));
    assert!(leads(&host.step()));
    host.pass(2);
    let at = host.clock.now();
    host.leadership.keep(CursorCommit { term: Term::FIRST, cursors: vec![Some(at)], reads: BTreeMap::new() });
    host.broker.faults().next(Call::Commit, Fate::Refused(ErrorCode::CoordinatorNotAvailable));
    let effects: Vec<Effect> = host.pass(3).into_iter().flat_map(|(_, effects)| effects).collect();
    assert_eq!(
        failed(&effects),
        Some((super::Call::CursorCommit, "coordinator_not_available")),
        "keeping: {effects:?}"
    );
    assert_eq!(host.committed().unwrap().offset, at.timestamp_millis());
}

#[test]
fn one_producer_leads_where_the_topic_of_leaders_has_several_partitions() {
    let mut host = Host::new(TimeDelta::zero());
    host.broker.faults().grow_topic(LEADER, 3);
    let (mut leadership, mut member) = fresh();
    let mut client = host.broker.client("other");
    let mut terms = 0;
    for _ in 0..60 {
        terms += host.pass(1).iter().filter(|(_, effects)| leads(effects)).count();
        let now = Now { wall: host.clock.now(), mono: host.clock.monotonic() };
        if let (Some(change), _) = member.step(client.as_mut(), now.mono) {
            leadership.changed(&change);
        }
        terms += usize::from(leads(&leadership.step(client.as_mut(), now).0));
    }
    assert!(host.member.proven_holder().is_some() && member.proven_holder().is_some(), "both have a share");
    assert!(terms >= 1 && host.leadership.leads() != leadership.leads(), "{terms} terms");
}
