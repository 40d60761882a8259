//! The thread `lead`: it feeds [`Leadership`] with the membership's changes and the scheduler's cursors, and tells the
//! scheduler.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{Call, CursorCommit, Effect, Event, Leadership, Options};
use crate::common::broker::Client;
use crate::common::clock::{Clock, Now};
use crate::common::http::{Duty, Health, Trouble};
use crate::common::membership::{Change, Membership};
use crate::common::metrics::Beat;
use crate::common::thread::{Joined, spawn};

/// What the thread listens to and talks to.
pub struct Channels {
    /// Changes of the membership.
    pub changes: Receiver<Change>,
    /// Our membership; it ends with this thread, so that another producer takes over at once.
    pub membership: Membership,
    /// How far the scheduler is. The channel has one place: a scheduler that finds it full keeps its newest cursors and
    /// tries again.
    pub keeps: Receiver<CursorCommit>,
    /// To the scheduler.
    pub told: Sender<Effect>,
}

/// What the thread owes, and how it says that it cannot do it.
struct Duties {
    /// To begin the term that this producer was offered, with every cluster.
    taking_over: Duty,
    /// To commit cursors that have moved.
    cursors: Duty,
}

impl Duties {
    fn new(health: &Health) -> Self {
        Self { taking_over: health.duty("taking over"), cursors: health.duty("cursors") }
    }

    /// Reports what came of a step.
    fn report(&self, leadership: &Leadership, effects: &[Effect]) {
        let mut is_kept = !leadership.leads();
        if let Some((topic, count)) = leadership.reading().filter(|(_, count)| *count > 0) {
            let cause = format!("reading what {topic} holds since its cursor: {count} messages so far");
            self.taking_over.failed(Trouble::new("reading", cause, "wait: this goes on by itself"));
        } else if leadership.is_taking_over() {
            self.taking_over.owed();
        } else {
            self.taking_over.done();
        }
        for effect in effects {
            match effect {
                Effect::Failed(failure) if failure.call == Call::CursorCommit => {
                    self.cursors.failed(Trouble::of(&failure.attempt(), &failure.error));
                    is_kept = false;
                }
                Effect::Failed(failure) if leadership.is_taking_over() => {
                    self.taking_over.failed(Trouble::of(&failure.attempt(), &failure.error));
                }
                Effect::Kept(_) => is_kept = true,
                Effect::ClockBehind(ahead) => self.taking_over.failed(Trouble::new(
                    "clock",
                    format!("a cursor lies {} s ahead of this host's clock", ahead.as_secs()),
                    "set the clock of this host, or of the one that led before, by NTP",
                )),
                Effect::ClockOff(ahead) => self.taking_over.failed(Trouble::new(
                    "clock",
                    format!("this host's clock is {} s off the broker's", ahead.num_seconds()),
                    "set this host's clock, or the broker's, by NTP",
                )),
                _ => {}
            }
        }
        if is_kept {
            self.cursors.done();
        }
    }
}

/// The handle. Dropping it leaves the group.
#[derive(Debug)]
pub struct Lead {
    _stop: Sender<()>,
    thread: Joined,
}

impl Lead {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        mut client: Box<dyn Client>,
        clock: Arc<dyn Clock>,
        channels: Channels,
        health: &Health,
        beat: Beat,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let duties = Duties::new(health);
        let thread = spawn("lead", move || {
            let mut leadership = Leadership::new(options);
            run(&mut leadership, client.as_mut(), clock.as_ref(), &channels, &stopped, &duties, &beat);
        })?;
        Ok(Self { _stop: stop, thread })
    }

    /// Whether the thread has ended by itself.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

fn run(
    leadership: &mut Leadership,
    client: &mut dyn Client,
    clock: &dyn Clock,
    channels: &Channels,
    stopped: &Receiver<()>,
    duties: &Duties,
    beat: &Beat,
) {
    loop {
        beat.touch(clock.now());
        let now = Now { wall: clock.now(), mono: clock.monotonic() };
        let (effects, wait) = leadership.step(client, now);
        duties.report(leadership, &effects);
        for effect in &effects {
            match effect {
                Effect::GiveWay(away) => log::warn!(
                    "this producer could not take everything over, and another one is there: it leads, and we come back in {} s",
                    away.as_secs()
                ),
                Effect::Warn(line) => log::warn!("{line}"),
                _ => {}
            }
            if let Some(event) = effect.for_membership() {
                channels.membership.ask(event);
            }
        }
        if !effects.into_iter().all(|effect| channels.told.send(effect).is_ok()) {
            return;
        }
        let event = select! {
            recv(channels.changes) -> change => match change {
                Ok(change) => Event::Membership(change),
                Err(_) => return,
            },
            recv(channels.keeps) -> cursors => match cursors {
                Ok(cursors) => Event::Cursors(cursors),
                Err(_) => {
                    let now = Now { wall: clock.now(), mono: clock.monotonic() };
                    if let Err(failure) = leadership.finish(client, now) {
                        log::warn!("the last cursors are not kept: {}", failure.error);
                    }
                    return;
                }
            },
            recv(stopped) -> _ => return,
            recv(clock.alarm(wait)) -> _ => continue,
        };
        if !leadership.handle(event).into_iter().all(|effect| channels.told.send(effect).is_ok()) {
            return;
        }
    }
}
