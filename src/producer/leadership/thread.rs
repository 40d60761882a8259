//! The thread `lead`: feeds [`Leadership`] with the membership's changes and the timer's cursors, and tells the timer.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::{Act, Keep, Leadership, Now, Options, REST};
use crate::common::broker::Client;
use crate::common::clock::Clock;
use crate::common::membership::{Change, Membership};
use crate::common::metrics::Beat;
use crate::common::thread::{Joined, spawn};

/// What the thread listens to and talks to.
pub struct Lines {
    /// Changes of the membership.
    pub changes: Receiver<Change>,
    /// Our membership; it ends with this thread, so that another producer takes over at once.
    pub membership: Membership,
    /// How far the timer is. A place for one: whoever finds it full keeps its newest and tries again.
    pub keeps: Receiver<Keep>,
    /// To the timer, and whoever else wants to know who leads.
    pub told: Vec<Sender<Arc<Act>>>,
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
        lines: Lines,
        beat: Beat,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("lead", move || {
            let mut leadership = Leadership::new(options);
            run(&mut leadership, client.as_mut(), clock.as_ref(), &lines, &stopped, &beat);
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
    lines: &Lines,
    stopped: &Receiver<()>,
    beat: &Beat,
) {
    loop {
        beat.touch(clock.now());
        let now = Now { wall: clock.now(), mono: clock.monotonic() };
        let (acts, wait) = leadership.step(client, now);
        if acts.iter().any(|act| matches!(act, Act::ClockOff(_))) {
            lines.membership.stay_away(REST);
        }
        if !acts.into_iter().all(|act| tell(lines, act)) {
            return;
        }
        select! {
            recv(lines.changes) -> change => {
                let Ok(change) = change else { return };
                if leadership.changed(&change) && !tell(lines, Act::End) {
                    return;
                }
            }
            recv(lines.keeps) -> keep => match keep {
                Ok(keep) => leadership.keep(keep),
                Err(_) => return leadership.finish(client, Now { wall: clock.now(), mono: clock.monotonic() }),
            },
            recv(stopped) -> _ => return,
            recv(clock.alarm(wait)) -> _ => {}
        }
    }
}

/// `false` when nobody listens any more.
fn tell(lines: &Lines, act: Act) -> bool {
    let act = Arc::new(act);
    lines.told.iter().all(|to| to.send(Arc::clone(&act)).is_ok())
}
