//! What is kept of what was read, and how much of it.

use super::*;
use crate::common::model::{AttemptRef, MissedReason, Outcome, Then};
use crate::cronctl::runs::entry::Entry;
use crate::cronctl::top::figures::count;
use crate::cronctl::top::sample::{at, claimed, cluster, finished, job_of, message, place, queued, run_of};

const WINDOW: TimeDelta = TimeDelta::seconds(100);

fn board() -> Board {
    Board::new(vec![cluster()])
}

fn alive(consumer: &str, runs: &[(&str, i64)]) -> Event {
    let running = runs.iter().map(|(job, due)| RunningAttempt {
        attempt: AttemptRef { run: run_of(job, *due), attempt: 2 },
        place: place(),
    });
    Event::Alive { consumer: consumer.to_owned(), lease_ms: 60_000, running: running.collect(), at: at(0) }
}

fn beat(leader: &str, number: u64) -> Event {
    Event::Beat { leader: leader.to_owned(), number, at: at(0) }
}

fn take(board: &mut Board, event: Event, second: i64) {
    board.take(&Told::Event(event, at(second)));
}

#[test]
fn an_attempt_that_began_before_the_window_is_looked_for_and_then_known() {
    let mut board = board();
    take(&mut board, alive("one", &[("long", 5)]), 500);
    let wanted = vec![(run_of("long", 5), place())];
    assert_eq!(board.wanted(), wanted);
    assert_eq!(board.wanted(), [], "it is asked for once");
    take(&mut board, alive("one", &[("long", 5)]), 520);
    assert_eq!(board.wanted(), wanted, "the answer did not come");
    board.take(&Told::Found(run_of("long", 5), Some(message("long", 5))));
    let entry = |board: &Board| board.runs.get(run_of("long", 5)).map(|entry| Entry::clone(&entry));
    let known = entry(&board).unwrap();
    assert_eq!(
        (known.word(), known.scheduled_at, known.detail.worker()),
        ("running", Some(at(5)), Some("one"))
    );
    take(&mut board, alive("one", &[("long", 5)]), 540);
    assert_eq!(board.wanted(), [], "it is known");
    assert_eq!(entry(&board).unwrap().detail.quiet_since(), Some(at(600)), "and its lease goes on");
}

#[test]
fn an_attempt_whose_message_is_gone_or_that_has_ended_meanwhile_is_not_made_up() {
    let mut board = board();
    take(&mut board, alive("one", &[("gone", 5), ("ended", 5)]), 500);
    assert_eq!(board.wanted().len(), 2);
    board.take(&Told::Found(run_of("gone", 5), None));
    take(&mut board, finished("ended", 5, 2, Outcome::Succeeded, Then::Done), 510);
    board.take(&Told::Found(run_of("ended", 5), Some(message("ended", 5))));
    assert!(board.runs.get(run_of("gone", 5)).is_none());
    assert_eq!(board.runs.get(run_of("ended", 5)).unwrap().word(), "succeeded");
}

#[test]
fn what_is_over_is_forgotten_after_the_window_and_what_is_under_way_is_not() {
    let mut board = board();
    take(&mut board, claimed("long", 10, 1), 10);
    take(&mut board, queued("held", 10), 10);
    take(&mut board, finished("quick", 10, 1, Outcome::Succeeded, Then::Done), 12);
    take(&mut board, finished("bad", 10, 1, Outcome::TimedOut, Then::Dead), 12);
    let mut check = |now: i64, expected: &[&str]| {
        board.looked(Look::default(), at(now), WINDOW);
        let mut jobs: Vec<String> = board.runs.entries().map(|entry| entry.job.to_string()).collect();
        jobs.sort();
        assert_eq!(jobs, expected, "{now}");
    };
    check(112, &["bad", "held", "long", "quick"]);
    check(113, &["held", "long"]);
}

#[test]
fn a_tick_that_waited_is_held_until_it_is_missed() {
    let mut board = board();
    take(&mut board, queued("gone", 30), 30);
    take(&mut board, queued("held", 30), 30);
    let (from, to) = (at(30), at(30));
    let reason = MissedReason::Removed;
    let missed =
        Event::Missed { job: job_of("gone"), cluster: cluster(), from, to, count: 1, reason, at: to };
    take(&mut board, missed, 40);
    let held = |board: &Board| count(board.runs.entries(), at(50))[&cluster()].held;
    assert_eq!(held(&board), 1);
    assert_eq!(board.runs.get(run_of("gone", 30)).unwrap().word(), "missed");
    board.looked(Look::default(), at(131), WINDOW);
    assert_eq!((held(&board), board.runs.len()), (1, 1), "and then it is forgotten");
}

#[test]
fn memory_is_bounded_and_what_is_over_goes_first() {
    let mut board = board();
    let many = i64::try_from(RUNS * 3).unwrap();
    take(&mut board, claimed("long", 1, 1), 1);
    for second in 2..many {
        take(&mut board, finished("quick", second, 1, Outcome::Succeeded, Then::Done), second);
    }
    assert!(board.runs.len() <= RUNS + RUNS / 8 + 1, "{}", board.runs.len());
    assert!(board.runs.get(run_of("long", 1)).is_some() && !board.is_cut);
    for second in 0..many {
        board.take(&Told::Message(message("waits", second)));
        take(&mut board, alive(&format!("consumer-{second}"), &[("unknown", second)]), second);
        take(&mut board, beat(&format!("leader-{second}"), 1), second);
    }
    board.looked(Look::default(), at(many), TimeDelta::days(1));
    assert_eq!((board.runs.len(), board.is_cut), (RUNS, true));
    assert!(board.consumers.len() <= PROGRAMS && board.leaders.len() <= PROGRAMS);
    assert!(board.wanted().len() <= WANTED);
}

#[test]
fn the_producer_that_leads_is_the_one_whose_beat_is_the_newest() {
    let check = |beats: &[(&str, u64, i64)], expected: Option<(&str, i64, usize)>| {
        let mut board = board();
        for (leader, number, second) in beats {
            take(&mut board, beat(leader, *number), *second);
        }
        let found = board.leader().map(|(name, beats, others)| (name, beats.last.timestamp(), others));
        assert_eq!(found, expected, "{beats:?}");
    };
    check(&[], None);
    // A first beat is also written by a producer that is about to lead.
    check(&[("a", 0, 10)], None);
    check(&[("a", 1, 10), ("a", 2, 20)], Some(("a", 20, 0)));
    check(&[("a", 1, 10), ("a", 2, 20), ("b", 1, 25)], Some(("b", 25, 0)));
    // A second fleet on the same Kafka.
    check(&[("a", 1, 10), ("b", 1, 15), ("a", 2, 20), ("b", 2, 25)], Some(("b", 25, 1)));
}

#[test]
fn a_leader_of_another_fleet_is_not_ours_where_the_window_tells() {
    let revision = |leader: &str, cluster: &str| Event::Revision {
        cluster: cluster.parse().unwrap(),
        revision: format!("of-{leader}"),
        tzdata: None,
        leader: leader.to_owned(),
        from: at(0),
        at: at(0),
    };
    let mut board = board();
    for (event, second) in [(beat("a", 1), 10), (beat("b", 1), 11), (beat("a", 2), 20), (beat("b", 2), 21)] {
        take(&mut board, event, second);
    }
    take(&mut board, revision("b", "theirs"), 22);
    assert_eq!(board.leader().map(|(name, _, others)| (name, others)), Some(("b", 1)));
    take(&mut board, revision("a", "c"), 22);
    assert_eq!(board.leader().map(|(name, _, others)| (name, others)), Some(("a", 0)));
    assert_eq!(board.revision.as_deref(), Some("of-a"));
    // It gives way to the next one of ours.
    take(&mut board, beat("d", 1), 30);
    take(&mut board, revision("d", "c"), 31);
    assert_eq!(board.leader().map(|(name, _, others)| (name, others)), Some(("d", 0)));
}

#[test]
fn programs_are_forgotten_some_time_after_they_were_last_heard_of() {
    let mut board = board();
    take(&mut board, alive("one", &[]), 100);
    take(&mut board, claimed("j", 100, 1), 100);
    take(&mut board, beat("a", 1), 100);
    let standby = Event::Standby {
        producer: "b".to_owned(),
        group: String::new(),
        revision: String::new(),
        tzdata: None,
        at: at(0),
    };
    take(&mut board, standby, 100);
    let elsewhere = Event::Standby {
        producer: "c".to_owned(),
        group: "of another fleet".to_owned(),
        revision: String::new(),
        tzdata: None,
        at: at(0),
    };
    take(&mut board, elsewhere, 100);
    assert_eq!(board.consumers["one"].topic.as_deref(), Some("c"));
    let mut check = |now: i64, count: usize| {
        board.looked(Look::default(), at(now), WINDOW);
        let counts = (board.consumers.len(), board.leaders.len(), board.standbys.len());
        assert_eq!(counts, (count, count, count), "{now}");
    };
    check(700, 1);
    check(701, 0);
}

#[test]
fn other_clusters_are_left_out() {
    let mut board = Board::new(vec!["d".parse().unwrap()]);
    take(&mut board, claimed("j", 100, 1), 100);
    take(&mut board, alive("one", &[("j", 100)]), 100);
    take(&mut board, queued("j", 100), 100);
    assert!(board.runs.is_empty() && board.consumers.is_empty() && board.wanted().is_empty());
}

#[test]
fn the_newest_troubles_of_the_window_are_kept() {
    let mut board = board();
    let missed = |second: i64| Event::Missed {
        job: job_of("j"),
        cluster: cluster(),
        from: at(second),
        to: at(second),
        count: 2,
        reason: MissedReason::Window,
        at: at(second),
    };
    (1..=5).for_each(|second| take(&mut board, missed(second), second));
    let unread = Event::DeletedUnread { place: place(), next_offset: 7, at: at(6) };
    take(&mut board, unread, 6);
    let odd = Event::Unreadable { place: place(), last_offset: 0, reason: "\x1b[2J".to_owned(), at: at(7) };
    take(&mut board, odd, 7);
    let troubles: Vec<&str> = board.troubles.iter().map(|(_, what)| what.as_str()).collect();
    let expected = [
        "c: 2 ticks of j missed (window)",
        "c/0 offset 0: 7 messages were deleted unread",
        "c/0 offset 0: a message cannot be read: \\u{1b}[2J",
    ];
    assert_eq!(troubles, expected);
    assert_eq!(board.missed(&cluster()), 10);
    board.looked(Look::default(), at(105), WINDOW);
    assert_eq!((board.troubles.len(), board.missed(&cluster())), (3, 2));
    board.looked(Look::default(), at(107), WINDOW);
    assert_eq!((board.troubles.len(), board.missed(&cluster())), (1, 0));
}
