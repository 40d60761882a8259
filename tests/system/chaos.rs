//! Programs and Kafka killed again and again, under load: afterwards every tick has its fate, and what the topics say
//! agrees with what the jobs themselves wrote down.
//!
//! With `KAFKA_CRON_TEST_LONG` each test goes on for longer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use kafka_cron::common::clock::{Clock, SystemClock};
use serde_json::Value;

use crate::checks::{assert_none_twice, await_leader, await_ready, leads, started, verify};
use crate::support::broker::{OwnBroker, version};
use crate::support::programs::{PATIENCE, Program, World};
use crate::support::{unique, wait_until};

/// A session and a lease as short as brokers allow, so that what died is found within the test.
const LEASE: [&str; 2] = ["--lease", "8s"];
const SESSION: [&str; 2] = ["--session-timeout", "6s"];

/// How long after the last fault everything may take to be over: leases, retries, and a loaded machine.
const SETTLED: Duration = Duration::from_secs(120);

/// Between the short form of a test and the long one.
fn short_or_long<T>(short: T, long: T) -> T {
    if std::env::var_os("KAFKA_CRON_TEST_LONG").is_some() { long } else { short }
}

fn go_on(duration: Duration) {
    let end = Instant::now() + duration;
    wait_until("time passes", duration * 2, || (Instant::now() >= end).then_some(()));
}

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Two producers and some consumers, with two jobs that are due each second: one that succeeds, one whose first attempt
/// fails. Both may lose attempts.
struct Fleet<'a> {
    world: &'a World,
    jobs: PathBuf,
    names: [String; 2],
    producers: Vec<Program>,
    consumers: Vec<Program>,
}

impl<'a> Fleet<'a> {
    fn new(world: &'a World) -> Self {
        let names = ["good", "bad"].map(unique);
        let [good, bad] = &names;
        let jobs = world.jobs(&format!(
            "* * * * * *  {{a}}  [name={good} retries=8 backoff=200ms catchup=all]  {{note}}; sleep 0.3\n\
             * * * * * *  {{a}}  [name={bad} retries=8 backoff=200ms catchup=all]   {{note}}; test $CRON_ATTEMPT -gt 1\n",
        ));
        let mut fleet = Self { world, jobs, names, producers: Vec::new(), consumers: Vec::new() };
        fleet.start();
        fleet
    }

    fn start(&mut self) {
        self.producers = vec![self.producer(), self.producer()];
        self.consumers = (0..4).map(|number| self.consumer(number)).collect();
    }

    fn producer(&self) -> Program {
        self.world.producer(&self.jobs, &LEASE)
    }

    /// Every other one of the retry topic.
    fn consumer(&self, number: usize) -> Program {
        let topic = self.world.a.to_string();
        let topic = if number.is_multiple_of(2) { topic } else { format!("{topic}-retry") };
        self.world.consumer(&topic, &[&["--workers", "6"], &LEASE[..], &SESSION[..]].concat())
    }

    fn await_work(&self) {
        let [good, bad] = &self.names;
        self.world.await_ledger("all work", |ledger| {
            started(ledger, good).len() >= 3 && ledger.iter().any(|e| e.job == *bad && e.attempt == 2)
        });
    }

    /// Waits until all runs that were due up to an instant have succeeded.
    fn await_success(&self, until: DateTime<Utc>) {
        for job in &self.names {
            wait_until(&format!("all runs of {job} up to {until} have succeeded"), SETTLED, || {
                // Of which only the end is known so far: due by all means.
                let is_due = |run: &&Value| {
                    let at = run["scheduled_at"].as_str();
                    at.is_none_or(|at| at.parse::<DateTime<Utc>>().unwrap() <= until)
                };
                let runs = runs(self.world, job);
                runs.iter().filter(is_due).all(|run| run["state"] == "succeeded").then_some(())
            });
        }
    }

    /// Waits until both jobs have started each of their ticks up to some after now, and all runs are over; ends
    /// the producers. Then `cronctl verify` and the ledger must agree.
    fn settle(mut self) {
        let after = SystemClock.now() + TimeDelta::seconds(3);
        wait_until("no tick is missing", SETTLED, || {
            let ledger = self.world.ledger();
            self.names.iter().all(|job| is_complete(&started(&ledger, job), after)).then_some(())
        });
        // The producers first see to what the dead had under way; then nothing more is begun, and the rest ends.
        self.await_success(after);
        self.producers.drain(..).for_each(Program::stop);
        self.await_success(DateTime::<Utc>::MAX_UTC);
        self.consumers.into_iter().for_each(Program::stop);
        let ledger = self.world.ledger();
        assert_none_twice(&ledger);
        let again = ledger.iter().filter(|e| e.job == self.names[0] && e.attempt > 1).count();
        println!("{} attempts; {again} of them after one that was lost", ledger.len());
        agree(self.world, &self.jobs, &self.names);
    }
}

/// Whether a job's ticks are there, second by second, up to an instant or beyond.
fn is_complete(ticks: &BTreeSet<DateTime<Utc>>, until: DateTime<Utc>) -> bool {
    let (Some(first), Some(last)) = (ticks.first(), ticks.last()) else { return false };
    let owed = (*last - *first).num_seconds() + 1;
    *last >= until && usize::try_from(owed) == Ok(ticks.len())
}

fn runs(world: &World, job: &str) -> Vec<Value> {
    let (code, out, err) = world.cronctl(&["runs", "--cluster", world.a.as_str(), "--job", job, "--json"]);
    assert_eq!(code, 0, "{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the topics say is what the jobs wrote down: every tick of both is published, and was started.
fn agree(world: &World, jobs: &Path, names: &[String]) {
    let ledger = world.ledger();
    let started: Vec<_> = names.iter().map(|job| started(&ledger, job)).collect();
    let since = *started.iter().filter_map(|ticks| ticks.first()).max().unwrap();
    let until = *started.iter().filter_map(|ticks| ticks.last()).min().unwrap();
    let (code, report) = verify(world, jobs, since, until);
    assert_eq!(code, 0, "{report:#}");
    let count: usize = started.iter().map(|ticks| ticks.range(since..=until).count()).sum();
    assert_eq!(report["ticks"]["published"].as_u64(), u64::try_from(count).ok(), "{report:#}");
    assert_eq!(report["ticks"]["named"], report["ticks"]["published"], "{report:#}");
}

#[test]
fn a_leader_that_is_killed_again_and_again_costs_no_tick() {
    let world = World::new();
    let mut fleet = Fleet::new(&world);
    fleet.await_work();
    let mut times = Vec::new();
    for _ in 0..short_or_long(3, 10) {
        fleet.producers.iter().for_each(await_ready);
        let leader = fleet.producers.iter().position(leads).unwrap();
        fleet.producers.remove(leader).kill();
        times.push(await_leader(&fleet.producers[0]));
        fleet.producers.push(fleet.producer());
    }
    fleet.settle();
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "{} take-overs: median {median:.1?}, worst {worst:.1?}; no tick lost, none doubled",
        times.len()
    );
    assert!(worst < Duration::from_secs(12), "{times:?}");
}

#[test]
fn consumers_that_are_killed_and_frozen_at_random_start_nothing_twice_and_finish_all() {
    const SEED: u64 = 4;
    let world = World::new();
    let mut fleet = Fleet::new(&world);
    fleet.await_work();
    let mut dice = Dice(SEED);
    let (mut killed, mut frozen) = (0, 0);
    let mut thaws = [None; 4];
    let end = Instant::now() + Duration::from_secs(short_or_long(20, 120));
    while Instant::now() < end {
        let victim = usize::try_from(dice.roll(4)).unwrap();
        if dice.roll(2) == 0 {
            let replacement = fleet.consumer(victim);
            std::mem::replace(&mut fleet.consumers[victim], replacement).kill();
            thaws[victim] = None;
            killed += 1;
        } else if thaws[victim].is_none() {
            // Shorter than the session, longer than it, and longer than the lease.
            fleet.consumers[victim].signal("STOP");
            thaws[victim] = Some(Instant::now() + Duration::from_millis(500 + dice.roll(9_500)));
            frozen += 1;
        }
        go_on(Duration::from_millis(500 + dice.roll(2_000)));
        for (consumer, thaw) in fleet.consumers.iter().zip(&mut thaws) {
            if thaw.take_if(|at| *at <= Instant::now()).is_some() {
                consumer.signal("CONT");
            }
        }
    }
    for (consumer, _) in fleet.consumers.iter().zip(thaws).filter(|(_, thaw)| thaw.is_some()) {
        consumer.signal("CONT");
    }
    println!("seed {SEED}: {killed} killed, {frozen} frozen");
    fleet.settle();
}

#[test]
fn a_broker_that_is_away_under_load_costs_no_tick_and_no_run() {
    let own = OwnBroker::start(version());
    let world = World::on(&own.brokers());
    let fleet = Fleet::new(&world);
    fleet.await_work();
    own.kill();
    go_on(Duration::from_secs(short_or_long(10, 30)));
    own.restart();
    fleet.settle();
}

#[test]
fn after_a_power_cut_of_everything_all_is_taken_up_where_it_was() {
    let own = OwnBroker::start(version());
    let world = World::on(&own.brokers());
    let mut fleet = Fleet::new(&world);
    fleet.await_work();
    fleet.producers.drain(..).for_each(Program::kill);
    fleet.consumers.drain(..).for_each(Program::kill);
    own.kill();
    go_on(Duration::from_secs(short_or_long(15, 60)));
    own.restart();
    fleet.start();
    wait_until("somebody leads", PATIENCE, || fleet.producers.iter().any(leads).then_some(()));
    fleet.settle();
}
