//! Where a term begins: clusters that come later, reboots, cursors that were lost.

use super::*;
use crate::common::broker::Holder;
use crate::common::model::{Attempt, Run, RunId};
use crate::common::wire;
use crate::producer::job;
use crate::producer::job::Job;

fn start_of(effects: &[Effect]) -> Option<&Start> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start { start, .. } => Some(start),
        _ => None,
    })
}

/// What a cluster begins with when its producer has been started again.
fn start_again(host: &mut Host) -> Start {
    host.member.leave(host.client.as_mut(), host.clock.monotonic());
    host.start_again();
    let effects: Vec<Effect> = (0..5).flat_map(|_| host.step()).collect();
    start_of(&effects).unwrap_or_else(|| panic!("{effects:?}")).clone()
}

/// The first term commits this cursor.
fn commit(host: &mut Host, cursor: DateTime<Utc>) {
    let keep = CursorCommit { term: Term::FIRST, cursors: vec![Some(cursor)], reads: BTreeMap::new() };
    host.leadership.keep(keep);
    host.step();
}

/// The producer ends, and another one, which was started before, has the lead: what its clusters begin with.
fn taken_over_by(host: &mut Host, (leadership, member): (Leadership, Member)) -> Start {
    host.member.leave(host.client.as_mut(), host.clock.monotonic());
    (host.leadership, host.member) = (leadership, member);
    host.clock.turn(Duration::from_millis(100));
    let effects: Vec<Effect> = (0..5).flat_map(|_| host.step()).collect();
    start_of(&effects).unwrap_or_else(|| panic!("{effects:?}")).clone()
}

#[test]
fn a_cluster_whose_topic_is_not_there_holds_up_no_other() {
    let mut host = Host::new(TimeDelta::zero());
    host.leadership = Leadership::new(Options {
        clusters: vec!["absent".parse().unwrap(), "c".parse().unwrap()],
        window: Duration::from_secs(3600),
        standing: Standing::new(Instant::now()),
    });
    let lanes = |effects: &[Effect]| -> Vec<usize> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Start { cluster, .. } => Some(*cluster),
                _ => None,
            })
            .collect()
    };
    let mut effects = host.step();
    effects.extend(host.step());
    assert!(leads(&effects), "{effects:?}");
    assert_eq!(lanes(&effects), [1]);
    let began = host.clock.now();
    let at = host.clock.now() - TimeDelta::seconds(5);
    let keep = |cursors| CursorCommit { term: Term::FIRST, cursors, reads: BTreeMap::new() };
    host.leadership.keep(keep(vec![None, Some(at)]));
    host.step();
    assert_eq!(host.committed().unwrap().offset, at.timestamp_millis(), "its cursor is kept");
    for spec in topics::all(&["absent".parse().unwrap()], 1, 1) {
        // Some of them are there already.
        drop(host.client.create_topic(&spec, soon(&host.clock)));
    }
    host.clock.turn(Duration::from_secs(2));
    let effects = host.step();
    assert_eq!(lanes(&effects), [0], "and it begins when its topic is there");
    let start = start_of(&effects).unwrap();
    assert_eq!(
        (start.cursor, start.reboot),
        (began, Some(began)),
        "where the term began: it misses no reboot"
    );
}

#[test]
fn a_reboot_before_the_last_one_is_done_is_one_of_its_own_but_for_one_a_moment_later() {
    let mut host = Host::new(TimeDelta::zero());
    host.step();
    let first = start_of(&host.step()).unwrap().reboot.unwrap();
    // Something holds the cursor back, and the tick of the reboot may be published or not.
    host.clock.jump_to(first + TimeDelta::seconds(59));
    assert_eq!(start_again(&mut host).reboot, Some(first), "so soon it is the same");
    let later = first + TimeDelta::seconds(60);
    host.clock.jump_to(later);
    assert_eq!(start_again(&mut host).reboot, Some(later));
}

#[test]
fn that_a_cursor_was_lost_is_told_by_the_next_leader_where_this_one_could_not() {
    let mut host = Host::new(TimeDelta::zero());
    let of = TopicPartition { topic: "c".to_owned(), partition: 0 };
    let record = Record { key: None, value: Some("x".into()), timestamp_ms: 0 };
    host.client.produce(&[ProduceBatch { to: of, records: vec![record] }], soon(&host.clock));
    host.step();
    let first = start_of(&host.step()).unwrap().clone();
    assert!(first.is_gap);
    host.clock.turn(Duration::from_millis(500));
    let second = start_again(&mut host);
    assert_eq!((second.is_gap, second.cursor), (true, first.cursor));
    let cursors = vec![Some(host.clock.now())];
    host.leadership.keep(CursorCommit { term: Term::FIRST, cursors, reads: BTreeMap::new() });
    host.step();
    assert!(!start_again(&mut host).is_gap, "the cursor has moved: it is on record");
}

#[test]
fn a_restart_within_the_second_that_the_cursor_lies_in_is_a_reboot_too() {
    let mut host = Host::new(TimeDelta::zero());
    let reboot = |host: &mut Host| {
        let mut effects = host.step();
        effects.extend(host.step());
        effects.into_iter().find_map(|effect| match effect {
            Effect::Start { start, .. } => start.reboot,
            _ => None,
        })
    };
    let second = host.clock.now();
    host.clock.turn(Duration::from_millis(100));
    assert_eq!(reboot(&mut host), Some(second));
    host.clock.turn(Duration::from_millis(100));
    let cursor = host.clock.now();
    host.leadership.keep(CursorCommit {
        term: Term::FIRST,
        cursors: vec![Some(cursor)],
        reads: BTreeMap::new(),
    });
    host.step();
    assert_eq!(host.committed().unwrap().offset, cursor.timestamp_millis());
    host.member.leave(host.client.as_mut(), host.clock.monotonic());
    host.start_again();
    host.clock.turn(Duration::from_millis(100));
    assert_eq!(
        reboot(&mut host),
        Some(second + TimeDelta::seconds(1)),
        "a run of its own, not before the cursor"
    );
}

#[test]
fn a_reboot_is_not_forgotten_while_the_cursor_lies_ahead_of_our_clock() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    let cursor = host.clock.now() + TimeDelta::milliseconds(30_500);
    commit(&mut host, cursor);
    host.member.leave(host.client.as_mut(), host.clock.monotonic());
    host.start_again();
    let effects = host.step();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::ClockBehind(_))), "{effects:?}");
    // Meanwhile another producer joins, as is usual when all of them are started at once.
    let Some(holder) = host.leadership.holder.clone() else { panic!("it has a holder") };
    let next = Holder { generation: holder.generation + 1, ..holder.clone() };
    let partitions = vec![TopicPartition { topic: LEADER.to_owned(), partition: 0 }];
    host.leadership.changed(&Change::Assigned { holder: next, partitions, alone: false, is_first: false });
    assert!(host.leadership.owes_reboot(), "nobody has led since");
    host.leadership.holder = Some(holder);
    host.clock.turn(Duration::from_secs(31));
    assert!((0..5).any(|_| leads(&host.step())));
    let reboot = host.leadership.reboot;
    assert!(reboot.is_some(), "that the cursor is later than the start does not say that anybody has");
}

#[test]
fn of_two_that_start_together_the_one_that_leads_first_owes_the_reboot_and_the_other_does_not() {
    // The other one has the partition in the first generation, or this one joins only when the other has left.
    let check = |is_member: bool, has_led: bool| {
        let mut host = Host::new(TimeDelta::zero());
        let (mut standby, member) = fresh();
        if is_member {
            let holder =
                Holder { group: "g".into(), member_id: "m".into(), instance_id: None, generation: 1 };
            let partitions = Vec::new();
            standby.changed(&Change::Assigned { holder, partitions, alone: false, is_first: true });
        }
        let now = Now { wall: host.clock.now(), mono: host.clock.monotonic() };
        standby.step(host.client.as_mut(), now);
        if has_led {
            assert!(start_again(&mut host).reboot.is_some());
            host.clock.turn(Duration::from_secs(1));
            let cursor = host.clock.now();
            commit(&mut host, cursor);
        }
        let start = taken_over_by(&mut host, (standby, member));
        assert_eq!(start.reboot.is_some(), !has_led, "{is_member}");
    };
    for is_member in [false, true] {
        check(is_member, false);
        check(is_member, true);
    }
}

#[test]
fn what_is_published_at_the_very_cursor_is_found() {
    let mut host = Host::new(TimeDelta::zero());
    let reboot = start_again(&mut host).reboot.unwrap();
    let job = Job { cluster: "c".parse().unwrap(), ..job::sample("agent", "@reboot") };
    let run = Arc::new(job.run(reboot, "r"));
    let key = Some(run.id.to_string().into());
    let attempt = Attempt { run, attempt: 1, attempts_left: 0, not_before: None };
    let timestamp_ms = host.clock.now().timestamp_millis();
    let record = Record { key, value: Some(wire::encode(&attempt)), timestamp_ms };
    let to = TopicPartition { topic: "c".to_owned(), partition: 0 };
    host.client.produce(&[ProduceBatch { to, records: vec![record] }], soon(&host.clock));
    let start = start_again(&mut host);
    assert_eq!((start.cursor, start.published.runs.find(&job.name, reboot)), (reboot, Some((0, 0))));
}

fn assigned(host: &Host, later: i32) -> Change {
    let holder = host.leadership.holder.clone().unwrap();
    let holder = crate::common::broker::Holder { generation: holder.generation + later, ..holder };
    let partitions = vec![TopicPartition { topic: LEADER.to_owned(), partition: 0 }];
    Change::Assigned { holder, partitions, alone: false, is_first: false }
}

#[test]
fn a_term_goes_on_over_the_next_generation_and_ends_where_one_was_skipped() {
    let check = |later: i32, ends: bool| {
        let mut host = Host::new(TimeDelta::zero());
        assert!(leads(&host.step()));
        let change = assigned(&host, later);
        assert_eq!(host.leadership.changed(&change), ends, "{later} generations later");
        assert_eq!(host.leadership.stage == super::super::Stage::TakingOver, ends);
    };
    check(1, false);
    // Another producer may have led in the one between.
    check(2, true);
    check(0, true);
}

#[test]
fn a_member_of_another_id_begins_a_term_of_its_own() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    let Change::Assigned { mut holder, partitions, alone, is_first } = assigned(&host, 1) else {
        panic!("assigned")
    };
    holder.member_id.push('x');
    assert!(host.leadership.changed(&Change::Assigned { holder, partitions, alone, is_first }));
}

#[test]
fn what_an_earlier_term_wants_kept_moves_no_cursor() {
    let mut host = Host::new(TimeDelta::zero());
    let first = start_again(&mut host).cursor;
    let change = assigned(&host, 2);
    assert!(host.leadership.changed(&change));
    let early = CursorCommit {
        term: Term::FIRST.next(),
        cursors: vec![Some(first - TimeDelta::hours(1))],
        reads: BTreeMap::new(),
    };
    host.leadership.keep(early.clone());
    assert_eq!(host.leadership.keep, None, "nothing is kept before the term has begun");
    host.leadership.holder = Some(crate::common::broker::Holder {
        generation: host.leadership.holder.as_ref().unwrap().generation - 2,
        ..host.leadership.holder.clone().unwrap()
    });
    for _ in 0..3 {
        host.step();
    }
    assert_eq!(host.leadership.term, Term::FIRST.next());
    host.leadership.keep(CursorCommit { term: Term::FIRST, ..early });
    host.pass(3);
    assert_eq!(host.committed().unwrap().offset, first.timestamp_millis(), "it would go back");
}

#[test]
fn what_was_published_by_a_clock_that_was_a_little_behind_is_found() {
    let mut host = Host::new(TimeDelta::zero());
    start_again(&mut host);
    let to = TopicPartition { topic: "c".to_owned(), partition: 0 };
    let (job, due) = ("job".parse().unwrap(), host.clock.now());
    let run = RunId::of(&job, due);
    let written = host.clock.now();
    let key = Some(run.to_string().into());
    let record = Record { key, value: None, timestamp_ms: written.timestamp_millis() };
    host.client.produce(&[ProduceBatch { to, records: vec![record] }], soon(&host.clock));
    // The producer that wrote it was so far behind the one that committed this cursor.
    let cursor = written + TimeDelta::seconds(59);
    host.clock.jump_to(cursor);
    host.leadership.keep(CursorCommit {
        term: Term::FIRST,
        cursors: vec![Some(cursor)],
        reads: BTreeMap::new(),
    });
    host.step();
    let start = start_again(&mut host);
    assert_eq!(start.cursor, cursor);
    assert!(start.published.runs.find(&job, due).is_some(), "its tick would be published twice");
}

#[test]
fn a_membership_that_is_lost_while_the_cursors_are_taken_over_is_no_leave_to_write() {
    let mut host = Host::new(TimeDelta::zero());
    let (standing, losing) = {
        let standing = Standing::new(host.clock.monotonic());
        (standing.clone(), standing)
    };
    host.leadership = Leadership::new(Options {
        clusters: vec!["c".parse().unwrap()],
        window: Duration::from_secs(3600),
        standing: standing.clone(),
    });
    standing.tell(Some(host.clock.monotonic()));
    let at = host.clock.monotonic();
    host.broker.faults().decide(Box::new(move |_, call| {
        if call == Call::Commit {
            losing.lose();
            losing.tell(Some(at));
        }
        None
    }));
    let effects = host.step();
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Begin { losses: 0, .. })), "{effects:?}");
    assert_eq!(standing.losses(), 1, "so the term may write nothing");
}

#[test]
fn a_cursor_outlives_the_topic_that_it_belongs_to() {
    let mut host = Host::new(TimeDelta::zero());
    assert!((0..3).any(|_| leads(&host.step())));
    let cursor = host.clock.now() - TimeDelta::seconds(30);
    let keep = CursorCommit { term: Term::FIRST, cursors: vec![Some(cursor)], reads: BTreeMap::new() };
    host.leadership.keep(keep);
    (0..2).for_each(|_| drop(host.step()));
    assert_eq!(host.committed().unwrap().offset, cursor.timestamp_millis());
    let spec = topics::all(&["c".parse().unwrap()], 1, 1).into_iter().find(|spec| spec.name == "c").unwrap();
    host.broker.faults().delete_topic("c");
    host.client.create_topic(&spec, soon(&host.clock)).unwrap();
    assert_eq!(host.committed(), None, "the broker has forgotten it with the topic");
    let start = start_again(&mut host);
    assert_eq!(
        (start.cursor, start.is_gap),
        (cursor, false),
        "ticks that were due since then would have no fate"
    );
}

#[test]
fn only_a_start_in_a_group_without_others_is_a_reboot_and_it_is_one_until_the_term_has_begun() {
    // Of each assignment: whether it has the partition, whether the group has no other member, whether no member was
    // assigned anything before, and how many generations it comes after the one before.
    let check = |assignments: &[(bool, bool, bool, i32)], expected: bool| {
        let (mut leadership, _) = fresh();
        let mut generation = 0;
        for (is_ours, alone, is_first, later) in assignments {
            generation += later;
            let of = TopicPartition { topic: LEADER.to_owned(), partition: 0 };
            let partitions = is_ours.then_some(of).into_iter().collect();
            let (group, member_id) = ("g".to_owned(), "m".to_owned());
            let holder = Holder { group, member_id, instance_id: None, generation };
            leadership.changed(&Change::Assigned { holder, partitions, alone: *alone, is_first: *is_first });
        }
        assert_eq!(leadership.owes_reboot(), expected, "{assignments:?}");
    };
    check(&[], false);
    check(&[(true, true, false, 1)], true);
    check(&[(true, false, false, 1)], false);
    // Alone and without the partition: its topic does not exist yet.
    check(&[(false, true, false, 1), (true, true, false, 1)], true);
    check(&[(false, false, false, 1), (true, true, false, 1)], false);
    check(&[(true, false, false, 1), (true, true, false, 1)], false);
    check(&[(true, false, false, 1), (true, false, false, 1)], false);
    // Whether another producer has led meanwhile, the cursors show.
    check(&[(true, true, false, 1), (true, false, false, 1)], true);
    check(&[(true, true, false, 1), (true, true, false, 2)], true);
    check(&[(true, true, false, 1), (true, false, false, 2)], true);
    check(&[(true, true, false, 1), (false, true, false, 1), (true, true, false, 1)], true);
    check(&[(true, true, false, 1), (false, false, false, 1), (true, true, false, 1)], true);
    // Two producers that start together are in one generation from the first.
    check(&[(true, false, true, 1)], true);
    check(&[(false, false, true, 1)], true);
    check(&[(false, false, true, 1), (true, false, false, 1)], true);
    check(&[(true, false, true, 1), (true, false, false, 1)], true);
    check(&[(false, true, true, 1), (true, false, true, 1)], true);
}

#[test]
fn a_message_is_the_run_that_its_key_names_whatever_its_value_says() {
    let mut host = Host::new(TimeDelta::zero());
    assert!(leads(&host.step()));
    let at = host.clock.now();
    let run = |name: &str| {
        let job = Job { cluster: "c".parse().unwrap(), ..job::sample(name, "* * * * * *") };
        job.run(at, "r")
    };
    let (honest, one, two) = (run("honest"), run("one"), run("two"));
    // Another program has written it: no tick of this instant has that id.
    let foreign = Run { scheduled_at: at + TimeDelta::minutes(6), ..run("foreign") };
    for (key, value) in [(&honest, &honest), (&one, &two), (&foreign, &foreign)] {
        let attempt =
            Attempt { run: Arc::new(value.clone()), attempt: 1, attempts_left: 0, not_before: None };
        let (key, value) = (Some(key.id.to_string().into()), Some(wire::encode(&attempt)));
        let record = Record { key, value, timestamp_ms: at.timestamp_millis() };
        let to = TopicPartition { topic: "c".to_owned(), partition: 0 };
        host.client.produce(&[ProduceBatch { to, records: vec![record] }], soon(&host.clock));
    }
    let start = start_again(&mut host);
    let runs = &start.published.runs;
    let found = [&honest, &one, &two, &foreign].map(|run| runs.find(&run.job, run.scheduled_at));
    assert_eq!(found, [Some((0, 0)), Some((0, 1)), None, None]);
    // Of the run of another key only the id is known.
    let instants = [&honest, &one, &two, &foreign].map(|run| runs.instants(&run.job).count());
    assert_eq!(instants, [1, 0, 0, 0]);
}
