//! The thread `topics`: looks after the topics of all clusters, leading or not, on a connection of its own.

use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use prometheus::IntGaugeVec;

use super::machine::Upkeep;
use super::messages::{Failure, Looked, Told};
use crate::common::broker::{BrokerError, Client, ErrorCode};
use crate::common::clock::Clock;
use crate::common::http::{Duty, Fact, Health, Trouble};
use crate::common::metrics::{Beat, Metrics};
use crate::common::thread::{Joined, spawn};

/// The fact and the duty of this thread.
const TOPICS: &str = "topics";

/// `cron_topic_settings_differ{topic,setting}`.
#[derive(Debug, Clone)]
pub struct TopicMetrics(IntGaugeVec);

impl TopicMetrics {
    /// Registers the metric.
    pub fn new(metrics: &Metrics) -> Self {
        let help = "1 where a setting of a topic may break a promise; absent where none does.";
        Self(metrics.gauges("cron_topic_settings_differ", help, &["topic", "setting"]))
    }
}

/// A writer to topics holds this, to say that a topic is missing.
#[derive(Debug, Clone)]
pub struct Missing(Sender<()>);

impl Missing {
    /// Creates one, and the receiver to which the thread listens.
    pub(in crate::producer) fn new() -> (Self, Receiver<()>) {
        let (call, called) = bounded(1);
        (Self(call), called)
    }

    /// Has the topics looked after at once if this error says that one is missing.
    pub fn hear(&self, error: &BrokerError) {
        if error.code() == Some(ErrorCode::UnknownTopicOrPartition) {
            // Full: it is about to look anyway. Gone: the program ends.
            let _ = self.0.try_send(());
        }
    }
}

/// What the thread needs, and where it shows how it is.
pub struct Context {
    /// A connection of its own.
    pub client: Box<dyn Client>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Told whether the topics are there and can be used.
    pub health: Health,
    /// What it shows.
    pub metrics: TopicMetrics,
    /// When it last came round.
    pub beat: Beat,
}

/// The handle. Dropping it ends the thread.
#[derive(Debug)]
pub struct Topics {
    _stop: Sender<()>,
    _thread: Joined,
}

impl Topics {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it has no room for a thread.
    pub fn start(upkeep: Upkeep, context: Context) -> io::Result<(Self, Missing)> {
        let (stop, stopped) = bounded(0);
        let (missing, called) = Missing::new();
        context.health.set(TOPICS, Fact::NotReady("they have not been looked at yet".to_owned()));
        let duty = context.health.duty(TOPICS);
        duty.owed();
        let mut looking = Looking { upkeep, context, duty, has_seen_all: false, is_away: false };
        let thread = spawn("topics", move || looking.run(&stopped, called))?;
        Ok((Self { _stop: stop, _thread: thread }, missing))
    }
}

struct Looking {
    upkeep: Upkeep,
    context: Context,
    duty: Duty,
    /// Whether all topics have existed at one time.
    has_seen_all: bool,
    /// A call failed in the last look; an outage is one thing to be told, not a thousand.
    is_away: bool,
}

impl Looking {
    fn run(&mut self, stopped: &Receiver<()>, mut called: Receiver<()>) {
        loop {
            self.context.beat.touch(self.context.clock.now());
            let now = self.context.clock.monotonic();
            if self.upkeep.wait(now).is_zero() {
                let looked = self.upkeep.look(self.context.client.as_mut(), now);
                self.tell(looked);
            }
            let wait = self.upkeep.wait(self.context.clock.monotonic());
            select! {
                recv(stopped) -> _ => return,
                recv(called) -> call => match call {
                    Ok(()) => self.upkeep.called(self.context.clock.monotonic()),
                    // Every writer has ended: the program ends.
                    Err(_) => called = crossbeam_channel::never(),
                },
                recv(self.context.clock.alarm(wait)) -> _ => {}
            }
        }
    }

    fn tell(&mut self, looked: Looked) {
        say_created(&looked.told);
        for told in looked.told {
            self.say(told);
        }
        let health = &self.context.health;
        let is_away = matches!(looked.failure, Some(Failure::Call(..)));
        match looked.failure {
            Some(Failure::Call(what, error)) => {
                if !self.is_away {
                    log::warn!("{what}: {error}; trying again");
                }
                if !self.has_seen_all {
                    health.set(TOPICS, Fact::NotReady(format!("{what}: {error}")));
                }
                self.duty.failed(Trouble::of(&what, &error));
            }
            Some(Failure::Setting(topic, difference)) => {
                let cause = format!("topic {topic} has {}", difference.breaks);
                self.duty.failed(Trouble::new("settings", cause, difference.cure));
            }
            None => self.duty.done(),
        }
        if !is_away && !std::mem::replace(&mut self.has_seen_all, true) {
            health.set(TOPICS, Fact::Ready);
        }
        self.is_away = is_away;
    }

    fn say(&self, told: Told) {
        let shown = |topic: &str, setting: &str| {
            let labels = [topic, setting];
            self.context.metrics.0.with_label_values(&labels)
        };
        match told {
            // All of them in one line.
            Told::Created { .. } => {}
            Told::Anew { topic } => {
                log::warn!("topic {topic} was deleted and is made anew; what was in it is gone");
            }
            Told::Differs { topic, difference } => {
                log::warn!("topic {topic} has {} ({})", difference.breaks, difference.cure);
                shown(&topic, difference.setting).set(1);
            }
            Told::Mended { topic, setting } => {
                log::info!("topic {topic} has the {setting} that it should have");
                self.context.metrics.0.remove_label_values(&[topic.as_str(), setting]).ok();
            }
            Told::Incomparable { topic, error } => log::warn!(
                "topic {topic}: its settings cannot be compared with what they should be: {error} (the right \
                 DescribeConfigs on the topic is missing: docs/OPERATIONS.md)"
            ),
        }
    }
}

/// Reports what a look has created in one line, because at a first start that is everything.
fn say_created(told: &[Told]) {
    let created = told.iter().filter_map(|told| match told {
        Told::Created { topic, copies } => Some((topic.as_str(), *copies)),
        _ => None,
    });
    let (topics, copies): (Vec<&str>, Vec<i16>) = created.unzip();
    let Some(copies) = copies.into_iter().min() else { return };
    log::info!("created {} with {copies} copies of each partition", topics.join(", "));
    if copies < 3 {
        log::warn!(
            "with {copies} copies of each partition, the loss of a broker's disk loses runs and results; three brokers \
             or more and --replication-factor 3 keep them"
        );
    }
}
