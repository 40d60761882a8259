//! What beats prove that are confirmed, late or not confirmed.

use super::*;

const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Partition, offset.
    Sent(i32, i64),
    Failed(i32),
    /// Partition, next offset.
    Read(i32, i64),
    Resigned,
}
use Step::{Failed, Read, Resigned, Sent};

/// Leads two partitions from second 0 on, and says what is proved at the last of the steps' seconds.
fn check(steps: &[(u64, Step)], expected: Option<(u64, u64)>) {
    let zero = Instant::now();
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut heartbeat = Heartbeat::new(zero);
    (0..2).for_each(|partition| heartbeat.follow(partition, zero));
    heartbeat.lead(Term::new(1), zero);
    for (secs, step) in steps {
        match *step {
            Sent(partition, offset) => drop(heartbeat.beat(partition, Some(offset), at(*secs))),
            Failed(partition) => drop(heartbeat.beat(partition, None, at(*secs))),
            Read(partition, next) => heartbeat.read_to(partition, next, at(*secs)),
            // Another term, between which nothing was asked.
            Resigned => heartbeat.lead(Term::new(2), at(*secs)),
        }
        heartbeat.check(at(*secs), EVERY);
    }
    let expected = expected.map(|(from, seen)| (at(from), at(seen)));
    assert_eq!(heartbeat.seen(), expected, "{steps:?}");
}

#[test]
fn an_end_is_seen_up_to_the_beat_that_was_read_back() {
    check(&[(0, Sent(0, 5)), (0, Sent(1, 5))], None);
    check(&[(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6))], None);
    check(&[(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6)), (1, Read(1, 5))], None);
    check(&[(0, Sent(0, 5)), (1, Sent(1, 5)), (2, Read(0, 6)), (3, Read(1, 6))], Some((0, 0)));
    let first = [(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6)), (1, Read(1, 6))];
    let second = [(10, Sent(0, 7)), (10, Sent(1, 7)), (11, Read(0, 8)), (11, Read(1, 8))];
    check(&[&first[..], &second[..]].concat(), Some((0, 10)));
    check(&[&first[..], &second[..3]].concat(), Some((0, 0)));
}

#[test]
fn a_beat_that_fails_or_is_late_starts_the_leases_anew() {
    let first = [(0, Sent(0, 5)), (0, Sent(1, 5)), (1, Read(0, 6)), (1, Read(1, 6))];
    check(&[&first[..], &[(10, Failed(1))]].concat(), Some((10, 0)));
    // Not read back in time: an outage of one partition.
    check(&[&first[..], &[(10, Sent(0, 7)), (11, Read(0, 8)), (21, Read(1, 6))]].concat(), Some((21, 0)));
    check(&[&first[..], &[(10, Sent(0, 7)), (11, Read(0, 8)), (20, Read(1, 6))]].concat(), Some((0, 0)));
    // We were stopped ourselves, so we do not know what happened meanwhile.
    check(&[&first[..], &[(300, Read(0, 6))]].concat(), Some((300, 0)));
    // The leader before us has proved nothing to us.
    check(&[&first[..], &[(12, Resigned)]].concat(), None);
}

#[test]
fn beats_are_due_to_a_leader_alone_and_sooner_after_a_failure() {
    let zero = Instant::now();
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut heartbeat = Heartbeat::new(zero);
    heartbeat.follow(0, zero);
    assert_eq!(heartbeat.due(zero, EVERY), []);
    heartbeat.lead(Term::new(1), zero);
    assert_eq!(heartbeat.due(zero, EVERY), [(0, 1)]);
    heartbeat.beat(0, Some(3), zero);
    assert_eq!((heartbeat.due(at(9), EVERY), heartbeat.due(at(10), EVERY)), (vec![], vec![(0, 2)]));
    heartbeat.beat(0, None, at(10));
    assert_eq!(heartbeat.due(at(11), EVERY), [(0, 3)]);
}

#[test]
fn what_lies_between_is_gone_where_reading_goes_on_at_a_later_offset() {
    let zero = Instant::now();
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut heartbeat = Heartbeat::new(zero);
    heartbeat.follow(0, zero);
    heartbeat.lead(Term::new(1), zero);
    heartbeat.beat(0, Some(5), zero);
    heartbeat.skip(0, at(2));
    assert_eq!((heartbeat.awaits(), heartbeat.seen()), (false, None));
    heartbeat.beat(0, Some(9), at(3));
    heartbeat.read_to(0, 10, at(4));
    assert_eq!(heartbeat.seen(), Some((at(2), at(3))), "leases begin no earlier");
}

#[test]
fn the_delay_is_that_of_the_last_beat_or_of_the_one_that_is_awaited_for_longer() {
    let zero = Instant::now();
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut heartbeat = Heartbeat::new(zero);
    heartbeat.follow(0, zero);
    heartbeat.lead(Term::new(1), zero);
    assert_eq!((heartbeat.awaits(), heartbeat.delay(at(1))), (false, Duration::ZERO));
    heartbeat.beat(0, Some(3), at(1));
    assert_eq!((heartbeat.awaits(), heartbeat.delay(at(5))), (true, Duration::from_secs(4)));
    heartbeat.read_to(0, 4, at(6));
    assert_eq!((heartbeat.awaits(), heartbeat.delay(at(60))), (false, Duration::from_secs(5)));
    heartbeat.beat(0, Some(7), at(60));
    assert_eq!(heartbeat.delay(at(61)), Duration::from_secs(5), "the last one took longer");
}

#[test]
fn the_end_gets_out_of_sight_once_and_comes_back_into_it_once() {
    let zero = Instant::now();
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut heartbeat = Heartbeat::new(zero);
    heartbeat.follow(0, zero);
    heartbeat.lead(Term::new(1), zero);
    let check = |heartbeat: &mut Heartbeat, secs: u64, news: Option<Sight>, is_blind: bool| {
        assert_eq!((heartbeat.check(at(secs), EVERY), heartbeat.is_blind()), (news, is_blind), "{secs}");
    };
    check(&mut heartbeat, 20, None, false);
    check(&mut heartbeat, 21, Some(Sight::Lost), true);
    heartbeat.beat(0, Some(5), at(21));
    check(&mut heartbeat, 22, None, true);
    heartbeat.read_to(0, 6, at(23));
    check(&mut heartbeat, 23, Some(Sight::Regained), false);
    check(&mut heartbeat, 24, None, false);
    heartbeat.beat(0, None, at(31));
    check(&mut heartbeat, 31, Some(Sight::Lost), true);
    // A standby writes no beats, so it misses none.
    heartbeat.lead(None, at(32));
    check(&mut heartbeat, 32, Some(Sight::Regained), false);
}

#[test]
fn the_first_beat_that_fails_is_news_and_the_others_are_not() {
    let zero = Instant::now();
    let mut heartbeat = Heartbeat::new(zero);
    heartbeat.follow(0, zero);
    for (offset, expected) in [(Some(3), false), (None, true), (None, false), (Some(4), false), (None, true)]
    {
        assert_eq!(heartbeat.beat(0, offset, zero), expected, "{offset:?}");
    }
    assert!(!heartbeat.beat(5, None, zero), "no beats are written there");
}

#[test]
fn another_log_proves_nothing_and_its_beats_are_counted_on() {
    let zero = Instant::now();
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut heartbeat = Heartbeat::new(zero);
    heartbeat.follow(0, zero);
    heartbeat.lead(Term::new(1), zero);
    heartbeat.beat(0, Some(5), zero);
    heartbeat.read_to(0, 6, at(1));
    heartbeat.beat(0, Some(7), at(10));
    heartbeat.restart([0, 1], at(12));
    assert_eq!(
        (heartbeat.seen(), heartbeat.awaits(), heartbeat.delay(at(99))),
        (None, false, Duration::ZERO)
    );
    assert_eq!(heartbeat.due(at(12), EVERY), [(0, 3), (1, 1)]);
    heartbeat.restart([1], at(13));
    assert_eq!(heartbeat.due(at(13), EVERY), [(1, 1)]);
}

#[test]
fn a_standby_is_led_for_a_quarter_of_a_lease_after_each_beat_but_for_the_one_that_asks_for_the_time() {
    let zero = Instant::now();
    let at = |secs: u64| zero + Duration::from_secs(secs);
    let mut heartbeat = Heartbeat::new(zero);
    let beat = |number| Event::Beat { leader: "p".to_owned(), number, at: chrono::DateTime::UNIX_EPOCH };
    let check = |heartbeat: &mut Heartbeat, secs: u64, expected: bool| {
        heartbeat.look_for_leader(at(secs), EVERY * 4);
        assert_eq!(heartbeat.is_led(), expected, "{secs}");
    };
    check(&mut heartbeat, 9, true);
    check(&mut heartbeat, 10, false);
    heartbeat.take(&beat(0), at(20));
    check(&mut heartbeat, 20, false);
    heartbeat.take(&beat(1), at(20));
    check(&mut heartbeat, 29, true);
    check(&mut heartbeat, 30, false);
    heartbeat.lead(Term::new(1), at(40));
    check(&mut heartbeat, 99, true);
}
