//! The thread `orders`: it steps the reader of `cron-orders`, and tells workers and claiming what it has read.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::desk::Desk;
use super::machine::OrderReader;
use super::messages::{Effect, News};
use crate::common::bounds::ORDERS_TOLD;
use crate::common::broker::Client;
use crate::common::clock::{Clock, Now};
use crate::common::http::{Duty, Trouble};
use crate::common::metrics::Beat;
use crate::common::model::ClusterName;
use crate::common::thread::{Joined, spawn};

/// What the thread needs, and where it shows how it is.
pub struct Context {
    /// A connection of its own.
    pub client: Box<dyn Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where workers say what they run.
    pub desk: Desk,
    /// That orders can be read.
    pub duty: Duty,
    /// When its loop last came round.
    pub beat: Beat,
}

/// The handle. Dropping it ends the thread, at the latest when the present fetch returns.
#[derive(Debug)]
pub struct Orders {
    _stop: Sender<()>,
    _thread: Joined,
}

impl Orders {
    /// Starts the thread. A claiming thread that takes its news too slowly delays it; one that has ended does not.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(cluster: ClusterName, context: Context) -> io::Result<(Self, Receiver<News>)> {
        let (stop, stopped) = bounded(0);
        let (tell, told) = bounded(ORDERS_TOLD);
        let reader = OrderReader::new(cluster);
        let thread = spawn("orders", move || run(reader, context, &tell, &stopped))?;
        Ok((Self { _stop: stop, _thread: thread }, told))
    }
}

fn run(mut reader: OrderReader, mut context: Context, tell: &Sender<News>, stopped: &Receiver<()>) {
    loop {
        context.beat.touch(context.clock.now());
        let now = Now { wall: context.clock.now(), mono: context.clock.monotonic() };
        let (effects, pause) = reader.step(context.client.as_mut(), now);
        let mut failed = None;
        for effect in effects {
            match effect {
                Effect::Tell(news) => {
                    // The workers first: they have something to end.
                    if let News::Ordered(runs) = &news {
                        context.desk.order(runs);
                    }
                    select! {
                        send(tell, news) -> sent => if sent.is_err() {
                            log::debug!("claiming has ended; only workers are told of orders");
                        },
                        recv(stopped) -> _ => return,
                    }
                }
                Effect::Failed(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => {
                log::debug!("reading cron-orders: {error}; trying again");
                context.duty.failed(Trouble::of("reading cron-orders", &error));
            }
            None => context.duty.done(),
        }
        select! {
            recv(stopped) -> _ => return,
            recv(context.clock.alarm(pause)) -> _ => {}
        }
    }
}
