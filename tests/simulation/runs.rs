//! The runs that are made in every test.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bugs;
use crate::faults::{KINDS, KINDS_OF_ALL};
use crate::report::Counts;
use crate::stage::{Cast, play};

/// Seeds of an ordinary test.
const SEEDS: u64 = 2_000;
/// Seeds of a long one (`scripts/test.sh --long`).
const SEEDS_OF_A_LONG_TEST: u64 = 20_000;
/// Seeds of an ordinary test with producers, which are ten times as long.
const SEEDS_OF_ALL: u64 = 100;
/// Seeds within which each planted bug must be found.
const SEEDS_FOR_A_BUG: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Plays a seed, and fails with its last steps when it breaks a promise.
fn check(cast: Cast, seed: u64) -> (u64, Counts) {
    let run = play(cast, seed, None, false);
    if run.broken.is_some() {
        let (what, trace) = play(cast, seed, None, true).broken.expect("a seed is the same run again");
        panic!(
            "{cast:?}, seed {seed}: {what}\n{trace}  again: KAFKA_CRON_SEED={seed} cargo test --test simulation promises"
        );
    }
    (run.steps, run.counts)
}

#[test]
fn promises_hold_whatever_goes_wrong() {
    check_many(Cast::Consumers, SEEDS, SEEDS_OF_A_LONG_TEST, &KINDS);
}

#[test]
fn promises_of_ticks_hold_whatever_goes_wrong() {
    check_many(Cast::All, SEEDS_OF_ALL, SEEDS_OF_ALL * 10, &KINDS_OF_ALL);
}

fn check_many(cast: Cast, seeds: u64, seeds_of_a_long_test: u64, kinds: &[&str]) {
    if let Some(seed) = number("KAFKA_CRON_SEED") {
        check(cast, seed);
        return;
    }
    let from = number("KAFKA_CRON_SEEDS_FROM").unwrap_or(0);
    let is_long = std::env::var_os("KAFKA_CRON_TEST_LONG").is_some();
    let usual = if is_long { seeds_of_a_long_test } else { seeds };
    let until = from + number("KAFKA_CRON_SEEDS").unwrap_or(usual);
    let next = AtomicU64::new(from);
    let play_some = || {
        let (mut steps, mut counts) = (0, Counts::default());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until {
                return (steps, counts);
            }
            let (more, met) = check(cast, seed);
            steps += more;
            counts.extend(&met);
        }
    };
    let (steps, counts) = std::thread::scope(|scope| {
        let other = scope.spawn(play_some);
        let (mut steps, mut counts) = play_some();
        let (more, met) = other.join().expect("the other half");
        steps += more;
        counts.extend(&met);
        (steps, counts)
    });
    println!("{} seeds, {steps} steps, and what was met in them:\n{counts}", until - from);
    let missing = counts.missing(kinds);
    assert!(missing.is_empty(), "never met in {} seeds: {missing:?}", until - from);
}

#[test]
fn every_planted_bug_is_found() {
    for (bug, said, from) in bugs::ALL {
        let cast = if bug.is_producers() { Cast::All } else { Cast::Consumers };
        let fits = |seed| play(cast, seed, Some(bug), false).broken.filter(|(what, _)| what.contains(said));
        let found = (from..from + SEEDS_FOR_A_BUG).find_map(|seed| Some((seed, fits(seed)?.0)));
        let (seed, what) = found.unwrap_or_else(|| panic!("{bug:?} is not found in {SEEDS_FOR_A_BUG} seeds"));
        println!("{bug:?} is found with seed {seed}: {what}");
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for (cast, seeds) in [(Cast::Consumers, 20), (Cast::All, 3)] {
        for seed in 0..seeds {
            assert_eq!(play(cast, seed, None, false), play(cast, seed, None, false));
        }
    }
}
