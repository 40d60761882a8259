//! The shipped code on one thread, with a virtual clock and a cluster in memory, while processes die and stop, answers
//! get lost and requests arrive late: every run is decided by its seed, and its promises are looked at after each step.
//!
//! The report shows the seed and the last steps of the first run that breaks a promise, and the seeds of the others;
//! `KAFKA_CRON_SEED=n` plays a run again. `KAFKA_CRON_SEEDS` says how many seeds are played (see `scripts/simulate.sh`),
//! and `KAFKA_CRON_SEEDS_FROM` with which one they begin.

#[cfg(test)] // it is, here and below, and saying so tells the lints
mod actors;
#[cfg(test)]
mod aim;
#[cfg(test)]
mod ambush;
#[cfg(test)]
mod bugs;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod forwarding;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod misled;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod place;
#[cfg(test)]
mod report;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod world;
