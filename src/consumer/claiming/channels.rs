//! What the claiming thread listens to and talks to, and where it shows its state.

use crossbeam_channel::{Receiver, Sender};

use super::machine::Claimed;
use crate::common::http::Health;
use crate::common::membership::{Change, Membership};
use crate::common::metrics::Beat;
use crate::consumer::fetching::fetcher::Chunk;
use crate::consumer::fetching::poll::Poll;
use crate::consumer::metrics::ConsumerMetrics;
use crate::consumer::orders::messages::News;
use crate::consumer::pressure::Limits;
use crate::consumer::reporting::thread as reporter;

/// What the claiming thread listens to and talks to.
pub struct Channels {
    /// Changes of the membership.
    pub changes: Receiver<Change>,
    /// What was read.
    pub chunks: Receiver<Chunk>,
    /// One message for each worker that has become free.
    pub idle: Receiver<()>,
    /// Which runs are to end.
    pub orders: Receiver<News>,
    /// To the workers: as many places as workers, and never more under way than are free, so it never blocks.
    pub jobs: Sender<Box<Claimed>>,
    /// To the reporting thread. Full while something cannot be written.
    pub report: reporter::Channels,
    /// The thread `poll` and its fetchers.
    pub poll: Poll,
    /// Our membership. It ends with this thread, so that a job that is waited for keeps no partition from others.
    pub membership: Membership,
}

/// What the claiming thread looks at beside its channels, and where it shows its state.
pub struct Observe {
    /// The metrics that it counts.
    pub metrics: ConsumerMetrics,
    /// Whether it is a member of its group.
    pub health: Health,
    /// When its loop last came round.
    pub beat: Beat,
    /// From which pressure on the host nothing new is taken.
    pub pressure: Option<Limits>,
}

/// The fact of `/readyz`: the group has been joined.
pub const MEMBER: &str = "group";
