//! The faults: lost and late requests between clients and the broker, and faults of processes, clocks and logs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use kafka_cron::common::broker::ErrorCode;
use kafka_cron::common::broker::memory::{Call, Fate};
use kafka_cron::common::clock::Now;
use kafka_cron::common::clock::{Clock, ManualClock};

use crate::actors::Actor;
use crate::report::Counts;
use crate::world::{CLUSTER, RETRY, Random, World, partition};

/// What becomes of calls. Each seed has its own: some have no fault of a kind, some have many.
pub struct Weather {
    random: Random,
    /// For what a broker does that has too much to do.
    heavy: Random,
    clock: Arc<ManualClock>,
    /// From here on all is well.
    pub calm: bool,
    /// No broker is reached.
    pub away: bool,
    /// Some commits of claims are lost on purpose; the client whose was.
    pub ambushes: bool,
    pub ambushed: Option<String>,
    /// Until then no producer reads `cron-runs`.
    pub starved_until: Option<Instant>,
    /// Something may have been written since the oracle looked.
    pub wrote: bool,
    pub counts: Counts,
    pub rates: Rates,
    /// Between these instants the run tracker is misled about each new claim.
    pub misled_from: Option<(Instant, Instant)>,
    claimed_at: Option<Instant>,
    /// Until then no batch of ticks is written.
    pub unpublished_until: Option<Instant>,
}

/// How many of a thousand calls meet each kind of fault.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    pub not_sent: u64,
    pub request_lost: u64,
    pub answer_lost: u64,
    pub late: u64,
    pub refused: u64,
    pub applied_but_refused: u64,
    pub slow_commit: u64,
    pub slow_write: u64,
    pub above_quota: u64,
}

impl Weather {
    pub fn new(mut random: Random, clock: Arc<ManualClock>) -> Self {
        // Of its own, so that a seed's other faults do not depend on these.
        let mut heavy = Random(random.0 ^ 0x5150_0a1e);
        let mut rate = || if random.chance(500) { 0 } else { random.below(80) };
        let rates = Rates {
            not_sent: rate(),
            request_lost: rate(),
            answer_lost: rate(),
            late: rate(),
            refused: rate(),
            applied_but_refused: rate(),
            slow_commit: rate(),
            slow_write: if heavy.chance(750) { 0 } else { heavy.below(80) },
            above_quota: if heavy.chance(750) { 0 } else { heavy.below(20) },
        };
        Self {
            rates,
            misled_from: None,
            claimed_at: None,
            unpublished_until: None,
            random,
            heavy,
            clock,
            calm: false,
            away: false,
            ambushes: false,
            ambushed: None,
            starved_until: None,
            wrote: false,
            counts: Counts::default(),
        }
    }

    /// What an ambush has in store for a call.
    fn ambush(&mut self, client: &str, call: Call) -> Option<Fate> {
        let now = self.clock.monotonic();
        if client.ends_with("-publish") {
            return self.unpublished_until.filter(|until| now < *until).map(|_| Fate::NotSent);
        }
        self.misled_from.filter(|(from, until)| (*from..*until).contains(&now))?;
        if client.ends_with("-dispatch") && call == Call::Produce {
            // The first of a swarm: leases start anew where `cron-runs` is out of sight for longer.
            self.claimed_at = self.claimed_at.filter(|at| now < *at + Duration::from_secs(6)).or(Some(now));
        }
        // It is asked what was committed when the claim is on record and only then, and the claim is not read before that.
        let window = Duration::from_millis(2_500);
        let just_claimed = self.claimed_at.is_some_and(|at| now < at + window);
        let fails = match call {
            Call::Committed => !just_claimed,
            Call::Fetch => just_claimed,
            _ => false,
        };
        if call == Call::Committed && just_claimed && client.ends_with("-tail") {
            self.claimed_at = self.claimed_at.map(|at| at - window);
        }
        (client.ends_with("-tail") && fails).then_some(Fate::NotSent)
    }

    /// The fate of a call.
    pub fn fate(&mut self, client: &str, call: Call) -> Option<Fate> {
        self.wrote |= matches!(call, Call::Produce | Call::Commit) && client != "world";
        if self.calm || client == "world" {
            return None;
        }
        if self.away {
            self.counts.add("away", 1);
            return Some(Fate::NotSent);
        }
        if client.ends_with("-tail") && self.starved_until.is_some_and(|until| self.clock.monotonic() < until)
        {
            return (call == Call::Fetch).then_some(Fate::NotSent);
        }
        if let Some(fate) = self.ambush(client, call) {
            return Some(fate);
        }
        let is_misleading = self.misled_from.is_some_and(|(_, until)| self.clock.monotonic() < until);
        if self.ambushes
            && !is_misleading
            && call == Call::Commit
            && client.ends_with("-dispatch")
            && self.random.chance(150)
        {
            self.counts.add("ambush of a claim", 1);
            self.ambushed = Some(client.to_owned());
            return Some(Fate::RequestLost);
        }
        if call == Call::Commit && self.random.chance(self.rates.slow_commit) {
            self.counts.add("slow commit", 1);
            self.clock.turn(self.random.span(100, 1_900));
        }
        if call == Call::Produce && self.heavy.chance(self.rates.slow_write) {
            self.counts.add("slow write", 1);
            self.clock.turn(self.heavy.span(100, 1_900));
        }
        if self.heavy.chance(self.rates.above_quota) {
            self.counts.add("above a quota", 1);
            return Some(Fate::AboveQuota(self.heavy.span(100, 4_000)));
        }
        let mut left = self.random.below(1000);
        let mut falls = |rate: u64| {
            let falls = left < rate;
            left = if falls { u64::MAX } else { left - rate };
            falls
        };
        let (kind, fate) = if falls(self.rates.not_sent) {
            ("not sent", Fate::NotSent)
        } else if falls(self.rates.request_lost) {
            ("request lost", Fate::RequestLost)
        } else if falls(self.rates.answer_lost) {
            ("answer lost", Fate::AnswerLost)
        } else if falls(self.rates.late) {
            match call {
                Call::Produce => ("produce arrived late", Fate::Late),
                Call::Commit => ("commit arrived late", Fate::Late),
                _ => ("another request arrived late", Fate::Late),
            }
        } else if falls(self.rates.refused) {
            ("refused", Fate::Refused(refusal(call)?))
        } else if falls(self.rates.applied_but_refused) {
            ("applied but refused", Fate::AppliedButRefused(doubtful_refusal(call)?))
        } else {
            return None;
        };
        self.counts.add(kind, 1);
        Some(fate)
    }
}

/// What a broker answers that has not done it.
fn refusal(call: Call) -> Option<ErrorCode> {
    match call {
        Call::Produce => Some(ErrorCode::NotEnoughReplicas),
        Call::Fetch | Call::Offset => Some(ErrorCode::NotLeader),
        Call::Commit | Call::Join | Call::Sync | Call::Heartbeat | Call::Leave | Call::Members => {
            Some(ErrorCode::NotCoordinator)
        }
        Call::Committed => Some(ErrorCode::UnstableOffsetCommit),
        Call::BrokerCount | Call::ClusterTime | Call::CreateTopic | Call::TopicSettings | Call::Topic => None,
    }
}

/// What a broker answers that has done it and could not make sure, or steps down.
fn doubtful_refusal(call: Call) -> Option<ErrorCode> {
    match call {
        Call::Produce => Some(ErrorCode::NotEnoughReplicasAfterAppend),
        Call::Commit | Call::Join | Call::Sync => Some(ErrorCode::CoordinatorNotAvailable),
        _ => None,
    }
}

/// What the stage does to the seats of consumers.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    Kill(usize),
    /// The producer that began the last term.
    KillLeader,
    StallLeader(Duration),
    Restart(usize),
    Stall(usize, Duration),
    Leave(usize),
    /// A host's clock is off by so many milliseconds more.
    Clock(usize, i64),
}

/// Strikes now and then.
pub struct Chaos {
    seats: usize,
    /// Whether each host's clock jumps for itself, and far.
    has_producers: bool,
    next: Instant,
    /// How often each kind comes up in this seed.
    pub weights: [u64; 12],
    pub orders: Vec<Order>,
    /// For what another program does to the topics of attempts, and how many of a thousand times it begins a transaction.
    stranger: (Random, u64),
}

impl Chaos {
    pub fn new(world: &mut World, seats: usize) -> Self {
        let mut weight = |most: u64| if world.random.chance(300) { 0 } else { 1 + world.random.below(most) };
        let [a, b, c, d, e, f, g, h, i, j] = [4, 8, 6, 3, 3, 3, 2, 12, 8, 4].map(&mut weight);
        // Of their own, so that a seed's other faults do not depend on these: in some seeds topics grow, or are made anew.
        let mut operator = Random(world.random.0 ^ 0x6802_a115);
        let mut some = |of_thousand| if operator.chance(of_thousand) { 1 + operator.below(3) } else { 0 };
        let (grows, anew) = (some(250), some(150));
        let has_producers = world.oracle.has_producers;
        let weights = [a, b, c, d, e, f, g, h, i, j, anew, grows];
        let mut stranger = Random(world.random.0 ^ 0x7a45_ac71);
        let transactions = if stranger.chance(250) { 20 + stranger.below(200) } else { 0 };
        Self {
            seats,
            has_producers,
            next: world.began + Duration::from_secs(2),
            weights,
            orders: Vec::new(),
            stranger: (stranger, transactions),
        }
    }

    fn jump(&mut self, world: &mut World, seat: usize, by_ms: i64) {
        if self.has_producers {
            // Some far enough for ticks to become past.
            let times = if world.random.chance(300) { 4 } else { 1 };
            return self.orders.push(Order::Clock(seat, by_ms * times));
        }
        world.say("clock", || format!("jumps by {by_ms} ms"));
        let wall = world.clock.now() + TimeDelta::milliseconds(by_ms);
        world.clock.jump_to(wall);
    }

    /// Deletes up to some offset around what is committed.
    fn retention(world: &mut World) {
        let topic = if world.random.chance(700) { CLUSTER } else { RETRY };
        let Ok(count @ 1..) = u64::try_from(world.oracle.partitions(topic)) else { return };
        let of = partition(topic, i32::try_from(world.random.below(count)).unwrap());
        // A group that has never committed cannot know what was there before.
        let Some(committed) = world.oracle.committed(&of) else { return };
        let below =
            (committed + 2 - i64::try_from(world.random.below(6)).unwrap()).clamp(0, world.oracle.end(&of));
        if below <= world.oracle.start(&of) {
            return;
        }
        let kind =
            if below > committed { "retention above the offset" } else { "retention below the offset" };
        world.weather().counts.add(kind, 1);
        world.say("retention", || format!("{topic}/{} is deleted below {below}", of.partition));
        world.broker.faults().delete_records(&of, below);
        world.oracle.deleted(&of, below);
    }
}

impl Chaos {
    /// Ends a transaction that another program has opened, and may begin another one.
    fn transaction(&mut self, world: &mut World) {
        world.commit_transaction();
        let (random, rate) = &mut self.stranger;
        if random.chance(*rate) {
            let topic = if random.chance(500) { CLUSTER } else { RETRY };
            let Ok(count @ 1..) = u64::try_from(world.oracle.partitions(topic)) else { return };
            let of = partition(topic, i32::try_from(random.below(count)).unwrap());
            world.weather().counts.add("open transaction", 1);
            world.open_transaction(of);
        }
    }

    /// Deletes a topic of attempts, which is made again at once or a moment later.
    fn delete_topic(world: &mut World) {
        let topic = if world.random.chance(500) { CLUSTER } else { RETRY };
        if !world.delete_topic(topic) {
            return;
        }
        world.weather().counts.add("topic made anew", 1);
        world.say("operator", || format!("{topic} is deleted"));
        if world.random.chance(500) {
            world.make_anew();
        }
    }
}

impl Actor for Chaos {
    fn name(&self) -> &str {
        "chaos"
    }

    fn wakes(&self) -> Instant {
        self.next
    }

    fn step(&mut self, world: &mut World, now: Now) {
        self.next = now.mono + world.random.span(100, 4_000);
        if world.weather().away {
            world.weather().away = false;
        }
        world.make_anew();
        self.transaction(world);
        let seat = world.random.index(self.seats);
        let mut left = world.random.below(self.weights.iter().sum::<u64>().max(1));
        let which = self.weights.iter().position(|weight| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        });
        match which {
            Some(0) => self.orders.push(Order::Kill(seat)),
            Some(1) => self.orders.push(Order::Restart(seat)),
            // Most are past the session, and some are past the lease.
            Some(2) => self.orders.push(Order::Stall(seat, world.random.span(200, 20_000))),
            Some(3) => self.orders.push(Order::Leave(seat)),
            Some(4) => {
                world.weather().counts.add("clock forward", 1);
                let by = i64::try_from(world.random.below(30_000)).unwrap();
                self.jump(world, seat, by);
            }
            Some(5) => {
                world.weather().counts.add("clock back", 1);
                let by = i64::try_from(world.random.below(8_000)).unwrap();
                self.jump(world, seat, -by);
            }
            Some(6) => {
                world.say("chaos", || "no broker is reached for a while".to_owned());
                world.weather().away = true;
            }
            Some(7) => {
                world.say("chaos", || "late requests arrive".to_owned());
                world.deliver_late();
            }
            Some(8) => Self::retention(world),
            Some(9) if self.has_producers => {
                world.say("chaos", || "there is another job file".to_owned());
                world.file += 1;
            }
            Some(10) => Self::delete_topic(world),
            Some(11) => {
                let topic = if world.random.chance(500) { CLUSTER } else { RETRY };
                let has_grown = world.grow(topic);
                world.weather().counts.add("partition added", u64::from(has_grown));
            }
            _ => {}
        }
    }
}
