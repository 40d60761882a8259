//! The view as a terminal shows it, in several sizes.

use chrono::TimeDelta;
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;

use super::*;
use crate::common::model::{Event as Record, Outcome, Then};
use crate::cronctl::top::machine::{Machine, Options};
use crate::cronctl::top::messages::{Event, Failure, Key, Look, Standing, Told};
use crate::cronctl::top::plain;
use crate::cronctl::top::sample::{at, claimed, cluster, finished, message, queued, run_of};

/// A view in which something of everything is to be seen, at second 100.
fn machine() -> Machine {
    let mut machine = Machine::new(Options {
        brokers: "localhost:9092".to_owned(),
        clusters: vec![cluster(), "another".parse().unwrap()],
        group: "cron-leader".to_owned(),
        window: TimeDelta::minutes(15),
        interval: "2s".to_owned(),
        has_file: true,
        is_live: true,
        is_once: false,
        filter: String::new(),
    });
    let beat = Record::Beat { leader: "lead-1".to_owned(), number: 7, at: at(99) };
    let event = |record: Record, second: i64| Told::Event(record, at(second));
    let told = vec![
        event(beat, 99),
        Told::Message(message("long", 60)),
        event(claimed("long", 60, 1), 61),
        Told::Message(message("late", 70)),
        event(finished("quick", 90, 1, Outcome::Succeeded, Then::Done), 92),
        event(finished("bad", 91, 1, Outcome::Failed { code: 3 }, Then::Dead), 93),
        event(queued("held", 95), 95),
    ];
    machine.handle(Event::Told(told), at(100));
    let standing = Standing {
        lag: 1,
        retry_lag: 2,
        letters: 3,
        is_missing: false,
        next: Some((at(120), "quick".parse().unwrap())),
    };
    let look = Look { clusters: [(cluster(), standing)].into(), file_trouble: None };
    machine.handle(Event::Looked(Box::new(look)), at(100));
    machine
}

fn screen(machine: &Machine, width: u16, height: u16, has_colours: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let picture = Picture::of(machine, at(100));
    terminal.draw(|frame| draw(&picture, frame.area(), has_colours, frame.buffer_mut())).unwrap();
    terminal
}

fn lines(machine: &Machine, width: u16, height: u16) -> Vec<String> {
    let terminal = screen(machine, width, height, true);
    let cells = terminal.backend().buffer();
    let line = |y: u16| -> String { (0..width).map(|x| cells[(x, y)].symbol()).collect() };
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn everything_has_its_place_in_a_terminal_of_the_usual_size() {
    let expected = "\
cronctl top  1970-01-01T00:01:40Z  localhost:9092  the last 15m, every 2s
lead-1 leads, no standby
CLUSTER  RUNNING     LATE  FAILING  HELD  LAG  RETRIES  LETTERS  DUE NEXT
c              1  1 (30s)        1     1    1        2        3  00:02:00 quick
another        0        0        0     0    -        -        -  nothing

CONSUMER  RUNNING     HEARD  TOPIC
one             1  7.0s ago  c

5 runs
DUE       LATE  TRIES  TOOK  JOB    STATE                           CONSUMER
00:01:10   30s      0     -  late   waiting                         -
00:01:35  5.0s      0     -  held   queued                          -
00:01:00     -      1     -  long   running                         one
00:01:31   0ms      1  2.0s  bad    given up: failed (exit code 3)  one
00:01:30   0ms      1  2.0s  quick  succeeded                       one







q quit  / filter  c cluster  s state  x all  Up/Down select  Enter open";
    let found = lines(&machine(), 80, 24).join("\n");
    assert_eq!(found, expected, "\n{found}");
}

#[test]
fn a_wide_terminal_shows_more_and_a_narrow_one_what_matters() {
    let found = lines(&machine(), 160, 24).join("\n");
    assert!(found.contains(&run_of("long", 60).to_string()), "{found}");
    assert!(found.contains("0  00:02:00 quick") && found.contains("MISSED"), "{found}");
    let found = lines(&machine(), 60, 24).join("\n");
    assert!(found.contains("LETTERS") && !found.contains("MISSED") && found.contains("given up"), "{found}");
    let found = lines(&machine(), 30, 24).join("\n");
    assert!(found.contains("lead-1") && found.contains("long"), "{found}");
}

#[test]
fn a_long_name_of_a_job_takes_no_column_away() {
    let name = format!("{}-end", "long-".repeat(22));
    let mut machine = machine();
    let record = finished(&name, 94, 1, Outcome::Failed { code: 3 }, Then::Dead);
    machine.handle(Event::Told(vec![Told::Event(record, at(94))]), at(100));
    let line = |machine: &Machine, width: u16| {
        let lines = lines(machine, width, 24);
        let runs = lines.iter().position(|line| line.starts_with("DUE ")).unwrap();
        let row = lines[runs..].iter().find(|line| line.contains("long-long-")).unwrap();
        assert!(lines.iter().all(|line| line.chars().count() <= usize::from(width)), "{lines:?}");
        (lines[runs].clone(), row.clone())
    };
    let run = run_of(&name, 94).to_string();
    // How much of the name is shown, with `…`; none: all of it.
    let check = |width: u16, headings: &[&str], parts: &[&str], shown: Option<usize>| {
        let (heading, row) = line(&machine, width);
        assert_eq!(heading.split_whitespace().collect::<Vec<_>>(), headings, "{width}: {heading}");
        assert!(parts.iter().all(|part| row.contains(part)), "{width}: {row}");
        let word = row.split_whitespace().find(|word| word.contains("long-long-")).unwrap().to_owned();
        let expected = shown.map_or_else(|| name.clone(), |count| format!("{}…", &name[..count - 1]));
        assert_eq!(word, expected, "{width}: {row}");
    };
    let most = ["DUE", "LATE", "TRIES", "TOOK", "JOB", "STATE"];
    let with = |more: &[&'static str]| [&most[..], more].concat();
    check(80, &most, &["given up: failed"], Some(32));
    check(100, &most, &["given up: failed (exit code 3)"], Some(39));
    check(110, &with(&["CONSUMER"]), &["given up: failed (exit code 3)  one"], Some(39));
    check(150, &with(&["CONSUMER", "RUN"]), &["given up: failed (exit code 3)", &run], Some(41));
    check(300, &with(&["CONSUMER", "RUN"]), &[&run], None);
    check(60, &["DUE", "JOB", "STATE"], &["given up: failed"], Some(32));
    check(40, &["DUE", "JOB", "STATE"], &["given up:"], Some(14));
}

#[test]
fn no_size_is_too_small() {
    let mut machine = machine();
    for keys in [&[][..], &[Key::Down], &[Key::End], &[Key::Enter]] {
        keys.iter().for_each(|key| drop(machine.handle(Event::Key(*key), at(100))));
        for width in [0, 1, 2, 5, 9, 10, 20, 80, 300] {
            for height in [0, 1, 2, 3, 4, 6, 9, 12, 24, 80] {
                let found = lines(&machine, width, height);
                assert_eq!(found.len(), usize::from(height));
                // The first line is there in any case.
                assert!(
                    width < 9 || height == 0 || found[0].starts_with("cronctl"),
                    "{width}x{height}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn the_selected_run_is_always_to_be_seen() {
    let mut machine = machine();
    let many = (0..200)
        .map(|second| Told::Event(finished("many", second - 300, 1, Outcome::Succeeded, Then::Done), at(90)));
    machine.handle(Event::Told(many.collect()), at(100));
    let reversed = |machine: &Machine, height: u16| -> Option<String> {
        let terminal = screen(machine, 80, height, false);
        let cells = terminal.backend().buffer();
        let is_reversed = |y: &u16| cells[(0, *y)].modifier.contains(Modifier::REVERSED);
        // The last line, with the keys, is reversed, too.
        (0..height - 1).find(is_reversed).map(|y| (0..80).map(|x| cells[(x, y)].symbol()).collect())
    };
    assert_eq!(reversed(&machine, 24), None);
    for (keys, expected) in [(vec![Key::Down; 3], "00:01:00"), (vec![Key::End], "1969-12-31 23:55:00")] {
        keys.iter().for_each(|key| drop(machine.handle(Event::Key(*key), at(100))));
        for height in [14, 24, 50] {
            let line = reversed(&machine, height).unwrap_or_default();
            assert!(line.starts_with(expected), "{height}: {line}");
        }
    }
}

#[test]
fn the_last_line_says_what_the_keys_do_now() {
    let mut machine = machine();
    let help = |machine: &Machine| lines(machine, 80, 24)[23].clone();
    let usual = "q quit  / filter  c cluster  s state  x all  Up/Down select  Enter open";
    assert_eq!(help(&machine), usual);
    machine.handle(Event::Key(Key::Down), at(100));
    let selected = "q quit  / filter  c cluster  s state  x all  Enter open  Esc deselect";
    assert_eq!(help(&machine), selected);
    machine.handle(Event::Key(Key::Enter), at(100));
    assert_eq!(help(&machine), "Esc back  Up/Down/PgUp/PgDn scroll  q quit");
    [Key::Esc, Key::Esc].into_iter().for_each(|key| drop(machine.handle(Event::Key(key), at(100))));
    assert_eq!(help(&machine), usual);
}

#[test]
fn a_run_that_is_open_takes_the_place_of_the_tables_and_its_lines_are_wrapped() {
    let mut machine = machine();
    let press = |machine: &mut Machine, key: Key| drop(machine.handle(Event::Key(key), at(100)));
    [Key::End, Key::Enter].into_iter().for_each(|key| press(&mut machine, key));
    assert_eq!(lines(&machine, 80, 24)[2], "reading what the topics hold about it");
    let told = vec!["0123456789ab漢字".to_owned(), "\x1b[2J\tend".to_owned()];
    machine.handle(Event::Detail(run_of("quick", 90), Ok(told)), at(100));
    let found = lines(&machine, 13, 9);
    assert_eq!(found[2..6], ["0123456789ab", "漢 字", "\\u{1b}[2J", "end"], "{found:?}");
    press(&mut machine, Key::Down);
    assert_eq!(lines(&machine, 80, 9)[2..4], ["\\u{1b}[2J    end", ""]);
    machine.handle(Event::Detail(run_of("quick", 90), Err("away".to_owned())), at(100));
    assert_eq!(lines(&machine, 80, 9)[2], "\\u{1b}[2J    end");
    press(&mut machine, Key::Esc);
    assert!(lines(&machine, 80, 24)[2].starts_with("CLUSTER"));
}

#[test]
fn kafka_that_is_away_is_the_first_thing_that_is_said() {
    let mut machine = machine();
    let failure = Failure {
        error: "not sent: refused".to_owned(),
        cure: "see that the brokers run".to_owned(),
        is_refusal: false,
    };
    machine.handle(Event::Failed(failure.clone()), at(90));
    let line = "Kafka is away since 1970-01-01T00:01:30Z (10s); what follows is from before: not sent: refused (see that the \
                brokers run)";
    assert_eq!(lines(&machine, 160, 24)[1], line);
    let narrow = lines(&machine, 80, 24);
    assert_eq!(narrow[1..3].join(" "), line, "in two lines where it does not fit into one");
    assert!(narrow[3].starts_with("lead-1 leads") && narrow.join("\n").contains("succeeded"), "{narrow:?}");
    assert!(plain::lines(&Picture::of(&machine, at(100))).contains(&line.to_owned()));
    // Also while a run is open.
    machine.handle(Event::Key(Key::Enter), at(100));
    assert!(lines(&machine, 160, 24)[1].starts_with("Kafka is away"));
    machine.handle(Event::Key(Key::Esc), at(100));
    machine.handle(Event::Failed(Failure { is_refusal: true, ..failure }), at(95));
    assert!(lines(&machine, 160, 24)[1].starts_with("Kafka refuses since 1970-01-01T00:01:30Z"));
    machine.handle(Event::Looked(Box::default()), at(100));
    assert!(lines(&machine, 160, 24)[1].starts_with("lead-1 leads"));
}

#[test]
fn what_is_unknown_yet_is_said() {
    let machine = Machine::new(machine().options);
    let found = lines(&machine, 80, 24);
    assert_eq!(found[1..3], ["reading: 0 records so far", "leader: not known yet"]);
    let mut machine = machine;
    let unknown = |machine: &Machine, away: &str| {
        let found = lines(machine, 110, 24);
        let rest: Vec<&str> = found[3..].iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
        assert_eq!(found[1..3], [away, "leader: not known yet"]);
        assert_eq!(
            rest[1..3].iter().map(|line| line.split_whitespace().skip(1).collect()).collect::<Vec<String>>(),
            ["---------"; 2]
        );
        assert_eq!(rest[4], "runs: not known yet");
    };
    unknown(&machine, "reading: 0 records so far");
    let failure = Failure { error: "refused".to_owned(), cure: String::new(), is_refusal: false };
    machine.handle(Event::Failed(failure), at(90));
    let away = "Kafka is away since 1970-01-01T00:01:30Z (10s); what it holds is not known yet: refused";
    unknown(&machine, away);
    // What was read of a part says nothing about the rest.
    let beat = Record::Beat { leader: "lead-1".to_owned(), number: 7, at: at(9) };
    let told = vec![Told::Event(beat, at(9)), Told::Event(claimed("long", 10, 1), at(10))];
    machine.handle(Event::Told(told), at(100));
    let found = lines(&machine, 110, 24).join("\n");
    assert!(found.contains("leader: not known yet") && found.contains("1 run so far"), "{found}");
    machine.handle(Event::Looked(Box::default()), at(100));
    let found = lines(&machine, 110, 24).join("\n");
    assert!(found.contains("lead-1 leads, and gave its last sign of life 91s ago"), "{found}");
    assert!(found.contains("1 (1 silent)") && !found.contains("so far"), "{found}");
    let mut machine = Machine::new(machine.options);
    machine.options.has_file = false;
    assert!(lines(&machine, 110, 24).join("\n").contains("- (give the job file)"));
    machine.handle(Event::Looked(Box::default()), at(100));
    assert_eq!(lines(&machine, 80, 24)[1], "no producer leads, no standby");
}

#[test]
fn what_is_silent_or_late_is_so_by_what_kafka_said_last() {
    let mut machine = machine();
    let standby = Record::Standby {
        producer: "other".to_owned(),
        group: "cron-leader".to_owned(),
        revision: String::new(),
        tzdata: None,
        at: at(99),
    };
    let told = vec![Told::Event(standby, at(99)), Told::Message(message("due", 95))];
    machine.handle(Event::Told(told), at(100));
    let failure = Failure { error: "refused".to_owned(), cure: String::new(), is_refusal: false };
    let mut check = |event: Option<Event>, silent: bool| {
        event.into_iter().for_each(|event| drop(machine.handle(event, at(400))));
        let found = plain::lines(&Picture::of(&machine, at(400))).join("\n");
        assert_eq!(found.contains("1 (1 silent)"), silent, "{found}");
        assert_eq!(found.contains(" silent  "), silent, "{found}");
        let late = if silent { "2 (5m30s)" } else { "1 (5m30s)" };
        assert!(found.contains(late), "{found}");
        let leads = if silent {
            "lead-1 leads, and gave its last sign of life 5m1s ago, no standby"
        } else {
            "lead-1 leads, 1 standby"
        };
        assert!(found.contains(leads), "{found}");
        // The keys see the same list.
        machine.rule.show = crate::cronctl::top::listed::Show::Failing;
        let failing = plain::lines(&Picture::of(&machine, at(400))).join("\n");
        assert_eq!(failing.contains("2 runs, failing"), silent, "{failing}");
        machine.rule.show = crate::cronctl::top::listed::Show::All;
    };
    // It does not answer, and no call has failed yet.
    check(None, false);
    check(Some(Event::Failed(failure)), false);
    check(Some(Event::Looked(Box::default())), true);
}

#[test]
fn without_colours_there_are_none_and_what_matters_is_bold() {
    for has_colours in [true, false] {
        let terminal = screen(&machine(), 80, 24, has_colours);
        let cells = &terminal.backend().buffer().content;
        let is_coloured = cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(is_coloured, has_colours);
        // The count of letters.
        let three = &terminal.backend().buffer()[(62, 3)];
        assert_eq!((three.symbol(), three.modifier.contains(Modifier::BOLD)), ("3", true));
    }
}

#[test]
fn the_filter_that_is_typed_is_shown() {
    let mut machine = machine();
    for key in [Key::Char('/'), Key::Char('l'), Key::Char('a')] {
        machine.handle(Event::Key(key), at(100));
    }
    let found = lines(&machine, 80, 24);
    assert!(found[23].starts_with("filter: la_"), "{found:?}");
    assert!(found.contains(&"1 run, with `la`".to_owned()), "{found:?}");
}

#[test]
fn plain_lines_say_the_same_with_whole_instants() {
    let mut machine = machine();
    machine.options.is_live = false;
    let found = plain::lines(&Picture::of(&machine, at(100)));
    let has = |parts: &[&str]| found.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(has(&["lead-1 leads"]) && has(&["DUE", "LATE", "TRIES", "JOB", "RUN"]), "{found:?}");
    let run = run_of("long", 60).to_string();
    assert!(has(&["1970-01-01T00:01:00Z", "long", "running", "one", &run]), "{found:?}");
    assert!(has(&["5 runs"]) && !has(&["more"]), "{found:?}");
    let many = (0..50)
        .map(|second| Told::Event(finished("many", second, 1, Outcome::Succeeded, Then::Done), at(90)));
    machine.handle(Event::Told(many.collect()), at(100));
    let found = plain::lines(&Picture::of(&machine, at(100)));
    assert_eq!(found.last().map(String::as_str), Some("and 15 more"));
}
