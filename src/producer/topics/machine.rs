//! Which topics are there, and what of them was told: a state machine that is asked to look every few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Options;
use super::differences;
use super::differences::Difference;
use super::messages::{Failure, Looked, Told};
use crate::common::broker::{BrokerError, Client, ErrorCode, TopicState};
use crate::common::model::ClusterName;
use crate::common::rests::Rests;
use crate::common::topics;
use crate::common::topics::TopicSpec;

/// How often the machine looks for the topics.
const LOOK: Duration = Duration::from_secs(5);

/// How often it compares their settings: operators change them at any time.
const COMPARE: Duration = Duration::from_secs(60);

/// The waits after a look that failed double from here up to [`LOOK`].
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// A topic that was just created is looked at soon, so that its id is known before an operator deletes it.
const AFTER_CREATION: Duration = Duration::from_millis(500);

/// A call for an earlier look is heeded at most so often.
const AT_MOST: Duration = Duration::from_secs(1);

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);

/// A topic that was seen or created.
#[derive(Debug, Default)]
struct Known {
    /// Not known yet of one that was just created.
    id: Option<Uuid>,
    differs: BTreeMap<&'static str, Difference>,
}

/// Looks after the topics of a set of clusters.
#[derive(Debug)]
pub struct Upkeep {
    clusters: Vec<ClusterName>,
    options: Options,
    known: BTreeMap<String, Known>,
    incomparable: BTreeSet<String>,
    looked: Option<Instant>,
    next: Option<Instant>,
    compare_at: Option<Instant>,
    rests: Rests,
}

impl Upkeep {
    /// Creates one that has seen nothing yet.
    pub fn new(clusters: Vec<ClusterName>, options: Options) -> Self {
        Self {
            clusters,
            options,
            known: BTreeMap::new(),
            incomparable: BTreeSet::new(),
            looked: None,
            next: None,
            compare_at: None,
            rests: Rests::new(AFTER_FAILURE, LOOK),
        }
    }

    /// How long until the next look.
    pub fn wait(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// A writer has found a topic missing: the next look is due at once, unless there was one just now, or looks fail.
    pub fn called(&mut self, now: Instant) {
        if self.rests.failures() == 0 {
            let soon = self.looked.map_or(now, |looked| (looked + AT_MOST).max(now));
            self.next = self.next.map(|next| next.min(soon));
        }
    }

    /// Looks for all topics, creates those that are missing, and compares from time to time.
    pub fn look(&mut self, client: &mut dyn Client, now: Instant) -> Looked {
        let mut looked = Looked::default();
        let compares = self.compare_at.is_none_or(|at| at <= now);
        if compares {
            self.compare_at = Some(now + COMPARE);
        }
        let done = self.look_at_all(client, now, compares, &mut looked);
        let failed = done.err().map(|(what, error)| Failure::Call(what, error));
        if compares && failed.is_some() {
            self.compare_at = None;
        }
        looked.failure = failed.or(looked.failure).or_else(|| self.fatal());
        self.looked = Some(now);
        if matches!(looked.failure, Some(Failure::Setting(..))) {
            // This makes the producer not ready; it must be ready again as soon as the difference is mended.
            self.compare_at = None;
        }
        let is_call = matches!(looked.failure, Some(Failure::Call(..)));
        if !is_call {
            self.rests.succeeded();
        }
        let is_any_new = self.known.values().any(|known| known.id.is_none());
        let wait = match (is_call, is_any_new) {
            (true, _) => self.rests.failed(now),
            (false, true) => AFTER_CREATION,
            (false, false) => LOOK,
        };
        self.next = Some(now + wait.min(LOOK));
        looked
    }

    /// A refusal about one topic delays no other. Where no broker answers, the look ends: the next broker may answer.
    fn look_at_all(
        &mut self,
        client: &mut dyn Client,
        now: Instant,
        compares: bool,
        looked: &mut Looked,
    ) -> Result<(), (String, BrokerError)> {
        // How many copies there should be matters only to what is created or compared.
        let mut copies = if compares { Some(self.copies(client, now)?) } else { None };
        for spec in topics::all(&self.clusters, self.options.partitions, copies.unwrap_or(1)) {
            let of = |error| (format!("looking for topic {}", spec.name), error);
            let found = match client.topic(&spec.name, now + CALL) {
                Ok(found) => found,
                Err(error) => {
                    refused(looked, of(error))?;
                    continue;
                }
            };
            if let Some(state) = found {
                self.seen(&spec.name, state.id, looked);
                if compares {
                    self.compare(client, now, &spec, &state, looked)?;
                }
            } else {
                let wanted = match copies {
                    Some(copies) => copies,
                    None => self.copies(client, now)?,
                };
                copies = Some(wanted);
                self.create(client, now, &spec.name, wanted, looked)?;
            }
        }
        Ok(())
    }

    fn copies(&self, client: &mut dyn Client, now: Instant) -> Result<i16, (String, BrokerError)> {
        if let Some(copies) = self.options.replication_factor {
            return Ok(copies);
        }
        let of = |error| ("counting the brokers".to_owned(), error);
        let brokers = client.broker_count(now + CALL).map_err(of)?;
        Ok(i16::try_from(brokers).unwrap_or(3).clamp(1, 3))
    }

    fn seen(&mut self, topic: &str, id: Uuid, looked: &mut Looked) {
        let known = self.known.entry(topic.to_owned()).or_default();
        if known.id.replace(id).is_some_and(|before| before != id) {
            looked.told.push(Told::Anew { topic: topic.to_owned() });
            self.compare_at = None;
        }
    }

    fn create(
        &mut self,
        client: &mut dyn Client,
        now: Instant,
        topic: &str,
        copies: i16,
        looked: &mut Looked,
    ) -> Result<(), (String, BrokerError)> {
        let specs = topics::all(&self.clusters, self.options.partitions, copies);
        let Some(spec) = specs.iter().find(|spec| spec.name == topic) else { return Ok(()) };
        match client.create_topic(spec, now + CALL) {
            Ok(()) => {
                let topic = topic.to_owned();
                // Its id is learned with the next look, and its settings are compared then.
                let before = self.known.insert(topic.clone(), Known::default());
                self.compare_at = None;
                for setting in before.iter().flat_map(|before| before.differs.keys()) {
                    looked.told.push(Told::Mended { topic: topic.clone(), setting });
                }
                let anew = before.map(|_| Told::Anew { topic: topic.clone() });
                looked.told.push(anew.unwrap_or(Told::Created { topic, copies }));
                Ok(())
            }
            // Another producer creates it at this moment, with the same settings; the next look learns its id.
            Err(BrokerError::Refused(ErrorCode::TopicAlreadyExists)) => {
                self.known.entry(topic.to_owned()).or_default();
                Ok(())
            }
            Err(error) => refused(looked, (format!("creating topic {topic}"), error)),
        }
    }

    fn compare(
        &mut self,
        client: &mut dyn Client,
        now: Instant,
        spec: &TopicSpec,
        state: &TopicState,
        looked: &mut Looked,
    ) -> Result<(), (String, BrokerError)> {
        let topic = &spec.name;
        let settings = match client.topic_settings(topic, &differences::names(spec), now + CALL) {
            Ok(settings) => settings,
            // It is being deleted.
            Err(BrokerError::Refused(ErrorCode::UnknownTopicOrPartition)) => return Ok(()),
            Err(error @ BrokerError::Refused(_)) => {
                if self.incomparable.insert(topic.clone()) {
                    looked.told.push(Told::Incomparable { topic: topic.clone(), error });
                }
                Vec::new()
            }
            Err(error) => return Err((format!("reading the settings of topic {topic}"), error)),
        };
        let known = self.known.entry(topic.clone()).or_default();
        let mut before = std::mem::take(&mut known.differs);
        for difference in differences::compare(spec, state, &settings) {
            if before.remove(difference.setting).as_ref() != Some(&difference) {
                looked.told.push(Told::Differs { topic: topic.clone(), difference: difference.clone() });
            }
            known.differs.insert(difference.setting, difference);
        }
        let mended = before.into_keys().map(|setting| Told::Mended { topic: topic.clone(), setting });
        looked.told.extend(mended);
        Ok(())
    }

    /// The first difference with which a topic cannot be used.
    fn fatal(&self) -> Option<Failure> {
        let all =
            self.known.iter().flat_map(|(topic, known)| known.differs.values().map(move |d| (topic, d)));
        let (topic, difference) = { all }.find(|(_, difference)| difference.is_fatal)?;
        Some(Failure::Setting(topic.clone(), difference.clone()))
    }
}

/// Notes a refusal and goes on; anything else ends the look.
fn refused(looked: &mut Looked, (what, error): (String, BrokerError)) -> Result<(), (String, BrokerError)> {
    if !matches!(error, BrokerError::Refused(_)) {
        return Err((what, error));
    }
    looked.failure.get_or_insert(Failure::Call(what, error));
    Ok(())
}
