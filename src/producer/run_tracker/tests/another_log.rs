//! A log that is not what was read: events that were deleted unread, a log that was cut, and one that was made anew.

use super::fixture;
use super::fixture::{LEASE, LEASE_AND_A_BIT, World, name, of};
use crate::common::broker::partition_for;
use crate::common::model::Then;
use crate::common::topics;
use crate::producer::run_tracker::messages::RunNews;
use crate::producer::run_tracker::notes::Note;
use crate::producer::run_tracker::{Effect, RunTracker};

/// Events about others, so that both partitions have new ends.
fn chatter(world: &mut World) {
    for run in 100..140 {
        world.finish(run, Then::Done);
    }
}

#[test]
fn events_that_were_deleted_before_they_were_read_make_nothing_lost() {
    let mut world = World::new();
    let mut standby = world.producer("p", false);
    world.start(1, 2);
    world.pass(5, &mut [&mut standby]);
    world.finish(1, Then::Done);
    chatter(&mut world);
    for partition in 0..2 {
        world.faults().delete_records(&of(topics::RUNS, partition), 10);
    }
    standby.leads = true;
    world.pass(10 * LEASE, &mut [&mut standby]);
    assert_eq!(world.fates(), (0, 0, 0), "its end may have been among them");
    assert_eq!(standby.tracker.watched(), 0, "nothing is known any more");
    let gaps: Vec<i64> = standby
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::DeletedUnread { to, .. } => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(gaps, [10, 10], "one in each partition");
    for partition in 0..2 {
        let end = &standby.tracker.parts.log.ends().partitions()[&partition];
        assert_eq!((end.began, end.next > 10), (10, true), "it reads on behind what was deleted");
    }
    world.start(2, 2);
    world.pass(LEASE + 20, &mut [&mut standby]);
    assert_eq!(world.fates(), (1, 0, 1), "and finds what is lost after that");
}

/// Makes `cron-runs` anew, with these partitions.
fn made_anew(world: &mut World, partitions: i32) {
    world.faults().delete_topic(topics::RUNS);
    world.create(topics::RUNS, partitions);
}

/// Two attempts are under way while `change` is made to `cron-runs`, which also says that the first has ended. The second
/// shows a sign of life after that, and then none for a lease.
fn check_another_log(leads: bool, change: impl Fn(&mut World)) {
    let mut world = World::new();
    let mut leader = world.producer("p", leads);
    (100..200).for_each(|run| world.finish(run, Then::Done));
    let (first, second) = (world.start(1, 2), world.start(2, 2));
    world.alive(1, &first, "one");
    world.alive(2, &second, "one");
    world.pass(5, &mut [&mut leader]);
    change(&mut world);
    world.pass(2, &mut [&mut leader]);
    leader.leads = true;
    world.alive(2, &second, "one");
    world.pass(LEASE - 1, &mut [&mut leader]);
    assert_eq!(world.fates(), (0, 0, 0));
    world.pass(LEASE_AND_A_BIT, &mut [&mut leader]);
    assert_eq!(world.fates(), (1, 0, 1), "its consumer has told of it since");
    assert_eq!(world.retried()[0].run.id, name(2).run);
    world.pass(20 * LEASE, &mut [&mut leader]);
    assert_eq!((world.fates(), leader.tracker.watched()), ((1, 0, 1), 0));
    let is_said = |note: &&Note| matches!(note, Note::LogIsAnother { .. });
    assert_eq!(
        leader.notes.iter().filter(is_said).collect::<Vec<_>>(),
        [&Note::LogIsAnother { attempts: 2 }]
    );
}

#[test]
fn what_stands_in_a_log_that_was_made_anew_is_read_before_anything_is_lost() {
    for leads in [true, false] {
        check_another_log(leads, |world| {
            made_anew(world, 2);
            world.finish(1, Then::Done);
        });
        // Longer than the one before, so that no offset is out of range.
        check_another_log(leads, |world| {
            made_anew(world, 2);
            world.finish(1, Then::Done);
            (300..500).for_each(|run| world.finish(run, Then::Done));
        });
        check_another_log(leads, |world| {
            made_anew(world, 3);
            world.finish(1, Then::Done);
            chatter(world);
        });
    }
}

#[test]
fn an_end_that_was_deleted_with_the_log_before_it_was_read_makes_nothing_lost() {
    for leads in [true, false] {
        check_another_log(leads, |world| {
            world.finish(1, Then::Done);
            made_anew(world, 2);
        });
    }
}

#[test]
fn what_was_written_again_to_a_log_that_was_cut_is_read_before_anything_is_lost() {
    for leads in [true, false] {
        check_another_log(leads, |world| {
            (0..2).for_each(|p| world.faults().cut(&of(topics::RUNS, p), 3));
            world.finish(1, Then::Done);
        });
    }
}

#[test]
fn a_standby_reads_on_in_a_log_that_was_cut() {
    let mut world = World::new();
    let mut standby = world.producer("p", false);
    chatter(&mut world);
    world.start(1, 2);
    world.pass(5, &mut [&mut standby]);
    (0..2).for_each(|p| world.faults().cut(&of(topics::RUNS, p), 3));
    world.start(2, 2);
    world.pass(5, &mut [&mut standby]);
    assert_eq!(standby.tracker.parts.leases.runs(), [name(2).run].into());
}

#[test]
fn a_beat_below_what_was_read_shows_that_the_log_was_cut() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    chatter(&mut world);
    world.start(1, 2);
    world.pass(5, &mut [&mut leader]);
    while leader.beats_due(world.mono()).is_empty() {
        world.clock.turn(std::time::Duration::from_secs(1));
    }
    // The end is written below what was read, and with the beat that is due the log is as long as it was.
    let partition = partition_for(name(1).run.to_string().as_bytes(), 2);
    let end = leader.tracker.parts.log.ends().partitions()[&partition].next;
    world.faults().cut(&of(topics::RUNS, partition), end - 2);
    world.finish(1, Then::Done);
    world.pass(10 * LEASE, &mut [&mut leader]);
    assert_eq!((world.fates(), leader.tracker.watched()), ((0, 0, 0), 0));
}

#[test]
fn whoever_leads_when_the_log_is_made_anew_says_again_that_all_was_read() {
    let mut world = World::new();
    let mut leader = world.producer("p", true);
    leader.tracker = RunTracker::new(fixture::options("p", &["j"]), world.mono());
    world.pass(5, &mut [&mut leader]);
    leader.effects.clear();
    made_anew(&mut world, 2);
    let place = world.publish(1, 0);
    world.note(1, &place);
    world.pass(15, &mut [&mut leader]);
    let position = |wanted: fn(&Effect) -> bool| leader.effects.iter().position(wanted);
    let unfinished = position(|effect| matches!(effect, Effect::Tell(RunNews::Unfinished(_))));
    let read = position(|effect| matches!(effect, Effect::Tell(RunNews::ReadToEnd { .. })));
    assert!(unfinished.is_some() && unfinished < read, "{:?}", leader.effects);
}
