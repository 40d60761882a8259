//! The lost-attempt check: which leases have run out, what the committed offsets say, and what the tracker may conclude
//! once it has read `cron-runs` to an end that it looked up after them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::duties::Duties;
use super::ends::Ends;
use super::heartbeat::Heartbeat;
use super::history::Search;
use super::leases::Leases;
use super::log_reader::{LogReader, ends_now};
use super::lost_attempts::{Suspect, pass_on};
use super::notes::Note;
use super::passage::{Partition, Passage, passage};
use super::step::Step;
use crate::common::broker::{BrokerError, Committed, NodeId, Position, TopicPartition, TopicState};
use crate::common::model::{AttemptRef, Place};

/// How many attempts one check decides together: it reads their messages one by one, in one step.
const AT_A_TIME: usize = 64;
/// How often leases are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a check may take before it starts again: the log may have been cut below its targets.
const PATIENCE: Duration = Duration::from_secs(30);

/// The lost-attempt check.
#[derive(Debug)]
pub struct LostCheck {
    stage: Stage,
    /// When to look at the leases again.
    look_at: Instant,
    /// The search for the ends of attempts of which only signs of life are known.
    search: Option<Search>,
    /// Whether that search failed lately.
    cannot_search: bool,
    /// Whether the tracker asked in vain what became of an attempt, or did not pass one on.
    asked_in_vain: bool,
}

/// How far a check has come.
#[derive(Debug, Default)]
enum Stage {
    /// No lease has run out, as far as was looked.
    #[default]
    Idle,
    /// No consumer will claim these again, and they are lost if nothing newer is read below `targets`.
    Reading { suspects: Vec<Suspect>, targets: BTreeMap<i32, i64>, until: Instant },
}

/// What was found of a partition of attempts.
struct Found {
    leader: Option<NodeId>,
    start: i64,
    committed: Option<Committed>,
}

impl LostCheck {
    /// Creates a check of nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { stage: Stage::Idle, look_at: now, search: None, cannot_search: false, asked_in_vain: false }
    }

    /// Gives up what was found so far: this producer does not lead, or the log is another one.
    pub fn stop(&mut self) {
        (self.stage, self.search) = (Stage::Idle, None);
    }

    /// Whether something about attempts could not be found out, or done, when it was tried last.
    pub fn is_undone(&self) -> bool {
        self.cannot_search || self.asked_in_vain
    }

    /// Makes the next move of a check. Returns whether there was one to make.
    ///
    /// # Errors
    /// When a broker refuses or does not answer.
    pub fn decide(
        &mut self,
        step: &mut Step<'_>,
        log: &mut LogReader,
        heartbeat: &Heartbeat,
        leases: &mut Leases,
    ) -> Result<bool, BrokerError> {
        let now = step.now.mono;
        match std::mem::take(&mut self.stage) {
            Stage::Idle if now < self.look_at => Ok(false),
            Stage::Idle => {
                self.look_at = now + LOOK;
                self.asked_in_vain = leases.were_asked_in_vain();
                self.begin(step, log, heartbeat, leases)
            }
            Stage::Reading { suspects, targets, .. } if log.ends().has_read(&targets) => {
                pass_on(step, suspects, heartbeat, leases);
                self.look_at = now;
                Ok(true)
            }
            Stage::Reading { until, .. } if until <= now => Ok(false),
            reading @ Stage::Reading { .. } => {
                self.stage = reading;
                Ok(false)
            }
        }
    }

    fn begin(
        &mut self,
        step: &mut Step<'_>,
        log: &mut LogReader,
        heartbeat: &Heartbeat,
        leases: &mut Leases,
    ) -> Result<bool, BrokerError> {
        let Some((from, seen)) = heartbeat.seen() else { return Ok(false) };
        let over = leases.over(from, seen, step.now.mono);
        let is_sure = |name: &AttemptRef| leases.get(name).is_some_and(|lease| lease.is_sure);
        let (sure, unsure): (Vec<AttemptRef>, Vec<AttemptRef>) = over.into_iter().partition(is_sure);
        if self.search.is_none() && !unsure.is_empty() {
            self.search = Some(Search::new(unsure));
        }
        // One topic at a time, for it has one group.
        let mut chosen: Vec<(AttemptRef, Place)> = Vec::new();
        for name in sure {
            let Some(lease) = leases.get(&name) else { continue };
            if chosen.len() < AT_A_TIME && chosen.first().is_none_or(|(_, p)| p.topic == lease.place.topic) {
                chosen.push((name, lease.place.clone()));
            }
        }
        if chosen.is_empty() {
            return Ok(false);
        }
        let asked = self.ask(step, &chosen, log, leases);
        if asked.is_err() {
            chosen.iter().for_each(|(name, _)| leases.ask_again(name, step.now.mono));
        }
        asked.map(|()| true)
    }

    /// Asks for the committed offsets, and only then for the ends of `cron-runs`.
    fn ask(
        &mut self,
        step: &mut Step<'_>,
        chosen: &[(AttemptRef, Place)],
        log: &mut LogReader,
        leases: &mut Leases,
    ) -> Result<(), BrokerError> {
        let now = step.now.mono;
        let topic = chosen.first().map(|(_, place)| place.topic.as_str()).unwrap_or_default();
        let partitions: BTreeSet<i32> = chosen.iter().map(|(_, place)| place.partition).collect();
        let Some((topic_id, found)) = find(step, topic, &partitions)? else {
            step.note(Note::NoTopic { topic: topic.to_owned() });
            chosen.iter().for_each(|(name, _)| leases.put_off(name, now));
            return Ok(());
        };
        let mut suspects = Vec::new();
        for (name, place) in chosen {
            // A partition that cannot be asked delays no other.
            let Some(found) = found.get(&place.partition) else {
                leases.ask_again(name, now);
                continue;
            };
            let present = Partition { topic_id, start: found.start, committed: found.committed.as_ref() };
            let passage = passage(place, present);
            if passage == Passage::Left {
                leases.put_off(name, now);
                continue;
            }
            // Where the message is gone no consumer can find it, and it cannot be known whether the claim had counted.
            suspects.push(Suspect {
                name: *name,
                place: place.clone(),
                leader: found.leader,
                is_deleted: passage == Passage::Gone || found.start > place.offset,
            });
        }
        if suspects.is_empty() {
            return Ok(());
        }
        log.look_up(step)?;
        let targets = ends_now(step, log.ends())?;
        self.stage = Stage::Reading { suspects, targets, until: now + PATIENCE };
        Ok(())
    }

    /// Looks on for the ends of attempts of which only signs of life are known.
    pub fn look_back(&mut self, step: &mut Step<'_>, ends: &Ends, leases: &mut Leases) {
        let looked = self.search_on(step, ends, leases);
        let is_done = step.attempted(Duties::LostAttempts, "looking back in cron-runs", looked).is_some();
        self.cannot_search = !is_done;
    }

    fn search_on(
        &mut self,
        step: &mut Step<'_>,
        ends: &Ends,
        leases: &mut Leases,
    ) -> Result<(), BrokerError> {
        let Some(mut search) = self.search.take() else { return Ok(()) };
        match search.go_on(step.client, ends, &step.options.clusters, step.by) {
            Ok(true) => {
                search.open.iter().for_each(|name| leases.make_sure(name));
                search.ended.iter().for_each(|name| leases.settle(*name, step.now.mono));
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
    step: &mut Step<'_>,
    topic: &str,
    partitions: &BTreeSet<i32>,
) -> Result<Option<FoundOf>, BrokerError> {
    let of = |partition: &i32| TopicPartition { topic: topic.to_owned(), partition: *partition };
    let all: Vec<TopicPartition> = partitions.iter().map(of).collect();
    let committed = step.client.committed(topic, &all, step.by)?;
    let Some(TopicState { id, partitions }) = step.client.topic(topic, step.by)? else { return Ok(None) };
    let mut found = BTreeMap::new();
    for (of, committed) in all.iter().zip(committed) {
        let Some(present) = partitions.iter().find(|p| p.partition == of.partition) else {
            // A topic never has fewer partitions than before: it was made anew, as its id says.
            found.insert(of.partition, Found { leader: None, start: 0, committed: None });
            continue;
        };
        let leader = present.leader;
        match step.client.offset(of, Position::Start, step.by) {
            Ok(start) => drop(found.insert(of.partition, Found { leader, start, committed })),
            Err(error) => {
                step.note(Note::NoStart { topic: topic.to_owned(), partition: of.partition, error });
            }
        }
    }
    Ok(Some((id, found)))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::tests::fixture::{LEASE, World};
    use super::*;
    use crate::common::broker::memory::Call;
    use crate::common::model::{ClusterName, Event};
    use crate::producer::leadership::Term;

    /// A check of run 1, whose lease is over, in a leader that has seen the end of `cron-runs`.
    struct Checked {
        world: World,
        check: LostCheck,
        log: LogReader,
        heartbeat: Heartbeat,
        leases: Leases,
    }

    impl Checked {
        fn new() -> Self {
            let mut world = World::new();
            world.start(1, 2);
            let (began, term) = (world.mono(), Some(Term::FIRST));
            let mut leases = Leases::of(&[ClusterName::new("c").unwrap()]);
            let mut heartbeat = Heartbeat::new(began);
            heartbeat.lead(term, began);
            let mut log = LogReader::default();
            world.in_step(term, |step| log.look_up(step)).0.unwrap();
            for event in read_on(&mut world, &mut log) {
                leases.take(&event, (0, 0), began);
            }
            world.clock.turn(Duration::from_secs(LEASE));
            for partition in 0..2 {
                heartbeat.follow(partition, began);
                heartbeat.beat(partition, Some(0), world.mono());
                heartbeat.read_to(partition, 1, world.mono());
            }
            let check = LostCheck::new(world.mono());
            Self { world, check, log, heartbeat, leases }
        }

        fn decide(&mut self) -> bool {
            let Self { world, check, log, heartbeat, leases } = self;
            world.in_step(Some(Term::FIRST), |step| check.decide(step, log, heartbeat, leases)).0.unwrap()
        }
    }

    fn read_on(world: &mut World, log: &mut LogReader) -> Vec<Event> {
        let (read, _) = world.in_step(None, |step| {
            log.fetch(step, false);
            log.take_arrived(step)
        });
        read.into_iter().flat_map(|read| read.events).map(|(_, event)| event).collect()
    }

    #[test]
    fn the_end_of_cron_runs_is_looked_up_after_the_committed_offset() {
        let mut checked = Checked::new();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&calls);
        checked.world.faults().decide(Box::new(move |_, call| {
            made.lock().unwrap().push(call);
            None
        }));
        assert!(checked.decide());
        let of_topic = [Call::Committed, Call::Topic, Call::Offset];
        let of_runs = [Call::Topic, Call::Offset, Call::Offset];
        assert_eq!(*calls.lock().unwrap(), [of_topic, of_runs].concat());
    }

    #[test]
    fn nothing_is_passed_on_before_cron_runs_was_read_to_the_end_that_was_looked_up() {
        let mut checked = Checked::new();
        checked.world.finish(9, crate::common::model::Then::Done);
        assert!(checked.decide());
        assert!(!checked.decide());
        assert_eq!(checked.world.fates(), (0, 0, 0));
        read_on(&mut checked.world, &mut checked.log);
        assert!(checked.decide());
        assert_eq!(checked.world.fates(), (1, 0, 1));
        assert!(!checked.check.is_undone());
    }

    #[test]
    fn an_attempt_of_which_a_newer_claim_is_read_meanwhile_is_not_lost() {
        let mut checked = Checked::new();
        let place = checked.leases.get(&super::super::tests::fixture::name(1)).unwrap().place.clone();
        checked.world.claim(1, &place, "two");
        assert!(checked.decide());
        for event in read_on(&mut checked.world, &mut checked.log) {
            checked.leases.take(&event, (0, 1), checked.world.mono());
        }
        assert!(checked.decide());
        assert_eq!(checked.world.fates(), (0, 0, 0));
    }

    #[test]
    fn a_check_that_is_stopped_passes_nothing_on() {
        let mut checked = Checked::new();
        assert!(checked.decide());
        checked.check.stop();
        read_on(&mut checked.world, &mut checked.log);
        assert!(!checked.decide(), "leases are looked at every second");
        assert_eq!(checked.world.fates(), (0, 0, 0));
    }
}
