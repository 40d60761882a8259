//! What claiming wants to tell other threads and has not told yet. Claiming never waits on a send: what finds no place in a
//! channel stays here and is offered again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use super::machine::{Claimer, FIRST_REST};
use super::messages::Effect;
use crate::common::broker::TopicPartition;
use crate::common::clock::Now;
use crate::common::model;
use crate::consumer::fetching::fetcher::Track;
use crate::consumer::fetching::poll::Plan;
use crate::consumer::reporting::messages as reporting;

/// What is still to be told, and what is read at present.
#[derive(Debug)]
pub struct Outbox {
    topic: String,
    /// For the reporting thread. It is bounded by what a step can find: none is made while one of these waits.
    notes: VecDeque<model::Event>,
    tracks: Plan,
    /// A plan that `poll` has not taken yet. Only the newest counts.
    plan: Option<Plan>,
}

impl Outbox {
    /// Creates one for claims of a topic.
    pub fn new(topic: String) -> Self {
        Self { topic, notes: VecDeque::new(), tracks: Vec::new(), plan: None }
    }

    /// Takes an effect that is for the threads that read, or for `cron-runs`; returns any other.
    pub fn take(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Read { plan, offsets } => {
                self.tracks = offsets.into_iter().map(|from| self.track(plan, from)).collect();
                self.plan = Some(self.tracks.clone());
            }
            Effect::Open { partition, is_open } => {
                let tracks = self.tracks.iter().filter(|track| track.of.partition == partition);
                tracks.for_each(|track| track.open.store(is_open, Ordering::Release));
            }
            Effect::Note(event) => self.notes.push_back(event),
            other => return Some(other),
        }
        None
    }

    fn track(&self, plan: u64, (partition, next): (i32, i64)) -> Arc<Track> {
        Arc::new(Track {
            of: TopicPartition { topic: self.topic.clone(), partition },
            plan,
            next: AtomicI64::new(next),
            open: AtomicBool::new(true),
        })
    }

    /// Sends what finds a place. Returns `false` when the reporting thread has ended, and an event is not written for that.
    pub fn send(&mut self, tell: &Sender<reporting::Event>, plans: &Sender<Plan>) -> bool {
        if let Some(plan) = self.plan.take() {
            match plans.try_send(plan) {
                // Disconnected: nothing is read any more.
                Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                Err(TrySendError::Full(plan)) => self.plan = Some(plan),
            }
        }
        while let Some(event) = self.notes.pop_front() {
            match tell.try_send(reporting::Event::Note(event)) {
                Ok(()) => {}
                Err(TrySendError::Full(reporting::Event::Note(event))) => {
                    self.notes.push_front(event);
                    return true;
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Whether the machine may be stepped. Nothing more is claimed while the reporting thread has no room for what was found;
    /// what is granted is started, and what is under way at the end is decided.
    pub fn lets_step(&self, claimer: &Claimer) -> bool {
        self.notes.is_empty() || !claimer.listens()
    }

    /// Whether all that was found is told, or, where that is not, a claimer that has ended waits for it no longer.
    pub fn is_done(&self, claimer: &Claimer, now: Instant) -> bool {
        self.notes.is_empty() || claimer.leaves_by().is_none_or(|by| now >= by)
    }

    /// How long to wait before the next step, if nothing comes before that.
    pub fn wait(&self, claimer: &Claimer, now: Now) -> Duration {
        if !self.notes.is_empty() {
            return FIRST_REST;
        }
        let wait = claimer.wait(now);
        if self.plan.is_some() && !claimer.is_resting() { wait.min(FIRST_REST) } else { wait }
    }

    /// What is read at present.
    pub fn tracks(&self) -> &Plan {
        &self.tracks
    }
}
