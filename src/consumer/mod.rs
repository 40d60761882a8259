//! Topic → claim → process → report: the programs that run the jobs.
//!
//! The rules are pure and stand apart from the threads: [`duplicates`], [`answers`], [`position`],
//! [`partition`], [`pace`].

pub mod answers;
pub mod claims;
pub mod dispatch;
pub mod dispatcher;
pub mod duplicates;
pub mod fetcher;
pub mod letters;
pub mod loading;
pub mod measures;
pub mod pace;
pub mod partition;
pub mod poll;
pub mod position;
pub mod process;
pub mod reading;
pub mod reporter;
pub mod reporting;
pub mod reports;
pub mod worker;
