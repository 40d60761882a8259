//! A consumer without its threads, stepped by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fixture::{LEASE, TOPIC, World, of};
use crate::common::broker::{Broker, Client, Holder, Want};
use crate::common::clock::Clock;
use crate::common::membership;
use crate::common::membership::{Change, Member};
use crate::common::model::{ClusterName, Event};
use crate::common::wire::DeadReason;
use crate::consumer::claiming::machine::{Claimer, Effect, Failure, Options};
use crate::consumer::fetching::reading::{loses_position, slice};

/// A consumer without its threads.
pub(super) struct Consumer {
    pub(super) member: Member,
    members_client: Box<dyn Client>,
    client: Box<dyn Client>,
    pub(super) claimer: Claimer,
    pub(super) holder: Option<Holder>,
    plan: BTreeMap<i32, i64>,
    /// The runs that were started, by number.
    pub(super) started: Vec<u128>,
    pub(super) notes: Vec<Event>,
    pub(super) letters: Vec<DeadReason>,
    pub(super) new_ids_asked_for: usize,
    /// The calls that failed.
    pub(super) failures: Vec<Failure>,
}

impl Consumer {
    /// One that has joined and knows its share, and has stepped no further.
    pub(super) fn join(world: &World) -> Self {
        let group = "g".to_owned();
        let consumer = "me".to_owned();
        let session_timeout = Duration::from_secs(600);
        let topic = TOPIC.to_owned();
        let cluster = ClusterName::new(TOPIC).unwrap();
        let options = membership::Options {
            group: group.clone(),
            topic: topic.clone(),
            instance_id: None,
            session_timeout,
        };
        let waiting_bytes = world.waiting_bytes;
        let claimer = Claimer::new(Options { cluster, topic, group, consumer, lease: LEASE, waiting_bytes });
        let mut new = Self {
            member: Member::new(options),
            members_client: world.broker.client("membership"),
            client: world.broker.client("dispatch"),
            claimer,
            holder: None,
            plan: BTreeMap::new(),
            started: Vec::new(),
            notes: Vec::new(),
            letters: Vec::new(),
            new_ids_asked_for: 0,
            failures: Vec::new(),
        };
        new.next_generation(world);
        new
    }

    /// Steps the membership, which has no other member, until it has a share.
    pub(super) fn next_generation(&mut self, world: &World) {
        for _ in 0..3 {
            let (change, _) = self.member.step(self.members_client.as_mut(), world.clock.monotonic());
            if let Some(change) = change {
                self.claimer.changed(&change);
                if let Change::Assigned { holder, .. } = change {
                    self.holder = Some(holder);
                    return;
                }
            }
        }
        panic!("no share");
    }

    /// Leaves, and comes back in another generation.
    pub(super) fn next_generation_by_leaving(&mut self, world: &World) {
        self.member.join_as_new();
        self.next_generation(world);
    }

    pub(super) fn leave(mut self, world: &World) {
        self.member.leave(self.members_client.as_mut(), world.clock.monotonic());
    }

    /// One step with so many free workers.
    pub(super) fn step(&mut self, world: &World, free: usize) {
        for effect in self.claimer.step(self.client.as_mut(), world.now(), free) {
            match effect {
                Effect::Start(claimed) => self.started.push(claimed.attempt.run.id.0.as_u128()),
                Effect::JoinAsNew => self.new_ids_asked_for += 1,
                Effect::Read(plan) => self.plan = plan.into_iter().collect(),
                Effect::Note(event) => self.notes.push(event),
                Effect::Letter(reason) => self.letters.push(reason),
                Effect::Failed(failure) => self.failures.push(failure),
            }
        }
    }

    /// Reads through a new client from now on, which has heard of no topic yet.
    pub(super) fn forget_topic_ids(&mut self, world: &World) {
        self.client = world.broker.client("dispatch");
    }

    /// Some of what is planned to be read gets lost.
    pub(super) fn skip(&mut self, partition: i32, count: i64) {
        let planned = self.plan.iter_mut().find(|(of, _)| **of == partition);
        *planned.expect("it is to be read").1 += count;
    }

    /// Reads what there is, as planned.
    pub(super) fn poll(&mut self, world: &World) {
        let generation = self.holder.as_ref().unwrap().generation;
        for (partition, next) in &mut self.plan {
            let want = Want { from: of(*partition), offset: *next, max_bytes: 1 << 20 };
            let fetched = self.client.fetch(1, &[want], Duration::ZERO, world.soon()).unwrap().remove(0);
            match fetched {
                Ok(fetched) => {
                    let slice = slice(*next, fetched, &ClusterName::new(TOPIC).unwrap());
                    *next = slice.span.end;
                    self.claimer.read(generation, *partition, slice);
                }
                Err(error) if loses_position(&error) => self.claimer.lost_position(generation, *partition),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads and steps until nothing more comes of it.
    pub(super) fn run(&mut self, world: &World, free: usize) {
        for _ in 0..6 {
            self.step(world, free);
            self.poll(world);
        }
    }
}
