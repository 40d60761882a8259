//! What is read, and what has changed in the log.

use super::super::tests::fixture::{World, of};
use super::*;
use crate::common::model::Then;

fn fetched(next_offset: i64, end_offset: i64) -> Fetched {
    Fetched {
        topic_id: Uuid::nil(),
        records: Vec::new(),
        undecodable: Vec::new(),
        next_offset,
        start_offset: 0,
        end_offset,
        log_end: end_offset,
    }
}

/// A reader that has read all there is.
fn reader(world: &mut World) -> LogReader {
    let mut log = LogReader::default();
    world.in_step(None, |step| log.look_up(step)).0.unwrap();
    read_on(world, &mut log);
    assert_eq!(log.take_changes(), [LogChange::Begun(0), LogChange::Begun(1)]);
    log
}

fn read_on(world: &mut World, log: &mut LogReader) -> Vec<Read> {
    let (read, effects) = world.in_step(None, |step| {
        log.fetch(step, false);
        log.take_arrived(step)
    });
    assert_eq!(effects, []);
    read
}

#[test]
fn reading_is_behind_while_a_fetch_does_not_reach_the_end() {
    let mut world = World::new();
    for (next, end, expected) in [(0, 5, true), (5, 5, false)] {
        let mut log = LogReader { arrived: vec![(0, Ok(fetched(next, end)))], ..LogReader::default() };
        assert_eq!(log.is_behind(), expected, "{next} of {end}");
        world.in_step(None, |step| log.take_arrived(step));
        assert!(!log.is_behind(), "it is taken");
    }
}

#[test]
fn what_was_read_is_given_out_once_and_without_what_concerns_others() {
    let mut world = World::new();
    let mut log = reader(&mut world);
    world.finish(1, Then::Done);
    world.finish_in("theirs", 1, Then::Done);
    let read = read_on(&mut world, &mut log);
    let (offset, events): (i64, usize) =
        (read.iter().map(|read| read.next).sum(), read.iter().map(|read| read.events.len()).sum());
    assert_eq!((offset, events), (2, 1));
    let again: usize = read_on(&mut world, &mut log).iter().map(|read| read.events.len()).sum();
    assert_eq!(again, 0);
}

#[test]
fn events_that_were_deleted_unread_are_a_gap_behind_which_it_reads_on() {
    let mut world = World::new();
    let mut log = reader(&mut world);
    (100..140).for_each(|run| world.finish(run, Then::Done));
    world.faults().delete_records(&of(topics::RUNS, 1), 5);
    read_on(&mut world, &mut log);
    world.in_step(None, |step| log.find_back(step)).0.unwrap();
    assert_eq!(log.take_changes(), [LogChange::Gap(1, 0, 5)]);
    assert_eq!((log.take_changes(), log.ends().next(1)), (vec![], Some(5)));
}

/// Something happens to the log, which is read and looked up after that.
fn check_another(happens: impl Fn(&mut World, &mut LogReader), looks_up: bool, expected: [i64; 2]) {
    let mut world = World::new();
    (100..140).for_each(|run| world.finish(run, Then::Done));
    let mut log = reader(&mut world);
    happens(&mut world, &mut log);
    if looks_up {
        world.in_step(None, |step| log.look_up(step)).0.unwrap();
    } else {
        read_on(&mut world, &mut log);
        world.in_step(None, |step| log.find_back(step)).0.unwrap();
    }
    let ends = BTreeMap::from([(0, expected[0]), (1, expected[1])]);
    assert_eq!(log.take_changes(), [LogChange::Another(ends)]);
    assert_eq!((log.ends().next(0), log.ends().next(1)), (Some(0), Some(0)), "it begins anew");
    world.in_step(None, |step| log.find_back(step)).0.unwrap();
    assert_eq!(log.take_changes(), [], "once");
}

#[test]
fn a_log_that_was_made_anew_or_cut_is_another_one_and_is_read_from_its_start() {
    let made_anew = |world: &mut World, _: &mut LogReader| {
        world.faults().delete_topic(topics::RUNS);
        world.create(topics::RUNS, 2);
    };
    check_another(made_anew, true, [0, 0]);
    let cut = |world: &mut World, _: &mut LogReader| {
        (0..2).for_each(|partition| world.faults().cut(&of(topics::RUNS, partition), 3));
    };
    check_another(cut, false, [3, 3]);
    let mut world = World::new();
    (100..140).for_each(|run| world.finish(run, Then::Done));
    let ends = [world.end_of_runs(0), world.end_of_runs(1)];
    check_another(|_, log| log.was_appended(0, ends[0] - 1), false, ends);
}

#[test]
fn a_record_that_was_appended_behind_what_was_read_shows_nothing() {
    let mut world = World::new();
    let mut log = reader(&mut world);
    log.was_appended(0, 0);
    world.in_step(None, |step| log.find_back(step)).0.unwrap();
    assert_eq!(log.take_changes(), []);
}

#[test]
fn the_partitions_are_looked_up_every_ten_seconds_and_at_once_where_that_is_asked_for() {
    let mut world = World::new();
    let mut log = LogReader::default();
    assert!(log.is_look_up_due(world.mono()));
    world.in_step(None, |step| log.look_up(step)).0.unwrap();
    let after = |secs: u64| world.mono() + Duration::from_secs(secs);
    assert!(!log.is_look_up_due(after(9)) && log.is_look_up_due(after(10)));
    log.look_up_soon();
    assert!(log.is_look_up_due(after(0)));
}
