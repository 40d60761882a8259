//! Clocks that jump, and hours that come twice or never.

use super::*;

fn check(words: &str, zone: &str, (from, until): (&str, &str), expected: &[&str]) {
    let bench = bench(from, zone, &[words]);
    assert_eq!(bench.ticks_until(until, 0), expected, "{words} {zone}");
}

#[test]
fn daylight_saving_comes_through_the_real_timer() {
    let (berlin, new_york, lord_howe) = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe");
    // Berlin skips 02:00–03:00 on 29 March and repeats 02:00–03:00 on 25 October.
    let spring = ("2026-03-29T00:55:00Z", "2026-03-29T01:05:00Z");
    check("30 2 * * *", berlin, spring, &["29T01:00:00"]);
    check("15 30 2 * * *", berlin, spring, &["29T01:00:00"]);
    let half_past = ("2026-03-29T00:28:00Z", "2026-03-29T01:32:00Z");
    check("30 * * * *", berlin, half_past, &["29T00:30:00", "29T01:30:00"]);
    let autumn = ("2026-10-25T00:28:00Z", "2026-10-25T01:32:00Z");
    check("30 2 * * *", berlin, autumn, &["25T00:30:00"]);
    check("*/30 2 * * *", berlin, autumn, &["25T00:30:00", "25T01:00:00", "25T01:30:00"]);
    check("30 2 * * *", new_york, ("2026-03-08T06:58:00Z", "2026-03-08T07:02:00Z"), &["08T07:00:00"]);
    // Lord Howe Island moves by half an hour.
    check("15 2 * * *", lord_howe, ("2026-10-03T15:28:00Z", "2026-10-03T15:32:00Z"), &["03T15:30:00"]);
}

#[test]
fn a_clock_that_jumps_back_fires_no_tick_twice_and_one_that_jumps_forward_loses_none() {
    let bench = bench("2026-03-01T10:00:30Z", "UTC", &["* * * * *"]);
    assert_eq!(bench.ticks_until("2026-03-01T10:02:10Z", 0), ["01T10:01:00", "01T10:02:00"]);
    bench.clock.jump_to(at("2026-03-01T09:59:50Z"));
    assert_eq!(bench.ticks_until("2026-03-01T10:03:10Z", 0), ["01T10:03:00"]);
    bench.clock.jump_to(at("2026-03-01T10:04:40Z"));
    assert_eq!(bench.ticks_until("2026-03-01T10:04:45Z", 0), ["01T10:04:00"]);
    // An hour later come the ticks that are late by less than a minute, and then the backlog, of which this job wants
    // the last tick; the others are on record.
    bench.clock.jump_to(at("2026-03-01T11:04:40Z"));
    let next = || {
        while bench.batches[0].is_empty() {
            assert!(bench.clock.ring_next(PATIENCE));
        }
        let Batch { ticks, events, .. } = bench.batches[0].recv().unwrap();
        (ticks.iter().map(|tick| tick.at).collect::<Vec<_>>(), events)
    };
    assert_eq!(next(), (vec![at("2026-03-01T11:04:00Z")], Vec::new()));
    let (ticks, events) = next();
    assert_eq!(ticks, [at("2026-03-01T11:03:00Z")]);
    let Event::Missed { from, to, count, .. } = &events[0] else { panic!("{events:?}") };
    let missed = (at("2026-03-01T10:05:00Z"), at("2026-03-01T11:02:00Z"), 58);
    assert_eq!((*from, *to, *count, events.len()), (missed.0, missed.1, missed.2, 1));
}

#[test]
fn a_leader_whose_clock_has_jumped_goes_by_the_time_that_it_would_be_until_that_is_compared() {
    let bench = bench("2026-03-01T10:00:00Z", "UTC", &["* * * * * *"]);
    let compare = |ahead| {
        let at = Now { wall: bench.clock.now(), mono: bench.clock.monotonic() };
        bench.lead.send(Effect::Clock(Skew { ahead, at })).unwrap();
        bench.await_lead();
    };
    compare(TimeDelta::zero());
    let (began, mut ticks) = (bench.clock.monotonic(), Vec::new());
    for (jumps, enough) in [("2026-03-01T11:00:00Z", 5), ("2026-03-01T09:00:00Z", 10)] {
        bench.clock.jump_to(at(jumps));
        while ticks.len() < enough {
            assert!(bench.clock.ring_next(PATIENCE), "the timer waits for nothing");
            let kept = bench.keeps.try_iter().last().and_then(|keep| keep.cursors[0]);
            assert!(kept.is_none_or(|cursor| cursor < at("2026-03-01T10:00:45Z")), "{kept:?}");
            ticks.extend(bench.confirm(0));
        }
    }
    let second = |s: usize| format!("01T10:00:{s:02}");
    assert_eq!(ticks, (1..=ticks.len()).map(second).collect::<Vec<_>>());
    let passed = (bench.clock.monotonic() - began).as_secs();
    assert!(u64::try_from(ticks.len()).unwrap() <= passed, "{passed} s: {ticks:?}");
    // The machine slept, and its clock is right.
    bench.clock.jump_to(at("2026-03-01T10:00:50Z"));
    compare(TimeDelta::zero());
    let slept = bench.ticks_until("2026-03-01T10:00:53Z", 0);
    assert!(slept.contains(&second(50)), "{slept:?}");
}
