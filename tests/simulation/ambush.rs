//! Faults that are not left to chance: they strike where the order of two steps matters and chance rarely hits.

use std::time::{Duration, Instant};

use crate::faults::Order;
use crate::world::{Random, World};

/// How often a lead is ambushed.
const EVERY: Duration = Duration::from_secs(16);
/// How long no producer reads `cron-runs` then, and nothing is run: longer than it takes another producer to lead.
const STARVED: Duration = Duration::from_secs(12);

/// How long nothing is published before the leader is stopped, and for how long it is stopped: longer than it takes another
/// producer to lead.
const UNPUBLISHED: Duration = Duration::from_secs(1);
const STOPPED: Duration = Duration::from_secs(14);

/// What an ambush is laid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A consumer between its claim and the commit.
    Claims,
    /// A leader whose successor cannot read `cron-runs`.
    Leader,
    /// A leader that has a batch to write and is stopped until another one leads.
    Publisher,
}

/// Lays ambushes, in each seed of one kind: a leader that does not see the end of `cron-runs` finds nothing to be lost.
pub struct Ambush {
    /// `None` where they are of claims.
    next: Option<Instant>,
    /// When the leader of before dies, or is stopped.
    kills_at: Option<Instant>,
    of: Of,
}

impl Ambush {
    pub fn new(world: &mut World) -> Self {
        let of_claims = world.random.chance(500);
        Self::of(if of_claims { Of::Claims } else { Of::Leader }, world)
    }

    /// Lays those of one kind.
    pub fn of(of: Of, world: &World) -> Self {
        world.weather().ambushes = of == Of::Claims;
        Self { next: (of != Of::Claims).then(|| world.began + EVERY), kills_at: None, of }
    }

    /// When the next one is due.
    pub fn wakes(&self) -> Option<Instant> {
        self.kills_at.or(self.next)
    }

    /// The leader goes on publishing while no producer reads what it says of that and nothing comes to its end, and dies.
    /// The next leader must not decide by what it knows. `seats` are the places of consumers, of so many places.
    pub fn strike(&mut self, world: &mut World, now: Instant, (seats, places): (usize, usize)) -> Vec<Order> {
        if self.kills_at.take_if(|at| *at <= now).is_some() {
            return vec![match self.of {
                Of::Publisher => Order::StallLeader(STOPPED),
                _ => Order::KillLeader,
            }];
        }
        if self.kills_at.is_some() || self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        self.next = Some(now + EVERY);
        if self.of == Of::Publisher {
            world.weather().unpublished_until = Some(now + UNPUBLISHED + STOPPED);
            self.kills_at = Some(now + UNPUBLISHED);
            return Vec::new();
        }
        self.kills_at = Some(now + world.random.span(2_000, 5_000));
        world.weather().starved_until = Some(now + STARVED);
        world.weather().counts.add("ambush of a leader", 1);
        let restarts = (0..places).map(Order::Restart);
        restarts.chain((0..seats).map(|seat| Order::Stall(seat, STARVED))).collect()
    }
}

/// A consumer dies between its claim and the commit, and for about a lease no consumer reads the topic: the next claim
/// comes when the leader is about to find the attempt lost. `of` is the topic of each seat.
pub fn of_claim(random: &mut Random, lease: Duration, killed: usize, of: &[&str]) -> Vec<Order> {
    let rest = lease + random.span(0, 3_000);
    let all = (0..of.len()).filter(|seat| of[*seat] == of[killed]);
    let stalls = all.map(|seat| Order::Stall(seat, rest));
    [Order::Kill(killed), Order::Restart(killed)].into_iter().chain(stalls).collect()
}
