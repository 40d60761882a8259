//! The desk between the thread of orders and the workers: each worker says which run it is about to start, and is told
//! when that run is to end.
//!
//! A mutex, because the two facts must be compared as one: an order that comes before a worker says what it runs is found by
//! the worker, and one that comes after finds the worker. It is held for a look-up, once an attempt and once an order. A
//! worker that waits for its command listens to a bell ([`Bell`]); it has one for its whole life.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use rustix::event::{EventfdFlags, eventfd};

use super::remembered::Remembered;
use crate::common::bounds::ORDERS_REMEMBERED;
use crate::common::descriptors::with_high_number;
use crate::common::model::{Order, RunId};

/// The desk. Clones are the same desk.
#[derive(Debug, Clone)]
pub struct Desk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    ordered: Remembered,
    /// The workers that have an attempt of this run.
    running: HashMap<RunId, Vec<Working>>,
}

/// When a worker's attempt was published, and the worker's bell.
type Working = (DateTime<Utc>, Arc<Clapper>);

/// What wakes a worker whose run is to end.
#[derive(Debug)]
pub struct Bell(Arc<Clapper>);

/// What the worker and the thread of orders have of a bell.
#[derive(Debug)]
struct Clapper {
    /// Changed only while the desk is locked.
    has_rung: AtomicBool,
    /// Readable when it has rung: a counter (eventfd(2)).
    event: OwnedFd,
}

/// A worker has an attempt of a run. Dropped, it has none any more.
#[derive(Debug)]
pub struct AtWork<'a> {
    desk: &'a Desk,
    bell: &'a Bell,
    run: RunId,
}

impl Default for Desk {
    fn default() -> Self {
        let state = State { ordered: Remembered::new(ORDERS_REMEMBERED), running: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl Desk {
    /// These runs are to end, by orders of these instants: the workers that have an attempt of one are told.
    pub fn order(&self, runs: &[(RunId, DateTime<Utc>)]) {
        let mut state = self.lock();
        for (run, at) in runs {
            state.ordered.take(*run, *at);
            for (published_at, bell) in state.running.get(run).into_iter().flatten() {
                if Order::is_about(*at, *published_at) {
                    bell.ring();
                }
            }
        }
    }

    /// A worker is about to start an attempt of a run that was published at an instant. `None` where it is to end: it must not
    /// start.
    pub fn begin<'a>(
        &'a self,
        run: RunId,
        published_at: DateTime<Utc>,
        bell: &'a Bell,
    ) -> Option<AtWork<'a>> {
        let mut state = self.lock();
        if state.ordered.has(run, published_at) {
            return None;
        }
        bell.fall_silent();
        state.running.entry(run).or_default().push((published_at, Arc::clone(&bell.0)));
        Some(AtWork { desk: self, bell, run })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AtWork<'_> {
    /// Whether the run is to end.
    pub fn is_ordered(&self) -> bool {
        self.bell.0.has_rung.load(Ordering::Acquire)
    }

    /// Becomes readable when the run is to end.
    pub fn hears(&self) -> BorrowedFd<'_> {
        self.bell.0.event.as_fd()
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut state = self.desk.lock();
        if let Some(bells) = state.running.get_mut(&self.run) {
            bells.retain(|(_, bell)| !Arc::ptr_eq(bell, &self.bell.0));
            if bells.is_empty() {
                state.running.remove(&self.run);
            }
        }
    }
}

impl Bell {
    /// Creates a bell.
    ///
    /// # Errors
    /// The system's, when it has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = with_high_number(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Self(Arc::new(Clapper { has_rung: AtomicBool::new(false), event })))
    }

    /// Forgets that it rang for a former attempt.
    fn fall_silent(&self) {
        if self.0.has_rung.swap(false, Ordering::AcqRel) {
            let _silent = rustix::io::read(&self.0.event, &mut [0; 8]);
        }
    }
}

impl Clapper {
    fn ring(&self) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            let _rung = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const AT: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn run(number: u128) -> RunId {
        RunId(Uuid::from_u128(number))
    }

    #[test]
    fn an_order_finds_the_worker_that_has_the_run_and_no_other() {
        let desk = Desk::default();
        let bells = [(); 3].map(|()| Bell::new().unwrap());
        let [one, same, other] =
            [(0, 1), (1, 1), (2, 2)].map(|(bell, of)| desk.begin(run(of), AT, &bells[bell]));
        desk.order(&[(run(1), AT), (run(3), AT), (run(1), AT)]);
        assert!(one.unwrap().is_ordered() && same.unwrap().is_ordered());
        assert!(!other.unwrap().is_ordered());
    }

    #[test]
    fn no_attempt_starts_of_a_run_that_is_to_end() {
        let (desk, bell) = (Desk::default(), Bell::new().unwrap());
        desk.order(&[(run(1), AT)]);
        assert!(desk.begin(run(1), AT, &bell).is_none());
        assert!(desk.begin(run(2), AT, &bell).is_some());
    }

    #[test]
    fn an_order_that_comes_after_the_end_does_the_workers_next_attempt_no_harm() {
        let (desk, bell) = (Desk::default(), Bell::new().unwrap());
        drop(desk.begin(run(1), AT, &bell).unwrap());
        desk.order(&[(run(1), AT)]);
        let next = desk.begin(run(2), AT, &bell).unwrap();
        assert!(!next.is_ordered());
        drop(next);
        // One that came while the attempt ended has rung the bell, and no worker has heard it.
        let ends = desk.begin(run(3), AT, &bell).unwrap();
        desk.order(&[(run(3), AT)]);
        drop(ends);
        assert!(!desk.begin(run(4), AT, &bell).unwrap().is_ordered());
        assert!(desk.lock().running.is_empty());
    }

    #[test]
    fn an_attempt_that_was_published_long_after_an_order_is_neither_kept_from_starting_nor_ended() {
        let (desk, bell) = (Desk::default(), Bell::new().unwrap());
        desk.order(&[(run(1), AT)]);
        let put_back = desk.begin(run(1), AT + Order::COUNTS, &bell).unwrap();
        desk.order(&[(run(1), AT)]);
        assert!(!put_back.is_ordered());
        desk.order(&[(run(1), AT + Order::COUNTS)]);
        assert!(put_back.is_ordered());
    }
}
