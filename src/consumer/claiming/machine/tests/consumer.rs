//! A consumer without its threads, stepped by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fixture::{LEASE, TOPIC, World, of};
use crate::common::broker::{Broker, Client, Holder, Want};
use crate::common::clock::Clock;
use crate::common::membership;
use crate::common::membership::{Change, Member};
use crate::common::model::{self, ClusterName};
use crate::common::wire::DeadReason;
use crate::consumer::claiming::machine::{Claimer, Effect, Event, Failure, Options, Report};
use crate::consumer::fetching::reading::{loses_position, slice};

/// A consumer without its threads.
pub(super) struct Consumer {
    pub(super) member: Member,
    members_client: Box<dyn Client>,
    client: Box<dyn Client>,
    pub(super) claimer: Claimer,
    pub(super) holder: Option<Holder>,
    /// The number of the newest plan, what it reads from where, and whether that is open.
    pub(super) plan: u64,
    reads: BTreeMap<i32, i64>,
    open: BTreeMap<i32, bool>,
    /// The runs that were started, by number.
    pub(super) started: Vec<u128>,
    pub(super) notes: Vec<model::Event>,
    pub(super) letters: Vec<DeadReason>,
    pub(super) new_ids_asked_for: usize,
    /// The calls that failed.
    pub(super) failures: Vec<Failure>,
    /// What operators were told.
    pub(super) reports: Vec<Report>,
}

impl Consumer {
    /// One that has joined and knows its share, and has stepped no further.
    pub(super) fn join(world: &World) -> Self {
        let group = "g".to_owned();
        let consumer = "me".to_owned();
        let session_timeout = Duration::from_secs(600);
        let topic = TOPIC.to_owned();
        let cluster = ClusterName::new(TOPIC).unwrap();
        let member = Member::new(membership::Options {
            group: group.clone(),
            topic: topic.clone(),
            instance_id: None,
            session_timeout,
            counts_once_taken_up: false,
        });
        let waiting_bytes = world.waiting_bytes;
        let (lease, workers) = (LEASE, 1);
        let options = Options { cluster, topic, group, consumer, lease, waiting_bytes, workers };
        let mut new = Self {
            member,
            members_client: world.broker.client("membership"),
            client: world.broker.client("dispatch"),
            claimer: Claimer::new(options),
            holder: None,
            plan: 0,
            reads: BTreeMap::new(),
            open: BTreeMap::new(),
            started: Vec::new(),
            notes: Vec::new(),
            letters: Vec::new(),
            new_ids_asked_for: 0,
            failures: Vec::new(),
            reports: Vec::new(),
        };
        new.handle(Event::ClockSettled, world);
        new.handle(Event::OrdersKnown, world);
        new.next_generation(world);
        new
    }

    /// Steps the membership, which has no other member, until it has a share.
    pub(super) fn next_generation(&mut self, world: &World) {
        for _ in 0..3 {
            let (change, _) = self.member.step(self.members_client.as_mut(), world.clock.monotonic());
            if let Some(change) = change {
                self.handle(Event::Changed(change.clone()), world);
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
        self.claimer.waiting.set_free(free);
        for effect in self.claimer.step(self.client.as_mut(), world.now()) {
            self.carry_out(effect);
        }
    }

    /// Takes an event.
    pub(super) fn handle(&mut self, event: Event, world: &World) {
        for effect in self.claimer.handle(event, world.now()) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Start(claimed) => self.started.push(claimed.attempt.run.id.0.as_u128()),
            Effect::JoinAsNew => self.new_ids_asked_for += 1,
            Effect::Read { plan, offsets } => {
                self.plan = plan;
                self.open = offsets.iter().map(|(partition, _)| (*partition, true)).collect();
                self.reads = offsets.into_iter().collect();
            }
            Effect::Open { partition, is_open } => {
                let before = self.open.insert(partition, is_open);
                assert_eq!(before, Some(!is_open), "partition {partition} is opened and shut in turn");
            }
            Effect::Report(report) => self.reports.push(report),
            Effect::Note(event) => self.notes.push(event),
            Effect::Letter(reason) => self.letters.push(reason),
            Effect::Failed(failure) => self.failures.push(failure),
        }
    }

    /// Whether reading a partition pauses.
    pub(super) fn is_paused(&self, partition: i32) -> bool {
        self.open.get(&partition) == Some(&false)
    }

    /// A partition's position is lost, as the newest plan shows.
    pub(super) fn loses_position(&mut self, world: &World, partition: i32) {
        self.handle(Event::LostPosition { plan: self.plan, partition }, world);
    }

    /// Reads through a new client from now on, which has heard of no topic yet.
    pub(super) fn forget_topic_ids(&mut self, world: &World) {
        self.client = world.broker.client("dispatch");
    }

    /// Some of what is planned to be read gets lost.
    pub(super) fn skip(&mut self, partition: i32, count: i64) {
        let planned = self.reads.iter_mut().find(|(of, _)| **of == partition);
        *planned.expect("it is to be read").1 += count;
    }

    /// Reads what there is, as planned.
    pub(super) fn poll(&mut self, world: &World) {
        for (partition, mut next) in self.reads.clone() {
            let want = Want { from: of(partition), offset: next, max_bytes: 1 << 20 };
            let fetched = self.client.fetch(1, &[want], Duration::ZERO, world.soon()).unwrap().remove(0);
            match fetched {
                Ok(fetched) => {
                    let slice = slice(next, fetched, &ClusterName::new(TOPIC).unwrap());
                    next = slice.span.end;
                    self.reads.insert(partition, next);
                    self.handle(Event::Read { plan: self.plan, partition, slice }, world);
                }
                Err(error) if loses_position(&error) => self.loses_position(world, partition),
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
