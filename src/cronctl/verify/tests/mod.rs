//! Tests of what the verdict says about clean logs, and about each way in which logs can be wrong.

mod beginning;
mod fates;
mod fixture;
mod retention;
mod retries;
mod zones;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::common::model::{
    AttemptRef, EndReason, Event, JobName, MissedReason, Outcome, RunId, RunningAttempt, Then,
};
use crate::producer::jobfile;

use super::revision_history::RevisionHistory;

use self::fixture::*;

#[test]
fn a_clean_log_is_accounted_for() {
    let report = check(|_| {}, [0; 6]);
    assert!(report.ok);
    assert_eq!(report.ticks.published, 22);
    assert_eq!((report.unfinished.total, report.copies), (0, 0));
}

#[test]
fn what_belongs_to_no_job_is_told_once_however_often_the_topics_are_read() {
    let text = "* * * * * a [name=one] x\n* * * * * a [name=two] x\n@reboot a [name=start] x\n\
                */20 * * * * * a [name=often] x\n* * * * * a [name=three] x\n@hourly a [name=last] x\n";
    let mut world =
        World::of(text, &[("one", 60), ("two", 60), ("often", 20), ("three", 60), ("last", 3_600)]);
    world.publish("start", at("12:00:03"));
    world.absent = vec!["b"];
    world.unreadable = vec!["a", topics::RUNS];
    let report = world.verdict();
    assert_eq!((report.ticks.named, report.ticks.published, report.ticks.not_begun), (36, 36, 1));
    assert_eq!((report.unreadable, report.jobs), (2, 6));
    assert_eq!(report.notes, ["there is no topic b"]);
}

#[test]
fn a_ledger_takes_as_many_jobs_as_there_is_room_for_and_one_at_least() {
    let text = "* * * * * a [name=one] x\n* * * * * a [name=two] x\n@reboot a [name=start] x\n\
                */20 * * * * * a [name=often] x\n* * * * * a [name=three] x\n";
    let world = World::of(text, &[]);
    let period = Period { since: at("12:00:00"), until: at("12:05:00") };
    let history = RevisionHistory::default();
    let zones = Zones::all_of_host();
    let ruled = Ruled::new(history.pieces(), &world.file, &zones);
    let groups = |room: usize| {
        let (mut left, mut groups) = (&world.file.jobs[..], Vec::new());
        while !left.is_empty() {
            let (ledger, after) = TickLedger::new(&world.file, left, period, &ruled, room).unwrap();
            groups.push((left.len() - after.len(), ledger.numbers().len()));
            left = after;
        }
        groups
    };
    // One, two and three have 6 ticks, and often has 16.
    assert_eq!(groups(1), [(1, 6), (2, 6), (1, 16), (1, 6)]);
    assert_eq!(groups(12), [(3, 12), (1, 16), (1, 6)]);
    assert_eq!(groups(33), [(4, 28), (1, 6)]);
    assert_eq!(groups(KEEP_TICKS), [(5, 34)]);
}

#[test]
fn a_tick_without_a_trace_is_unaccounted_for() {
    let report = check(|world| world.forget("often", at("12:01:40")), [1, 0, 0, 0, 0, 0]);
    assert!(!report.ok);
    assert_eq!(report.unaccounted.first[0].scheduled_at, at("12:01:40"));
    // That it was run does not make up for the message.
    let gone = |world: &mut World| {
        let run = RunId::of(&name("often"), at("12:01:40"));
        world.messages.retain(|(_, attempt)| attempt.run.id != run);
    };
    let report = check(gone, [1, 0, 0, 0, 0, 0]);
    assert!(report.unaccounted.first[0].why.contains("it was run"), "{report:?}");
}

#[test]
fn a_message_that_the_schedule_does_not_ask_for_is_too_many() {
    assert!(!check(|world| world.publish("often", at("12:01:41")), [0, 1, 0, 0, 0, 0]).ok);
    check(|world| world.publish("minutely", at("12:01:20")), [0, 1, 0, 0, 0, 0]);
    let shifted = |world: &mut World| {
        world.forget("often", at("12:01:40"));
        world.publish("often", at("12:01:41"));
    };
    check(shifted, [1, 1, 0, 0, 0, 0]);
    // In the wrong topic.
    check(|world| world.messages[0].0 = cluster("b"), [1, 1, 0, 0, 0, 0]);
    // Under another id.
    let forged = |world: &mut World| {
        Arc::make_mut(&mut world.messages[0].1.run).id = RunId(Uuid::nil());
    };
    check(forged, [1, 1, 0, 0, 0, 0]);
    // The period does not include this instant.
    check(|world| world.publish("often", at("12:05:01")), [0; 6]);
}

#[test]
fn what_is_outside_of_a_jobs_window_is_not_asked_for() {
    let check = |bound: &str, named: usize, too_many: usize| {
        let mut world = World::new();
        let text = FILE.replace("timeout=1m", bound);
        let file = jobfile::parse("jobs", text.as_bytes(), &[cluster("a"), cluster("b")]).unwrap();
        world.file = JobFile { revision: world.file.revision.clone(), ..file };
        let report = world.verdict();
        assert_eq!((report.ticks.named, report.ticks.unaccounted), (named, 0), "{bound}");
        assert_eq!(report.too_many.total, too_many, "{bound}");
    };
    // Six ticks of the other job, and of sixteen those within.
    check("retries=1", 22, 0);
    check("until=2026-03-01T12:02:00Z", 6 + 6, 10);
    check("until=2026-03-01T12:02:00.001Z", 6 + 7, 9);
    check("from=2026-03-01T12:02:00Z", 6 + 10, 6);
    check("from=2026-03-01T12:01:00Z until=2026-03-01T12:02:00Z", 6 + 3, 13);
}

#[test]
fn a_second_copy_of_a_message_is_counted_and_no_fault() {
    let report = check(|world| world.publish("often", at("12:01:40")), [0; 6]);
    assert!(report.ok);
    assert_eq!(report.copies, 1);
}

#[test]
fn an_attempt_that_was_run_twice_is_doubled() {
    let tick = at("12:01:40");
    let done = |attempt, consumer| (attempt, consumer, Outcome::Succeeded, Then::Done);
    let failed = |attempt, consumer| (attempt, consumer, Outcome::Failed { code: 1 }, Then::Retried);
    let run = RunId::of(&name("often"), tick);
    let report = check(|world| world.finish("often", tick, done(1, "c2")), [0, 0, 1, 0, 0, 0]);
    assert!(!report.ok);
    assert_eq!(report.doubled.first[0].why, "attempt 1 by c1 and by c2");
    // A copy of the event, a claim that was refused, a second attempt.
    check(|world| world.finish("often", tick, done(1, "c1")), [0; 6]);
    check(|world| world.claim((run, 1), "c2", tick), [0; 6]);
    check(|world| world.finish("often", tick, done(2, "c2")), [0; 6]);
    let later = |world: &mut World| {
        world.finish("often", tick, failed(2, "c2"));
        world.finish("often", tick, failed(2, "c3"));
        world.finish("often", tick, done(3, "c3"));
    };
    check(later, [0, 0, 1, 0, 0, 0]);
}

#[test]
fn what_another_cluster_says_of_a_job_of_the_same_name_is_not_about_ours() {
    let elsewhere = |world: &mut World| {
        world.finish("often", at("12:01:40"), (1, "c2", Outcome::Succeeded, Then::Done));
        world.forget("minutely", at("12:02:00"));
        world.miss("minutely", "12:02:00", "12:02:00", 1);
        for (_, event) in world.events.iter_mut().rev().take(2) {
            let (Event::Finished { cluster: of, .. } | Event::Missed { cluster: of, .. }) = event else {
                continue;
            };
            *of = cluster("elsewhere");
        }
    };
    check(elsewhere, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn what_another_file_ruled_is_not_checked() {
    let other = |world: &mut World| {
        world.forget("often", at("12:01:40"));
        world.publish("often", at("12:01:40"));
        Arc::make_mut(&mut world.messages.last_mut().unwrap().1.run).revision = "other".to_owned();
    };
    assert!(!check(other, [0, 0, 0, 0, 0, 2]).ok);
    let revision = |world: &mut World, revision: &str, from: &str| {
        let (revision, leader, at) = (revision.to_owned(), "p".to_owned(), at(from));
        world.events.push((
            at,
            Event::Revision { cluster: cluster("a"), revision, tzdata: None, leader, from: at, at },
        ));
    };
    let was_active = |world: &mut World| {
        let mine = world.file.revision.to_string();
        revision(world, &mine, "11:59:59");
        revision(world, "other", "12:01:30");
        revision(world, &mine, "12:01:50");
        world.forget("often", at("12:01:40"));
    };
    let report = check(was_active, [0, 0, 0, 0, 0, 1]);
    assert!(!report.ok && report.notes[0].contains("revision other was active"), "{report:?}");
    // Though the file that is asked about names nothing in that time.
    let between = |world: &mut World| {
        revision(world, "other", "12:01:41");
        let mine = world.file.revision.to_string();
        revision(world, &mine, "12:01:50");
    };
    assert!(!check(between, [0; 6]).ok);
}

#[test]
fn without_a_beginning_the_records_say_where_it_is() {
    let mut world = World::new();
    let since = |world: &World| world.verdict_of(None, "12:05:00").unwrap().since;
    assert_eq!(since(&world), at("12:00:00"));
    let (revision, leader) = (world.file.revision.to_string(), "p".to_owned());
    let from = at("11:59:30");
    world.events.push((
        from,
        Event::Revision { cluster: cluster("a"), revision, tzdata: None, leader, from, at: from },
    ));
    assert_eq!(since(&world), at("11:59:30.001"));
    world.messages.clear();
    world.events.clear();
    assert!(matches!(world.verdict_of(None, "12:05:00"), Err(NoVerdict::Period(_))));
    assert!(matches!(world.verdict_of(Some("12:06:00"), "12:05:00"), Err(NoVerdict::Period(_))));
    let report = world.verdict();
    assert_eq!((report.unaccounted.total, report.unaccounted.first.len(), report.ok), (22, 22, false));
}

/// The last line of a report in words, and how the program ends, where the reader stays or goes away at once.
fn words(report: &Report, reader_stays: bool) -> (String, Exit) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let closed = if reader_stays { None } else { Some(std::io::pipe().unwrap().1) };
    let exit = match closed {
        Some(closed) => {
            drop(writer);
            Screen::new(closed, std::io::sink())
        }
        None => Screen::new(writer, std::io::sink()),
    }
    .answer(|screen| report.words(screen).map(|()| report.exit()));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    (text.lines().last().unwrap_or("").to_owned(), exit)
}

#[test]
fn a_finding_is_told_by_the_exit_code_although_nobody_reads_the_words() {
    let mut world = World::new();
    world.forget("minutely", at("12:02:00"));
    let report = world.verdict();
    assert_eq!(words(&report, true), ("NOT every tick is accounted for".to_owned(), Exit::Found));
    assert_eq!(words(&report, false), (String::new(), Exit::Found));
    assert_eq!(words(&World::new().verdict(), false), (String::new(), Exit::Done));
}

#[test]
fn a_period_without_a_tick_proves_nothing_and_says_so() {
    let world = World::new();
    let report = world.verdict_of(Some("12:00:01"), "12:00:02").unwrap();
    let proves_nothing = "no tick is due in this period: this proves nothing".to_owned();
    assert_eq!(words(&report, true), (proves_nothing, Exit::Done));
    assert_eq!(words(&world.verdict(), true), ("every tick is accounted for".to_owned(), Exit::Done));
}
