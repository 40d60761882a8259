//! The thread: what it owes, whom it tells, and how it ends.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::common::broker::{Commit, Holder};
use crate::common::http::Health;
use crate::common::membership::Membership;
use crate::common::metrics::{Beats, Metrics};
use crate::producer::leadership::{Channels, Lead};

const PATIENCE: Duration = Duration::from_secs(30);

/// The thread on a host whose clock the test turns, and the ends of its channels.
struct Bench {
    broker: MemoryBroker,
    clock: Arc<ManualClock>,
    brokers: Arc<ManualClock>,
    /// How far our clock is ahead of the broker's.
    ahead: TimeDelta,
    health: Health,
    told: Option<Receiver<Effect>>,
    keeps: Option<Sender<CursorCommit>>,
    lead: Lead,
}

impl Bench {
    /// A producer that is not told yet whether it leads, and whose clock is so far ahead of the broker's.
    fn new(ahead: TimeDelta, prepare: impl FnOnce(&MemoryBroker)) -> Self {
        let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        let brokers = Arc::new(ManualClock::new(start));
        let broker = MemoryBroker::stepped(Arc::clone(&brokers) as Arc<dyn Clock>);
        for spec in topics::all(&["c".parse().unwrap()], 1, 1) {
            broker.client("test").create_topic(&spec, soon(&brokers)).unwrap();
        }
        prepare(&broker);
        let clock = Arc::new(ManualClock::new(start + ahead));
        let metrics = Metrics::new();
        let (health, beats) = (Health::new(&metrics), Beats::new(&metrics));
        let member = membership::Options {
            group: "g".to_owned(),
            topic: LEADER.to_owned(),
            instance_id: None,
            session_timeout: Duration::from_secs(6),
            counts_once_taken_up: true,
        };
        let as_clock = || Arc::clone(&clock) as Arc<dyn Clock>;
        let (duty, beat) = (health.duty("group"), beats.thread("membership"));
        let (membership, changes, standing) =
            Membership::start(member, broker.client("member"), as_clock(), duty, beat).unwrap();
        let (tell, told) = bounded(100);
        let (keep, keeps) = bounded(1);
        let options =
            Options { clusters: vec!["c".parse().unwrap()], window: Duration::from_secs(3600), standing };
        let channels = Channels { changes, membership, keeps, told: tell };
        let (client, beat) = (broker.client("lead"), beats.thread("lead"));
        let lead = Lead::start(options, client, as_clock(), channels, &health, beat).unwrap();
        Self { broker, clock, brokers, ahead, health, told: Some(told), keeps: Some(keep), lead }
    }

    /// Rings whatever is waited for until it is told.
    fn await_told(&self, what: &str, wanted: impl Fn(&Effect) -> bool) {
        self.ring_until(what, |bench| bench.told.as_ref().unwrap().try_iter().any(|effect| wanted(&effect)));
    }

    fn ring_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if holds(self) {
                return;
            }
            self.ring(Duration::from_millis(20));
        }
        panic!("in vain: {what}: {:?}", self.health.owed());
    }

    /// Rings whatever is waited for, once the threads of the lead and of the membership both wait, and has the broker's clock
    /// follow. If time passed for one thread alone, the membership would end.
    fn ring(&self, patience: Duration) -> bool {
        let start = Instant::now();
        while self.clock.threads_waiting() < 2 {
            if self.lead.is_over() || start.elapsed() >= patience {
                return false;
            }
            std::thread::yield_now();
        }
        let rings = self.clock.ring_next(patience);
        self.brokers.jump_to(self.clock.now() - self.ahead);
        rings
    }

    fn owes(&self, line: &str) -> bool {
        matches!(&self.health.owed()[..], [one] if one.starts_with(line))
    }

    fn keep(&self, cursor: DateTime<Utc>) {
        let keep = CursorCommit { term: Term::FIRST, cursors: vec![Some(cursor)], reads: BTreeMap::new() };
        self.keeps.as_ref().unwrap().send_timeout(keep, PATIENCE).unwrap();
    }

    fn committed(&self) -> i64 {
        let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
        let committed =
            self.broker.client("test").committed("g", &[of], soon(&self.clock)).unwrap().remove(0);
        committed.unwrap().offset
    }

    fn fails(&self, call: Option<Call>) {
        self.broker.faults().decide(Box::new(move |name, made| {
            (name == "lead" && Some(made) == call).then_some(Fate::Refused(ErrorCode::NotEnoughReplicas))
        }));
    }
}

#[test]
fn the_lead_is_owed_from_the_offer_until_it_is_taken_and_cursors_while_they_are_not_kept() {
    let bench = Bench::new(TimeDelta::zero(), |broker| {
        broker.faults().decide(Box::new(|name, call| {
            (name == "lead" && call == Call::Committed).then_some(Fate::NotSent)
        }));
    });
    let attempt = "taking over: looking up the cursors";
    bench.ring_until("the lead is owed", |bench| bench.owes(attempt));
    bench.fails(None);
    bench.await_told("it leads", |effect| matches!(effect, Effect::Begin { .. }));
    bench.ring_until("nothing is owed", |bench| bench.health.owed().is_empty());
    bench.fails(Some(Call::Commit));
    bench.keep(bench.clock.now());
    bench.ring_until("the cursors are owed", |bench| bench.owes("cursors: committing the cursors"));
    for _ in 0..10 {
        // Newer cursors wake the thread, and are no sign that any are kept: the third of them is taken after the step
        // that the first one has caused.
        (0..3).for_each(|_| bench.keep(bench.clock.now()));
        assert!(bench.owes("cursors: committing the cursors"), "newer ones wait as well");
        assert!(bench.ring(PATIENCE));
    }
    assert!(bench.owes("cursors: committing the cursors"), "still");
    bench.fails(None);
    bench.await_told("they are kept", |effect| matches!(effect, Effect::Kept(_)));
    bench.ring_until("nothing is owed again", |bench| bench.health.owed().is_empty());
    assert!(!bench.lead.is_over());
}

#[test]
fn the_last_cursor_is_kept_before_the_thread_ends_and_leaves_the_group() {
    let mut bench = Bench::new(TimeDelta::zero(), |_| {});
    bench.await_told("it leads", |effect| matches!(effect, Effect::Begin { .. }));
    bench.keep(bench.clock.now());
    bench.await_told("the first is kept", |effect| matches!(effect, Effect::Kept(_)));
    // This one comes so close behind the other that it would wait.
    let last = bench.clock.now() + TimeDelta::milliseconds(1);
    bench.keep(last);
    bench.keeps = None;
    let start = Instant::now();
    while !bench.lead.is_over() {
        assert!(start.elapsed() < PATIENCE, "it ends");
        std::thread::yield_now();
    }
    assert_eq!(bench.committed(), last.timestamp_millis());
}

#[test]
fn a_thread_that_nobody_listens_to_ends() {
    let mut bench = Bench::new(TimeDelta::zero(), |_| {});
    bench.told = None;
    bench.ring_until("it ends", |bench| bench.lead.is_over());
}

#[test]
fn a_producer_whose_clock_is_off_owes_the_lead_and_stays_away() {
    let bench = Bench::new(TimeDelta::hours(1), |_| {});
    let line = "taking over: this host's clock is 3600 s off the broker's";
    bench.ring_until("it says so", |bench| bench.owes(line));
    bench.ring_until("it leaves", |bench| bench.broker.faults().made(Call::Leave) > 0);
    assert!(bench.owes(line));
}

#[test]
fn a_producer_owes_the_lead_while_a_cursor_lies_ahead_of_its_clock() {
    let bench = Bench::new(TimeDelta::zero(), |broker| {
        let holder =
            Holder { group: "g".to_owned(), member_id: String::new(), instance_id: None, generation: -1 };
        let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
        let offset =
            (DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(1)).timestamp_millis();
        let commit = Commit { of, offset, metadata: "1;".to_owned() };
        let by = Instant::now() + PATIENCE;
        assert_eq!(broker.client("test").commit(&holder, &[commit], by).unwrap(), [None]);
    });
    bench.ring_until("it says so", |bench| bench.owes("taking over: a cursor lies "));
}

#[test]
fn a_failure_names_what_was_attempted_and_the_topic() {
    use crate::common::broker::BrokerError;
    use crate::producer::leadership::Call as Attempted;
    let error = || BrokerError::Refused(ErrorCode::NotEnoughReplicas);
    let rows = [
        (Attempted::Compare, false, "comparing our clock with the broker's by a beat to cron-runs"),
        (Attempted::LookUp, false, "looking up the cursors"),
        (Attempted::Claim, true, "committing the cursors to take them over"),
        (Attempted::Read, false, "reading what is published since the cursor"),
        (Attempted::CursorCommit, true, "committing the cursors"),
    ];
    for (call, is_commit, attempt) in rows {
        assert_eq!((call.is_commit(), call.failed(error()).attempt()), (is_commit, attempt.to_owned()));
        let of_topic = call.failed_for("c".to_owned(), error());
        assert_eq!(of_topic.attempt(), format!("{attempt}, topic c"));
    }
}

#[test]
fn a_leader_that_cannot_compare_its_clock_owes_no_takeover() {
    let bench = Bench::new(TimeDelta::zero(), |_| {});
    bench.await_told("it leads", |effect| matches!(effect, Effect::Begin { .. }));
    bench.ring_until("nothing is owed", |bench| bench.health.owed().is_empty());
    let before = bench.broker.faults().made(Call::Produce);
    bench.fails(Some(Call::Produce));
    bench.ring_until("it is compared in vain", |bench| {
        assert_eq!(bench.health.owed(), [""; 0]);
        bench.broker.faults().made(Call::Produce) > before + 2
    });
    assert_eq!(bench.health.owed(), [""; 0]);
}
