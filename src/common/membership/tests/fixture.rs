//! A broker in memory, and members that are stepped by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::broker::memory::MemoryBroker;
use crate::common::broker::{Broker, Client};
use crate::common::clock::{Clock, SystemClock};
use crate::common::membership::{Change, Member, Options};
use crate::common::topics::TopicSpec;

/// A member that is stepped by hand.
pub(super) struct Joining {
    pub(super) member: Member,
    pub(super) client: Box<dyn Client>,
    /// The generation and the number of partitions of the newest share.
    pub(super) share: Option<(i32, usize)>,
    /// Whether the group had just been started then.
    pub(super) is_first: bool,
}

impl Joining {
    pub(super) fn new(broker: &MemoryBroker, name: &str) -> Self {
        Self::with(broker, name, None)
    }

    pub(super) fn with(broker: &MemoryBroker, name: &str, instance_id: Option<&str>) -> Self {
        Self::of(broker, name, Options { instance_id: instance_id.map(str::to_owned), ..options() })
    }

    pub(super) fn of(broker: &MemoryBroker, name: &str, options: Options) -> Self {
        let (member, client) = (Member::new(options), broker.client(name));
        Self { member, client, share: None, is_first: false }
    }

    pub(super) fn step(&mut self, now: Instant) {
        if let (Some(Change::Assigned { holder, partitions, is_first, .. }), _) =
            self.member.step(self.client.as_mut(), now)
        {
            self.share = Some((holder.generation, partitions.len()));
            self.is_first = is_first;
        }
    }
}

/// A member of the group `g` that reads the topic `t`.
pub(super) fn options() -> Options {
    Options {
        group: "g".to_owned(),
        topic: "t".to_owned(),
        instance_id: None,
        session_timeout: Duration::from_secs(600),
        counts_once_taken_up: false,
    }
}

/// A broker with the topic `t`, and the instant.
pub(super) fn world(partitions: i32) -> (MemoryBroker, Instant) {
    let broker = MemoryBroker::stepped(Arc::new(SystemClock));
    let now = SystemClock.monotonic();
    let spec = TopicSpec { name: "t".to_owned(), partitions, replication_factor: 1, settings: vec![] };
    broker.client("test").create_topic(&spec, now + Duration::from_secs(1)).unwrap();
    (broker, now)
}
