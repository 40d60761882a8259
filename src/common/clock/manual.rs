//! A clock that a test turns. An alarm rings only when the test turns the clock to it.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::Clock;

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock {
    // A mutex, for what a test has turned must hold as soon as the call returns.
    state: Mutex<State>,
    waited_for: Condvar,
}

#[derive(Debug)]
struct State {
    wall: DateTime<Utc>,
    mono: Instant,
    alarms: Vec<(Instant, Sender<Instant>, ThreadId)>,
}

impl ManualClock {
    /// A clock that shows `wall`.
    pub fn new(wall: DateTime<Utc>) -> Self {
        let state = State { wall, mono: Instant::now(), alarms: Vec::new() };
        Self { state: Mutex::new(state), waited_for: Condvar::new() }
    }

    /// Waits until a thread waits for an alarm, turns the clock to it, and rings. `false` when no thread waits within
    /// `patience`.
    pub fn ring_next(&self, patience: Duration) -> bool {
        let state = self.state();
        let nobody_waits = |state: &mut State| state.alarms.is_empty();
        let waited = self.waited_for.wait_timeout_while(state, patience, nobody_waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let Some(next) = state.alarms.iter().map(|(at, ..)| *at).min() else { return false };
        let by = next.saturating_duration_since(state.mono);
        state.turn(by);
        true
    }

    /// How many threads wait for an alarm, or did when something else woke them. A test of several threads waits for all of
    /// them before it turns the clock: otherwise time passes for a thread that only waits for a core.
    pub fn threads_waiting(&self) -> usize {
        self.state().alarms.iter().map(|(_, _, thread)| thread).collect::<HashSet<_>>().len()
    }

    /// Lets time pass for both clocks.
    pub fn turn(&self, by: Duration) {
        self.state().turn(by);
    }

    /// Sets the wall clock alone, as an operator or a time server does.
    pub fn jump_to(&self, wall: DateTime<Utc>) {
        self.state().wall = wall;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, by: Duration) {
        self.mono += by;
        self.wall += TimeDelta::from_std(by).unwrap_or_default();
        let mono = self.mono;
        self.alarms.retain(|(at, alarm, _)| {
            let rings = *at <= mono;
            if rings && alarm.try_send(mono).is_err() {
                log::trace!("the waiting thread was woken by something else");
            }
            !rings
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.state().wall
    }

    fn monotonic(&self) -> Instant {
        self.state().mono
    }

    fn alarm(&self, after: Duration) -> Receiver<Instant> {
        let (alarm, rings) = bounded(1);
        let mut state = self.state();
        let at = state.mono + after;
        state.alarms.push((at, alarm, thread::current().id()));
        if after.is_zero() {
            state.turn(after);
        } else {
            self.waited_for.notify_all();
        }
        rings
    }
}
