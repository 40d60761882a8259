//! The runs that every test makes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::bugs::{self, Bug};
use crate::report::{Counts, KINDS, KINDS_OF_ALL, KINDS_OF_AMBUSHES};
use crate::stage::{Cast, play, play_faults_of};

/// Seeds of an ordinary test.
const SEEDS: u64 = 2_000;
/// Seeds of a long one (`scripts/test.sh --long`).
const SEEDS_OF_A_LONG_TEST: u64 = 20_000;
/// Seeds of an ordinary test with producers, which are ten times as long.
const SEEDS_OF_ALL: u64 = 100;
/// Seeds of an ordinary test with ambushes.
const SEEDS_OF_AMBUSHES: u64 = 20;
/// Seeds within which each planted bug must be found: 66 times as many as the rarest takes on average.
const SEEDS_FOR_A_BUG: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// What came of many seeds.
#[derive(Debug, Default)]
struct Played {
    steps: u64,
    counts: Counts,
    /// The seeds that break a promise, and what the first of them that was met has to say.
    failing: Vec<u64>,
    first: Option<String>,
}

impl Played {
    /// Plays a seed, and once more with its last steps when it breaks a promise.
    fn play(&mut self, cast: Cast, seed: u64) {
        let run = play(cast, seed, None, false);
        self.steps += run.steps;
        self.counts.extend(&run.counts);
        let Some((what, _)) = run.broken else { return };
        println!("{cast:?}, seed {seed} fails: {what}");
        self.failing.push(seed);
        self.first.get_or_insert_with(|| {
            let (what, trace) = play(cast, seed, None, true).broken.expect("a seed is the same run again");
            let again = format!("KAFKA_CRON_SEED={seed} cargo test --test simulation promises");
            format!("{cast:?}, seed {seed}: {what}\n{trace}  again: {again}")
        });
    }

    fn extend(&mut self, other: Self) {
        self.steps += other.steps;
        self.counts.extend(&other.counts);
        self.failing.extend(other.failing);
        self.first = self.first.take().or(other.first);
    }
}

#[test]
fn promises_hold_whatever_goes_wrong() {
    check_many(Cast::Consumers, SEEDS, SEEDS_OF_A_LONG_TEST, &KINDS);
}

#[test]
fn promises_of_ticks_hold_whatever_goes_wrong() {
    check_many(Cast::All, SEEDS_OF_ALL, SEEDS_OF_ALL * 10, &KINDS_OF_ALL);
}

#[test]
fn promises_hold_in_ambushes() {
    check_many(Cast::Ambushed, SEEDS_OF_AMBUSHES, SEEDS_OF_AMBUSHES * 20, &KINDS_OF_AMBUSHES);
}

fn check_many(cast: Cast, seeds: u64, seeds_of_a_long_test: u64, kinds: &[&'static str]) {
    let is_long = std::env::var_os("KAFKA_CRON_TEST_LONG").is_some();
    let usual = if is_long { seeds_of_a_long_test } else { seeds };
    let (from, until) = match number("KAFKA_CRON_SEED") {
        Some(seed) => (seed, seed + 1),
        None => {
            let from = number("KAFKA_CRON_SEEDS_FROM").unwrap_or(0);
            (from, from + number("KAFKA_CRON_SEEDS").unwrap_or(usual))
        }
    };
    let next = AtomicU64::new(from);
    let play_some = || {
        let mut played = Played::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until {
                return played;
            }
            played.play(cast, seed);
        }
    };
    let mut played = std::thread::scope(|scope| {
        // As many as run side by side in an ordinary test; `scripts/simulate.sh` has a process for each core instead.
        let others = number("KAFKA_CRON_SEEDS").map_or(1, |_| 0);
        let others: Vec<_> = (0..others).map(|_| scope.spawn(play_some)).collect();
        let mut played = play_some();
        others.into_iter().for_each(|other| played.extend(other.join().expect("the other half")));
        played
    });
    // What is rare is looked for in further seeds, so that this test does not depend on the random sequence.
    let further = if until - from < seeds { until..until } else { until..until + 3 * seeds };
    for seed in further {
        if played.counts.missing(kinds).is_empty() {
            break;
        }
        played.play(cast, seed);
    }
    played.failing.sort_unstable();
    kinds.iter().for_each(|kind| played.counts.add(kind, 0));
    println!(
        "{cast:?}: {} seeds, {} steps, and what was met in them:\n{}",
        until - from,
        played.steps,
        played.counts
    );
    if let Some(first) = played.first {
        panic!("{} seeds break a promise: {:?}\n{first}", played.failing.len(), played.failing);
    }
    let missing = played.counts.missing(kinds);
    assert!(until - from < seeds || missing.is_empty(), "never met in {} seeds: {missing:?}", until - from);
}

/// Each bug is looked for in runs whose faults are directed at it, so that this test does not depend on the random sequence.
#[test]
fn every_planted_bug_is_found() {
    let only = std::env::var("KAFKA_CRON_BUG").ok();
    let is_wanted = |bug: &Bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}"));
    let from = number("KAFKA_CRON_SEEDS_FROM").unwrap_or(0);
    let mut unfound = Vec::new();
    for (bug, said, _) in bugs::ALL.into_iter().filter(|(bug, ..)| is_wanted(bug)) {
        let cast = if bug.needs_producers() { Cast::All } else { Cast::Consumers };
        let shows = |seed| play(cast, seed, Some(bug), false).broken.filter(|(what, _)| what.contains(said));
        if let Some(seeds) = number("KAFKA_CRON_SEEDS") {
            let count = (from..from + seeds).filter(|seed| shows(*seed).is_some()).count();
            println!("{bug:?} is found by {count} of {seeds} seeds");
            continue;
        }
        match (from..from + SEEDS_FOR_A_BUG).find_map(|seed| Some((seed, shows(seed)?.0))) {
            Some((seed, what)) => println!("{bug:?} is found with seed {seed}: {what}"),
            None => unfound.push(bug),
        }
    }
    assert!(unfound.is_empty(), "not found in {SEEDS_FOR_A_BUG} seeds: {unfound:?}");
}

/// Only runs that look for this bug have a broker that tells the time, so it is shown that these runs are sound without it.
#[test]
fn leaders_that_compare_their_clocks_publish_nothing_early() {
    for seed in 0..10 {
        let run = play_faults_of(Bug::BelievesAnyClock, Cast::All, seed);
        assert_eq!(run.broken, None, "seed {seed}");
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
