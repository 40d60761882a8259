//! The thread `runs-tail`: it steps the run tracker, and tells the scheduler which runs are over.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::duties::{Duties, Standing};
use super::messages::{FollowRequest, RunNews};
use super::metrics::RunTrackerMetrics;
use super::{Effect, Options, RunTracker};
use crate::common::bounds::RUNS_TOLD;
use crate::common::broker::Client;
use crate::common::clock::{Clock, Now};
use crate::common::http::{Duty, Health, Trouble};
use crate::common::metrics::Beat;
use crate::common::model::ClusterName;
use crate::common::thread::{Joined, spawn};
use crate::producer::leadership::LeaderLease;

/// How often the thread measures how long runs wait.
const MEASURE_WAITS: Duration = Duration::from_secs(5);

/// What the thread needs, and where it shows how it is.
pub struct Context {
    /// A connection of its own.
    pub client: Box<dyn Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The leader lease. The thread asks it before each step, which may take two seconds: the answer that this producer
    /// leads no more must come that long before another producer may lead.
    pub lease: LeaderLease,
    /// What it counts.
    pub metrics: RunTrackerMetrics,
    /// Where it says what it cannot do.
    pub health: Health,
    /// When it last came round.
    pub beat: Beat,
}

/// The handle. Dropping it ends the thread.
#[derive(Debug)]
pub struct RunTrackerThread {
    _stop: Sender<()>,
    thread: Joined,
}

impl RunTrackerThread {
    /// Starts the thread. A receiver that takes the news too slowly delays the thread, and meanwhile the thread finds
    /// no attempt lost.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        options: Options,
        context: Context,
    ) -> io::Result<(Self, Sender<FollowRequest>, Receiver<RunNews>)> {
        let (stop, stopped) = bounded(0);
        let (tell, told) = bounded(RUNS_TOLD);
        // One of each; a sender that finds no place tries again.
        let (ask, asked) = bounded(3);
        let thread = spawn("runs-tail", move || {
            let now = context.clock.monotonic();
            let (clusters, tracker) = (options.clusters.clone(), RunTracker::new(options, now));
            let duties = Duties::ALL.map(|work| (work, context.health.duty(work.name())));
            let tailing =
                Tracking { tracker, clusters, context, duties, tell, asked, stopped, measure_waits_at: now };
            tailing.run();
        })?;
        Ok((Self { _stop: stop, thread }, ask, told))
    }

    /// Whether the thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Tracking {
    tracker: RunTracker,
    clusters: Vec<ClusterName>,
    context: Context,
    duties: [(Duties, Duty); 6],
    tell: Sender<RunNews>,
    asked: Receiver<FollowRequest>,
    stopped: Receiver<()>,
    measure_waits_at: Instant,
}

impl Tracking {
    fn run(mut self) {
        loop {
            self.context.beat.touch(self.context.clock.now());
            self.asked.try_iter().for_each(|ask| self.tracker.handle(ask));
            let now = Now { wall: self.context.clock.now(), mono: self.context.clock.monotonic() };
            let leads = self.context.lease.held(now.mono);
            let (effects, pause) = self.tracker.step(self.context.client.as_mut(), now, leads);
            let (mut news, mut failed) = (Vec::new(), Vec::new());
            for effect in effects {
                match effect {
                    Effect::Tell(told) => news.push(told),
                    Effect::Lost(cluster, then) => self.context.metrics.lost(&cluster, then),
                    Effect::Unclaimable(cluster) => self.context.metrics.unclaimable(&cluster),
                    Effect::Failed(work, error) => {
                        self.context.metrics.failed(error.word());
                        failed.push((work, Trouble::of(work.attempt(), &error)));
                    }
                    Effect::Note(note) => log::log!(note.level(), "{note}"),
                }
            }
            self.report(failed);
            if self.measure_waits_at <= now.mono {
                self.measure_waits_at = now.mono + MEASURE_WAITS;
                self.context.metrics.waits(&self.clusters, &self.tracker.longest_waits(now));
            }
            self.context.metrics.differing(self.tracker.differing());
            self.context.metrics.zones_differing(self.tracker.zones_differing());
            self.context.metrics.is_at(self.tracker.watched(), self.tracker.beat_delay(now.mono));
            if !news.into_iter().all(|told| self.tell(told)) {
                return;
            }
            select! {
                recv(self.stopped) -> _ => return,
                recv(self.context.clock.alarm(pause)) -> _ => {}
            }
        }
    }

    /// Reports what was done and what was not.
    fn report(&self, failed: Vec<(Duties, Trouble)>) {
        for (work, duty) in &self.duties {
            match self.tracker.standing(*work) {
                Standing::Done => duty.done(),
                Standing::Owed => duty.owed(),
                Standing::Hindered(why) => duty.failed(why.trouble()),
            }
        }
        for (failed, trouble) in failed {
            if let Some((_, duty)) = self.duties.iter().find(|(work, _)| *work == failed) {
                duty.failed(trouble);
            }
        }
    }

    /// Sends the news, and waits until the receiver takes it. Returns `false` when it is time to end.
    fn tell(&self, told: RunNews) -> bool {
        select! {
            recv(self.stopped) -> _ => false,
            send(self.tell, told) -> sent => {
                if sent.is_err() {
                    log::debug!("the scheduler has ended; news of runs are dropped");
                }
                true
            }
        }
    }
}
