//! Attempts under way: the threads *[`worker`]*, one attempt at a time each, and the [`process`]es that they start and watch.

pub mod process;
pub mod worker;
