//! What claiming wants to tell other threads and has not told yet. Claiming never waits on a send: what finds no place in a
//! channel stays here and is offered again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
        Track::new(TopicPartition { topic: self.topic.clone(), partition }, plan, next, true)
    }

    /// Sends the newest plan, if that finds a place: to be called after a step, which may replace it.
    pub fn send_plan(&mut self, plans: &Sender<Plan>) {
        let Some(plan) = self.plan.take() else { return };
        match plans.try_send(plan) {
            // Disconnected: nothing is read any more.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(plan)) => self.plan = Some(plan),
        }
    }

    /// Tells the reporting thread what finds a place. Returns `false` when that thread has ended, and an event is not written
    /// for that.
    pub fn tell(&mut self, tell: &Sender<reporting::Event>) -> bool {
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

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use uuid::Uuid;

    use super::*;
    use crate::common::model::Place;

    fn note(offset: i64) -> Effect {
        let place = Place { topic: "c".to_owned(), topic_id: Uuid::nil(), partition: 0, offset };
        Effect::Note(model::Event::Truncated { place, end_offset: 0, at: chrono::DateTime::UNIX_EPOCH })
    }

    #[test]
    fn of_plans_only_the_newest_is_offered_and_a_partition_is_opened_and_shut_in_it() {
        let (plans, planned) = bounded(1);
        let mut outbox = Outbox::new("c".to_owned());
        for plan in 1..=3 {
            assert_eq!(outbox.take(Effect::Read { plan, offsets: vec![(0, 10), (1, 20)] }), None);
            if plan != 2 {
                outbox.send_plan(&plans);
            }
        }
        let first = planned.try_recv().unwrap();
        outbox.send_plan(&plans);
        let newest = planned.try_recv().unwrap();
        assert_eq!((first[0].plan, newest[0].plan, planned.len()), (1, 3, 0));
        assert_eq!(outbox.take(Effect::Open { partition: 1, is_open: false }), None);
        let offsets =
            |plan: &Plan| plan.iter().map(|track| track.want().map(|want| want.offset)).collect::<Vec<_>>();
        assert_eq!((offsets(&first), offsets(&newest)), (vec![Some(10), Some(20)], vec![Some(10), None]));
    }

    #[test]
    fn what_finds_no_place_is_told_later_in_its_order() {
        let (tell, told) = bounded(1);
        let mut outbox = Outbox::new("c".to_owned());
        for offset in 0..3 {
            assert_eq!(outbox.take(note(offset)), None);
        }
        assert_eq!(outbox.take(Effect::JoinAsNew), Some(Effect::JoinAsNew), "that is for the membership");
        for offset in 0..3 {
            assert!(outbox.tell(&tell));
            let event = told.try_recv().unwrap();
            let reporting::Event::Note(model::Event::Truncated { place, .. }) = event else {
                panic!("{event:?}")
            };
            assert_eq!(place.offset, offset);
        }
        drop(told);
        assert!(outbox.tell(&tell), "there is nothing to be told");
        outbox.take(note(3));
        assert!(!outbox.tell(&tell));
    }
}
