//! Standing by: this producer says on `cron-runs` which job file and which zone data it has while it does not lead. While
//! it leads, it compares its own with what the other producers have said.

use std::sync::Arc;
use std::time::Instant;

use super::duties::Duties;
use super::messages::Options;
use super::notes::Note;
use super::standbys::{Compared, News, SAY, Standbys};
use super::step::Step;
use crate::common::model::Event;
use crate::common::outgoing::Outgoing;

/// Our own job file and zone data, and those of the other producers.
#[derive(Debug)]
pub struct StandingBy {
    /// The revision of our active job file.
    revision: Arc<str>,
    /// The version of the zone data that its schedules follow.
    tzdata: Arc<str>,
    files: Standbys,
    zones: Standbys,
    /// When to say again which job file we have.
    say_at: Instant,
    /// Whether what we said last was not confirmed.
    is_unsaid: bool,
}

impl StandingBy {
    /// Creates the comparison with producers of which nothing was heard yet.
    pub fn new(options: &Options, now: Instant) -> Self {
        let of = |compared| Standbys::new(options.name.clone(), options.group.clone(), compared);
        Self {
            revision: Arc::clone(&options.revision),
            tzdata: Arc::clone(&options.tzdata),
            files: of(Compared::File),
            zones: of(Compared::Zones),
            say_at: now,
            is_unsaid: false,
        }
    }

    /// Another job file is active, or the same one by other zone data.
    pub fn active_jobs(&mut self, revision: Arc<str>, tzdata: Arc<str>) {
        (self.revision, self.tzdata) = (revision, tzdata);
    }

    /// Takes an event that was read at `now`.
    pub fn take(&mut self, event: &Event, now: Instant) {
        self.files.take(event, now);
        self.zones.take(event, now);
    }

    /// Compares what the others have said with our own, where we lead, and notes what differs.
    pub fn compare(&mut self, step: &mut Step<'_>) {
        let (leads, now) = (step.leads.is_some(), step.now.mono);
        let ours = self.revision.to_string();
        match self.files.compare(&ours, leads, now) {
            Some(News::Differ(others)) => step.note(Note::FilesDiffer { others, ours }),
            Some(News::Same) => step.note(Note::FilesAgree { ours }),
            None => {}
        }
        let ours = self.tzdata.to_string();
        match self.zones.compare(&ours, leads, now) {
            Some(News::Differ(others)) => step.note(Note::ZonesDiffer { others, ours }),
            Some(News::Same) => step.note(Note::ZonesAgree { ours }),
            None => {}
        }
    }

    /// Says which job file we have, for the leader to compare, if we stand by and it is time to. If one message is not
    /// confirmed, the next follows.
    pub fn say(&mut self, step: &mut Step<'_>) {
        if step.leads.is_some() || step.now.mono < self.say_at {
            return;
        }
        self.say_at = step.now.mono + SAY;
        let event = Event::Standby {
            producer: step.options.name.clone(),
            group: step.options.group.clone(),
            revision: self.revision.to_string(),
            tzdata: Some(self.tzdata.to_string()),
            at: step.now.wall,
        };
        let (record, at_ms) = (Outgoing::event(&event), step.now.wall.timestamp_millis());
        self.is_unsaid = false;
        for unwritten in step.writer.write(step.client, vec![record], at_ms, step.by) {
            self.is_unsaid = true;
            step.note(Note::FileUnsaid { error: unwritten.error.clone() });
            step.failed(Duties::StandingBy, unwritten.error);
        }
    }

    /// Whether what we said last was not confirmed.
    pub fn is_unsaid(&self) -> bool {
        self.is_unsaid
    }

    /// How many producers have had a job file other than the leader's for a while; none where this one does not lead.
    pub fn differing(&self) -> usize {
        self.files.differing_count()
    }

    /// How many have had zone data of another version than the leader's for a while; none where this one does not lead.
    pub fn zones_differing(&self) -> usize {
        self.zones.differing_count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::messages::Effect;
    use super::super::tests::fixture::{World, options};
    use super::*;
    use crate::common::broker::memory::{Call, Fate};
    use crate::producer::leadership::Term;

    /// What the standbys have said of their files.
    fn said(world: &mut World) -> Vec<(String, Option<String>)> {
        let all = world.said(|event| matches!(event, Event::Standby { .. }));
        all.into_iter()
            .filter_map(|event| match event {
                Event::Standby { revision, tzdata, .. } => Some((revision, tzdata)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_standby_says_its_file_at_once_and_every_ten_seconds_and_a_leader_never() {
        for (leads, expected) in [(None, 3), (Some(Term::FIRST), 0)] {
            let mut world = World::new();
            let mut standing_by = StandingBy::new(&options("p", &[]), world.mono());
            for _ in 0..25 {
                world.in_step(leads, |step| standing_by.say(step));
                world.clock.turn(Duration::from_secs(1));
            }
            let said = said(&mut world);
            assert_eq!(said, vec![("r".to_owned(), Some("2026f".to_owned())); expected]);
        }
    }

    #[test]
    fn a_standby_says_the_file_that_is_active_and_what_was_not_confirmed_is_owed_until_the_next_is() {
        let mut world = World::new();
        let mut standing_by = StandingBy::new(&options("p", &[]), world.mono());
        standing_by.active_jobs("new".into(), "2026g".into());
        world.faults().decide(Box::new(|_, call| (call == Call::Produce).then_some(Fate::NotSent)));
        let ((), effects) = world.in_step(None, |step| standing_by.say(step));
        assert!(matches!(
            effects[..],
            [Effect::Note(Note::FileUnsaid { .. }), Effect::Failed(Duties::StandingBy, _)]
        ));
        assert!(standing_by.is_unsaid());
        world.faults().decide(Box::new(|_, _| None));
        world.clock.turn(SAY);
        world.in_step(None, |step| standing_by.say(step));
        assert!(!standing_by.is_unsaid());
        assert_eq!(said(&mut world), [("new".to_owned(), Some("2026g".to_owned()))]);
    }
}
