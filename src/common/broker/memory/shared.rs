//! The shell: one lock, one clock, and those who wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::Moment;
use super::call::{Call, Fate};
use super::cluster::Cluster;
use super::plan::Plan;
use crate::common::broker::{BrokerError, Deadline};
use crate::common::clock::Clock;

/// Whether calls wait for what is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Until it is there or the deadline has come.
    ByClock,
    /// Not at all.
    Never,
}

/// What all clients of a cluster share.
pub(super) struct Shared {
    // A mutex, because this is what the state of a broker is to its clients: one place, many at once.
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    waits: Waits,
}

struct Inner {
    cluster: Cluster,
    plan: Plan,
    waiting: Vec<Sender<()>>,
}

impl Inner {
    /// Has everybody who waits look again.
    fn wake(&mut self) {
        for waiting in self.waiting.drain(..) {
            // Full or gone: it looks again anyway.
            let _ = waiting.try_send(());
        }
    }
}

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>, waits: Waits) -> Self {
        let inner = Inner { cluster: Cluster::new(), plan: Plan::default(), waiting: Vec::new() };
        Self { inner: Mutex::new(inner), clock, waits }
    }

    /// Whether a call takes up the answer that an earlier one did not wait for.
    pub(super) fn resumes(&self) -> bool {
        self.waits == Waits::Never
    }

    /// Until when a quota holds a client back, if one does.
    pub(super) fn held_until(&self, client: &str) -> Option<Instant> {
        let now = self.clock.monotonic();
        self.lock().plan.held_until(client, now)
    }

    /// An instant by the monotonic clock.
    pub(super) fn after(&self, wait: Duration) -> Instant {
        self.clock.monotonic() + wait
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked while it held the lock is told by its own panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.clock.now(), mono: self.clock.monotonic() }
    }

    /// Changes the cluster or the plan.
    pub(super) fn with<T>(&self, order: impl FnOnce(&mut Cluster, &mut Plan, Moment) -> T) -> T {
        let at = self.moment();
        let mut inner = self.lock();
        inner.cluster.advance(at.mono);
        let Inner { cluster, plan, .. } = &mut *inner;
        let answer = order(cluster, plan, at);
        inner.wake();
        answer
    }

    /// Makes a call about a topic or group (`of`), to the end that fate has for it. `refuse` puts a code into the answer.
    pub(super) fn call<T>(
        &self,
        (client, call, of): (&str, Call, &str),
        by: Deadline,
        refuse: impl FnOnce(crate::common::broker::ErrorCode) -> Result<T, BrokerError>,
        apply: impl FnOnce(&mut Cluster, Moment) -> Result<T, BrokerError> + Send + 'static,
    ) -> Result<T, BrokerError> {
        self.with(|cluster, plan, at| {
            if by <= at.mono {
                return Err(BrokerError::NotSent("the deadline has passed".to_owned()));
            }
            if plan.held_until(client, at.mono).is_some() {
                return Err(BrokerError::Throttled(format!("{call:?}: client {client} is above its quota")));
            }
            let no_answer = |why: &str| Err(BrokerError::NoAnswer(format!("{call:?}: {why}")));
            match plan.fate(client, call) {
                None => match cluster.refusal(call, of) {
                    Some(code) => refuse(code),
                    None => apply(cluster, at),
                },
                Some(Fate::NotSent) => Err(BrokerError::NotSent(format!("{call:?}: the broker is away"))),
                Some(Fate::RequestLost) => no_answer("the request is lost"),
                Some(Fate::AnswerLost) => {
                    if cluster.refusal(call, of).is_none() {
                        drop(apply(cluster, at));
                    }
                    no_answer("the answer is lost")
                }
                Some(Fate::Late) => {
                    let of = of.to_owned();
                    plan.hold(Box::new(move |cluster, at| {
                        if cluster.refusal(call, &of).is_none() {
                            drop(apply(cluster, at));
                        }
                    }));
                    no_answer("the request is late")
                }
                Some(Fate::AboveQuota(hold)) => {
                    plan.throttle(client, at.mono + hold);
                    match cluster.refusal(call, of) {
                        Some(code) => refuse(code),
                        None => apply(cluster, at),
                    }
                }
                Some(Fate::Refused(code)) => refuse(code),
                Some(Fate::AppliedButRefused(code)) => {
                    drop(apply(cluster, at));
                    refuse(code)
                }
            }
        })
    }

    /// Waits until `ready` has an answer; `None` when the deadline came first, the broker went away, or no caller
    /// waits here.
    pub(super) fn wait_for<T>(
        &self,
        by: Deadline,
        mut ready: impl FnMut(&mut Cluster) -> Option<T>,
    ) -> Option<T> {
        loop {
            let (woken, until) = match self.look(by, &mut ready) {
                Ok(answer) => return answer,
                Err(wait) => wait,
            };
            let alarm = self.clock.alarm(until.saturating_duration_since(self.clock.monotonic()));
            select! {
                recv(woken) -> _ => {}
                recv(alarm) -> _ => {}
            }
        }
    }

    /// The answer, or by what and until when to wait before looking again.
    fn look<T>(
        &self,
        by: Deadline,
        ready: &mut impl FnMut(&mut Cluster) -> Option<T>,
    ) -> Result<Option<T>, (Receiver<()>, Instant)> {
        let now = self.clock.monotonic();
        let mut inner = self.lock();
        if inner.cluster.advance(now) {
            inner.wake();
        }
        let answer = ready(&mut inner.cluster);
        if answer.is_some() || now >= by || inner.plan.is_away() || self.waits == Waits::Never {
            return Ok(answer);
        }
        let until = inner.cluster.next_timer().map_or(by, |timer| timer.min(by));
        let (wake, woken) = bounded(1);
        inner.waiting.push(wake);
        Err((woken, until))
    }
}
