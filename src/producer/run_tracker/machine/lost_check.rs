//! The lost-attempt check: which leases have run out, what the committed offsets say, and what the tracker may conclude
//! once it has read `cron-runs` to an end that it looked up after them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Effect, RunTracker};
use crate::common::broker::{
    BrokerError, Client, Committed, Deadline, NodeId, Position, TopicPartition, TopicState,
};
use crate::common::clock::Now;
use crate::common::model::{AttemptRef, Place};
use crate::common::topics;
use crate::producer::run_tracker::history::Search;
use crate::producer::run_tracker::verdict::{Present, Verdict, verdict};

/// How many attempts one check decides together: it reads their messages one by one, in one step.
const AT_A_TIME: usize = 64;
/// How often leases are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a check may take before it starts again: the log may have been cut below its targets.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far a check has come.
#[derive(Debug, Default)]
pub(super) enum LostCheck {
    /// No lease has run out, as far as was looked.
    #[default]
    Idle,
    /// No consumer will claim these again, and they are lost if nothing newer is read below `targets`.
    Reading { suspects: Vec<Suspect>, targets: BTreeMap<i32, i64>, until: Instant },
}

/// An attempt of which nothing was heard for a lease, and whose message no consumer will claim again: the committed offset
/// has passed it, or it is gone.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) name: AttemptRef,
    pub(super) place: Place,
    /// Who leads its partition.
    pub(super) leader: Option<NodeId>,
    /// Its message has been deleted, or its topic.
    pub(super) is_deleted: bool,
}

/// What was found of a partition of attempts.
struct Found {
    leader: Option<NodeId>,
    start: i64,
    committed: Option<Committed>,
}

impl RunTracker {
    /// Makes the next move of a check. Returns whether there was one to make.
    pub(super) fn decide(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, BrokerError> {
        match std::mem::take(&mut self.round) {
            LostCheck::Idle if now.mono < self.next_round => Ok(false),
            LostCheck::Idle => {
                self.next_round = now.mono + LOOK;
                self.undone.attempts = self.leases.were_asked_in_vain();
                self.begin_round(client, now, by)
            }
            LostCheck::Reading { suspects, targets, .. } if self.ends.has_read(&targets) => {
                self.pass_on(client, suspects, now, by, effects);
                self.next_round = now.mono;
                Ok(true)
            }
            LostCheck::Reading { until, .. } if until <= now.mono => Ok(false),
            reading => {
                self.round = reading;
                Ok(false)
            }
        }
    }

    fn begin_round(&mut self, client: &mut dyn Client, now: Now, by: Deadline) -> Result<bool, BrokerError> {
        let Some((from, seen)) = self.ends.seen() else { return Ok(false) };
        let over = self.leases.over(from, seen, now.mono);
        let is_sure = |name: &AttemptRef| self.leases.get(name).is_some_and(|lease| lease.is_sure);
        let (sure, unsure): (Vec<AttemptRef>, Vec<AttemptRef>) = over.into_iter().partition(is_sure);
        if self.search.is_none() && !unsure.is_empty() {
            self.search = Some(Search::new(unsure));
        }
        // One topic at a time, for it has one group.
        let mut chosen: Vec<(AttemptRef, Place)> = Vec::new();
        for name in sure {
            let Some(lease) = self.leases.get(&name) else { continue };
            if chosen.len() < AT_A_TIME && chosen.first().is_none_or(|(_, p)| p.topic == lease.place.topic) {
                chosen.push((name, lease.place.clone()));
            }
        }
        if chosen.is_empty() {
            return Ok(false);
        }
        let asked = self.ask(client, &chosen, now, by);
        if asked.is_err() {
            chosen.iter().for_each(|(name, _)| self.leases.ask_again(name, now.mono));
        }
        asked.map(|()| true)
    }

    /// Asks for the committed offsets, and only then for the ends of `cron-runs`.
    fn ask(
        &mut self,
        client: &mut dyn Client,
        chosen: &[(AttemptRef, Place)],
        now: Now,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        let topic = chosen.first().map(|(_, place)| place.topic.as_str()).unwrap_or_default();
        let partitions: BTreeSet<i32> = chosen.iter().map(|(_, place)| place.partition).collect();
        let Some((topic_id, found)) = find(client, topic, &partitions, by)? else {
            log::debug!("topic {topic} does not exist; attempts of it are looked at again later");
            chosen.iter().for_each(|(name, _)| self.leases.put_off(name, now.mono));
            return Ok(());
        };
        let mut suspects = Vec::new();
        for (name, place) in chosen {
            // A partition that cannot be asked delays no other.
            let Some(found) = found.get(&place.partition) else {
                self.leases.ask_again(name, now.mono);
                continue;
            };
            let present = Present { topic_id, start: found.start, committed: found.committed.as_ref() };
            let verdict = verdict(place, present);
            if verdict == Verdict::Open {
                self.leases.put_off(name, now.mono);
                continue;
            }
            // Where the message is gone no consumer can find it, and it cannot be known whether the claim had counted.
            suspects.push(Suspect {
                name: *name,
                place: place.clone(),
                leader: found.leader,
                is_deleted: verdict == Verdict::Gone || found.start > place.offset,
            });
        }
        if suspects.is_empty() {
            return Ok(());
        }
        self.look_up(client, now, by)?;
        let mut targets = BTreeMap::new();
        for partition in self.ends.partitions().keys() {
            let of = TopicPartition { topic: topics::RUNS.to_owned(), partition: *partition };
            targets.insert(*partition, client.offset(&of, Position::End, by)?);
        }
        self.round = LostCheck::Reading { suspects, targets, until: now.mono + PATIENCE };
        Ok(())
    }

    /// Looks on for the ends of attempts of which only signs of life are known.
    pub(super) fn look_back(
        &mut self,
        client: &mut dyn Client,
        now: Now,
        by: Deadline,
    ) -> Result<(), BrokerError> {
        let Some(mut search) = self.search.take() else { return Ok(()) };
        match search.go_on(client, &self.ends, &self.options.clusters, by) {
            Ok(true) => {
                search.open.iter().for_each(|name| self.leases.make_sure(name));
                search.ended.iter().for_each(|name| self.leases.settle(*name, now.mono));
                Ok(())
            }
            other => {
                self.search = Some(search);
                other.map(drop)
            }
        }
    }
}

/// A topic's id, and what is found of some of its partitions.
type FoundOf = (Uuid, BTreeMap<i32, Found>);

/// The topic's id and what is found of the partitions; one whose leader does not answer is left out. `None` where there
/// is no such topic. The group is that of the topic's name.
fn find(
    client: &mut dyn Client,
    topic: &str,
    partitions: &BTreeSet<i32>,
    by: Deadline,
) -> Result<Option<FoundOf>, BrokerError> {
    let of = |partition: &i32| TopicPartition { topic: topic.to_owned(), partition: *partition };
    let all: Vec<TopicPartition> = partitions.iter().map(of).collect();
    let committed = client.committed(topic, &all, by)?;
    let Some(TopicState { id, partitions }) = client.topic(topic, by)? else { return Ok(None) };
    let mut found = BTreeMap::new();
    for (of, committed) in all.iter().zip(committed) {
        let Some(present) = partitions.iter().find(|p| p.partition == of.partition) else {
            // A topic never has fewer partitions than before: it was made anew, as its id says.
            found.insert(of.partition, Found { leader: None, start: 0, committed: None });
            continue;
        };
        let leader = present.leader;
        match client.offset(of, Position::Start, by) {
            Ok(start) => drop(found.insert(of.partition, Found { leader, start, committed })),
            Err(error) => log::debug!("{topic}/{}: {error}; trying again", of.partition),
        }
    }
    Ok(Some((id, found)))
}
