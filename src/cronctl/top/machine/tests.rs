//! What follows from keys, looks and failures.

use super::*;
use crate::common::model::{Outcome, Then};
use crate::cronctl::top::messages::Told;
use crate::cronctl::top::sample::{at, claimed, cluster, finished, place, run_of};

fn options() -> Options {
    Options {
        brokers: "b:1".to_owned(),
        clusters: vec![cluster(), "d".parse().unwrap()],
        group: "cron-leader".to_owned(),
        window: TimeDelta::minutes(15),
        interval: "2s".to_owned(),
        has_file: false,
        is_live: true,
        is_once: false,
        filter: String::new(),
    }
}

/// A view of four runs that are over: of jobs `a` (the newest) to `d`.
fn machine() -> Machine {
    let mut machine = Machine::new(options());
    let runs = [("a", 64), ("b", 63), ("c", 62), ("d", 61)]
        .map(|(job, due)| Told::Event(finished(job, due, 1, Outcome::Succeeded, Then::Done), at(due)));
    machine.handle(Event::Told(runs.to_vec()), at(70));
    machine.handle(Event::Looked(Box::default()), at(70));
    machine
}

fn selected(machine: &Machine) -> Option<String> {
    let rows = machine.rows(at(70));
    machine.place(&rows).map(|place| rows[place].job.to_string())
}

fn press(machine: &mut Machine, keys: &[Key]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys {
        effects = machine.handle(Event::Key(*key), at(70));
    }
    effects
}

#[test]
fn keys_select_a_run() {
    let check = |keys: &[Key], expected: Option<&str>| {
        let mut machine = machine();
        press(&mut machine, keys);
        assert_eq!(selected(&machine).as_deref(), expected, "{keys:?}");
    };
    check(&[], None);
    check(&[Key::Down], Some("a"));
    check(&[Key::Down, Key::Down], Some("b"));
    check(&[Key::Down, Key::Down, Key::Up, Key::Up], Some("a"));
    check(&[Key::End], Some("d"));
    check(&[Key::End, Key::Down], Some("d"));
    check(&[Key::PageDown], Some("d"));
    check(&[Key::End, Key::PageUp], Some("a"));
    check(&[Key::End, Key::Home], Some("a"));
    check(&[Key::Char('!')], None);
    check(&[Key::End, Key::Char('!')], Some("d"));
    check(&[Key::End, Key::Esc], None);
    check(&[Key::End, Key::Esc, Key::Down], Some("a"));
    check(&[Key::End, Key::Char('/'), Key::Esc], Some("d"));
    check(&[Key::End, Key::Enter, Key::Esc], Some("d"));
}

#[test]
fn a_selected_run_stays_selected_when_others_come_and_gives_way_when_it_is_gone() {
    let mut machine = machine();
    press(&mut machine, &[Key::Down, Key::Down]);
    let newer = Told::Event(finished("e", 65, 1, Outcome::Succeeded, Then::Done), at(65));
    machine.handle(Event::Told(vec![newer]), at(70));
    assert_eq!(selected(&machine).as_deref(), Some("b"));
    press(&mut machine, &[Key::Down, Key::Down, Key::Char('/'), Key::Char('b'), Key::Enter]);
    assert_eq!(selected(&machine).as_deref(), Some("b"), "the only one that is listed");
    machine.rule.text = "nothing".to_owned();
    assert_eq!(selected(&machine), None);
}

#[test]
fn ctrl_z_stops_the_program_wherever_the_view_is_and_the_picture_is_drawn_anew_when_it_goes_on() {
    let suspended = [Effect::Suspend, Effect::Repaint];
    for before in [&[][..], &[Key::Char('/')], &[Key::Enter]] {
        let mut machine = machine();
        press(&mut machine, before);
        assert_eq!(press(&mut machine, &[Key::Suspend]), suspended, "{before:?}");
        assert_eq!(press(&mut machine, &[Key::Repaint]), [Effect::Repaint], "{before:?}");
    }
}

#[test]
fn keys_end_the_view() {
    let check = |keys: &[Key], ends: bool| {
        let effects = press(&mut machine(), keys);
        assert_eq!(effects.contains(&Effect::Quit(Exit::Done)), ends, "{keys:?}: {effects:?}");
    };
    check(&[Key::Char('q')], true);
    check(&[Key::Esc], true);
    check(&[Key::Interrupt], true);
    check(&[Key::Char('x')], false);
    // A filter may have a q in it, and Esc ends the filter first.
    check(&[Key::Char('/'), Key::Char('q')], false);
    check(&[Key::Char('/'), Key::Esc], false);
    check(&[Key::Char('/'), Key::Esc, Key::Esc], true);
    check(&[Key::Char('/'), Key::Interrupt], true);
    // So does a run that is open.
    check(&[Key::Enter, Key::Esc], false);
    check(&[Key::Enter, Key::Esc, Key::Esc], false);
    // And a run that is selected.
    check(&[Key::Down, Key::Esc], false);
    check(&[Key::Down, Key::Esc, Key::Esc], true);
    check(&[Key::Enter, Key::Esc, Key::Esc, Key::Esc], true);
    check(&[Key::Down, Key::Char('/'), Key::Esc, Key::Esc], false);
    check(&[Key::Down, Key::Char('q')], true);
    check(&[Key::Enter, Key::Char('q')], true);
    check(&[Key::Enter, Key::Interrupt], true);
}

#[test]
fn a_signal_ends_the_view() {
    assert_eq!(machine().handle(Event::Stop(Exit::Done), at(0)), [Effect::Quit(Exit::Done)]);
    assert_eq!(machine().handle(Event::Stop(Exit::System), at(0)), [Effect::Quit(Exit::System)]);
}

#[test]
fn keys_choose_which_runs_are_listed() {
    let check = |keys: &[Key], text: &str, cluster: Option<&str>, show: Show, is_typing: bool| {
        let mut machine = machine();
        press(&mut machine, keys);
        let found = machine.rule.cluster.as_ref().map(ClusterName::as_str);
        let rule = (machine.rule.text.as_str(), found, machine.rule.show, machine.is_typing);
        assert_eq!(rule, (text, cluster, show, is_typing), "{keys:?}");
    };
    let (slash, c, s) = (Key::Char('/'), Key::Char('c'), Key::Char('s'));
    check(&[slash, c, s], "cs", None, Show::All, true);
    check(&[slash, c, s, Key::Backspace, Key::Enter], "c", None, Show::All, false);
    check(&[slash, c, Key::Enter, slash, s], "cs", None, Show::All, true);
    check(&[slash, c, Key::Esc], "", None, Show::All, false);
    check(&[slash, Key::Backspace, Key::Down], "", None, Show::All, true);
    check(&[c], "", Some("c"), Show::All, false);
    check(&[c, c], "", Some("d"), Show::All, false);
    check(&[c, c, c], "", None, Show::All, false);
    check(&[s, s, s], "", None, Show::Failing, false);
    check(&[s, s, s, s, s], "", None, Show::All, false);
    check(&[slash, s, Key::Enter, c, s, Key::Char('x')], "", None, Show::All, false);
    let many = [&[slash][..], &[c; 2 * FILTER], &[Key::Enter]].concat();
    check(&many, &"c".repeat(FILTER), None, Show::All, false);
}

#[test]
fn a_run_that_is_open_is_read_again_until_it_is_over() {
    let mut machine = machine();
    let run = run_of("long", 65);
    let long = |event| vec![Told::Event(event, at(66))];
    machine.handle(Event::Told(long(claimed("long", 65, 1))), at(70));
    // Its message has not been read, so its instant is not known.
    assert_eq!(press(&mut machine, &[Key::Enter]), [Effect::Open(run, None), Effect::Draw]);
    let look = |machine: &mut Machine| machine.handle(Event::Looked(Box::default()), at(70));
    let again = Effect::Open(run, None);
    assert!(!look(&mut machine).contains(&again), "the answer is awaited");
    machine.handle(Event::Detail(run, Ok(vec!["one".to_owned()])), at(70));
    assert!(look(&mut machine).contains(&again));
    machine.handle(Event::Detail(run, Err("away".to_owned())), at(70));
    let lines = machine.detail.as_ref().unwrap().lines.clone();
    assert_eq!(lines, Some(Ok(vec!["one".to_owned()])), "what was known stays");
    assert!(look(&mut machine).contains(&again));
    machine.handle(Event::Told(long(finished("long", 65, 1, Outcome::Succeeded, Then::Done))), at(70));
    machine.handle(Event::Detail(run, Ok(vec!["one".to_owned(), "two".to_owned()])), at(70));
    assert!(!look(&mut machine).contains(&again), "it is over");
    let above = |machine: &Machine| machine.detail.as_ref().unwrap().above;
    for (key, expected) in [(Key::Up, 0), (Key::Down, 1), (Key::Down, 1), (Key::Home, 0), (Key::End, 1)] {
        press(&mut machine, &[key]);
        assert_eq!(above(&machine), expected, "{key:?}");
    }
    // An answer that comes late is about a run that is not open any more.
    press(&mut machine, &[Key::Esc]);
    machine.handle(Event::Detail(run, Ok(Vec::new())), at(70));
    assert_eq!(machine.detail, None);
}

#[test]
fn a_run_is_read_about_since_it_was_due() {
    let mut machine = machine();
    press(&mut machine, &[Key::Down]);
    let since = at(64) - BEFORE_DUE;
    let effects = press(&mut machine, &[Key::Enter]);
    assert_eq!(effects, [Effect::Open(run_of("a", 64), Some(since)), Effect::Draw]);
    let mut empty = Machine::new(options());
    assert_eq!(press(&mut empty, &[Key::Enter]), [], "there is none to open");
}

fn away(error: &str) -> Event {
    Event::Failed(Failure { error: error.to_owned(), cure: "wait".to_owned(), is_refusal: false })
}

#[test]
fn kafka_is_away_since_the_first_failure_until_it_is_back() {
    let mut machine = machine();
    let complaint = |error: &str| Effect::Complain(format!("{error} (wait)"));
    assert_eq!(machine.handle(away("x"), at(80)), [complaint("x"), Effect::Draw]);
    assert_eq!(machine.handle(away("y"), at(90)), [complaint("y"), Effect::Draw]);
    assert!(matches!(&machine.kafka, Kafka::Away(since, why) if *since == at(80) && why.error == "y"));
    assert_eq!(machine.rows(at(90)).len(), 4, "what was known stays");
    machine.handle(Event::Looked(Box::default()), at(100));
    assert_eq!((machine.kafka.clone(), machine.judged(at(200))), (Kafka::Answers, at(100)));
    machine.handle(away("z"), at(110));
    assert!(matches!(machine.kafka, Kafka::Away(since, _) if since == at(110)));
}

#[test]
fn one_snapshot_ends_the_view_and_kafka_that_is_away_ends_it_otherwise() {
    let once = || Machine::new(Options { is_once: true, is_live: false, ..options() });
    let done = [Effect::Draw, Effect::Snapshot, Effect::Quit(Exit::Done)];
    assert_eq!(once().handle(Event::Looked(Box::default()), at(70)), done);
    let failed = once().handle(away("x"), at(70));
    assert_eq!(failed, [Effect::Complain("x (wait)".to_owned()), Effect::Quit(Exit::Kafka)]);
}

#[test]
fn one_snapshot_waits_for_the_names_of_jobs_that_began_before_the_window() {
    let mut machine = Machine::new(Options { is_once: true, is_live: false, ..options() });
    let attempt = crate::common::model::AttemptRef { run: run_of("long", 5), attempt: 1 };
    let running = vec![crate::common::model::RunningAttempt { attempt, place: place() }];
    let consumer = "one".to_owned();
    let alive = crate::common::model::Event::Alive { consumer, lease_ms: 60_000, running, at: at(60) };
    machine.handle(Event::Told(vec![Told::Event(alive, at(60))]), at(70));
    let look = |machine: &mut Machine| machine.handle(Event::Looked(Box::default()), at(70));
    assert_eq!(look(&mut machine), [Effect::Find(vec![(attempt.run, place())])]);
    let found = Told::Found(attempt.run, Some(crate::cronctl::top::sample::message("long", 5)));
    machine.handle(Event::Told(vec![found]), at(70));
    assert_eq!(look(&mut machine).last(), Some(&Effect::Quit(Exit::Done)));
    let rows = machine.rows(at(70));
    assert_eq!((rows[0].job.as_str(), rows[0].words.as_str()), ("long", "running"));
}
