//! The thread `top-opener`: reads what the topics hold about a run, as `cronctl run` does, while the view goes on.

use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::messages::Event;
use crate::common::bounds::{TOP_EVENTS, TOP_QUESTIONS};
use crate::common::broker::Client;
use crate::common::clock::Clock;
use crate::common::model::{ClusterName, RunId};
use crate::common::thread::{Joined, spawn};
use crate::cronctl::runs::one;
use crate::cronctl::runs::search::Reach;

/// The thread, and the channels to and from it.
#[derive(Debug)]
pub struct Opener {
    /// Which run it is to read about, and since when.
    pub runs: Sender<(RunId, Option<DateTime<Utc>>)>,
    /// What it has found.
    pub events: Receiver<Event>,
    /// The thread itself.
    _thread: Joined,
}

impl Opener {
    /// Starts the thread. It ends when the view is gone.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(
        mut client: Box<dyn Client>,
        clock: Arc<dyn Clock>,
        clusters: Vec<ClusterName>,
    ) -> io::Result<Self> {
        let (runs, asked) = bounded::<(RunId, Option<DateTime<Utc>>)>(TOP_QUESTIONS);
        let (tell, events) = bounded(TOP_EVENTS);
        let thread = spawn("top-opener", move || {
            for (run, since) in asked {
                let reach = since.map_or_else(|| Reach::All(clock.now()), Reach::Since);
                let found = one::gather(run, &clusters, reach, client.as_mut());
                let lines = found.map(one::Dossier::text).map_err(|error| error.to_string());
                if tell.send(Event::Detail(run, lines)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { runs, events, _thread: thread })
    }
}
