//! The shipped code on one thread, with a virtual clock and a cluster in memory, while processes die and stop, answers
//! get lost and requests arrive late: every run is decided by its seed, and its promises are looked at after each step.
//!
//! A run that breaks one is told with its seed and its last steps (the first one; of others their seeds); `KAFKA_CRON_SEED=n` plays it again. How many seeds
//! are played is `KAFKA_CRON_SEEDS` (see `scripts/simulate.sh`), from `KAFKA_CRON_SEEDS_FROM` on.

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
mod invariants;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod report;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod world;
