//! Reads what the topics of a cluster hold, and what its groups have committed.

use std::collections::BTreeMap;

use chrono::DateTime;

use super::known::Known;
use super::plan::{self, Found, Message, Plan, Text};
use super::{Refusal, soon};
use crate::common::broker::{
    BrokerError, Client, Committed, FetchedRecord, Position, TopicPartition, TopicState,
};
use crate::common::model::ClusterName;
use crate::common::scan::{Scan, scan};
use crate::common::{passing, topics, wire};

/// A cluster as it was found.
#[derive(Debug)]
pub(super) struct Reading {
    pub known: Known,
    /// The partitions of its topic, and of its retry topic.
    pub first: Vec<Partition>,
    pub retry: Vec<Partition>,
}

/// A partition, what its group has committed, and what it is to commit.
#[derive(Debug)]
pub(super) struct Partition {
    pub of: TopicPartition,
    pub committed: Option<i64>,
    pub plan: Option<Plan>,
}

/// The messages of each partition that are kept.
type Messages = BTreeMap<i32, Vec<Message>>;

/// A topic and what its group has committed.
struct Topic {
    name: String,
    state: TopicState,
    committed: Vec<Option<Committed>>,
}

/// Reads all of these clusters.
pub(super) fn read(clusters: &[ClusterName], client: &mut dyn Client) -> Result<Vec<Reading>, Refusal> {
    let topics = look_up(clusters, client)?;
    let mut all: Vec<Known> = clusters.iter().cloned().map(Known::new).collect();
    scan(client, topics::RUNS, |partition, record| {
        if let Some(Ok(event)) = record.value.as_deref().map(wire::decode_event) {
            all.iter_mut().for_each(|known| known.event(partition, &event));
        }
    })?;
    let mut readings = Vec::new();
    let mut problems = Vec::new();
    for ([first, retry], mut known) in topics.into_iter().zip(all) {
        for topic in [&first, &retry] {
            problems.extend(cut(topic, &known));
            problems.extend(topic.beyond(client)?);
        }
        let (retries, open) = retry.messages(known.cluster(), client, |_, _| true)?;
        problems.extend(open);
        let attempts = retries.values().flatten().filter_map(|message| message.attempt);
        attempts.for_each(|attempt| known.in_retry_topic(attempt));
        let texts = first.texts();
        let (firsts, open) = first.messages(known.cluster(), client, |partition, message| {
            matters(message, texts.get(&partition), &known)
        })?;
        problems.extend(open);
        let first = first.planned(firsts, &known);
        readings.push(Reading { first, retry: retry.planned(retries, &known), known });
    }
    if problems.is_empty() { Ok(readings) } else { Err(Refusal::Found(problems)) }
}

/// Looks up the two topics of each cluster. All topics that are missing are told together.
fn look_up(clusters: &[ClusterName], client: &mut dyn Client) -> Result<Vec<[Topic; 2]>, Refusal> {
    let mut missing = Vec::new();
    let mut found = Vec::new();
    if client.topic(topics::RUNS, soon())?.is_none() {
        missing.push(topics::RUNS.to_owned());
    }
    for cluster in clusters {
        let mut look_up = |name: String| -> Result<Option<Topic>, BrokerError> {
            let topic = Topic::look_up(&name, client)?;
            if topic.is_none() {
                missing.push(name);
            }
            Ok(topic)
        };
        let pair = (look_up(topics::first(cluster))?, look_up(topics::retry(cluster))?);
        if let (Some(first), Some(retry)) = pair {
            found.push([first, retry]);
        }
    }
    let problem = |name: String| format!("there is no topic {name}: was it copied, and is --clusters right?");
    if missing.is_empty() {
        Ok(found)
    } else {
        Err(Refusal::Found(missing.into_iter().map(problem).collect()))
    }
}

/// What is wrong where events name more partitions of the topic elsewhere than it has here.
fn cut(topic: &Topic, known: &Known) -> Option<String> {
    let (here, there) =
        (topic.state.partitions.len(), known.partitions_elsewhere(&topic.name, topic.state.id));
    (there > here).then(|| {
        format!(
            "the topic {} has {here} partitions, and where it was copied from it had at least {there}: it is not a whole copy",
            topic.name
        )
    })
}

impl Topic {
    fn look_up(name: &str, client: &mut dyn Client) -> Result<Option<Self>, BrokerError> {
        let Some(state) = client.topic(name, soon())? else { return Ok(None) };
        let of = |partition| TopicPartition { topic: name.to_owned(), partition };
        let of: Vec<TopicPartition> = state.partitions.iter().map(|state| of(state.partition)).collect();
        let committed = client.committed(name, &of, soon())?;
        Ok(Some(Self { name: name.to_owned(), state, committed }))
    }

    /// What is wrong where an offset lies beyond the end: what is written up to it would never be read.
    fn beyond(&self, client: &mut dyn Client) -> Result<Vec<String>, BrokerError> {
        let mut problems = Vec::new();
        for (state, committed) in self.state.partitions.iter().zip(&self.committed) {
            let (topic, partition) = (&self.name, state.partition);
            let Some(Committed { offset, .. }) = committed else { continue };
            let of = TopicPartition { topic: topic.clone(), partition };
            let end = client.offset(&of, Position::End, soon())?;
            if *offset > end {
                problems.push(format!(
                    "{topic}/{partition}: the committed offset {offset} lies beyond the end of the partition's log, {end}, and \
                     messages before it would never run: let the copy of the topic catch up; if no more is copied, delete the \
                     offset (kafka-consumer-groups.sh --delete-offsets --group {topic} --topic {topic}:{partition}), so that \
                     {} alone tells what has begun; then call this again",
                    topics::RUNS
                ));
            }
        }
        Ok(problems)
    }

    /// What each partition's group has committed, and the text beside it.
    fn texts(&self) -> BTreeMap<i32, (i64, Text)> {
        let text = |committed: &Committed| (committed.offset, plan::text(committed, self.state.id));
        let partitions = self.state.partitions.iter().zip(&self.committed);
        partitions.filter_map(|(of, committed)| Some((of.partition, text(committed.as_ref()?)))).collect()
    }

    /// Reads the messages of each partition that are to be kept, as consumers read them. Says what is wrong where what lies
    /// in a partition cannot be read yet.
    fn messages(
        &self,
        cluster: &ClusterName,
        client: &mut dyn Client,
        is_kept: impl Fn(i32, &Message) -> bool,
    ) -> Result<(Messages, Vec<String>), BrokerError> {
        let mut messages = Messages::new();
        let mut scan = Scan::of_committed(&self.name);
        let ends = scan.ends(client)?;
        scan.read(client, |partition, record| {
            let message = message(&record, cluster);
            if is_kept(partition, &message) {
                messages.entry(partition).or_default().push(message);
            }
        })?;
        let open = scan.short_of(&ends).into_iter().map(|(partition, offset)| {
            let topic = &self.name;
            format!(
                "{topic}/{partition}: a transaction is open at offset {offset}, and nothing behind it can be read: let the copy \
                 of the topic catch up, or, if no more is copied, end it (kafka-transactions.sh abort --topic {topic} \
                 --partition {partition} --start-offset {offset}); then call this again"
            )
        });
        Ok((messages, open.collect()))
    }

    fn planned(self, mut messages: Messages, known: &Known) -> Vec<Partition> {
        let Self { name: topic, state, committed } = self;
        let partitions = state.partitions.iter().zip(committed);
        let planned = partitions.map(|(state_of, committed)| {
            let partition = state_of.partition;
            let of = TopicPartition { topic: topic.clone(), partition };
            let offset = committed.as_ref().map(|committed| committed.offset);
            let messages = messages.remove(&partition).unwrap_or_default();
            let found = Found { topic_id: state.id, committed, messages };
            Partition { of, committed: offset, plan: plan::plan(&found, known) }
        });
        planned.collect()
    }
}

/// Whether the plan for a partition needs a message: a cluster's topic may hold millions that have begun, before an offset whose
/// text names no holes.
fn matters(message: &Message, text: Option<&(i64, Text)>, known: &Known) -> bool {
    let has_begun = |attempt| known.has_begun(attempt);
    match text {
        Some((_, Text::OfThisTopic)) => false,
        Some((offset, Text::Copied(0))) => {
            message.offset >= *offset || !message.attempt.is_some_and(has_begun)
        }
        _ => true,
    }
}

fn message(record: &FetchedRecord, cluster: &ClusterName) -> Message {
    let attempt = record.value.as_deref().and_then(|value| wire::decode_attempt(value).ok());
    let attempt = attempt.filter(|attempt| attempt.run.cluster == *cluster);
    let due = attempt
        .as_ref()
        .map(|attempt| passing::may_start(attempt, record.timestamp_ms).unwrap_or(attempt.run.scheduled_at));
    Message {
        offset: record.offset,
        attempt: attempt.map(|attempt| attempt.name()),
        due: due.unwrap_or(DateTime::UNIX_EPOCH),
    }
}
