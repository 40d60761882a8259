//! The thread `depth`: looks, while this producer leads, how many records lie in the dead-letter topics.
//!
//! A thread and a connection of its own, because a topic that does not answer must delay no tick and no decision.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use prometheus::IntGaugeVec;

use crate::common::broker::{BrokerError, Client, Deadline, Position, TopicPartition};
use crate::common::clock::Clock;
use crate::common::http::{Duty, Trouble};
use crate::common::metrics::{Beat, Metrics};
use crate::common::model::ClusterName;
use crate::common::thread::{Joined, spawn};
use crate::common::topics;
use crate::producer::leadership::LeaderLease;

/// How often the thread looks: as often as Prometheus commonly scrapes.
const LOOK: Duration = Duration::from_secs(15);

/// How often the thread asks who leads.
const ASK: Duration = Duration::from_secs(1);

/// How long one call may take.
const CALL: Duration = Duration::from_secs(2);

/// `cron_dead_letters_stored{cluster}`.
#[derive(Debug, Clone)]
pub struct DeadLetterMetrics(IntGaugeVec);

impl DeadLetterMetrics {
    /// Registers the metric.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "Records in the dead-letter topic: letters, and the marks of those that were replayed. Only at the leader.";
        Self(metrics.gauges("cron_dead_letters_stored", help, &["cluster"]))
    }
}

/// What the thread needs, and where it shows how it is.
pub struct Context {
    /// A connection of its own.
    pub client: Box<dyn Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether this producer leads. Only the leader tells, so that the sum over producers is right.
    pub lease: LeaderLease,
    /// What it shows.
    pub metrics: DeadLetterMetrics,
    /// This duty is owed while this producer leads: a number that stands still looks good, and hides that dead letters
    /// pile up.
    pub duty: Duty,
    /// When it last came round.
    pub beat: Beat,
}

/// The handle. Dropping it ends the thread.
#[derive(Debug)]
pub struct DeadLetterGauge {
    _stop: Sender<()>,
    _thread: Joined,
}

impl DeadLetterGauge {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(clusters: Vec<ClusterName>, context: Context) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let thread = spawn("depth", move || Gauging { clusters, context }.run(&stopped))?;
        Ok(Self { _stop: stop, _thread: thread })
    }
}

struct Gauging {
    clusters: Vec<ClusterName>,
    context: Context,
}

impl Gauging {
    fn run(&mut self, stopped: &Receiver<()>) {
        let mut next = None;
        loop {
            self.context.beat.touch(self.context.clock.now());
            let now = self.context.clock.monotonic();
            if self.context.lease.held(self.context.clock.monotonic()).is_none() {
                self.context.metrics.0.reset();
                self.context.duty.done();
                next = None;
            } else if next.is_none_or(|at| at <= now) {
                self.look();
                next = Some(now + LOOK);
            }
            select! {
                recv(stopped) -> _ => return,
                recv(self.context.clock.alarm(ASK)) -> _ => {}
            }
        }
    }

    /// A value that cannot be known at the moment stays as it was.
    fn look(&mut self) {
        let mut trouble = None;
        for cluster in &self.clusters {
            let by = self.context.clock.monotonic() + CALL;
            let topic = topics::dead(cluster);
            match stored(self.context.client.as_mut(), &topic, by) {
                Ok(stored) => self.context.metrics.0.with_label_values(&[cluster.as_str()]).set(stored),
                Err(error) => {
                    trouble = Some(Trouble::of(&format!("counting the letters of {topic}"), &error));
                }
            }
        }
        match trouble {
            Some(trouble) => self.context.duty.failed(trouble),
            None => self.context.duty.done(),
        }
    }
}

/// How many records lie in a topic; none in one that does not exist.
fn stored(client: &mut dyn Client, topic: &str, by: Deadline) -> Result<i64, BrokerError> {
    let Some(state) = client.topic(topic, by)? else { return Ok(0) };
    let mut stored = 0;
    for partition in state.partitions {
        let of = TopicPartition { topic: topic.to_owned(), partition: partition.partition };
        let end = client.offset(&of, Position::End, by)?;
        stored += (end - client.offset(&of, Position::Start, by)?).max(0);
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::common::broker::ErrorCode;
    use crate::common::broker::memory::{Call, Fate, MemoryBroker};
    use crate::common::broker::{Broker, ProduceBatch, Record};
    use crate::common::clock::ManualClock;
    use crate::common::http::Health;
    use crate::common::metrics::Beats;
    use crate::common::topics::TopicSpec;
    use crate::producer::leadership::Term;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A cluster `a` with a dead-letter topic, and the thread.
    struct Bench {
        clock: Arc<ManualClock>,
        broker: MemoryBroker,
        metrics: Metrics,
        lease: LeaderLease,
        depth: DeadLetterGauge,
    }

    fn bench() -> Bench {
        let clock = Arc::new(ManualClock::new("2026-11-23T17:00:00Z".parse().unwrap()));
        let broker = MemoryBroker::stepped(Arc::<ManualClock>::clone(&clock));
        let by = clock.monotonic() + PATIENCE;
        let spec =
            TopicSpec { name: "a-dead".to_owned(), partitions: 2, replication_factor: 1, settings: vec![] };
        broker.client("test").create_topic(&spec, by).unwrap();
        let metrics = Metrics::new();
        let lease = LeaderLease::of_a_proven_member();
        let context = Context {
            client: broker.client("depth"),
            clock: Arc::<ManualClock>::clone(&clock),
            lease: lease.clone(),
            metrics: DeadLetterMetrics::new(&metrics),
            duty: Health::new(&metrics).duty("dead letters"),
            beat: Beats::new(&metrics).thread("depth"),
        };
        let depth = DeadLetterGauge::start(vec!["a".parse().unwrap()], context).unwrap();
        Bench { clock, broker, metrics, lease, depth }
    }

    impl Bench {
        fn write(&self, partition: i32, count: usize) {
            let record = Record { key: None, value: Some(Bytes::from_static(b"x")), timestamp_ms: 0 };
            let to = TopicPartition { topic: "a-dead".to_owned(), partition };
            let batch = ProduceBatch { to, records: vec![record; count] };
            let by = self.clock.monotonic() + PATIENCE;
            self.broker.client("test").produce(&[batch], by).remove(0).unwrap();
        }

        fn shown(&self) -> Option<String> {
            let page = String::from_utf8(self.metrics.page().unwrap()).unwrap();
            page.lines().find_map(|line| {
                Some(line.strip_prefix("cron_dead_letters_stored{cluster=\"a\"} ")?.to_owned())
            })
        }

        /// Turns the clock by so many looks at who leads; the last of them is over.
        #[track_caller]
        fn check(&self, looks: u64, expected: Option<&str>) {
            for _ in 0..=looks {
                assert!(self.clock.ring_next(PATIENCE), "the thread does not look any more");
            }
            assert_eq!(self.shown().as_deref(), expected);
        }
    }

    #[test]
    fn the_leader_and_nobody_else_shows_how_many_letters_lie_there() {
        let bench = bench();
        bench.write(0, 2);
        bench.write(1, 3);
        bench.check(2, None);
        bench.lease.grant(Term::FIRST, 0);
        bench.check(1, Some("5"));
        bench.write(0, 1);
        bench.check(LOOK.as_secs(), Some("6"));
        bench.lease.revoke();
        bench.check(1, None);
        drop(bench.depth);
    }

    #[test]
    fn what_cannot_be_counted_for_long_is_asked_with_rests() {
        for call in [Call::Topic, Call::Offset] {
            let bench = bench();
            bench.broker.faults().refuse(call, "a-dead", ErrorCode::TopicAuthorizationFailed);
            bench.lease.grant(Term::FIRST, 0);
            let before = bench.broker.faults().made(call);
            bench.check(60, None);
            let made = bench.broker.faults().made(call) - before;
            assert!((1..=5).contains(&made), "{call:?}: {made} calls in a minute");
        }
    }

    #[test]
    fn a_topic_that_does_not_answer_leaves_what_was_known() {
        let bench = bench();
        bench.write(0, 2);
        bench.lease.grant(Term::FIRST, 0);
        bench.check(1, Some("2"));
        bench.write(0, 1);
        bench.broker.faults().next(Call::Topic, Fate::NotSent);
        bench.check(LOOK.as_secs(), Some("2"));
        bench.check(LOOK.as_secs(), Some("3"));
    }
}
